//! The runtime's wait reasons, from the binary's own table of texts: an index means different
//! things in different Go versions.

use tracer_model::wait::WaitReason;

use super::code::{Code, Mention};
use super::elf::Elf;
use super::moduledata::ModuleData;
use super::{BinaryError, Pclntab, Vaddr};

/// Size of a Go string header, bytes.
const STRING_SIZE: u64 = 16;
/// Longest table that is believed (Go 1.27 has 50 entries; the index is one byte).
const MAX_REASONS: u64 = 256;

/// What each value of `g.waitreason` means in this binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitReasons(Vec<(WaitReason, Box<str>)>);

impl WaitReasons {
    /// The reason with this index; [`WaitReason::Unknown`] if the table does not have it or its text
    /// has no name.
    pub fn get(&self, index: u8) -> WaitReason {
        self.0
            .get(usize::from(index))
            .map_or(WaitReason::Unknown(index), |(reason, _)| *reason)
    }

    /// The runtime's own text of the reason with this index.
    pub fn text(&self, index: u8) -> Option<&str> {
        self.0.get(usize::from(index)).map(|(_, text)| &**text)
    }

    /// All reasons, by index.
    pub fn iter(&self) -> impl Iterator<Item = WaitReason> {
        self.0.iter().map(|(reason, _)| *reason)
    }

    /// From the symbol `runtime.waitReasonStrings`; `None` if there is none.
    pub(super) fn from_symbols(elf: &Elf) -> Option<Result<WaitReasons, BinaryError>> {
        let [symbol] = elf.symbols(["runtime.waitReasonStrings"]);
        let symbol = symbol?;
        Some(WaitReasons::read(
            elf,
            symbol.vaddr,
            symbol.size / STRING_SIZE,
        ))
    }

    /// From the code of `waitReason.String`, which refers to nothing else in the data segment and
    /// compares the index with the table's length.
    pub(super) fn from_code(
        elf: &Elf,
        table: &Pclntab,
        module: &ModuleData,
    ) -> Result<WaitReasons, BinaryError> {
        let unrecognised = || BinaryError::Unrecognised("runtime.waitReasonStrings");
        let code = table
            .lookup("runtime.waitReason.String")
            .and_then(|function| Code::of_function(elf, &function))
            .ok_or_else(unrecognised)?;
        let mut tables: Vec<Vaddr> = code
            .instructions
            .iter()
            .filter_map(|instruction| instruction.mention)
            .filter(|(vaddr, kind)| *kind == Mention::Address && module.data.contains(*vaddr))
            .map(|(vaddr, _)| vaddr)
            .collect();
        tables.dedup();
        let count = code
            .instructions
            .iter()
            .find_map(|instruction| instruction.compared_with);
        match (tables.as_slice(), count) {
            (&[vaddr], Some(count)) => WaitReasons::read(elf, vaddr, count),
            _ => Err(unrecognised()),
        }
    }

    /// Reads `count` strings at `vaddr`.
    pub(super) fn read(elf: &Elf, vaddr: Vaddr, count: u64) -> Result<WaitReasons, BinaryError> {
        let unrecognised = || BinaryError::Unrecognised("runtime.waitReasonStrings");
        if count == 0 || count > MAX_REASONS {
            return Err(unrecognised());
        }
        let reasons: Option<Vec<_>> = (0..count)
            .map(|index| {
                let text = elf.string(Vaddr(vaddr.0.checked_add(index * STRING_SIZE)?))?;
                let reason = WaitReason::from_text(text)
                    .unwrap_or(WaitReason::Unknown(u8::try_from(index).ok()?));
                Some((reason, text.into()))
            })
            .collect();
        reasons.map(WaitReasons).ok_or_else(unrecognised)
    }
}
