//! The tree of ways: each hop after each other one, with the times that messages took.

use std::cmp::Reverse;

use rustc_hash::FxHashMap;

use crate::ids::Pc;

/// Hops of a way; one that goes on begins anew.
const DEPTH: u8 = 16;
/// Hops that are told apart, each after each.
const NODES: usize = 8192;

/// A step of a way: a channel, and where it was sent to and received from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hop {
    /// Where the channel was made, if that was seen.
    pub made: Option<Pc>,
    /// Where it was sent, if known.
    pub sent: Option<Pc>,
    /// Where it was received, if known.
    pub received: Option<Pc>,
}

/// How long messages took over one hop. Nanoseconds are sums over all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HopTimes {
    /// Messages.
    pub count: u64,
    /// From the receive before until the send began: what the goroutine did meanwhile.
    pub work_nanos: u64,
    /// The sender waited until a receiver came, or there was room in the buffer.
    pub blocked_nanos: u64,
    /// In the buffer.
    pub queued_nanos: u64,
    /// From the hand-off to a waiting receiver until that ran.
    pub scheduling_nanos: u64,
    /// The longest time from a send's begin to its receive.
    pub longest_nanos: u64,
}

impl HopTimes {
    /// Nanoseconds from the sends' begin until the receivers had the messages and ran.
    pub const fn transit_nanos(&self) -> u64 {
        self.blocked_nanos + self.queued_nanos + self.scheduling_nanos
    }

    fn add(&mut self, other: &HopTimes) {
        self.count += other.count;
        self.work_nanos += other.work_nanos;
        self.blocked_nanos += other.blocked_nanos;
        self.queued_nanos += other.queued_nanos;
        self.scheduling_nanos += other.scheduling_nanos;
        self.longest_nanos = self.longest_nanos.max(other.longest_nanos);
    }
}

/// A way that messages took, from its first sender on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Messages that ended here: their receiver sent nothing on.
    pub ended: u64,
    /// The hops in order. Their times are of all messages that came along, wherever these went on to.
    pub hops: Vec<(Hop, HopTimes)>,
}

impl Path {
    /// Nanoseconds from the first send to the end, on average: of each hop the mean.
    pub fn mean_nanos(&self) -> u64 {
        let mean =
            |times: &HopTimes| (times.work_nanos + times.transit_nanos()) / times.count.max(1);
        self.hops.iter().map(|(_, times)| mean(times)).sum()
    }
}

/// Index of a node in the tree of ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NodeId(u16);

/// A hop after other hops.
#[derive(Debug)]
pub(super) struct Node {
    /// The hop before.
    pub(super) parent: Option<NodeId>,
    depth: u8,
    hop: Hop,
    pub(super) times: HopTimes,
    /// Messages that went no further.
    pub(super) ended: u64,
}

/// All ways.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    index: FxHashMap<(Option<NodeId>, Hop), NodeId>,
}

impl Tree {
    /// See [`super::Flows::hops`].
    pub(super) fn hops(&self, k: usize) -> Vec<(Hop, HopTimes)> {
        let mut sums: FxHashMap<Hop, HopTimes> = FxHashMap::default();
        for node in &self.nodes {
            sums.entry(node.hop).or_default().add(&node.times);
        }
        let mut all: Vec<(Hop, HopTimes)> = sums.into_iter().collect();
        all.sort_unstable_by_key(|&(hop, times)| (Reverse(times.transit_nanos()), hop));
        all.truncate(k);
        all
    }

    /// See [`super::Flows::paths`].
    pub(super) fn paths(&self, k: usize) -> Vec<Path> {
        let mut all: Vec<(u128, usize, Path)> = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.ended > 0 && node.parent.is_some())
            .map(|(index, node)| {
                let mut hops = vec![(node.hop, node.times)];
                hops.extend(
                    self.ancestors(node.parent)
                        .map(|node| (node.hop, node.times)),
                );
                hops.reverse();
                let path = Path {
                    ended: node.ended,
                    hops,
                };
                let all = u128::from(path.mean_nanos()) * u128::from(path.ended);
                (all, index, path)
            })
            .collect();
        all.sort_unstable_by_key(|&(time, index, _)| (Reverse(time), index));
        all.truncate(k);
        all.into_iter().map(|(_, _, path)| path).collect()
    }

    fn ancestors(&self, from: Option<NodeId>) -> impl Iterator<Item = &Node> {
        let node = |id: NodeId| &self.nodes[usize::from(id.0)];
        std::iter::successors(from.map(node), move |last| last.parent.map(node))
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[usize::from(id.0)]
    }

    /// Whether this is the node of a hop, whatever was before.
    pub(super) fn ends_with(&self, id: NodeId, hop: Hop) -> bool {
        self.nodes[usize::from(id.0)].hop == hop
    }

    /// Whether this is the node of a hop after another one.
    pub(super) fn is(&self, id: NodeId, parent: Option<NodeId>, hop: Hop) -> bool {
        let node = &self.nodes[usize::from(id.0)];
        node.parent == parent && node.hop == hop
    }

    /// The node of a hop after another one; the first of a way if it would go in a circle or too far.
    /// `None` if there are too many.
    pub(super) fn node(&mut self, parent: Option<NodeId>, hop: Hop) -> Option<NodeId> {
        if let Some(&known) = self.index.get(&(parent, hop)) {
            return Some(known);
        }
        let depth = self
            .ancestors(parent)
            .next()
            .map_or(0, |node| node.depth + 1);
        if depth >= DEPTH || self.ancestors(parent).any(|node| node.hop == hop) {
            return self.node(None, hop);
        }
        if self.nodes.len() >= NODES {
            return None;
        }
        let id = NodeId(u16::try_from(self.nodes.len()).ok()?);
        self.nodes.push(Node {
            parent,
            depth,
            hop,
            times: HopTimes::default(),
            ended: 0,
        });
        self.index.insert((parent, hop), id);
        Some(id)
    }
}
