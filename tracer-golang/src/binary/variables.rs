//! Where the runtime's variables are: `.symtab` says it, and in stripped binaries the code of
//! functions that use them, whose names the pclntab keeps.
//!
//! The rules below do not depend on the order of instructions: they intersect the *sets* of
//! addresses that functions mention, within the segments that the linker's moduledata names, and
//! accept a result only if it is the only one. Seen right in Go 1.19 to 1.27 on both architectures.

use crate::layout::RuntimeLayout;

use super::code::{Code, Mention};
use super::elf::Elf;
use super::moduledata::{ModuleData, Range};
use super::{BinaryError, Pclntab, Vaddr};

/// Link-time addresses of the runtime's variables that reading a target needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeVariables {
    /// `runtime.allgs`, the slice of all goroutines.
    pub allgs: Vaddr,
    /// `runtime.allglen`, its length for lock-free readers.
    pub allglen: Vaddr,
    /// `runtime.allgptr`, its first element for lock-free readers.
    pub allgptr: Vaddr,
    /// `runtime.firstmoduledata`.
    pub firstmoduledata: Vaddr,
    /// `runtime.semtable`, the table of semaphores.
    pub semtable: Option<Vaddr>,
    /// `runtime.mheap_`.
    pub mheap: Option<Vaddr>,
    /// `runtime.allm`, the list of threads.
    pub allm: Option<Vaddr>,
    /// `runtime.allp`, the slice of processors.
    pub allp: Option<Vaddr>,
    /// `runtime.sched`.
    pub sched: Option<Vaddr>,
    /// `runtime.buildVersion`, a string.
    pub buildversion: Option<Vaddr>,
}

impl RuntimeVariables {
    /// From `.symtab`; `None` if it does not have them.
    pub(super) fn from_symbols(elf: &Elf, module: &ModuleData) -> Option<RuntimeVariables> {
        let [
            allgs,
            allglen,
            allgptr,
            semtable,
            mheap,
            allm,
            allp,
            sched,
            buildversion,
        ] = elf
            .symbols([
                "runtime.allgs",
                "runtime.allglen",
                "runtime.allgptr",
                "runtime.semtable",
                "runtime.mheap_",
                "runtime.allm",
                "runtime.allp",
                "runtime.sched",
                "runtime.buildVersion",
            ])
            .map(|symbol| symbol.map(|symbol| symbol.vaddr));
        Some(RuntimeVariables {
            allgs: allgs?,
            allglen: allglen?,
            allgptr: allgptr?,
            firstmoduledata: module.vaddr,
            semtable,
            mheap,
            allm,
            allp,
            sched,
            buildversion,
        })
    }

    /// From the code. The three variables that say where goroutines are must be found, others may
    /// stay unknown.
    pub(super) fn from_code(
        elf: &Elf,
        table: &Pclntab,
        module: &ModuleData,
        layout: &RuntimeLayout,
    ) -> Result<RuntimeVariables, BinaryError> {
        let mentions = |function: &str| Mentions::of(elf, table, function).unwrap_or_default();
        let (add, each, each_race) = (
            mentions("runtime.allgadd"),
            mentions("runtime.forEachG"),
            mentions("runtime.forEachGRace"),
        );
        let (bss, noptrbss) = (module.bss, module.noptrbss);

        // allgadd appends to the slice, so its pointer and its capacity are mentioned; forEachG
        // reads its pointer and its length.
        let allgs = add
            .within(bss)
            .filter(|&vaddr| {
                add.contains(vaddr, 16) && (each.contains(vaddr, 0) || each.contains(vaddr, 8))
            })
            .only();
        // The copies for readers without a lock.
        let in_both = |range| {
            add.within(range)
                .filter(|&vaddr| each_race.contains(vaddr, 0))
                .only()
        };
        let found = |variable: Option<Vaddr>, name| variable.ok_or(BinaryError::Unrecognised(name));

        let sched = mentions("runtime.incidlelocked")
            .within(bss)
            .min()
            .and_then(|lock| minus(lock, layout.schedt.lock));
        let in_sched = |vaddr: Vaddr| {
            sched.is_some_and(|sched| {
                vaddr >= sched && vaddr.0 - sched.0 < u64::from(layout.schedt.size)
            })
        };
        let exits = mentions("runtime.mexit");
        let releases = mentions("runtime.semrelease1");
        let heap = mentions("runtime.spanOfHeap");
        Ok(RuntimeVariables {
            allgs: found(allgs, "runtime.allgs")?,
            allglen: found(in_both(noptrbss), "runtime.allglen")?,
            allgptr: found(in_both(bss), "runtime.allgptr")?,
            firstmoduledata: module.vaddr,
            semtable: mentions("runtime.semacquire1")
                .computed(bss)
                .filter(|&vaddr| releases.computed(bss).any(|other| other == vaddr))
                .only(),
            mheap: heap
                .within(bss)
                .chain(heap.within(noptrbss))
                .only()
                .and_then(|arenas| minus(arenas, layout.mheap.arenas)),
            allm: mentions("runtime.mcommoninit")
                .within(bss)
                .filter(|&vaddr| exits.contains(vaddr, 0) && !in_sched(vaddr))
                .only(),
            allp: mentions("runtime.preemptall").within(bss).min(),
            sched,
            buildversion: build_version(elf, &mentions("runtime.schedinit"), module),
        })
    }
}

/// What `runtime.buildVersion` says in the file.
pub(super) fn build_version_text(
    elf: &Elf,
    table: &Pclntab,
    module: &ModuleData,
) -> Option<super::GoVersion> {
    let schedinit = Mentions::of(elf, table, "runtime.schedinit")?;
    let variable = build_version(elf, &schedinit, module)?;
    super::GoVersion::parse(elf.string(variable)?)
}

/// The string variable that schedinit mentions and whose text is a Go version.
fn build_version(elf: &Elf, schedinit: &Mentions, module: &ModuleData) -> Option<Vaddr> {
    schedinit
        .within(module.data)
        .filter(|&vaddr| {
            elf.string(vaddr)
                .is_some_and(|text| super::GoVersion::parse(text).is_some())
        })
        .only()
}

fn minus(vaddr: Vaddr, offset: u32) -> Option<Vaddr> {
    vaddr.0.checked_sub(u64::from(offset)).map(Vaddr)
}

/// The static addresses that a function mentions, sorted.
#[derive(Default)]
struct Mentions(Vec<(Vaddr, Mention)>);

impl Mentions {
    fn of(elf: &Elf, table: &Pclntab, function: &str) -> Option<Mentions> {
        let code = Code::of_function(elf, &table.lookup(function)?)?;
        let mut mentions: Vec<_> = code
            .instructions
            .iter()
            .filter_map(|instruction| instruction.mention)
            .collect();
        mentions.sort_unstable();
        mentions.dedup();
        Some(Mentions(mentions))
    }

    /// All addresses in a range, each once.
    fn within(&self, range: Range) -> impl Iterator<Item = Vaddr> {
        let mut last = None;
        self.0
            .iter()
            .map(|(vaddr, _)| *vaddr)
            .filter(move |vaddr| range.contains(*vaddr) && last.replace(*vaddr) != Some(*vaddr))
    }

    /// The addresses in a range that are computed, rather than accessed.
    fn computed(&self, range: Range) -> impl Iterator<Item = Vaddr> {
        self.0
            .iter()
            .filter(move |(vaddr, kind)| *kind == Mention::Address && range.contains(*vaddr))
            .map(|(vaddr, _)| *vaddr)
    }

    /// Whether the address `offset` bytes behind `vaddr` is mentioned.
    fn contains(&self, vaddr: Vaddr, offset: u64) -> bool {
        vaddr.0.checked_add(offset).is_some_and(|wanted| {
            self.0
                .binary_search_by(|(mention, _)| mention.0.cmp(&wanted))
                .is_ok()
        })
    }
}

/// The one item of an iterator that has exactly one.
trait Only: Iterator + Sized {
    fn only(mut self) -> Option<Self::Item> {
        let first = self.next()?;
        self.next().is_none().then_some(first)
    }
}

impl<I: Iterator> Only for I {}
