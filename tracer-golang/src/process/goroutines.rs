//! Reading goroutines: header, what it leads to, header again, in groups.

use std::ops::Range;

use rustc_hash::FxHashMap;
use tracer_model::ids::{Addr, ChanAddr, GAddr, Goid, Ktime, Pc};
use tracer_model::snapshot::{Goroutine, Labels, State};
use tracer_model::wait::{Objects, Wait, WaitKind, WaitObject, WaitReason};

use super::header::Header;
use super::labels::{self, Form};
use super::memory::{Bulk, TargetMemory};
use super::role::Role;
use super::stack::{PcCache, Stacks, Start, Walker};
use super::sudog::Sudog;
use super::waits::{direction, is_semaphore};
use super::{GoProcess, ProcessError, ReadOptions};
use crate::binary::GoBinary;
use crate::layout::RuntimeLayout;

/// Goroutines read together, by attempt. Large groups take few system calls; small ones leave little
/// time to change in, and what was read of one is still in the processor's cache when its headers are
/// read again: 256 took less time than 1024. One entry for each attempt.
const GROUPS: [usize; 4] = [256, 64, 8, 1];

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
    pub(super) goroutine: Goroutine,
}

/// A goroutine of which its own structures do not say what it waits on.
#[derive(Debug)]
pub(super) struct Open {
    /// Position in `allgs`.
    pub(super) index: u32,
    pub(super) gaddr: u64,
    pub(super) header: Header,
    pub(super) kind: WaitKind,
    /// A select's cases; the queues of the channels tell their sides.
    pub(super) cases: Box<[Sudog]>,
    /// It was found to have moved on.
    pub(super) moving: bool,
}

/// A channel and a sudog that a goroutine waits on it with.
pub(super) type ChanWait = (u64, u64);

/// Goroutines that were read together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// In the order in which they were read.
    pub(super) reads: Vec<GoroutineRead>,
    pub(super) open: Vec<Open>,
    pub(super) waits: Vec<ChanWait>,
}

/// What reading goroutines found.
#[derive(Debug, Default)]
pub(super) struct Goroutines {
    pub(super) stacks: Stacks,
    /// Sets of labels by address.
    labels: FxHashMap<u64, Labels>,
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
    /// By start function.
    roles: FxHashMap<u64, Role>,
    scratch: Scratch,
    pub(super) found: Goroutines,
}

/// What one group needs for a while; kept, so that no group allocates anew.
#[derive(Default)]
struct Scratch {
    candidates: Vec<Candidate>,
    sudogs: Vec<Sudog>,
    pcs: Vec<Pc>,
    items: Vec<(u64, usize)>,
    starts: Vec<(usize, Start)>,
}

/// What was found out about one member of a group before its header is read again.
struct Candidate {
    member: Member,
    header: Header,
    /// Part of the group's sudogs.
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
            roles: FxHashMap::default(),
            scratch: Scratch::default(),
            found: Goroutines::default(),
        }
    }

    /// Reads these goroutines. The dead ones are left out.
    pub(super) fn read(&mut self, members: Vec<Member>) -> Result<Batch, ProcessError> {
        let mut batch = Batch::default();
        batch.reads.reserve_exact(members.len());
        let mut pending = members;
        // Those that were created together are neighbours in memory as well, so they are read in the
        // runtime's order, which needs no sorting after.
        for (attempt, &size) in GROUPS.iter().enumerate() {
            let last = attempt + 1 == GROUPS.len();
            let mut changed = Vec::new();
            for group in pending.chunks(size) {
                self.group(group, last, &mut changed, &mut batch)?;
            }
            if attempt == 0 {
                self.found.reread += changed.len() as u64;
            }
            pending = changed;
        }
        Ok(batch)
    }

    fn group(
        &mut self,
        members: &[Member],
        last: bool,
        changed: &mut Vec<Member>,
        batch: &mut Batch,
    ) -> Result<(), ProcessError> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let Scratch {
            candidates,
            sudogs,
            pcs,
            items,
            ..
        } = &mut scratch;
        candidates.clear();
        sudogs.clear();
        pcs.clear();
        self.read_headers(members.iter().copied(), items)?;
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
        self.sudogs(&mut scratch)?;
        if self.options.stacks {
            self.stacks(&mut scratch, last)?;
        }
        let mut labels = FxHashMap::default();
        if self.options.labels {
            labels = self.labels(&scratch.candidates)?;
        }

        let at = (self.now)();
        let Scratch {
            candidates,
            sudogs,
            pcs,
            items,
            ..
        } = &mut scratch;
        self.read_headers(candidates.iter().map(|candidate| candidate.member), items)?;
        for (i, candidate) in candidates.iter().enumerate() {
            let (_, gaddr) = candidate.member;
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
            // What was read of a goroutine that moved on need not be true of it.
            let (sudogs, stack) = match moving {
                true => (&[][..], None),
                false => (
                    &sudogs[candidate.sudogs.clone()],
                    self.found.stacks.id(&pcs[candidate.stack.clone()]),
                ),
            };
            let labels = self.labels_of(&header, moving, &mut labels);
            let waits = sudogs.iter().filter(|sudog| sudog.chan != 0);
            batch
                .waits
                .extend(waits.map(|sudog| (sudog.chan, sudog.addr)));
            let mut goroutine = self.goroutine(gaddr, &header, sudogs);
            goroutine.at = at;
            goroutine.stack = stack;
            goroutine.labels = labels.unwrap_or_default();
            goroutine.moving = moving;
            let index = candidate.member.0;
            if let Some(wait) = goroutine.wait.as_ref().filter(|_| !moving) {
                let kind = wait.reason.kind();
                if kind == WaitKind::Select || sudogs.is_empty() && is_hidden(kind) {
                    batch.open.push(Open {
                        index,
                        gaddr,
                        header,
                        kind,
                        cases: sudogs.into(),
                        moving: false,
                    });
                }
            }
            batch.reads.push(GoroutineRead { index, goroutine });
        }
        self.scratch = scratch;
        Ok(())
    }

    /// What a header, and what was read of its sudogs, say.
    fn goroutine(&mut self, gaddr: u64, header: &Header, sudogs: &[Sudog]) -> Goroutine {
        let reason = self.binary.wait_reasons().get(header.wait_reason);
        let role = *self
            .roles
            .entry(header.startpc)
            .or_insert_with(|| Role::of(self.binary, self.bias, header.startpc));
        Goroutine {
            at: Ktime(0),
            goid: Goid(header.goid),
            gaddr: GAddr(gaddr),
            // A status that does not exist was refused.
            state: header.state().unwrap_or(State::Idle),
            sleeps_until: None.into(),
            system: role.is_system(header, reason),
            wait: header.parked().then(|| Wait {
                reason,
                objects: own_objects(reason, sudogs),
                since: (header.wait_since != 0)
                    .then_some(Ktime(header.wait_since))
                    .into(),
            }),
            parent: (header.parent != 0).then_some(Goid(header.parent)).into(),
            // No `go` statement made the main goroutine.
            created_at: Pc::of_return(header.gopc)
                .filter(|_| header.goid != 1)
                .into(),
            start: (header.startpc != 0).then_some(Pc(header.startpc)).into(),
            stack: None,
            stops: Some(header.tracking_seq),
            stack_bytes: header
                .stack_top()
                .and_then(|(_, sp, _)| header.stack_hi.checked_sub(sp))
                .into(),
            labels: Vec::new().into(),
            moving: false,
        }
    }

    /// Reads the sets of labels that are not known yet.
    fn labels(&mut self, candidates: &[Candidate]) -> Result<FxHashMap<u64, Labels>, ProcessError> {
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
            .filter_map(|(pointer, set)| Some((pointer, Labels::from(set?))))
            .collect())
    }

    /// The labels of a goroutine. A set that was just read is believed once a goroutine was found to
    /// have kept it meanwhile.
    fn labels_of(
        &mut self,
        header: &Header,
        moving: bool,
        read: &mut FxHashMap<u64, Labels>,
    ) -> Option<Labels> {
        if let (false, Some(labels)) = (moving, read.remove(&header.labels)) {
            self.found.labels.insert(header.labels, labels);
        }
        self.found.labels.get(&header.labels).cloned()
    }

    fn read_headers(
        &mut self,
        members: impl Iterator<Item = Member>,
        items: &mut Vec<(u64, usize)>,
    ) -> Result<(), ProcessError> {
        let size = self.layout.g.size as usize;
        items.clear();
        items.extend(members.map(|(_, gaddr)| (gaddr, size)));
        Ok(self.headers.read(self.memory, items)?)
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
    fn sudogs(&mut self, scratch: &mut Scratch) -> Result<(), ProcessError> {
        let Scratch {
            candidates,
            sudogs,
            items,
            ..
        } = scratch;
        let size = self.layout.sudog.size as usize;
        let reasons = self.binary.wait_reasons();
        let reason = |candidate: &Candidate| reasons.get(candidate.header.wait_reason);
        let mut waiting = Vec::with_capacity(candidates.len());
        items.clear();
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
        self.more.read(self.memory, items)?;
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
                        candidate.sudogs = sudogs.len()..sudogs.len() + 1;
                        sudogs.push(sudog);
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
            self.more.read(self.memory, items)?;
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
            candidates[i].sudogs = sudogs.len()..sudogs.len() + cases.len();
            sudogs.extend(cases);
        }
        Ok(())
    }

    /// Reads and walks stacks.
    fn stacks(&mut self, scratch: &mut Scratch, last: bool) -> Result<(), ProcessError> {
        let Scratch {
            candidates,
            pcs,
            items,
            starts,
            ..
        } = scratch;
        starts.clear();
        items.clear();
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
        self.more.read(self.memory, items)?;
        let mut walker = Walker {
            memory: self.memory,
            binary: self.binary,
            bias: self.bias,
            pcs: self.pcs,
            max_frames: self.options.max_frames,
        };
        for (item, (i, start)) in starts.drain(..).enumerate() {
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

/// Whether what such a wait is for is to be looked for elsewhere, if no sudog tells.
fn is_hidden(kind: WaitKind) -> bool {
    is_semaphore(kind) || matches!(kind, WaitKind::Cond | WaitKind::Netpoll | WaitKind::Sleep)
}

/// What a goroutine waits on, as far as its own sudogs tell.
fn own_objects(reason: WaitReason, sudogs: &[Sudog]) -> Objects {
    let object = |sudog: &Sudog| {
        if sudog.chan != 0 {
            let (chan, direction) = (ChanAddr(sudog.chan), direction(reason)?);
            return Some(WaitObject::Chan { chan, direction });
        }
        match reason.kind() {
            // Go 1.26 and later.
            WaitKind::Cond => Some(WaitObject::Cond(Addr(sudog.elem))),
            kind if is_semaphore(kind) => Some(WaitObject::Semaphore(Addr(sudog.elem))),
            _ => None,
        }
    };
    sudogs.iter().filter_map(object).collect()
}
