//! Which of the unreached goroutines can get at what the others wait on, and how.
//!
//! What no root reaches is small compared to the heap. It is read once, as a graph of objects; from
//! each goroutine's stack the shortest way to each object waited on is taken. A way that begins in the
//! frames of the goroutine's own wait (those of the runtime and of sync below its own code) is taken
//! only if there is no other: it is the attempt itself.
//!
//! How much is looked at is limited; beyond that there may be holders that are not found. That makes no
//! goroutine less unreached.

use std::collections::VecDeque;
use std::ops::Range;

use rustc_hash::{FxHashMap, FxHashSet};
use tracer_model::ids::Addr;
use tracer_model::snapshot::{Holder, WaitTarget};

use super::candidates::Candidate;
use super::heap::Object;
use super::mark::Mark;
use super::memory::{Bulk, MemoryError, TargetMemory};
use super::stack_words::{StackWords, Stacks, stack};
use super::{GoProcess, ProcessError};
use crate::binary::Vaddr;

/// Objects that are looked at, all goroutines' together.
const MAX_OBJECTS: usize = 1 << 18;
/// References between them that are looked at.
const MAX_EDGES: usize = 1 << 21;
/// References that are followed, all goroutines' together.
const MAX_STEPS: usize = 1 << 27;
/// Bytes of one object that are looked at.
const MAX_OBJECT_BYTES: u64 = 1 << 20;
/// Bytes that are read together.
const BATCH_BYTES: u64 = 4 << 20;
/// Bytes of one stack that are looked at, from its top.
const MAX_STACK_BYTES: u64 = 4 << 20;
/// Stacks that are read together.
const STACKS: usize = 256;

/// A word of a goroutine that points to an object that no root reaches.
struct Slot {
    addr: u64,
    node: u32,
    /// Index of the frame.
    frame: Option<u32>,
    /// It is in the frames of the goroutine's wait.
    waits: bool,
}

/// How a node was reached.
enum From<'a> {
    Slot(&'a Slot),
    Node(u32),
}

/// A way from a goroutine's stack to what is waited on.
struct Way<'a> {
    slot: &'a Slot,
    /// The nodes between.
    before: Vec<u32>,
    target: u32,
}

/// What no root reaches, as far as the goroutines reach it.
#[derive(Default)]
struct Graph {
    nodes: FxHashMap<Object, u32>,
    objects: Vec<Object>,
    /// Of each node, where its edges are in `targets`.
    edges: Vec<Range<usize>>,
    targets: Vec<u32>,
}

/// Finds the holders of everything that the unreached goroutines wait on.
pub(super) fn find<M: TargetMemory>(
    process: &GoProcess<M>,
    stacks: &mut Stacks,
    mark: &Mark,
    unreached: &[Candidate],
) -> Result<Vec<Holder>, ProcessError> {
    let mut graph = Graph::default();
    let targets = graph.targets(unreached);
    let mut slots: Vec<Vec<Slot>> = Vec::with_capacity(unreached.len());
    for group in unreached.chunks(STACKS) {
        slots.extend(graph.slots(process, stacks, mark, group)?);
    }
    graph.read(process.memory(), mark)?;
    let leads = graph.leading_to(targets.keys().copied());
    let mut holders = Vec::new();
    let mut steps = MAX_STEPS;
    for (candidate, slots) in unreached.iter().zip(&slots) {
        for way in graph.ways(slots, &targets, &leads, &mut steps) {
            for &addr in targets.get(&way.target).into_iter().flatten() {
                holders.push(Holder {
                    object: WaitTarget(Addr(addr)),
                    goid: candidate.goid,
                    path: graph.path(mark, &way, addr),
                    frame: way.slot.frame,
                });
            }
        }
    }
    Ok(holders)
}

/// The shortest ways from words of static memory, each with its address, to what candidates wait on, by
/// the address of that.
pub(super) fn from_statics<M: TargetMemory>(
    process: &GoProcess<M>,
    mark: &Mark,
    words: &[(u64, u64)],
    candidates: &[Candidate],
) -> Result<FxHashMap<u64, Vec<Addr>>, ProcessError> {
    let mut graph = Graph::default();
    let targets = graph.targets(candidates);
    let mut slots = Vec::new();
    for &(addr, word) in words {
        if let Some(node) = graph.node_of(mark, word) {
            slots.push(Slot {
                addr,
                node,
                frame: None,
                waits: false,
            });
        }
    }
    graph.read(process.memory(), mark)?;
    let leads = graph.leading_to(targets.keys().copied());
    let mut found = FxHashMap::default();
    for way in graph.ways(&slots, &targets, &leads, &mut { MAX_STEPS }) {
        for &addr in targets.get(&way.target).into_iter().flatten() {
            found.insert(addr, graph.path(mark, &way, addr));
        }
    }
    Ok(found)
}

impl Graph {
    /// What candidates wait on, by object: several may lie in one.
    fn targets(&mut self, candidates: &[Candidate]) -> FxHashMap<u32, Vec<u64>> {
        let mut targets: FxHashMap<u32, Vec<u64>> = FxHashMap::default();
        for &(object, addr) in candidates.iter().flat_map(|candidate| &candidate.targets) {
            let addresses = targets.entry(self.node(object)).or_default();
            if !addresses.contains(&addr) {
                addresses.push(addr);
            }
        }
        targets
    }

    /// The addresses of a way: the slot, what is between, the target.
    fn path(&self, mark: &Mark, way: &Way<'_>, target: u64) -> Vec<Addr> {
        let between = way.before.iter().map(|&node| {
            let object = self.objects[node as usize];
            mark.heap().span(object.span).base(object.index)
        });
        let path = [way.slot.addr].into_iter().chain(between).chain([target]);
        path.map(Addr).collect()
    }

    fn node(&mut self, object: Object) -> u32 {
        let next = self.objects.len() as u32;
        *self.nodes.entry(object).or_insert_with(|| {
            self.objects.push(object);
            next
        })
    }

    /// The node that a word points to, if no root reaches it.
    fn node_of(&mut self, mark: &Mark, word: u64) -> Option<u32> {
        let object = mark.heap().object(word)?;
        if mark.is_reached(object) {
            return None;
        }
        match self.nodes.get(&object) {
            Some(&node) => Some(node),
            None if self.objects.len() < MAX_OBJECTS => Some(self.node(object)),
            None => None,
        }
    }

    /// The words of each goroutine that point to such objects: in its stack, then in its g.
    fn slots<M: TargetMemory>(
        &mut self,
        process: &GoProcess<M>,
        stacks: &mut Stacks,
        mark: &Mark,
        group: &[Candidate],
    ) -> Result<Vec<Vec<Slot>>, MemoryError> {
        let size = process.layout().g.size as usize;
        let items: Vec<(u64, usize)> = group
            .iter()
            .flat_map(|candidate| {
                let stack = stack(&candidate.header());
                let bytes = (stack.end - stack.start).min(MAX_STACK_BYTES);
                [(stack.start, bytes as usize), (candidate.gaddr(), size)]
            })
            .collect();
        let mut bulk = Bulk::default();
        bulk.read(process.memory(), &items)?;
        let mut found = Vec::with_capacity(group.len());
        for (i, candidate) in group.iter().enumerate() {
            let mut slots = Vec::new();
            let bytes = bulk.get(2 * i).unwrap_or(&[]);
            let start = items[2 * i].0;
            let known = stacks.live_words(process, &candidate.header(), bytes);
            let known = known.unwrap_or_else(|| StackWords {
                of_use: vec![true; bytes.len() / 8],
                extents: stacks.extents(process, &candidate.header(), bytes),
                arguments: FxHashMap::default(),
            });
            let extents = &known.extents;
            let waiting = extents
                .iter()
                .take_while(|extent| is_wait(process, extent.pc.0))
                .count();
            let words = bytes.as_chunks().0.iter().enumerate();
            for (index, word) in words {
                if !known.of_use[index] {
                    continue;
                }
                if let Some(node) = self.node_of(mark, u64::from_le_bytes(*word)) {
                    let addr = start + index as u64 * 8;
                    let frame = known.frame(addr);
                    slots.push(Slot {
                        addr,
                        node,
                        frame,
                        waits: frame.is_some_and(|frame| (frame as usize) < waiting),
                    });
                }
            }
            let words = bulk.get(2 * i + 1).unwrap_or(&[]).as_chunks().0.iter();
            for (index, word) in words.enumerate() {
                if let Some(node) = self.node_of(mark, u64::from_le_bytes(*word)) {
                    slots.push(Slot {
                        addr: candidate.gaddr() + index as u64 * 8,
                        node,
                        frame: None,
                        waits: false,
                    });
                }
            }
            found.push(slots);
        }
        Ok(found)
    }

    /// Reads what the nodes so far reach.
    fn read<M: TargetMemory>(&mut self, memory: &M, mark: &Mark) -> Result<(), MemoryError> {
        let mut bulk = Bulk::default();
        while self.edges.len() < self.objects.len() {
            let mut items = Vec::new();
            let mut total = 0;
            for &object in &self.objects[self.edges.len()..] {
                let span = mark.heap().span(object.span);
                let bytes = match span.noscan {
                    true => 0,
                    false => span.elem_size.min(MAX_OBJECT_BYTES),
                };
                items.push((span.base(object.index), bytes as usize));
                total += bytes;
                if total >= BATCH_BYTES {
                    break;
                }
            }
            bulk.read(memory, &items)?;
            for i in 0..items.len() {
                let first = self.targets.len();
                for word in bulk.get(i).unwrap_or(&[]).as_chunks().0 {
                    if self.targets.len() < MAX_EDGES
                        && let Some(node) = self.node_of(mark, u64::from_le_bytes(*word))
                    {
                        self.targets.push(node);
                    }
                }
                self.edges.push(first..self.targets.len());
            }
        }
        Ok(())
    }

    fn edges(&self, node: u32) -> &[u32] {
        &self.targets[self.edges[node as usize].clone()]
    }

    /// Of each node whether one of `targets` can be reached from it.
    fn leading_to(&self, targets: impl Iterator<Item = u32>) -> Vec<bool> {
        // The edges the other way round, by their ends.
        let mut begins = vec![0_usize; self.objects.len() + 1];
        for &to in &self.targets {
            begins[to as usize + 1] += 1;
        }
        for node in 0..self.objects.len() {
            begins[node + 1] += begins[node];
        }
        let mut free = begins.clone();
        let mut sources = vec![0_u32; self.targets.len()];
        for from in 0..self.objects.len() as u32 {
            for &to in self.edges(from) {
                sources[free[to as usize]] = from;
                free[to as usize] += 1;
            }
        }
        let mut leads = vec![false; self.objects.len()];
        let mut next: Vec<u32> = targets.collect();
        next.iter().for_each(|&node| leads[node as usize] = true);
        while let Some(node) = next.pop() {
            for &from in &sources[begins[node as usize]..begins[node as usize + 1]] {
                if !std::mem::replace(&mut leads[from as usize], true) {
                    next.push(from);
                }
            }
        }
        leads
    }

    /// The shortest way from a goroutine's slots to each target that they lead to.
    fn ways<'a>(
        &self,
        slots: &'a [Slot],
        targets: &FxHashMap<u32, Vec<u64>>,
        leads: &[bool],
        steps: &mut usize,
    ) -> Vec<Way<'a>> {
        let mut ways = Vec::new();
        let mut held = FxHashSet::default();
        for waits in [false, true] {
            // From where each node was reached first.
            let mut from: FxHashMap<u32, From<'a>> = FxHashMap::default();
            let mut next = VecDeque::new();
            for slot in slots {
                if slot.waits == waits && leads[slot.node as usize] {
                    from.entry(slot.node).or_insert_with(|| {
                        next.push_back(slot.node);
                        From::Slot(slot)
                    });
                }
            }
            while let Some(node) = next.pop_front() {
                if targets.contains_key(&node) && held.insert(node) {
                    let mut before = Vec::new();
                    let mut at = node;
                    while let Some(From::Node(node)) = from.get(&at) {
                        before.push(*node);
                        at = *node;
                    }
                    before.reverse();
                    if let Some(From::Slot(slot)) = from.get(&at) {
                        ways.push(Way {
                            slot,
                            before,
                            target: node,
                        });
                    }
                }
                for &to in self.edges(node) {
                    if leads[to as usize] && *steps > 0 {
                        *steps -= 1;
                        from.entry(to).or_insert_with(|| {
                            next.push_back(to);
                            From::Node(node)
                        });
                    }
                }
            }
        }
        ways
    }
}

/// Whether the code at `pc` belongs to waiting itself rather than to what the program wants.
fn is_wait<M: TargetMemory>(process: &GoProcess<M>, pc: u64) -> bool {
    let vaddr = Vaddr(pc.wrapping_sub(process.bias()));
    let function = process.binary().pclntab().function(vaddr);
    function.is_some_and(|function| {
        ["runtime.", "sync.", "internal/sync."]
            .iter()
            .any(|package| function.name.starts_with(package))
    })
}
