//! Where a program is loaded: the load bias, and what its own module data says.

use std::ops::Range;

use procfs::process::{MMPermissions, MMapPath, Process};
use tracer_model::ids::Addr;

use super::bytes::u64_at;
use super::memory::{MemoryError, TargetMemory};
use super::{ProcessError, check};
use crate::binary::GoBinary;

/// Modules in a process at most: the program and its plugins.
const MAX_MODULES: usize = 1024;

/// ELF's flag of an executable segment (PF_X).
const EXECUTABLE: u32 = 1;

/// Page size of the offsets in `/proc/PID/maps`. Larger pages are multiples of it.
const PAGE: u64 = 4096;

/// What the linker says about one module (`runtime.moduledata`), at its addresses in the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Address of the moduledata itself.
    pub moduledata: Addr,
    /// Go code.
    pub text: Range<Addr>,
    /// Initialised data without pointers.
    pub noptrdata: Range<Addr>,
    /// Initialised data.
    pub data: Range<Addr>,
    /// Zeroed data.
    pub bss: Range<Addr>,
    /// Zeroed data without pointers.
    pub noptrbss: Range<Addr>,
    /// Type descriptors.
    pub types: Range<Addr>,
    /// Begin of function data.
    pub gofunc: Addr,
}

/// Finds the load bias by the mapping of the program's code.
pub(super) fn bias(pid: u32, binary: &GoBinary) -> Result<u64, ProcessError> {
    let text = binary
        .segments()
        .iter()
        .find(|segment| segment.flags & EXECUTABLE != 0)
        .ok_or_else(|| ProcessError::Load("the file has no code".to_owned()))?;
    let maps_error = |error: procfs::ProcError| match error {
        procfs::ProcError::NotFound(_) => MemoryError::Gone,
        error => MemoryError::Denied(format!(
            "/proc/{pid}/maps: {error}; it needs CAP_SYS_PTRACE (or root)"
        )),
    };
    let process = Process::new(i32::try_from(pid).unwrap_or(i32::MAX)).map_err(maps_error)?;
    let exe = process.exe().map_err(maps_error)?;
    let maps = process.maps().map_err(maps_error)?;
    let first = text.offset.0 / PAGE * PAGE;
    maps.into_iter()
        .filter(|map| map.perms.contains(MMPermissions::EXECUTE))
        .filter(|map| matches!(&map.pathname, MMapPath::Path(path) if *path == exe))
        .find_map(|map| {
            // The mapping may begin later than the segment, if its first pages were remapped.
            let skipped = map.offset.checked_sub(first)?;
            let mapped = (text.vaddr.0 / PAGE * PAGE).checked_add(skipped)?;
            (skipped < text.memsz).then(|| map.address.0.wrapping_sub(mapped))
        })
        .ok_or_else(|| {
            ProcessError::Load(format!(
                "process {pid} does not map the code of {} as the file says",
                exe.display()
            ))
        })
}

/// Reads the chain of module data.
pub(super) fn modules<M: TargetMemory>(
    memory: &M,
    binary: &GoBinary,
    bias: u64,
) -> Result<Vec<Module>, ProcessError> {
    let layout = &binary.layout().moduledata;
    check::sizes(binary.layout())?;
    let mut modules = Vec::new();
    let mut bytes = vec![0; layout.size as usize];
    let mut next = binary.variables().firstmoduledata.0.wrapping_add(bias);
    while next != 0 {
        if modules.len() == MAX_MODULES {
            return Err(ProcessError::check(
                "moduledata.next",
                "the chain is endless",
            ));
        }
        match memory.read(Addr(next), &mut bytes) {
            Err(error @ MemoryError::Unreadable { .. }) => {
                return Err(ProcessError::check("moduledata.next", error.to_string()));
            }
            result => result?,
        }
        let range = |from, to| Addr(u64_at(&bytes, from))..Addr(u64_at(&bytes, to));
        let module = Module {
            moduledata: Addr(next),
            text: range(layout.text, layout.etext),
            noptrdata: range(layout.noptrdata, layout.enoptrdata),
            data: range(layout.data, layout.edata),
            bss: range(layout.bss, layout.ebss),
            noptrbss: range(layout.noptrbss, layout.enoptrbss),
            types: range(layout.types, layout.etypes),
            gofunc: Addr(u64_at(&bytes, layout.gofunc)),
        };
        for (field, range) in [
            ("moduledata.text", &module.text),
            ("moduledata.noptrdata", &module.noptrdata),
            ("moduledata.data", &module.data),
            ("moduledata.bss", &module.bss),
            ("moduledata.noptrbss", &module.noptrbss),
            ("moduledata.types", &module.types),
        ] {
            if range.start > range.end || range.start.0 == 0 {
                return Err(ProcessError::check(
                    field,
                    format!("it goes from {} to {}", range.start, range.end),
                ));
            }
        }
        modules.push(module);
        next = u64_at(&bytes, layout.next);
    }
    // The file's own table tells where the first function is; so must the process.
    let text = modules.first().map_or(0, |module| module.text.start.0);
    match binary.pclntab().functions().next() {
        Some(first) if first.entry.0.wrapping_add(bias) == text => Ok(modules),
        _ => Err(ProcessError::check(
            "moduledata.text",
            format!("{text:#x} is not where this binary's code is"),
        )),
    }
}
