//! Which processes of the node begin to run another program, and which end, as the kernel tells it.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use aya::maps::{MapData, PerCpuArray, RingBuf};
use aya::programs::{ProgramError, RawTracePoint};
use aya::{Ebpf, EbpfLoader};
use tracer_common::{MAP_OCCURRENCES, MAP_UNSEEN, Occurrence, PROGRAM_EXEC, PROGRAM_EXIT};

use super::{KernelError, take_map, with_sources};

#[cfg(target_arch = "x86_64")]
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../bpf/watch-x86_64.o");
#[cfg(target_arch = "aarch64")]
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../bpf/watch-aarch64.o");

/// What happened to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    /// It runs another program from now on.
    Exec(u32),
    /// It ends.
    Exit(u32),
}

/// The loaded object, its programs in place; dropping it removes them.
pub(crate) struct Watch {
    ring: RingBuf<MapData>,
    unseen: PerCpuArray<MapData, u64>,
    #[expect(dead_code, reason = "it holds the programs in place")]
    ebpf: Ebpf,
}

impl Watch {
    /// Loads the object and puts its programs in place.
    ///
    /// # Errors
    /// What the kernel refused.
    pub(crate) fn load() -> Result<Watch, KernelError> {
        let mut ebpf = EbpfLoader::new()
            .load(OBJECT)
            .map_err(|error| KernelError::Load(with_sources(&error)))?;
        let ring = take_map(&mut ebpf, MAP_OCCURRENCES)?;
        let unseen = take_map(&mut ebpf, MAP_UNSEEN)?;
        for (name, tracepoint) in [
            (PROGRAM_EXEC, "sched_process_exec"),
            (PROGRAM_EXIT, "sched_process_exit"),
        ] {
            let refused = |error: ProgramError| KernelError::Program(with_sources(&error));
            let program = ebpf
                .program_mut(name)
                .ok_or_else(|| KernelError::Program(format!("the object does not have {name}")))?;
            let program: &mut RawTracePoint = program.try_into().map_err(refused)?;
            program.load().map_err(refused)?;
            program.attach(tracepoint).map_err(refused)?;
        }
        Ok(Watch { ring, unseen, ebpf })
    }

    /// Hands on what happened since the last call, but no more than the ring has room for: more may come
    /// meanwhile.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(Happened)) {
        for _ in 0..MOST {
            let Some(record) = self.ring.next() else {
                return;
            };
            if let Some(happened) = happened(&record) {
                each(happened);
            }
        }
    }

    /// How often something happened that found no room, since load.
    ///
    /// # Errors
    /// The map cannot be read.
    pub(crate) fn unseen(&self) -> Result<u64, KernelError> {
        let values = self.unseen.get(&0, 0).map_err(|error| KernelError::Map {
            map: MAP_UNSEEN,
            cause: with_sources(&error),
        })?;
        Ok(values.iter().sum())
    }
}

/// Records in the ring at most.
const MOST: usize = 4096;

/// What a record says; nothing if it is none of ours.
fn happened(record: &[u8]) -> Option<Happened> {
    let (tgid, what) = record.split_at_checked(4)?;
    let tgid = u32::from_ne_bytes(tgid.try_into().ok()?);
    match u32::from_ne_bytes(what.try_into().ok()?) {
        Occurrence::EXEC => Some(Happened::Exec(tgid)),
        Occurrence::EXIT => Some(Happened::Exit(tgid)),
        _ => None,
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor belongs to `self.ring`, which outlives the borrow.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_or_refused() {
        let record = |tgid: u32, what: u32| [tgid.to_ne_bytes(), what.to_ne_bytes()].concat();
        for (record, expected) in [
            (record(7, Occurrence::EXEC), Some(Happened::Exec(7))),
            (record(7, Occurrence::EXIT), Some(Happened::Exit(7))),
            (record(7, 0), None),
            (Vec::new(), None),
            (vec![1; 7], None),
            (vec![1; 12], None),
        ] {
            assert_eq!(happened(&record), expected, "{record:?}");
        }
    }
}
