//! Reading goroutines: header, what it leads to, header again, in groups.

use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tracer_model::ids::{Addr, GAddr, Ktime, Pc};
use tracer_model::snapshot::{StackId, State};
use tracer_model::wait::WaitKind;

use super::header::Header;
use super::labels::{self, Form, Labels};
use super::memory::{Bulk, TargetMemory};
use super::stack::{PcCache, Stacks, Start, Walker};
use super::sudog::Sudog;
use super::waits::direction;
use super::{GoProcess, ProcessError, ReadOptions};
use crate::binary::GoBinary;
use crate::layout::RuntimeLayout;

/// Goroutines read together, by attempt. Large groups take few system calls; small ones leave little
/// time to change in. One entry for each attempt.
const GROUPS: [usize; 4] = [1024, 64, 8, 1];

/// Bytes of a stack that are read in bulk. A parked goroutine seldom has more of it in use.
const STACK_WINDOW: u64 = 8192;

/// How often the list of goroutines is read until it is not replaced meanwhile.
const LIST_ATTEMPTS: usize = 16;

/// No list of goroutines that is longer is believed.
const MAX_GOROUTINES: u64 = 1 << 24;

/// A select has no more cases than this (`runtime.selectgo` counts them in 16 bits).
const MAX_CASES: usize = 1 << 16;

/// A goroutine that is not dead.
#[derive(Debug)]
pub(super) struct GoroutineRead {
    /// Position in `allgs`.
    pub(super) index: u32,
    pub(super) gaddr: GAddr,
    pub(super) at: Ktime,
    pub(super) header: Header,
    /// Its sudogs, in [`Goroutines::sudogs`].
    pub(super) sudogs: Range<usize>,
    pub(super) stack: Option<StackId>,
    pub(super) labels: Option<Arc<Labels>>,
    /// It changed under every read.
    pub(super) moving: bool,
}

/// What reading goroutines found.
#[derive(Debug, Default)]
pub(super) struct Goroutines {
    pub(super) sudogs: Vec<Sudog>,
    pub(super) stacks: Stacks,
    /// Sets of labels by address.
    labels: FxHashMap<u64, Arc<Labels>>,
    pub(super) reread: u64,
    pub(super) errors: Vec<String>,
}

/// A goroutine to read: its position in `allgs` and its g.
pub(super) type Member = (u32, u64);

/// The addresses of all g's, dead ones included, in the runtime's order.
pub(super) fn addresses<M: TargetMemory>(process: &GoProcess<M>) -> Result<Vec<u64>, ProcessError> {
    let variables = process.binary().variables();
    let memory = process.memory();
    let [allglen, allgptr] =
        [variables.allglen, variables.allgptr].map(|variable| process.address(variable));
    let mut bytes = Vec::new();
    // As the runtime does it without a lock (runtime.atomicAllG): the length first, then the array,
    // which only ever grows. An array that was replaced may have been freed and reused.
    for _ in 0..LIST_ATTEMPTS {
        let len = memory.read_u64(allglen)?;
        let array = memory.read_u64(allgptr)?;
        if len > MAX_GOROUTINES {
            return Err(ProcessError::check("runtime.allglen", len.to_string()));
        }
        bytes.resize(len as usize * 8, 0);
        memory.read(Addr(array), &mut bytes)?;
        if memory.read_u64(allgptr)? == array {
            return Ok(bytes
                .as_chunks()
                .0
                .iter()
                .map(|word| u64::from_le_bytes(*word))
                .collect());
        }
    }
    Err(ProcessError::check(
        "runtime.allgptr",
        "it changes with every read",
    ))
}

/// Reads goroutines of one process.
pub(super) struct Reader<'a, M> {
    memory: &'a M,
    binary: &'a GoBinary,
    bias: u64,
    layout: &'a RuntimeLayout,
    pcs: &'a mut PcCache,
    options: &'a ReadOptions,
    now: &'a dyn Fn() -> Ktime,
    headers: Bulk,
    more: Bulk,
    pub(super) found: Goroutines,
}

/// What was found out about one member of a group before its header is read again.
struct Candidate {
    member: Member,
    header: Header,
    sudogs: Range<usize>,
    /// Part of the group's program counters.
    stack: Range<usize>,
    /// What was read cannot be this goroutine's.
    torn: bool,
}

impl<'a, M: TargetMemory> Reader<'a, M> {
    pub(super) fn new(
        memory: &'a M,
        binary: &'a GoBinary,
        bias: u64,
        pcs: &'a mut PcCache,
        options: &'a ReadOptions,
        now: &'a dyn Fn() -> Ktime,
    ) -> Reader<'a, M> {
        Reader {
            memory,
            layout: binary.layout(),
            binary,
            bias,
            pcs,
            options,
            now,
            headers: Bulk::default(),
            more: Bulk::default(),
            found: Goroutines::default(),
        }
    }

    /// Reads these goroutines. The dead ones are left out.
    /// In the runtime's order.
    pub(super) fn read(
        &mut self,
        members: Vec<Member>,
    ) -> Result<Vec<GoroutineRead>, ProcessError> {
        let mut reads = Vec::with_capacity(members.len());
        let mut pending = members;
        // Neighbours in memory are read together.
        pending.sort_unstable_by_key(|(_, gaddr)| *gaddr);
        for (attempt, &size) in GROUPS.iter().enumerate() {
            let last = attempt + 1 == GROUPS.len();
            let mut changed = Vec::new();
            for group in pending.chunks(size) {
                self.group(group, last, &mut changed, &mut reads)?;
            }
            if attempt == 0 {
                self.found.reread += changed.len() as u64;
            }
            pending = changed;
        }
        reads.sort_unstable_by_key(|read| read.index);
        Ok(reads)
    }

    fn group(
        &mut self,
        members: &[Member],
        last: bool,
        changed: &mut Vec<Member>,
        reads: &mut Vec<GoroutineRead>,
    ) -> Result<(), ProcessError> {
        let mut candidates = Vec::with_capacity(members.len());
        self.read_headers(members)?;
        for (i, &member) in members.iter().enumerate() {
            match self.header(i) {
                Some(header) if header.state() == Some(State::Dead) => {}
                Some(header) => candidates.push(Candidate {
                    member,
                    header,
                    sudogs: 0..0,
                    stack: 0..0,
                    torn: false,
                }),
                None => self.give_up(member, last, changed),
            }
        }
        self.sudogs(&mut candidates)?;
        let mut pcs = Vec::new();
        if self.options.stacks {
            self.stacks(&mut candidates, last, &mut pcs)?;
        }
        let mut labels = FxHashMap::default();
        if self.options.labels {
            labels = self.labels(&candidates)?;
        }

        let at = (self.now)();
        let members: Vec<_> = candidates.iter().map(|c| c.member).collect();
        self.read_headers(&members)?;
        for (i, candidate) in candidates.into_iter().enumerate() {
            let (index, gaddr) = candidate.member;
            let Some(header) = self.header(i) else {
                self.give_up(candidate.member, last, changed);
                continue;
            };
            let wrong = header.implausible(gaddr);
            let moving = candidate.torn || !candidate.header.unchanged(&header);
            if header.state() == Some(State::Dead) {
                continue;
            }
            if !last && (moving || wrong.is_some()) {
                changed.push(candidate.member);
                continue;
            }
            if let Some((field, reason)) = wrong {
                self.found.errors.push(format!("{field}: {reason}"));
                continue;
            }
            reads.push(GoroutineRead {
                index,
                gaddr: GAddr(gaddr),
                at,
                header,
                // What was read of a goroutine that moved on need not be true of it.
                sudogs: match moving {
                    true => 0..0,
                    false => candidate.sudogs,
                },
                stack: match moving {
                    true => None,
                    false => self.found.stacks.id(&pcs[candidate.stack]),
                },
                labels: self.labels_of(&header, moving, &mut labels),
                moving,
            });
        }
        Ok(())
    }

    /// Reads the sets of labels that are not known yet.
    fn labels(
        &mut self,
        candidates: &[Candidate],
    ) -> Result<FxHashMap<u64, Arc<Labels>>, ProcessError> {
        let mut pointers: Vec<u64> = candidates
            .iter()
            .map(|candidate| candidate.header.labels)
            .filter(|pointer| *pointer != 0 && !self.found.labels.contains_key(pointer))
            .collect();
        pointers.sort_unstable();
        pointers.dedup();
        let form = Form::of(self.binary);
        let sets = labels::read(self.memory, &mut self.more, form, &pointers)?;
        let read = pointers.into_iter().zip(sets);
        Ok(read
            .filter_map(|(pointer, set)| Some((pointer, Arc::new(set?))))
            .collect())
    }

    /// The labels of a goroutine. A set that was just read is believed once a goroutine was found to
    /// have kept it meanwhile.
    fn labels_of(
        &mut self,
        header: &Header,
        moving: bool,
        read: &mut FxHashMap<u64, Arc<Labels>>,
    ) -> Option<Arc<Labels>> {
        if let (false, Some(labels)) = (moving, read.remove(&header.labels)) {
            self.found.labels.insert(header.labels, labels);
        }
        self.found.labels.get(&header.labels).cloned()
    }

    fn read_headers(&mut self, members: &[Member]) -> Result<(), ProcessError> {
        let size = self.layout.g.size as usize;
        let items: Vec<_> = members.iter().map(|&(_, gaddr)| (gaddr, size)).collect();
        Ok(self.headers.read(self.memory, &items)?)
    }

    fn header(&self, member: usize) -> Option<Header> {
        let bytes = self.headers.get(member)?;
        Some(Header::parse(&self.layout.g, bytes))
    }

    /// A header could not be read.
    fn give_up(&mut self, member: Member, last: bool, changed: &mut Vec<Member>) {
        match last {
            true => {
                let error = format!("the g at {:#x} is not readable", member.1);
                self.found.errors.push(error);
            }
            false => changed.push(member),
        }
    }

    /// Reads the sudogs that parked goroutines wait with.
    fn sudogs(&mut self, candidates: &mut [Candidate]) -> Result<(), ProcessError> {
        let size = self.layout.sudog.size as usize;
        let reasons = self.binary.wait_reasons();
        let reason = |candidate: &Candidate| reasons.get(candidate.header.wait_reason);
        let mut waiting = Vec::new();
        let mut items = Vec::new();
        for (i, candidate) in candidates.iter_mut().enumerate() {
            if !candidate.header.parked() {
                continue;
            }
            if candidate.header.waiting != 0 {
                waiting.push(i);
                items.push((candidate.header.waiting, size));
            } else if direction(reason(candidate)).is_some() {
                candidate.torn = true;
            }
        }
        self.more.read(self.memory, &items)?;
        let mut selects = Vec::new();
        for (item, i) in waiting.into_iter().enumerate() {
            let candidate = &mut candidates[i];
            let (addr, gaddr) = (items[item].0, candidate.member.1);
            match self.more.get(item) {
                Some(bytes) => {
                    let sudog = Sudog::parse(&self.layout.sudog, addr, bytes);
                    candidate.torn |= sudog.g != gaddr
                        || (direction(reason(candidate)).is_some() && sudog.chan == 0);
                    // Only a select waits in several queues. Elsewhere this link leads to other
                    // goroutines that wait for the same semaphore.
                    if reason(candidate).kind() == WaitKind::Select {
                        selects.push((i, vec![sudog]));
                    } else {
                        candidate.sudogs = self.found.sudogs.len()..self.found.sudogs.len() + 1;
                        self.found.sudogs.push(sudog);
                    }
                }
                None => candidate.torn = true,
            }
        }
        let mut ends = false;
        for _ in 0..MAX_CASES {
            let open: Vec<_> = selects
                .iter_mut()
                .filter_map(|(i, cases)| {
                    let next = cases.last().map_or(0, |sudog| sudog.waitlink);
                    (next != 0 && !candidates[*i].torn).then_some((*i, cases, next))
                })
                .collect();
            ends = open.is_empty();
            if ends {
                break;
            }
            items.clear();
            items.extend(open.iter().map(|(_, _, next)| (*next, size)));
            self.more.read(self.memory, &items)?;
            for (item, (i, cases, addr)) in open.into_iter().enumerate() {
                let candidate = &mut candidates[i];
                match self.more.get(item) {
                    Some(bytes) => {
                        let sudog = Sudog::parse(&self.layout.sudog, addr, bytes);
                        candidate.torn |= sudog.g != candidate.member.1 || !sudog.is_select;
                        cases.push(sudog);
                    }
                    None => candidate.torn = true,
                }
            }
        }
        for (i, cases) in selects {
            candidates[i].torn |= !ends;
            candidates[i].sudogs = self.found.sudogs.len()..self.found.sudogs.len() + cases.len();
            self.found.sudogs.extend(cases);
        }
        Ok(())
    }

    /// Reads and walks stacks.
    fn stacks(
        &mut self,
        candidates: &mut [Candidate],
        last: bool,
        pcs: &mut Vec<Pc>,
    ) -> Result<(), ProcessError> {
        let mut starts = Vec::new();
        let mut items = Vec::new();
        for (i, candidate) in candidates.iter_mut().enumerate() {
            let header = candidate.header;
            let Some((pc, sp, lr)) = header.stack_top() else {
                continue;
            };
            let hi = header.stack_hi;
            if sp < header.stack_lo || sp > hi {
                candidate.torn = true;
                continue;
            }
            starts.push((i, Start { pc, sp, lr, hi }));
            items.push((sp, (hi - sp).min(STACK_WINDOW) as usize));
        }
        self.more.read(self.memory, &items)?;
        let mut walker = Walker {
            memory: self.memory,
            binary: self.binary,
            bias: self.bias,
            pcs: self.pcs,
            max_frames: self.options.max_frames,
        };
        for (item, (i, start)) in starts.into_iter().enumerate() {
            let from = pcs.len();
            match self.more.get(item) {
                // A goroutine that ran and parked again at the same place has the same header for a
                // moment: the runtime counts `trackingSeq` after it sets the status. Half a stack
                // is what tells, so it is read again, but believed at last.
                Some(bytes) => candidates[i].torn |= !walker.walk(start, bytes, pcs) && !last,
                None => candidates[i].torn = true,
            }
            candidates[i].stack = from..pcs.len();
        }
        Ok(())
    }
}
