//! What never arrived: gaps in the per-CPU sequence numbers.
//!
//! A probe takes its sequence number before it reserves room in the ring, and can be preempted in
//! between. So a number may appear a little after its successors, and a gap counts as a loss only
//! when it was not filled within [`PATIENCE`]. What was lost after a CPU's last record leaves no
//! gap: [`LossTracker::finish`] finds it by the kernel's own counters.

use tracer_common::CpuCounters;
use tracer_model::ids::Ktime;

/// How long a gap may still be filled, in nanoseconds of kernel time. A preempted probe runs on
/// after one scheduling round at the latest.
const PATIENCE: u64 = 1_000_000_000;

/// Records of one CPU that have not arrived yet.
#[derive(Clone, Copy, Debug)]
struct Gap {
    first: u32,
    count: u32,
    seen: Ktime,
}

#[derive(Clone, Debug, Default)]
struct Cpu {
    next: u32,
    received: u64,
    lost: u64,
    gaps: Vec<Gap>,
}

/// A loss that is certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    /// On which CPU.
    pub(crate) cpu: u16,
    /// How many records.
    pub(crate) count: u64,
    /// Kernel time of the record that came after the gap.
    pub(crate) at: Ktime,
}

/// Follows the sequence numbers of all CPUs.
#[derive(Clone, Debug, Default)]
pub(crate) struct LossTracker {
    cpus: Vec<Cpu>,
}

impl LossTracker {
    /// Notes the arrival of a record.
    pub(crate) fn arrived(&mut self, cpu: u16, seq: u32, at: Ktime) {
        let index = usize::from(cpu);
        if index >= self.cpus.len() {
            self.cpus.resize_with(index + 1, Cpu::default);
        }
        let Some(state) = self.cpus.get_mut(index) else {
            return;
        };
        state.received += 1;
        let ahead = seq.wrapping_sub(state.next);
        if ahead == 0 {
            state.next = seq.wrapping_add(1);
        } else if ahead <= u32::MAX / 2 {
            state.gaps.push(Gap {
                first: state.next,
                count: ahead,
                seen: at,
            });
            state.next = seq.wrapping_add(1);
        } else {
            fill(&mut state.gaps, seq);
        }
    }

    /// Declares the gaps lost that were seen more than [`PATIENCE`] before `now`.
    pub(crate) fn settle(&mut self, now: Ktime) -> Vec<Loss> {
        self.take_gaps(|gap| now.since(gap.seen) > PATIENCE)
    }

    /// Declares every gap lost, and what the kernel attempted after the last record of each CPU.
    /// To be called when no probe can fire any more and the ring is drained.
    pub(crate) fn finish(&mut self, counters: &[CpuCounters], now: Ktime) -> Vec<Loss> {
        let mut losses = self.take_gaps(|_| true);
        self.cpus
            .resize_with(self.cpus.len().max(counters.len()), Cpu::default);
        for (cpu, (state, kernel)) in self.cpus.iter_mut().zip(counters).enumerate() {
            let missing = kernel.attempted.saturating_sub(state.received + state.lost);
            if missing > 0 {
                state.lost += missing;
                let cpu = u16::try_from(cpu).unwrap_or(u16::MAX);
                losses.push(Loss {
                    cpu,
                    count: missing,
                    at: now,
                });
            }
        }
        losses
    }

    /// Records that arrived, over all CPUs.
    #[cfg(test)]
    fn received(&self) -> u64 {
        self.cpus.iter().map(|cpu| cpu.received).sum()
    }

    /// Records that are certainly lost, by CPU.
    pub(crate) fn lost_by_cpu(&self) -> Vec<u64> {
        self.cpus.iter().map(|cpu| cpu.lost).collect()
    }

    fn take_gaps(&mut self, is_lost: impl Fn(&Gap) -> bool) -> Vec<Loss> {
        let mut losses = Vec::new();
        for (cpu, state) in self.cpus.iter_mut().enumerate() {
            let lost = &mut state.lost;
            state.gaps.retain(|gap| {
                if !is_lost(gap) {
                    return true;
                }
                *lost += u64::from(gap.count);
                losses.push(Loss {
                    cpu: u16::try_from(cpu).unwrap_or(u16::MAX),
                    count: u64::from(gap.count),
                    at: gap.seen,
                });
                false
            });
        }
        losses
    }
}

/// Takes `seq` out of the gap that it belongs to, splitting it where needed.
fn fill(gaps: &mut Vec<Gap>, seq: u32) {
    let Some(index) = gaps
        .iter()
        .position(|gap| seq.wrapping_sub(gap.first) < gap.count)
    else {
        return;
    };
    let gap = gaps.swap_remove(index);
    let before = seq.wrapping_sub(gap.first);
    let after = gap.count - before - 1;
    if before > 0 {
        gaps.push(Gap {
            count: before,
            ..gap
        });
    }
    if after > 0 {
        gaps.push(Gap {
            first: seq.wrapping_add(1),
            count: after,
            ..gap
        });
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::HOOK_COUNT;

    use super::*;

    fn feed(tracker: &mut LossTracker, seqs: &[u32]) {
        for seq in seqs {
            tracker.arrived(0, *seq, Ktime(1));
        }
    }

    fn counters(attempted: u64) -> CpuCounters {
        CpuCounters {
            attempted,
            lost: 0,
            hits: [0; HOOK_COUNT],
        }
    }

    #[test]
    fn gaps_are_counted_exactly() {
        // Arrivals on one CPU, what the kernel attempted, what must be lost.
        for (seqs, attempted, lost) in [
            (&[0, 1, 2][..], 3, 0),
            (&[0, 2, 1], 3, 0),
            (&[0, 3], 4, 2),
            (&[2, 0], 3, 1),
            (&[0, 5, 2, 3], 6, 2),
            (&[0, 5, 1, 4, 2, 3], 6, 0),
            (&[0, 1], 10, 8),
            (&[], 4, 4),
            (&[3], 4, 3),
        ] {
            let mut tracker = LossTracker::default();
            feed(&mut tracker, seqs);
            let losses = tracker.finish(&[counters(attempted)], Ktime(9));
            let total: u64 = losses.iter().map(|loss| loss.count).sum();
            assert_eq!(total, lost, "{seqs:?}");
            assert_eq!(tracker.lost_by_cpu(), [lost], "{seqs:?}");
            assert_eq!(tracker.received() + lost, attempted, "{seqs:?}");
        }
    }

    #[test]
    fn a_gap_is_lost_only_after_patience() {
        let mut tracker = LossTracker::default();
        tracker.arrived(1, 0, Ktime(10));
        tracker.arrived(1, 4, Ktime(20));
        assert_eq!(tracker.settle(Ktime(20 + PATIENCE)), []);
        let loss = Loss {
            cpu: 1,
            count: 3,
            at: Ktime(20),
        };
        assert_eq!(tracker.settle(Ktime(21 + PATIENCE)), [loss]);
        assert_eq!(tracker.settle(Ktime(22 + PATIENCE)), []);
    }

    #[test]
    fn sequence_numbers_wrap() {
        let mut tracker = LossTracker {
            cpus: vec![Cpu {
                next: u32::MAX - 1,
                ..Cpu::default()
            }],
        };
        feed(&mut tracker, &[u32::MAX - 1, 1, u32::MAX]);
        let losses = tracker.settle(Ktime(2 + PATIENCE));
        assert_eq!(losses.iter().map(|loss| loss.count).sum::<u64>(), 1);
    }
}
