//! The headers of all goroutines, as a pass over the target reads them.

use tracer_model::snapshot::State;

use super::header::Header;
use super::memory::{Bulk, TargetMemory};
use super::{GoProcess, ProcessError, goroutines};

/// Headers that are read together.
const GROUP: usize = 1024;

/// A goroutine as its header was read.
#[derive(Clone, Copy)]
pub(super) struct Live {
    pub(super) gaddr: u64,
    pub(super) header: Header,
}

/// All goroutines as their headers were read, by address of their g.
pub(super) struct Lives(Vec<Kept>);

/// What a pass needs of a header. It keeps two for each goroutine, so what most do not have lies elsewhere.
pub(super) struct Kept {
    gaddr: u64,
    goid: u64,
    stack_lo: u64,
    stack_hi: u64,
    sched_pc: u64,
    sched_sp: u64,
    startpc: u64,
    waiting: u64,
    seldom: Option<Box<Seldom>>,
    status: u32,
    wait_reason: u8,
    tracking_seq: u8,
    running_cleanups: bool,
}

/// What of a header is 0 where a goroutine is just parked.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Seldom {
    sched_lr: u64,
    syscall_pc: u64,
    syscall_sp: u64,
    labels: u64,
    defers: u64,
    panics: u64,
}

impl Kept {
    fn of(Live { gaddr, header }: Live) -> Kept {
        let seldom = Seldom {
            sched_lr: header.sched_lr,
            syscall_pc: header.syscall_pc,
            syscall_sp: header.syscall_sp,
            labels: header.labels,
            defers: header.defers,
            panics: header.panics,
        };
        Kept {
            gaddr,
            goid: header.goid,
            stack_lo: header.stack_lo,
            stack_hi: header.stack_hi,
            sched_pc: header.sched_pc,
            sched_sp: header.sched_sp,
            startpc: header.startpc,
            waiting: header.waiting,
            seldom: (seldom != Seldom::default()).then(|| Box::new(seldom)),
            status: header.status,
            wait_reason: header.wait_reason,
            tracking_seq: header.tracking_seq,
            running_cleanups: header.running_cleanups,
        }
    }

    /// The goroutine; fields of its header that no pass needs are 0.
    pub(super) fn live(&self) -> Live {
        let seldom = self.seldom.as_deref().copied().unwrap_or_default();
        Live {
            gaddr: self.gaddr,
            header: Header {
                stack_lo: self.stack_lo,
                stack_hi: self.stack_hi,
                sched_g: 0,
                sched_pc: self.sched_pc,
                sched_sp: self.sched_sp,
                sched_lr: seldom.sched_lr,
                syscall_pc: seldom.syscall_pc,
                syscall_sp: seldom.syscall_sp,
                status: self.status,
                goid: self.goid,
                wait_since: 0,
                wait_reason: self.wait_reason,
                parent: 0,
                gopc: 0,
                startpc: self.startpc,
                waiting: self.waiting,
                labels: seldom.labels,
                running_cleanups: self.running_cleanups,
                defers: seldom.defers,
                panics: seldom.panics,
                timer: 0,
                tracking_seq: self.tracking_seq,
            },
        }
    }

    /// Address of its g.
    pub(super) fn gaddr(&self) -> u64 {
        self.gaddr
    }

    /// The first sudog that it waits with, 0 if there is none.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting
    }
}

impl Lives {
    /// Reads them. The g's that are not readable are told.
    pub(super) fn read<M: TargetMemory>(
        process: &GoProcess<M>,
        unreadable: impl FnMut(u64),
    ) -> Result<Lives, ProcessError> {
        let mut lives = Vec::new();
        each(process, unreadable, |live| lives.push(Kept::of(live)))?;
        Ok(Lives(lives))
    }

    /// Every one, those that are dead included.
    pub(super) fn all(&self) -> impl Iterator<Item = Live> + '_ {
        self.0.iter().map(Kept::live)
    }

    /// Those that are not dead.
    pub(super) fn living(&self) -> impl Iterator<Item = Live> + '_ {
        self.all()
            .filter(|live| live.header.state() != Some(State::Dead))
    }

    /// The g at this position in [`Lives::all`].
    pub(super) fn gaddr(&self, position: usize) -> u64 {
        self.0[position].gaddr
    }

    /// The g at an address, dead or not.
    pub(super) fn get(&self, gaddr: u64) -> Option<&Kept> {
        let at = self
            .0
            .binary_search_by_key(&gaddr, |live| live.gaddr)
            .ok()?;
        Some(&self.0[at])
    }

    /// The header of the g at an address, dead or not.
    pub(super) fn header(&self, gaddr: u64) -> Option<Header> {
        Some(self.get(gaddr)?.live().header)
    }
}

/// Reads the headers of all goroutines, one after the other by address of their g, those that are dead
/// included. The g's that are not readable are told.
pub(super) fn each<M: TargetMemory>(
    process: &GoProcess<M>,
    mut unreadable: impl FnMut(u64),
    mut visit: impl FnMut(Live),
) -> Result<(), ProcessError> {
    let layout = &process.layout().g;
    let mut addresses = goroutines::addresses(process)?;
    addresses.sort_unstable();
    let mut bulk = Bulk::default();
    for group in addresses.chunks(GROUP) {
        let items: Vec<_> = group.iter().map(|&g| (g, layout.size as usize)).collect();
        bulk.read(process.memory(), &items)?;
        for (i, &gaddr) in group.iter().enumerate() {
            match bulk.get(i) {
                Some(bytes) => visit(Live {
                    gaddr,
                    header: Header::parse(layout, bytes),
                }),
                None => unreadable(gaddr),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_header_is_what_was_read() {
        let header = Header {
            stack_lo: 1,
            stack_hi: 2,
            sched_g: 0,
            sched_pc: 3,
            sched_sp: 4,
            sched_lr: 5,
            syscall_pc: 6,
            syscall_sp: 7,
            status: 4,
            goid: 8,
            wait_since: 0,
            wait_reason: 9,
            parent: 0,
            gopc: 0,
            startpc: 10,
            waiting: 11,
            labels: 12,
            running_cleanups: true,
            defers: 13,
            panics: 14,
            timer: 0,
            tracking_seq: 15,
        };
        for sched_lr in [0, 5] {
            let header = Header { sched_lr, ..header };
            let kept = Kept::of(Live { gaddr: 16, header }).live();
            assert_eq!((kept.gaddr, kept.header), (16, header));
        }
        let parked = Header {
            sched_lr: 0,
            syscall_pc: 0,
            syscall_sp: 0,
            labels: 0,
            defers: 0,
            panics: 0,
            ..header
        };
        let kept = Kept::of(Live {
            gaddr: 16,
            header: parked,
        });
        assert!(
            kept.seldom.is_none(),
            "a parked goroutine takes no more room"
        );
        assert_eq!(kept.live().header, parked);
    }
}
