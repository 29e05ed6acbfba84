//! Finding `runtime.firstmoduledata`, the linker's description of the program, without symbols.
//!
//! Its first word points to the pclntab's header and its second one to the function names within
//! the pclntab. In a position independent file both are relocations.

use memchr::memmem;

use crate::layout::Moduledata;

use super::elf::Elf;
use super::pclntab::Header;
use super::{BinaryError, Vaddr};

/// What is needed of `runtime.moduledata`, as link-time addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ModuleData {
    pub(super) vaddr: Vaddr,
    /// What function entries in the pclntab are relative to.
    pub(super) text: Vaddr,
    pub(super) etext: Vaddr,
    /// What offsets of function data in the pclntab are relative to.
    pub(super) gofunc: Vaddr,
    pub(super) data: Range,
    pub(super) bss: Range,
    pub(super) noptrbss: Range,
}

/// A range of link-time addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: Vaddr,
    pub(super) end: Vaddr,
}

impl Range {
    pub(super) fn contains(&self, vaddr: Vaddr) -> bool {
        self.start <= vaddr && vaddr < self.end
    }
}

impl ModuleData {
    pub(super) fn find(
        elf: &Elf,
        header: &Header,
        layout: &Moduledata,
    ) -> Result<ModuleData, BinaryError> {
        let mut candidates = places_of(elf, header.vaddr.0);
        candidates.retain(|place| {
            place
                .0
                .checked_add(8)
                .and_then(|next| elf.word(Vaddr(next)))
                == Some(header.function_names().0)
        });
        let &[vaddr] = candidates.as_slice() else {
            return Err(BinaryError::Unrecognised("runtime.firstmoduledata"));
        };
        Self::read(elf, vaddr, layout).ok_or(BinaryError::Unrecognised(
            "the addresses in runtime.firstmoduledata",
        ))
    }

    fn read(elf: &Elf, vaddr: Vaddr, layout: &Moduledata) -> Option<ModuleData> {
        let word = |offset: u32| {
            let place = vaddr.0.checked_add(u64::from(offset))?;
            elf.word(Vaddr(place)).map(Vaddr)
        };
        let range = |start, end| {
            let range = Range {
                start: word(start)?,
                end: word(end)?,
            };
            (range.start <= range.end).then_some(range)
        };
        let text = range(layout.text, layout.etext)?;
        Some(ModuleData {
            vaddr,
            text: text.start,
            etext: text.end,
            gofunc: word(layout.gofunc)?,
            data: range(layout.data, layout.edata)?,
            bss: range(layout.bss, layout.ebss)?,
            noptrbss: range(layout.noptrbss, layout.enoptrbss)?,
        })
    }
}

/// Every aligned place in writable segments that holds a pointer to `address`, as a relocation or
/// (in files at a fixed address, or with packed relocations) in place.
fn places_of(elf: &Elf, address: u64) -> Vec<Vaddr> {
    let relocated: Vec<Vaddr> = elf
        .relocations()
        .iter()
        .filter(|relocation| relocation.addend == address)
        .map(|relocation| Vaddr(relocation.place))
        .collect();
    if !relocated.is_empty() {
        return relocated;
    }
    let needle = address.to_le_bytes();
    let finder = memmem::Finder::new(&needle);
    elf.segments()
        .iter()
        .filter(|segment| segment.is_writable())
        .flat_map(|segment| {
            finder
                .find_iter(elf.segment_bytes(segment))
                .filter_map(|at| segment.vaddr.0.checked_add(at as u64))
        })
        .filter(|place| place % 8 == 0)
        .map(Vaddr)
        .collect()
}
