//! What the probes in all processes may take of the node together. Pure: it is told what each takes, and says which
//! one is to be traced less, or may be traced more again.
//!
//! A process' own budget bounds it by what it does itself, so many busy ones could still take much of a node. Where they
//! take more than the node's budget, the one that costs most goes down a level, one each time, until that is kept. What
//! went down goes up a level again, the first one first, once all took less than half of the budget for a while; each
//! time that this was too much, it waits twice as long.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::cli::Level;

/// There is room below this share of the budget,
const ROOM: f64 = 0.5;
/// and if it is there for so long at first, and so long at most, one more may go up.
const CALM: Duration = Duration::from_secs(30);
const CALM_MOST: Duration = Duration::from_secs(3600);

/// What the probes in one process take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Use {
    /// Which it is.
    pub(super) slot: u32,
    /// The level that it may have at most.
    pub(super) ceiling: Level,
    /// CPU time a second, in seconds.
    pub(super) cost: f64,
}

/// What is to change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) slot: u32,
    /// What it may have at most from now on.
    pub(super) ceiling: Level,
    /// Whether that is less than before.
    pub(super) down: bool,
    /// What all took, as a share of the node.
    pub(super) tax: f64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Share {
    /// CPU time a second that all may take.
    allowed: f64,
    /// CPU time a second that there is.
    node: f64,
    /// Slots that went down, with the level that each had, the first one first.
    lowered: VecDeque<(u32, Level)>,
    calm: Duration,
    calm_since: Option<Instant>,
    raised: Option<Instant>,
}

impl Share {
    /// `budget` is a share of the CPU time of all `cpus`.
    pub(super) fn new(budget: f64, cpus: usize) -> Share {
        let node = cpus as f64;
        Share {
            allowed: budget * node,
            node,
            lowered: VecDeque::new(),
            calm: CALM,
            calm_since: None,
            raised: None,
        }
    }

    /// Share of the node that all may take.
    pub(super) fn budget(&self) -> f64 {
        self.allowed / self.node
    }

    /// A slot is another process' from now on.
    pub(super) fn forget(&mut self, slot: u32) {
        self.lowered.retain(|(lowered, _)| *lowered != slot);
    }

    /// Says what is to change, if something is.
    pub(super) fn judge(&mut self, uses: &[Use], now: Instant) -> Option<Step> {
        let sum: f64 = uses.iter().map(|of_one| of_one.cost).sum();
        let tax = sum / self.node;
        if sum > self.allowed {
            self.calm_since = None;
            // It went up too early.
            if self.raised.take().is_some_and(|at| now - at < self.calm) {
                self.calm = (2 * self.calm).min(CALM_MOST);
            }
            let costliest = uses
                .iter()
                .filter(|of_one| below(of_one.ceiling).is_some())
                .max_by(|one, other| one.cost.total_cmp(&other.cost))?;
            let ceiling = below(costliest.ceiling)?;
            self.lowered.push_back((costliest.slot, costliest.ceiling));
            return Some(Step {
                slot: costliest.slot,
                ceiling,
                down: true,
                tax,
            });
        }
        if sum > ROOM * self.allowed || self.lowered.is_empty() {
            self.calm_since = None;
            return None;
        }
        let since = *self.calm_since.get_or_insert(now);
        if now - since < self.calm {
            return None;
        }
        self.calm_since = None;
        self.raised = Some(now);
        let (slot, _) = *self.lowered.front()?;
        // It may have gone down more than once.
        let last = self
            .lowered
            .iter()
            .rposition(|(lowered, _)| *lowered == slot)?;
        let (slot, ceiling) = self.lowered.remove(last)?;
        Some(Step {
            slot,
            ceiling,
            down: false,
            tax,
        })
    }
}

/// The level below; nothing is below `observe`.
const fn below(level: Level) -> Option<Level> {
    match level {
        Level::Syscalls => Some(Level::Full),
        Level::Auto | Level::Full => Some(Level::Park),
        Level::Park => Some(Level::Wake),
        Level::Wake => Some(Level::Observe),
        Level::Observe => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Processes whose probes cost so much at a level, and what became of their ceilings.
    struct Node {
        share: Share,
        now: Instant,
        ceilings: Vec<Level>,
    }

    impl Node {
        fn new(budget: f64, cpus: usize, processes: usize) -> Node {
            Node {
                share: Share::new(budget, cpus),
                now: Instant::now(),
                ceilings: vec![Level::Full; processes],
            }
        }

        /// Lets seconds pass; returns the slots that changed.
        fn run(&mut self, seconds: u32, cost: impl Fn(u32, Level) -> f64) -> Vec<(u32, Level)> {
            let mut changed = Vec::new();
            for _ in 0..seconds {
                self.now += Duration::from_secs(1);
                let uses: Vec<Use> = (0..)
                    .zip(&self.ceilings)
                    .map(|(slot, &ceiling)| Use {
                        slot,
                        ceiling,
                        cost: cost(slot, ceiling),
                    })
                    .collect();
                if let Some(step) = self.share.judge(&uses, self.now) {
                    self.ceilings[step.slot as usize] = step.ceiling;
                    changed.push((step.slot, step.ceiling));
                }
            }
            changed
        }
    }

    const fn at(level: Level) -> f64 {
        match level {
            Level::Observe => 0.0,
            Level::Wake => 0.001,
            Level::Park => 0.0015,
            Level::Auto | Level::Full | Level::Syscalls => 0.008,
        }
    }

    #[test]
    fn the_costliest_goes_down_until_the_node_s_budget_is_kept() {
        // 1 % of two CPUs are 20 ms a second.
        let mut node = Node::new(0.01, 2, 4);
        let costs = |slot, level| {
            if slot == 2 {
                3.0 * at(level)
            } else {
                at(level)
            }
        };
        let changed = node.run(20, costs);
        // Of 48 ms: with less of the third one there are 28.5, with less of two more 15.5.
        assert_eq!(changed[0], (2, Level::Park));
        assert_eq!(changed.len(), 3, "{changed:?}");
        assert_eq!(node.ceilings[2], Level::Park);
        let sum: f64 = (0..4)
            .map(|slot| costs(slot, node.ceilings[slot as usize]))
            .sum();
        assert!(sum <= 0.02, "{sum}");
        // Neither full nor half empty: as it is, it stays.
        assert_eq!(node.run(600, costs), []);
    }

    #[test]
    fn what_cannot_be_kept_otherwise_is_observed() {
        let mut node = Node::new(0.000_01, 1, 3);
        node.run(20, |_, level| at(level));
        assert_eq!(node.ceilings, [Level::Observe; 3]);
    }

    #[test]
    fn what_went_down_goes_up_again_when_there_is_room_and_more_rarely_each_time_it_fails() {
        let mut node = Node::new(0.01, 1, 2);
        assert_eq!(node.run(5, |_, level| at(level)), [(1, Level::Park)]);
        // It is 9.5 ms then: no room for more.
        assert_eq!(node.run(600, |_, level| at(level)), []);
        assert_eq!(node.run(40, |_, _| 0.001), [(1, Level::Full)]);
        let mut busy = Node::new(0.01, 1, 1);
        let tries = busy.run(3600, |_, level| match level {
            Level::Full => 0.02,
            _ => 0.0,
        });
        // After 30 s, 60 s, 120 s and so on, down each time at once.
        assert!((6..=14).contains(&tries.len()), "{tries:?}");
    }

    #[test]
    fn an_ended_process_is_forgotten() {
        let mut node = Node::new(0.01, 1, 2);
        node.run(5, |_, level| at(level));
        node.share.forget(1);
        assert_eq!(node.run(100, |_, _| 0.0), []);
    }
}
