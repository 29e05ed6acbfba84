//! All probes of a target as one link (`BPF_LINK_TYPE_UPROBE_MULTI`, Linux 6.6 and later).
//!
//! The kernel places the probes of such a link in one system call, and when its descriptor is closed
//! it removes them with one wait for all, where links of perf events wait one after the other. aya
//! 0.14 has neither the attach type nor the link, so the program is loaded a second way here: aya-obj
//! reads the object again, and its references to maps become those that aya made.

use std::collections::HashSet;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use aya::Ebpf;
use aya::maps::Map;
use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_insn, bpf_prog_type};
use aya_obj::{EbpfSectionKind, Object};
use tracer_common::PROGRAM;

use super::{KernelError, Probe, with_sources};

const ATTACH_TYPE: u32 = bpf_attach_type::BPF_TRACE_UPROBE_MULTI as u32;

/// No process, and no valid pid.
const NO_PID: u32 = u32::MAX;

/// The program, loaded for such links.
pub(super) struct Multi {
    program: OwnedFd,
}

impl Multi {
    /// Loads the program, with the maps that `ebpf` has made of the same object. `None` on a kernel
    /// that has no such links, or whose pid filter lets in one thread instead of its whole process
    /// (6.6 to 6.9 without the fix of May 2024).
    ///
    /// # Errors
    /// The object is not as expected.
    pub(super) fn load(object: &[u8], ebpf: &Ebpf) -> Result<Option<Multi>, KernelError> {
        let instructions = link(object, ebpf)?;
        let program = match load_program(&instructions) {
            Ok(program) => program,
            // The other way of loading says what is wrong, should it fail as well.
            Err(error) => {
                tracing::debug!("the kernel does not load a program for uprobe-multi: {error}");
                return Ok(None);
            }
        };
        let multi = Multi { program };
        Ok(multi.is_usable().then_some(multi))
    }

    /// Asks as libbpf does (`probe_uprobe_multi_link`): a directory has no probes, which the kernel
    /// finds out before anything else (EBADF), but for an impossible pid, if its filter is right
    /// (EINVAL).
    fn is_usable(&self) -> bool {
        let ask = |pid| {
            let answer = self.link(c"/", &[0], &[0], pid);
            answer.err().and_then(|error| error.raw_os_error())
        };
        let answers = (ask(0), ask(NO_PID));
        tracing::debug!("uprobe-multi: the kernel answers {answers:?}");
        answers == (Some(libc::EBADF), Some(libc::EINVAL))
    }

    /// Places all probes for one process. Closing the link removes them.
    pub(super) fn attach(
        &self,
        file: &Path,
        pid: u32,
        slot: u32,
        probes: &[Probe],
    ) -> io::Result<OwnedFd> {
        let file = CString::new(file.as_os_str().as_bytes())?;
        let offsets: Vec<u64> = probes.iter().map(|probe| probe.offset.0).collect();
        let cookies: Vec<u64> = probes.iter().map(|probe| probe.wire(slot)).collect();
        self.link(&file, &offsets, &cookies, pid)
    }

    fn link(
        &self,
        file: &std::ffi::CStr,
        offsets: &[u64],
        cookies: &[u64],
        pid: u32,
    ) -> io::Result<OwnedFd> {
        let count = u32::try_from(offsets.len().min(cookies.len())).map_err(io::Error::other)?;
        let mut attr = empty();
        attr.link_create.__bindgen_anon_1.prog_fd = self.program.as_raw_fd().cast_unsigned();
        attr.link_create.attach_type = ATTACH_TYPE;
        // SAFETY: all fields of the union are integers, for which any bytes are valid.
        let multi = unsafe { &mut attr.link_create.__bindgen_anon_3.uprobe_multi };
        multi.path = file.as_ptr() as u64;
        multi.offsets = offsets.as_ptr() as u64;
        multi.cookies = cookies.as_ptr() as u64;
        multi.cnt = count;
        multi.pid = pid;
        // SAFETY: the path ends with a zero, both arrays have `count` elements, and all three live
        // until the call returns.
        unsafe { call(bpf_cmd::BPF_LINK_CREATE, &mut attr) }
    }
}

/// The program's instructions, with everything that they refer to.
fn link(object: &[u8], ebpf: &Ebpf) -> Result<Vec<bpf_insn>, KernelError> {
    let failed = |error: &dyn std::error::Error| KernelError::Load(with_sources(error));
    let mut object = Object::parse(object).map_err(|error| failed(&error))?;
    let mut maps = Vec::new();
    for (name, map) in std::mem::take(&mut object.maps) {
        // aya leaves out sections that a kernel has no maps for, but no kernel that gets here.
        let made = ebpf.map(&name).and_then(descriptor);
        match made {
            Some(descriptor) => maps.push((name, descriptor, map)),
            None if matches!(
                map.section_kind(),
                EbpfSectionKind::Bss | EbpfSectionKind::Data
            ) => {}
            None => return Err(KernelError::Load(format!("the map `{name}` was not made"))),
        }
    }
    let sections: HashSet<usize> = object
        .functions
        .keys()
        .map(|(section, _)| *section)
        .collect();
    object
        .relocate_maps(
            maps.iter()
                .map(|(name, descriptor, map)| (name.as_str(), *descriptor, map)),
            &sections,
        )
        .and_then(|()| object.relocate_calls(&sections))
        .map_err(|error| failed(&error))?;
    let program = object
        .programs
        .get(PROGRAM)
        .and_then(|program| object.functions.get(&program.function_key()))
        .ok_or_else(|| KernelError::Load(format!("the object has no program `{PROGRAM}`")))?;
    Ok(program.instructions.clone())
}

/// The descriptor of a map of a kind that the object has.
fn descriptor(map: &Map) -> Option<i32> {
    match map {
        Map::Array(map) | Map::PerCpuArray(map) | Map::RingBuf(map) => {
            Some(map.fd().as_fd().as_raw_fd())
        }
        _ => None,
    }
}

fn load_program(instructions: &[bpf_insn]) -> io::Result<OwnedFd> {
    let mut attr = empty();
    // SAFETY: all fields of the union are integers, for which any bytes are valid.
    let load = unsafe { &mut attr.__bindgen_anon_3 };
    load.prog_type = bpf_prog_type::BPF_PROG_TYPE_KPROBE as u32;
    load.expected_attach_type = ATTACH_TYPE;
    load.insn_cnt = u32::try_from(instructions.len()).map_err(io::Error::other)?;
    load.insns = instructions.as_ptr() as u64;
    load.license = c"Dual MIT/GPL".as_ptr() as u64;
    for (to, from) in load.prog_name.iter_mut().zip(PROGRAM.bytes()) {
        *to = from.cast_signed() as _;
    }
    // SAFETY: `insns` has `insn_cnt` elements, the license ends with a zero, and both live until the
    // call returns.
    unsafe { call(bpf_cmd::BPF_PROG_LOAD, &mut attr) }
}

fn empty() -> bpf_attr {
    // SAFETY: a union of structs of integers, for which zeros are valid.
    unsafe { std::mem::zeroed() }
}

/// The system call `bpf`, for commands that return a descriptor.
///
/// # Safety
/// Every address in `attr` must be valid for the command.
unsafe fn call(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    // SAFETY: `attr` is a valid structure of the size given; the rest is the caller's promise.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_long,
            std::ptr::from_mut(attr),
            size_of::<bpf_attr>(),
        )
    };
    match i32::try_from(result) {
        // SAFETY: the command made this descriptor for us alone.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}
