//! From the records of one target to its events in the order of time, and to what never arrived.

use tracer_common::CpuCounters;
use tracer_golang::process::WaitDecoder;
use tracer_model::event::{Event, EventKind};
use tracer_model::ids::{Goid, Ktime};
use tracer_model::order::Sorter;

use super::decode::{Decoder, Head};
use super::loss::{Loss, LossTracker};
use crate::document::run;

/// How long events are held back to put them in order, in nanoseconds: longer than a probe that is
/// preempted between taking the time and reserving its record usually waits.
pub(crate) const SLACK: u64 = 20_000_000;

/// From bytes to ordered events.
pub(crate) struct Intake {
    decoder: Decoder<WaitDecoder>,
    losses: LossTracker,
    sorter: Sorter<Event>,
    newest: Ktime,
    unknown_records: u64,
    /// Records that found no room in the ring, as the kernel side counted them at the last drain.
    refused: u64,
    /// When that number was last seen to grow: nothing that is missing is from later.
    refused_at: Option<Ktime>,
}

impl Intake {
    pub(crate) fn new(meaning: WaitDecoder) -> Intake {
        Intake {
            decoder: Decoder::new(meaning),
            losses: LossTracker::default(),
            sorter: Sorter::new(SLACK),
            newest: Ktime(0),
            unknown_records: 0,
            refused: 0,
            refused_at: None,
        }
    }

    /// Takes one record in.
    pub(crate) fn record(&mut self, record: &[u8]) {
        match Head::read(record) {
            Some(head) => self.headed(head, record),
            None => self.unknown_records += 1,
        }
    }

    /// Takes one record in, whose common part was read.
    pub(crate) fn headed(&mut self, head: Head, record: &[u8]) {
        self.newest = self.newest.max(head.at);
        self.losses.arrived(head.cpu, head.seq, head.at);
        let sorter = &mut self.sorter;
        self.decoder
            .decode(head, record, |event| sorter.push(event));
    }

    /// Takes in how many records found no room so far. If these are more than before, the event that says so comes
    /// back, to be told before anything that is held here: how many are missing and where, a gap in the sequence
    /// numbers says, but only once nothing can fill it any more.
    pub(crate) fn refused(&mut self, refused: u64, now: Ktime) -> Option<Event> {
        if refused <= self.refused {
            return None;
        }
        self.refused = refused;
        self.refused_at = Some(now);
        Some(missing(0, now))
    }

    /// Gives out what is certainly lost, as the ring was read up to this time, then what is old enough to be in order.
    pub(crate) fn take(&mut self, read_until: Ktime, mut each: impl FnMut(&Event)) {
        let losses = self.losses.settle(read_until);
        self.lost(&losses, &mut each);
        while let Some(event) = self.sorter.pop() {
            each(&event);
        }
    }

    /// Gives out everything that is held back.
    pub(crate) fn rest(&mut self, mut each: impl FnMut(&Event)) {
        while let Some(event) = self.sorter.flush() {
            each(&event);
        }
    }

    /// Gives out what is lost by the kernel side's own counters, then everything else. To be called when no probe
    /// can fire any more and the ring is drained.
    pub(crate) fn finish(
        &mut self,
        counters: Option<&[CpuCounters]>,
        mut each: impl FnMut(&Event),
    ) {
        if let Some(counters) = counters {
            let losses = self.losses.finish(counters, self.newest);
            self.lost(&losses, &mut each);
        }
        self.rest(each);
    }

    /// Tells how much is missing. A gap's own time is that of the record after it, which can be long after what is
    /// missing.
    fn lost(&self, losses: &[Loss], each: &mut impl FnMut(&Event)) {
        for loss in losses {
            let at = self.refused_at.map_or(loss.at, |known| known.min(loss.at));
            each(&missing(loss.count, at));
        }
    }

    /// The time of the newest record.
    pub(crate) const fn newest(&self) -> Ktime {
        self.newest
    }

    /// Whether nothing can precede what is held back, as the ring was found empty of anything from before this time.
    pub(crate) const fn is_over(&self, empty_at: Ktime) -> bool {
        empty_at.since(self.newest) > SLACK
    }

    /// How many events are held back.
    pub(crate) fn held(&self) -> usize {
        self.sorter.len()
    }

    /// What is missing, late or not understood so far.
    pub(crate) fn loss(&self) -> run::Loss {
        let by_cpu = self.losses.lost_by_cpu();
        run::Loss {
            // The kernel side knows at once, the gaps later.
            records: by_cpu.iter().sum::<u64>().max(self.refused),
            by_cpu,
            late: self.sorter.late(),
            faults: self.decoder.faults(),
            unknown: self.unknown_records,
        }
    }
}

/// The event that says that `count` records from before `at` never arrived.
const fn missing(count: u64, at: Ktime) -> Event {
    Event {
        at,
        actor: Goid(0),
        kind: EventKind::Lost { count },
    }
}
