//! The wait-for graph of goroutines that nothing alive can get at.
//!
//! An edge leads from a goroutine to each goroutine that refers to what it waits on. Many wait on
//! the same, so the graph has a node for each distinct set of objects in between, and stays linear
//! in what the mark reported.
//!
//! Not every reference is an edge. A goroutine that waits on nothing but (some of) the same objects,
//! on the same side, cannot help: whatever wakes it would have ended the wait itself. Without that,
//! every crowd of leaked workers on one channel would look like a deadlock.

use std::collections::VecDeque;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::ids::Goid;
use crate::snapshot::{Goroutine, Holder, WaitTarget};
use crate::wait::WaitObject;

/// How many goroutines the search for a shortest cycle visits in all, about: in a very large part
/// it tries few starting points.
const CYCLE_VISITS: usize = 500_000;

/// Index into [`Graph::goroutines`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Node(usize);

/// Who refers to what a group of goroutines waits on.
#[derive(Clone, Copy, Debug)]
struct Edge<'s> {
    object: WaitObject,
    to: Node,
    holder: &'s Holder,
}

/// Goroutines that wait on the same objects on the same sides.
#[derive(Debug, Default)]
struct Crowd<'s> {
    objects: Vec<WaitObject>,
    members: Vec<Node>,
    edges: Vec<Edge<'s>>,
}

/// A step on a way through the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) node: Node,
    /// What it waits on, and is held by the next one; `None` at the end of a way that ends.
    pub(super) object: Option<WaitObject>,
}

/// Where the waits of a goroutine lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It is in a deadlock, by index.
    Deadlocked(usize),
    /// Nobody could help: its own wait is the end.
    End,
    /// Through this object to another one.
    Through(WaitObject, Node),
}

#[derive(Debug)]
pub(super) struct Graph<'s> {
    /// Ascending by goid.
    goroutines: Vec<&'s Goroutine>,
    crowds: Vec<Crowd<'s>>,
    crowd_of: Vec<usize>,
    /// Goroutines that wait for one another, each part with its shortest cycle.
    deadlocks: Vec<Deadlock>,
    ways: Vec<Way>,
    /// The deadlock, by index, that each one waits for or is part of.
    causes: Vec<Option<usize>>,
}

/// A strongly connected part.
#[derive(Debug)]
pub(super) struct Deadlock {
    pub(super) members: Vec<Node>,
    pub(super) cycle: Vec<Step>,
}

impl<'s> Graph<'s> {
    /// Builds it for `stuck` goroutines, each of them once.
    pub(super) fn new(mut stuck: Vec<&'s Goroutine>, holders: &'s [Holder]) -> Graph<'s> {
        stuck.sort_unstable_by_key(|goroutine| goroutine.goid);
        let nodes: FxHashMap<Goid, Node> = stuck
            .iter()
            .enumerate()
            .map(|(index, goroutine)| (goroutine.goid, Node(index)))
            .collect();
        let mut by_target: FxHashMap<WaitTarget, Vec<(Node, &Holder)>> = FxHashMap::default();
        for holder in holders {
            if let Some(&node) = nodes.get(&holder.goid) {
                by_target
                    .entry(holder.object)
                    .or_default()
                    .push((node, holder));
            }
        }
        let (mut crowds, crowd_of) = crowds(&stuck);
        for index in 0..crowds.len() {
            crowds[index].edges = edges(index, &crowds, &crowd_of, &by_target);
        }
        let mut graph = Graph {
            ways: vec![Way::End; stuck.len()],
            causes: vec![None; stuck.len()],
            goroutines: stuck,
            crowds,
            crowd_of,
            deadlocks: Vec::new(),
        };
        graph.find_deadlocks();
        graph.find_ways();
        graph
    }

    pub(super) fn goroutine(&self, node: Node) -> &'s Goroutine {
        self.goroutines[node.0]
    }

    /// All nodes, ascending by goid.
    pub(super) fn nodes(&self) -> impl Iterator<Item = Node> + use<> {
        (0..self.goroutines.len()).map(Node)
    }

    pub(super) fn deadlocks(&self) -> &[Deadlock] {
        &self.deadlocks
    }

    /// Whether the goroutine is part of a deadlock.
    pub(super) fn is_deadlocked(&self, node: Node) -> bool {
        matches!(self.ways[node.0], Way::Deadlocked(_))
    }

    /// The deadlock, by index, that the goroutine waits for or is part of.
    pub(super) fn cause(&self, node: Node) -> Option<usize> {
        self.causes[node.0]
    }

    /// The shortest way from a goroutine to what keeps it: a member of a deadlock, or a wait that
    /// nobody else could end.
    pub(super) fn way(&self, from: Node) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut node = from;
        loop {
            match self.ways[node.0] {
                Way::Through(object, next) => {
                    steps.push(Step {
                        node,
                        object: Some(object),
                    });
                    node = next;
                }
                Way::End => {
                    let objects = &self.crowds[self.crowd_of[node.0]].objects;
                    steps.push(Step {
                        node,
                        object: objects.first().copied(),
                    });
                    return steps;
                }
                Way::Deadlocked(index) => {
                    let cycle = &self.deadlocks[index].cycle;
                    let object = cycle
                        .iter()
                        .find(|step| step.node == node)
                        .and_then(|step| step.object)
                        .or_else(|| {
                            let crowd = &self.crowds[self.crowd_of[node.0]];
                            crowd.edges.first().map(|edge| edge.object)
                        });
                    steps.push(Step { node, object });
                    return steps;
                }
            }
        }
    }

    /// How the goroutines that could end the wait of `node` on `object` refer to it.
    pub(super) fn holders(
        &self,
        node: Node,
        object: WaitObject,
    ) -> impl Iterator<Item = &'s Holder> + '_ {
        self.crowds[self.crowd_of[node.0]]
            .edges
            .iter()
            .filter(move |edge| edge.object == object)
            .map(|edge| edge.holder)
    }

    /// The goroutine with this id, if it is one of them.
    pub(super) fn node(&self, goid: Goid) -> Option<Node> {
        let found = self
            .goroutines
            .binary_search_by_key(&goid, |goroutine| goroutine.goid);
        found.ok().map(Node)
    }

    /// The shortest cycle through a goroutine that is part of a deadlock, which it begins with; of
    /// any other one nothing.
    pub(super) fn cycle(&self, node: Node) -> Vec<Step> {
        let Way::Deadlocked(index) = self.ways[node.0] else {
            return Vec::new();
        };
        let deadlock = &self.deadlocks[index];
        match deadlock.cycle.iter().position(|step| step.node == node) {
            Some(position) => {
                let mut cycle = deadlock.cycle.clone();
                cycle.rotate_left(position);
                cycle
            }
            None => {
                let inside: FxHashSet<Node> = deadlock.members.iter().copied().collect();
                self.cycle_through(node, &inside)
            }
        }
    }

    fn find_deadlocks(&mut self) {
        let count = self.goroutines.len();
        let mut graph: DiGraph<(), ()> = DiGraph::with_capacity(count + self.crowds.len(), 0);
        for _ in 0..count + self.crowds.len() {
            graph.add_node(());
        }
        for (index, crowd) in self.crowds.iter().enumerate() {
            let crowd_node = NodeIndex::new(count + index);
            for member in &crowd.members {
                graph.add_edge(NodeIndex::new(member.0), crowd_node, ());
            }
            for edge in &crowd.edges {
                graph.add_edge(crowd_node, NodeIndex::new(edge.to.0), ());
            }
        }
        // Not Tarjan's: petgraph's recurses, and chains can be as long as there are goroutines.
        for part in kosaraju_scc(&graph) {
            // A goroutine is never an edge of its own crowd, so a part of several nodes has at
            // least two goroutines.
            if part.len() < 2 {
                continue;
            }
            let mut members: Vec<Node> = part
                .iter()
                .map(|node| node.index())
                .filter(|&index| index < count)
                .map(Node)
                .collect();
            members.sort_unstable();
            let cycle = self.shortest_cycle(&members);
            self.deadlocks.push(Deadlock { members, cycle });
        }
        self.deadlocks
            .sort_unstable_by_key(|deadlock| deadlock.members[0]);
        for (index, deadlock) in self.deadlocks.iter().enumerate() {
            for member in &deadlock.members {
                self.ways[member.0] = Way::Deadlocked(index);
                self.causes[member.0] = Some(index);
            }
        }
    }

    /// The shortest cycle among `members`, a strongly connected part (a short one, if the part is
    /// very large); of several the one with the lowest goids. It begins with its lowest goid.
    fn shortest_cycle(&self, members: &[Node]) -> Vec<Step> {
        let inside: FxHashSet<Node> = members.iter().copied().collect();
        let mut best: Vec<Step> = Vec::new();
        let starts = (CYCLE_VISITS / members.len().max(1)).max(1);
        for &start in members.iter().take(starts) {
            let cycle = self.cycle_through(start, &inside);
            if best.is_empty() || cycle.len() < best.len() {
                best = cycle;
            }
            if best.len() == 2 {
                break;
            }
        }
        let lowest = (0..best.len()).min_by_key(|&index| best[index].node);
        best.rotate_left(lowest.unwrap_or(0));
        best
    }

    fn cycle_through(&self, start: Node, inside: &FxHashSet<Node>) -> Vec<Step> {
        let mut came_from: FxHashMap<Node, (Node, WaitObject)> = FxHashMap::default();
        let mut expanded: FxHashSet<usize> = FxHashSet::default();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            let crowd = self.crowd_of[node.0];
            if !expanded.insert(crowd) {
                continue;
            }
            for edge in &self.crowds[crowd].edges {
                if edge.to == start {
                    let mut steps = vec![Step {
                        node,
                        object: Some(edge.object),
                    }];
                    let mut at = node;
                    while let Some(&(from, object)) = came_from.get(&at) {
                        steps.push(Step {
                            node: from,
                            object: Some(object),
                        });
                        at = from;
                    }
                    steps.reverse();
                    return steps;
                }
                if inside.contains(&edge.to) && !came_from.contains_key(&edge.to) {
                    came_from.insert(edge.to, (node, edge.object));
                    queue.push_back(edge.to);
                }
            }
        }
        Vec::new()
    }

    /// From every deadlock and every end backwards, breadth first.
    fn find_ways(&mut self) {
        let mut into: Vec<Vec<(usize, WaitObject)>> = vec![Vec::new(); self.goroutines.len()];
        for (index, crowd) in self.crowds.iter().enumerate() {
            for edge in &crowd.edges {
                into[edge.to.0].push((index, edge.object));
            }
        }
        let mut queue: VecDeque<Node> = self
            .nodes()
            .filter(|&node| self.is_deadlocked(node))
            .collect();
        let mut led = vec![false; self.crowds.len()];
        for (index, crowd) in self.crowds.iter().enumerate() {
            if crowd.edges.is_empty() {
                led[index] = true;
                queue.extend(&crowd.members);
            }
        }
        while let Some(node) = queue.pop_front() {
            for &(crowd, object) in &into[node.0] {
                if std::mem::replace(&mut led[crowd], true) {
                    continue;
                }
                for &member in &self.crowds[crowd].members {
                    if !matches!(self.ways[member.0], Way::Deadlocked(_)) {
                        self.ways[member.0] = Way::Through(object, node);
                        self.causes[member.0] = self.causes[node.0];
                        queue.push_back(member);
                    }
                }
            }
        }
    }
}

/// Groups goroutines by the set of objects that they wait on.
fn crowds<'s>(stuck: &[&'s Goroutine]) -> (Vec<Crowd<'s>>, Vec<usize>) {
    let mut crowds: Vec<Crowd<'s>> = Vec::new();
    let mut known: FxHashMap<Vec<WaitObject>, usize> = FxHashMap::default();
    let mut crowd_of = Vec::with_capacity(stuck.len());
    for (index, goroutine) in stuck.iter().enumerate() {
        let mut objects: Vec<WaitObject> = match &goroutine.wait {
            Some(wait) => wait.objects.to_vec(),
            None => Vec::new(),
        };
        objects.sort_unstable_by_key(|&object| sort_key(object));
        objects.dedup();
        let crowd = *known.entry(objects).or_insert_with_key(|objects| {
            crowds.push(Crowd {
                objects: objects.clone(),
                ..Crowd::default()
            });
            crowds.len() - 1
        });
        crowds[crowd].members.push(Node(index));
        crowd_of.push(crowd);
    }
    (crowds, crowd_of)
}

fn edges<'s>(
    crowd: usize,
    crowds: &[Crowd<'s>],
    crowd_of: &[usize],
    by_target: &FxHashMap<WaitTarget, Vec<(Node, &'s Holder)>>,
) -> Vec<Edge<'s>> {
    let objects = &crowds[crowd].objects;
    let mut peers: FxHashMap<usize, bool> = FxHashMap::default();
    let mut edges = Vec::new();
    for &object in objects {
        let mut holders: FxHashSet<Node> = FxHashSet::default();
        for &(to, holder) in by_target
            .get(&WaitTarget::from(object))
            .into_iter()
            .flatten()
        {
            let other = crowd_of[to.0];
            let peer = *peers.entry(other).or_insert_with(|| {
                let others = &crowds[other].objects;
                !others.is_empty() && others.iter().all(|other| objects.contains(other))
            });
            if !peer && holders.insert(to) {
                edges.push(Edge { object, to, holder });
            }
        }
    }
    edges
}

/// Any order will do, as long as it is one.
fn sort_key(object: WaitObject) -> (WaitTarget, u8) {
    let side = match object {
        WaitObject::Chan { direction, .. } => direction as u8,
        WaitObject::Semaphore(_) => 2,
        WaitObject::Cond(_) => 3,
        WaitObject::Netpoll(_) => 4,
    };
    (WaitTarget::from(object), side)
}
