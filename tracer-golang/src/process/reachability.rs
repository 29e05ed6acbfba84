//! Which waiting goroutines nothing that can still act refers to.
//!
//! The idea of the runtime's own leak profile (Golf, ASPLOS 2025), from outside: candidates are
//! goroutines whose wait only another goroutine can end. Everything else that can act is a root.
//! A candidate is revived when what it waits on was reached; its stack is a root from then on. Those
//! that stay unreached at the fixed point can never run again.
//!
//! The target is not stopped, so what is read belongs to different moments. What makes up for it:
//!
//! - When the fixed point is reached, the roots are read again, and objects allocated meanwhile count
//!   as reached (as in the runtime's own collector). What may still be missed is a reference that
//!   moved, in one pass, from an object not yet read to one already read and left no trace on a stack
//!   or in a global. Only who runs can do that, so the goroutines that ran between the first read and
//!   the last are told: a count in the g says so even of one that stopped again in between
//!   (`g.trackingSeq`). A pass in which none ran is as good as a snapshot of a stopped process. Those
//!   whose stack could not be read at rest are told apart, since registers are not in memory.
//! - A goroutine that stays unreached must not have moved from begin to end; if it did, it counts as
//!   revived, and so does what it refers to.
//! - Where anything is not known (no object, not on the heap, unreadable), a goroutine is revived.
//!
//! Global variables come last: what they alone lead to is told apart (see [`super::unused`]).

use std::ops::Range;

use rustc_hash::{FxHashMap, FxHashSet};
use tracer_model::ids::{Addr, Goid, Ktime};
use tracer_model::snapshot::{Goroutine, Holder, Reachability, Snapshot, State, Unused};
use tracer_model::wait::{WaitKind, WaitObject, WaitReason};

use super::bytes::u64_at;
use super::header::Header;
use super::heap::{Heap, HeapError, Object};
use super::liveness::Liveness;
use super::mark::Mark;
use super::memory::{Bulk, MemoryError, TargetMemory};
use super::role::Role;
use super::stack::{Extent, PcCache, Start, Walker};
use super::sudog::Sudog;
use super::unused::Held;
use super::uses::Uses;
use super::waits::is_semaphore;
use super::{GoProcess, ProcessError, goroutines, holders, semaphores};

/// Goroutines whose headers or stacks are read together.
const GROUP: usize = 1024;
/// Bytes of stacks that are read together.
const STACK_BYTES: u64 = 4 << 20;
/// Frames of a stack at most.
const MAX_FRAMES: usize = 1 << 20;
/// Deferred calls of a goroutine that are looked at.
const MAX_DEFERRED: usize = 1 << 16;
/// Of so many searches one looks at code.
const CODE_EVERY: u32 = 4;
/// A select has no more cases than this.
const MAX_CASES: usize = 1 << 16;
/// Waiters in one notifyList that are looked at.
const MAX_WAITERS: usize = 1 << 12;
/// Problems that are kept; more say nothing new.
const MAX_ERRORS: usize = 16;

/// A goroutine whose wait only another one can end.
pub(super) struct Candidate {
    pub(super) goid: Goid,
    pub(super) gaddr: u64,
    pub(super) header: Header,
    /// The objects of the heap, one of which must be reached; empty for a wait that nothing ends.
    pub(super) targets: Vec<(Object, u64)>,
    /// Those that are global variables or parts of one: they are reached if code may use them.
    pub(super) statics: Vec<u64>,
}

/// A goroutine as its header was read.
#[derive(Clone, Copy)]
struct Live {
    gaddr: u64,
    header: Header,
}

impl From<HeapError> for ProcessError {
    fn from(error: HeapError) -> ProcessError {
        match error {
            HeapError::Memory(error) => ProcessError::Memory(error),
            HeapError::Implausible(reason) => ProcessError::check("mheap_.allspans", reason),
        }
    }
}

impl<M: TargetMemory> GoProcess<M> {
    /// Finds out which of the snapshot's waiting goroutines nothing that can still act refers to.
    /// Reads all of the heap that holds pointers, unless no goroutine could be unreached.
    ///
    /// # Errors
    /// If the process is gone, or its heap or its goroutines cannot be read at all. What else cannot
    /// be read is an error in the result.
    pub fn reachability(
        &mut self,
        snapshot: &Snapshot,
        now: &dyn Fn() -> Ktime,
    ) -> Result<Reachability, ProcessError> {
        self.memory().check_alive()?;
        let started = now();
        let stacks = Stacks::new(std::mem::take(&mut self.pcs));
        let code = std::mem::take(&mut self.code);
        // To look at code takes time, in which somebody may run: then no pass would be proof.
        let looks_at_code = self.searches.is_multiple_of(CODE_EVERY);
        self.searches = self.searches.wrapping_add(1);
        let mut pass = Pass {
            process: self,
            stacks,
            uses: None,
            looks_at_code,
            code,
            errors: Vec::new(),
            caught: FxHashSet::default(),
        };
        let found = pass.found(snapshot);
        let Pass {
            mut errors,
            stacks,
            code,
            ..
        } = pass;
        self.pcs = stacks.into_pcs();
        self.code = code;
        let Found {
            unreached,
            mark,
            holders,
            unused,
            running,
            ran,
        } = found?;
        errors.extend(mark.into_iter().flat_map(|mark| mark.errors));
        errors.truncate(MAX_ERRORS);
        self.memory().check_alive()?;
        Ok(Reachability {
            started,
            finished: now(),
            unreached: unreached.iter().map(|candidate| candidate.goid).collect(),
            holders,
            unused,
            running,
            ran,
            errors,
        })
    }
}

/// The candidates that no root reaches.
struct Unreached {
    candidates: Vec<Candidate>,
    /// None was needed without candidates.
    mark: Option<Mark>,
    /// Those that globals alone reach, and some that nothing does; if that can be told.
    held: Option<Held>,
}

impl Unreached {
    /// Nobody.
    const fn none() -> Unreached {
        Unreached {
            candidates: Vec::new(),
            mark: None,
            held: None,
        }
    }
}

/// What one pass found.
struct Found {
    unreached: Vec<Candidate>,
    mark: Option<Mark>,
    holders: Vec<Holder>,
    /// Who waits for what unused globals alone lead to, if that can be told.
    unused: Option<Vec<Unused>>,
    /// Who ran meanwhile, and whose stack was never read at rest.
    running: Vec<Goid>,
    /// Who else ran meanwhile.
    ran: Vec<Goid>,
}

/// One pass over the target.
pub(super) struct Pass<'a, M> {
    pub(super) process: &'a GoProcess<M>,
    pub(super) stacks: Stacks,
    /// While it is being found out: what is used by those who can run.
    pub(super) uses: Option<Uses<'a, M>>,
    /// Whether this pass looks at code.
    looks_at_code: bool,
    /// What is known about the binary's code.
    pub(super) code: super::uses::Known,
    errors: Vec<String>,
    /// Goroutines whose stacks, when they were read last, were in use, or changed meanwhile.
    caught: FxHashSet<u64>,
}

impl<M: TargetMemory> Pass<'_, M> {
    fn found(&mut self, snapshot: &Snapshot) -> Result<Found, ProcessError> {
        let first = self.headers()?;
        let Unreached {
            candidates: mut unreached,
            mark,
            mut held,
        } = self.unreached(snapshot, &living(&first))?;
        let mut holders = match &mark {
            Some(mark) => holders::find(self.process, &mut self.stacks, mark, &unreached)?,
            None => Vec::new(),
        };
        let (mut running, mut ran) = (Vec::new(), Vec::new());
        if !unreached.is_empty() || held.is_some() {
            for (goid, at_rest) in self.ran(&first)? {
                match at_rest {
                    true => ran.push(goid),
                    false => running.push(goid),
                }
            }
            running.sort_unstable();
            ran.sort_unstable();
        }
        if let Some(queue) = self.unknown_queue(&first) {
            self.problem(format!(
                "a goroutine is in {queue}, and what waits to run behind is not known"
            ));
            unreached.clear();
            holders.clear();
            held = None;
        }
        // Code is not looked at again as roots are: only if nobody ran it is known what it was.
        let still = self.errors.is_empty() && running.is_empty() && ran.is_empty();
        let held = held.filter(|_| still);
        let unused = held.map(|held| held.add_to(&mut holders, &unreached));
        Ok(Found {
            unreached,
            mark,
            holders,
            unused,
            running,
            ran,
        })
    }

    /// What keeps a queue of functions busy that are about to run, if it is not known where the queue is.
    /// They may refer to anything, and nothing else leads to them.
    fn unknown_queue(&self, first: &[Live]) -> Option<&'static str> {
        let binary = self.process.binary();
        living(first).into_iter().find_map(|Live { header, .. }| {
            let role = Role::of(binary, self.process.bias(), header.startpc);
            let reason = binary.wait_reasons().get(header.wait_reason);
            let queue = match role {
                Role::Finalizers if binary.queued_finalizers().is_none() => "a finalizer",
                Role::Cleanups => "a cleanup",
                _ => return None,
            };
            (!role.is_system(&header, reason)).then_some(queue)
        })
    }

    /// The candidates that stay unreached.
    fn unreached(&mut self, snapshot: &Snapshot, live: &[Live]) -> Result<Unreached, ProcessError> {
        let heap = Heap::read(self.process.memory(), self.process.heap_place()?)?;
        let mut candidates = self.candidates(snapshot, live, &heap)?;
        if candidates.is_empty() {
            return Ok(Unreached::none());
        }
        let mut mark = Mark::new(self.process.memory(), heap)?;
        self.exclude(&mut mark, live)?;
        let held = match self.looks_at_code {
            true => self.by_code(&mut mark, live, &mut candidates)?,
            false => {
                self.acting(&mut mark, live, &candidates)?;
                None
            }
        };
        self.process.mark_globals(&mut mark)?;
        // What is unreadable now is read again below.
        self.errors.clear();
        self.revive(&mut mark, &mut candidates, |of| !of.statics.is_empty())?;
        self.fixed_point(&mut mark, &mut candidates)?;
        while !candidates.is_empty() {
            self.caught.clear();
            // Once more, for what changed since; and whoever moved is not a candidate any more.
            let live = living(&self.headers()?);
            let new = (mark.heap_mut()).grown(self.process.memory(), self.process.heap_place()?)?;
            mark.grow();
            if mark.heap().refused > 0 {
                self.problem(format!("{} spans make no sense", mark.heap().refused));
            }
            for object in new {
                mark.force(object);
            }
            self.exclude(&mut mark, &live)?;
            let headers = by_address(&live);
            let before = candidates.len();
            candidates.retain(|candidate| {
                let later = headers.get(&candidate.gaddr);
                later.is_some_and(|later| candidate.header.unchanged(later))
            });
            let moved = candidates.len() < before;
            self.roots(&mut mark, &live, &candidates)?;
            self.fixed_point(&mut mark, &mut candidates)?;
            if !moved {
                break;
            }
        }
        Ok(Unreached {
            candidates,
            mark: Some(mark),
            held,
        })
    }

    /// What unused variables lead to, before variables are marked at all.
    fn by_code(
        &mut self,
        mark: &mut Mark,
        live: &[Live],
        candidates: &mut Vec<Candidate>,
    ) -> Result<Option<Held>, ProcessError> {
        let uses = Uses::new(self.process, std::mem::take(&mut self.code));
        mark.watch(uses.range());
        self.uses = Some(uses);
        self.acting(mark, live, candidates)?;
        self.fixed_point(mark, candidates)?;
        let held = self.held(mark, candidates)?;
        mark.watch(0..0);
        self.code = (self.uses.take()).map_or_else(Default::default, Uses::into_known);
        Ok(held)
    }

    /// The user goroutines that ran since their headers were read first, or may have, and of each
    /// whether its stack was read at rest.
    fn ran(&mut self, first: &[Live]) -> Result<Vec<(Goid, bool)>, ProcessError> {
        let before = by_address(first);
        let mut ran = Vec::new();
        for Live { gaddr, header } in self.headers()? {
            let before = before.get(&gaddr);
            let rested = before.is_some_and(|before| before.rested(&header));
            let role = || Role::of(self.process.binary(), self.process.bias(), header.startpc);
            // The runtime's own move no references of the program, except when they run its code.
            if !rested && !matches!(role(), Role::System) {
                let known = before.is_some_and(|before| before.goid == header.goid);
                let at_rest = known && !self.caught.contains(&header.goid);
                ran.push((Goid(header.goid), at_rest));
            }
        }
        Ok(ran)
    }

    /// The headers of all goroutines, those that are dead included.
    fn headers(&mut self) -> Result<Vec<Live>, ProcessError> {
        let layout = &self.process.layout().g;
        let addresses = goroutines::addresses(self.process)?;
        let mut bulk = Bulk::default();
        let mut live = Vec::with_capacity(addresses.len());
        for group in addresses.chunks(GROUP) {
            let items: Vec<_> = group.iter().map(|&g| (g, layout.size as usize)).collect();
            bulk.read(self.process.memory(), &items)?;
            for (i, &gaddr) in group.iter().enumerate() {
                let Some(bytes) = bulk.get(i) else {
                    self.problem(format!("the g at {gaddr:#x} is not readable"));
                    continue;
                };
                let header = Header::parse(layout, bytes);
                live.push(Live { gaddr, header });
            }
        }
        Ok(live)
    }

    /// The goroutines whose wait only another one can end, and which wait for what the snapshot says.
    fn candidates(
        &mut self,
        snapshot: &Snapshot,
        live: &[Live],
        heap: &Heap,
    ) -> Result<Vec<Candidate>, ProcessError> {
        let headers = by_address(live);
        let mut waiting: Vec<(&Goroutine, Header, FxHashSet<u64>)> = Vec::new();
        for goroutine in &snapshot.goroutines {
            let Some(wait) = &goroutine.wait else {
                continue;
            };
            let header = headers.get(&goroutine.gaddr.0);
            let Some(header) = header.filter(|header| {
                header.parked()
                    && header.goid == goroutine.goid.0
                    && self.process.binary().wait_reasons().get(header.wait_reason) == wait.reason
            }) else {
                continue;
            };
            if !goroutine.system && !goroutine.moving && wait.reason.kind().ends_only_by_goroutine()
            {
                let objects = wait.objects.iter().map(|object| match object {
                    WaitObject::Chan { chan, .. } => chan.0,
                    WaitObject::Semaphore(addr)
                    | WaitObject::Cond(addr)
                    | WaitObject::Netpoll(addr) => addr.0,
                });
                waiting.push((goroutine, *header, objects.collect()));
            }
        }
        let now = self.waited_on(&waiting)?;
        let timers = self.with_timer(&waiting)?;
        let mut candidates = Vec::new();
        for ((goroutine, header, objects), now) in waiting.into_iter().zip(now) {
            let reason = (goroutine.wait.as_ref()).map_or(WaitReason::None, |wait| wait.reason);
            let endless = matches!(
                reason,
                WaitReason::ChanReceiveNil | WaitReason::ChanSendNil | WaitReason::SelectNoCases
            );
            // What is not known, or is not the same as in the snapshot, or may end by itself.
            if objects != now || objects.is_empty() != endless || !objects.is_disjoint(&timers) {
                continue;
            }
            // What is neither in the heap nor a global can be had by anyone.
            let (mut targets, mut statics) = (Vec::new(), Vec::new());
            let known = objects.into_iter().all(|address| {
                let object = heap.object(address);
                targets.extend(object.map(|object| (object, address)));
                let global = object.is_none() && self.process.is_variable(address);
                statics.extend(global.then_some(address));
                object.is_some() || global
            });
            if !known {
                continue;
            }
            candidates.push(Candidate {
                goid: goroutine.goid,
                gaddr: goroutine.gaddr.0,
                header,
                targets,
                statics,
            });
        }
        Ok(candidates)
    }

    /// What each goroutine waits on now, by its sudogs or by the semaphore table.
    fn waited_on(
        &self,
        waiting: &[(&Goroutine, Header, FxHashSet<u64>)],
    ) -> Result<Vec<FxHashSet<u64>>, ProcessError> {
        let reasons = waiting
            .iter()
            .map(|(_, header, _)| self.process.binary().wait_reasons().get(header.wait_reason));
        let kinds: Vec<WaitKind> = reasons.map(WaitReason::kind).collect();
        let mut objects: Vec<FxHashSet<u64>> = vec![FxHashSet::default(); waiting.len()];
        // Which goroutine, and its next sudog.
        let mut next: Vec<(usize, u64)> = (0..)
            .zip(waiting)
            .map(|(i, (_, header, _))| (i, header.waiting))
            .collect();
        let mut table = None;
        let mut bulk = Bulk::default();
        for _ in 0..MAX_CASES {
            next.retain(|&(_, sudog)| sudog != 0);
            if next.is_empty() {
                break;
            }
            for (i, sudog) in self.sudogs(&mut next, &mut bulk, |i| waiting[i].0.gaddr.0)? {
                objects[i].insert(match sudog.chan {
                    0 => sudog.elem,
                    chan => chan,
                });
            }
        }
        for (i, (goroutine, header, lists)) in waiting.iter().enumerate() {
            if header.waiting == 0 && kinds[i] == WaitKind::Cond {
                for &list in lists {
                    if self.waits_in(list, goroutine.gaddr.0)? {
                        objects[i].insert(list);
                    }
                }
            }
            if header.waiting == 0 && is_semaphore(kinds[i]) {
                let table = match &table {
                    Some(table) => table,
                    None => table.insert(semaphores::waiters(self.process)?),
                };
                objects[i].extend(table.get(&goroutine.gaddr.0));
            }
        }
        Ok(objects)
    }

    /// Whether the goroutine with this g waits in a notifyList: up to Go 1.25 nothing in the g says.
    fn waits_in(&self, list: u64, gaddr: u64) -> Result<bool, MemoryError> {
        let layout = self.process.layout();
        let memory = self.process.memory();
        let head = list.wrapping_add(u64::from(layout.notify_list.head));
        let mut next = match memory.read_u64(Addr(head)) {
            Ok(head) => head,
            Err(MemoryError::Unreadable { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut bytes = vec![0; layout.sudog.size as usize];
        for _ in 0..MAX_WAITERS {
            match memory.read(Addr(next), &mut bytes) {
                Ok(()) => {}
                Err(MemoryError::Unreadable { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
            let sudog = Sudog::parse(&layout.sudog, next, &bytes);
            if sudog.g == gaddr {
                return Ok(true);
            }
            next = sudog.next;
        }
        Ok(false)
    }

    /// Reads a sudog of each, leaves in `next` those that follow, and returns those that are the
    /// goroutine's own.
    fn sudogs(
        &self,
        next: &mut Vec<(usize, u64)>,
        bulk: &mut Bulk,
        gaddr: impl Fn(usize) -> u64,
    ) -> Result<Vec<(usize, Sudog)>, MemoryError> {
        let layout = &self.process.layout().sudog;
        let mut sudogs = Vec::with_capacity(next.len());
        for group in std::mem::take(next).chunks(GROUP) {
            let items: Vec<_> = group
                .iter()
                .map(|&(_, sudog)| (sudog, layout.size as usize))
                .collect();
            bulk.read(self.process.memory(), &items)?;
            for (position, &(i, addr)) in group.iter().enumerate() {
                let Some(bytes) = bulk.get(position) else {
                    continue;
                };
                let sudog = Sudog::parse(layout, addr, bytes);
                if sudog.g == gaddr(i) {
                    sudogs.push((i, sudog));
                    // Elsewhere it links the waiters of one semaphore.
                    if sudog.is_select {
                        next.push((i, sudog.waitlink));
                    }
                }
            }
        }
        Ok(sudogs)
    }

    /// The channels among those waited on that a timer may send to (Go 1.23 and later), as long as nobody
    /// who refers to it sets it anew.
    fn with_timer(
        &self,
        waiting: &[(&Goroutine, Header, FxHashSet<u64>)],
    ) -> Result<FxHashSet<u64>, MemoryError> {
        let Some(timer) = self.process.layout().hchan.timer else {
            return Ok(FxHashSet::default());
        };
        let objects: FxHashSet<u64> = waiting
            .iter()
            .filter_map(|(goroutine, ..)| goroutine.wait.as_ref())
            .flat_map(|wait| &wait.objects)
            .filter_map(|object| match object {
                WaitObject::Chan { chan, .. } => Some(chan.0),
                _ => None,
            })
            .collect();
        let objects: Vec<u64> = objects.into_iter().collect();
        let items: Vec<_> = objects
            .iter()
            .map(|chan| (chan.saturating_add(u64::from(timer)), 8))
            .collect();
        let mut bulk = Bulk::default();
        bulk.read(self.process.memory(), &items)?;
        let mut armed = FxHashSet::default();
        for (i, chan) in objects.into_iter().enumerate() {
            let timer = bulk.get(i).map(|bytes| u64_at(bytes, 0));
            if match timer {
                Some(0) => false,
                Some(timer) => !self.process.is_stopped(timer)?,
                None => true,
            } {
                armed.insert(chan);
            }
        }
        Ok(armed)
    }

    /// Takes the runtime's own bookkeeping out of the way: g's lead to all goroutines, their sudogs to
    /// what they wait on, processors to what is left in their caches.
    fn exclude(&self, mark: &mut Mark, live: &[Live]) -> Result<(), ProcessError> {
        for g in goroutines::addresses(self.process)? {
            mark.exclude(g);
        }
        for p in self.process.processors()? {
            mark.exclude(p);
        }
        // Their own g's, whose stacks' bounds are addresses of whatever lies next to them.
        for thread in self.process.threads()? {
            thread
                .gs
                .into_iter()
                .flatten()
                .for_each(|g| mark.exclude(g));
            mark.exclude(thread.m);
        }
        let mut next: Vec<(usize, u64)> = (0..)
            .zip(live)
            .map(|(i, live)| (i, live.header.waiting))
            .collect();
        let mut bulk = Bulk::default();
        for _ in 0..MAX_CASES {
            next.retain(|&(_, sudog)| sudog != 0);
            if next.is_empty() {
                break;
            }
            for (_, sudog) in self.sudogs(&mut next, &mut bulk, |i| live[i].gaddr)? {
                mark.exclude(sudog.addr);
            }
        }
        Ok(())
    }

    /// Marks from all roots.
    fn roots(
        &mut self,
        mark: &mut Mark,
        live: &[Live],
        candidates: &[Candidate],
    ) -> Result<(), ProcessError> {
        self.process.mark_globals(mark)?;
        self.acting(mark, live, candidates)
    }

    /// Marks from everything that can act: all but the candidates that are not revived.
    fn acting(
        &mut self,
        mark: &mut Mark,
        live: &[Live],
        candidates: &[Candidate],
    ) -> Result<(), ProcessError> {
        let process = self.process;
        for p in process.processors()? {
            process.mark_processor(mark, p)?;
        }
        for thread in process.threads()? {
            process.mark_thread(mark, &thread)?;
        }
        process.mark_specials(mark)?;
        process.mark_queued_finalizers(mark)?;
        let waiting: FxHashSet<u64> = candidates.iter().map(|c| c.gaddr).collect();
        let acting: Vec<Live> = live
            .iter()
            .filter(|live| !waiting.contains(&live.gaddr))
            .copied()
            .collect();
        self.goroutines(mark, &acting)
    }

    /// Marks until nothing more is reached; the revived candidates are removed.
    pub(super) fn fixed_point(
        &mut self,
        mark: &mut Mark,
        candidates: &mut Vec<Candidate>,
    ) -> Result<(), ProcessError> {
        loop {
            mark.run(self.process.memory())?;
            let before = candidates.len();
            let reached = |candidate: &Candidate, mark: &Mark| {
                let mut targets = candidate.targets.iter();
                targets.any(|&(object, _)| mark.is_reached(object))
            };
            let chosen: FxHashSet<u64> = candidates
                .iter()
                .filter(|candidate| reached(candidate, mark))
                .map(|candidate| candidate.gaddr)
                .collect();
            self.revive(mark, candidates, |of| chosen.contains(&of.gaddr))?;
            if candidates.len() == before {
                return Ok(());
            }
        }
    }

    /// Makes some candidates roots.
    pub(super) fn revive(
        &mut self,
        mark: &mut Mark,
        candidates: &mut Vec<Candidate>,
        chosen: impl Fn(&Candidate) -> bool,
    ) -> Result<(), ProcessError> {
        let revived: Vec<Live> = candidates
            .extract_if(.., |candidate| chosen(candidate))
            .map(|Candidate { gaddr, header, .. }| Live { gaddr, header })
            .collect();
        self.goroutines(mark, &revived)
    }

    /// Marks what these goroutines hold: their g's (deferred calls, labels) and their stacks.
    fn goroutines(&mut self, mark: &mut Mark, live: &[Live]) -> Result<(), ProcessError> {
        let mut group: Vec<Live> = Vec::new();
        let mut total = 0;
        for live in live {
            let stack = stack(&live.header);
            let bytes = stack.end - stack.start;
            if bytes > STACK_BYTES {
                self.whole_stack(mark, live.header.goid, stack);
            }
            group.push(*live);
            total += bytes;
            if total >= STACK_BYTES || group.len() >= GROUP {
                self.group(mark, &group)?;
                group.clear();
                total = 0;
            }
        }
        self.group(mark, &group)
    }

    fn group(&mut self, mark: &mut Mark, group: &[Live]) -> Result<(), ProcessError> {
        let size = self.process.layout().g.size as usize;
        let mut items: Vec<(u64, usize)> = Vec::with_capacity(2 * group.len());
        for live in group {
            let stack = stack(&live.header);
            let bytes = match stack.end - stack.start {
                large if large > STACK_BYTES => 0,
                bytes => bytes,
            };
            items.push((live.gaddr, size));
            items.push((stack.start, bytes as usize));
        }
        let (mut bulk, mut again) = (Bulk::default(), Bulk::default());
        bulk.read(self.process.memory(), &items)?;
        let headers: Vec<_> = items.iter().copied().step_by(2).collect();
        again.read(self.process.memory(), &headers)?;
        for (i, live) in group.iter().enumerate() {
            let goid = live.header.goid;
            let (Some(g), Some(g_again)) = (bulk.get(2 * i), again.get(i)) else {
                self.problem(format!("goroutine {goid}: its g is not readable"));
                continue;
            };
            // The end of a stack is the address of what lies behind it.
            let end = live.header.stack_hi;
            let start = Addr(live.header.startpc);
            for word in g.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)) {
                // Nor is where it started what it does.
                if word != end && Addr(word) != start {
                    mark.word(word);
                }
            }
            let later = Header::parse(&self.process.layout().g, g_again);
            let runs = |header: &Header| matches!(header.state(), Some(State::Running) | None);
            if runs(&live.header) || runs(&later) || !live.header.unchanged(&later) {
                self.caught.insert(goid);
                self.unclear(&later);
            }
            match bulk.get(2 * i + 1) {
                // What its stack pointer was tells nothing about the bytes that were read.
                _ if !live.header.unchanged(&later) => {
                    mark.words(g_again);
                    if later.state() != Some(State::Dead) {
                        self.whole_stack(mark, goid, later.stack_lo..later.stack_hi);
                    }
                }
                None => self.problem(format!("goroutine {goid}: its stack is not readable")),
                Some(bytes) => {
                    let words = bytes.as_chunks().0.iter();
                    let known = self.stacks.live_words(self.process, &live.header, bytes);
                    self.code_of(&live.header, bytes, known.as_ref());
                    match known {
                        Some(known) => words
                            .zip(known.of_use)
                            .filter(|(_, of_use)| *of_use)
                            .for_each(|(word, _)| mark.word(u64::from_le_bytes(*word))),
                        None => words.for_each(|word| mark.word(u64::from_le_bytes(*word))),
                    }
                }
            }
        }
        Ok(())
    }

    /// Marks what all words of a stack point to.
    fn whole_stack(&mut self, mark: &mut Mark, goid: u64, stack: Range<u64>) {
        if let Err(error) = self.process.mark_range(mark, stack) {
            self.problem(format!("goroutine {goid}: {error}"));
        }
    }

    fn problem(&mut self, problem: String) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(problem);
        }
    }
}

fn by_address(all: &[Live]) -> FxHashMap<u64, Header> {
    all.iter().map(|live| (live.gaddr, live.header)).collect()
}

/// Those that are not dead.
fn living(all: &[Live]) -> Vec<Live> {
    let lives = |live: &&Live| live.header.state() != Some(State::Dead);
    all.iter().filter(lives).copied().collect()
}

/// What is known about the words of one stack.
pub(super) struct StackWords {
    /// Of each word from the stack pointer on, whether it may be a pointer that is of use.
    pub(super) of_use: Vec<bool>,
    /// The frames, innermost first.
    pub(super) extents: Vec<Extent>,
    /// The frames of words that are arguments, by address.
    pub(super) arguments: FxHashMap<u64, u32>,
}

impl StackWords {
    /// Index of the frame that the word at an address belongs to.
    pub(super) fn frame(&self, addr: u64) -> Option<u32> {
        let argument_of = self.arguments.get(&addr).copied();
        argument_of.or_else(|| {
            let frame = (self.extents).partition_point(|extent| extent.caller_sp <= addr);
            (frame < self.extents.len()).then_some(frame as u32)
        })
    }
}

/// Tells what is where on stacks.
#[derive(Debug, Default)]
pub(super) struct Stacks {
    pcs: PcCache,
    liveness: Liveness,
}

impl Stacks {
    pub(super) fn new(pcs: PcCache) -> Stacks {
        Stacks {
            pcs,
            liveness: Liveness::default(),
        }
    }

    pub(super) fn into_pcs(self) -> PcCache {
        self.pcs
    }

    /// For each word of `bytes`, a goroutine's stack from its stack pointer on, whether it may be a
    /// pointer that is of use, and to which frame it belongs. `None` if nothing is known about it.
    pub(super) fn live_words<M: TargetMemory>(
        &mut self,
        process: &GoProcess<M>,
        header: &Header,
        bytes: &[u8],
    ) -> Option<StackWords> {
        let standing = matches!(
            header.state()?,
            State::Waiting | State::Leaked | State::Syscall | State::Runnable | State::Preempted
        );
        // A panic leaves frames at places that they do not return to.
        if !standing || header.panics != 0 {
            return None;
        }
        let extents = self.extents(process, header, bytes);
        let (binary, bias) = (process.binary(), process.bias());
        let start = stack(header).start;
        let (mut of_use, arguments) = (self.liveness).words(binary, bias, &extents, start, bytes);
        deferred(process, header, bytes, &mut of_use)?;
        Some(StackWords {
            of_use,
            extents,
            arguments,
        })
    }

    /// Where the frames of a stack are. `bytes` begin at its stack pointer.
    pub(super) fn extents<M: TargetMemory>(
        &mut self,
        process: &GoProcess<M>,
        header: &Header,
        bytes: &[u8],
    ) -> Vec<Extent> {
        let mut extents = Vec::new();
        if let Some((pc, sp, lr)) = header.stack_top()
            && sp == stack(header).start
        {
            let mut walker = Walker {
                memory: process.memory(),
                binary: process.binary(),
                bias: process.bias(),
                pcs: &mut self.pcs,
                max_frames: MAX_FRAMES,
            };
            let hi = header.stack_hi;
            let start = Start { pc, sp, lr, hi };
            walker.visit(start, bytes, &mut Vec::new(), &mut |extent| {
                extents.push(extent);
            });
        }
        extents
    }
}

/// Makes the words of deferred calls count that are recorded on the stack: no map tells of them.
/// `None` if they cannot be told.
fn deferred<M: TargetMemory>(
    process: &GoProcess<M>,
    header: &Header,
    bytes: &[u8],
    words: &mut [bool],
) -> Option<()> {
    let range = stack(header);
    let layout = process.layout().defer;
    let mut record = header.defers;
    let mut seen = 0;
    while record != 0 {
        let link = record.checked_add(u64::from(layout.link))?;
        record = match record.checked_sub(range.start) {
            Some(offset) if record < range.end => {
                let first = offset as usize / 8;
                words
                    .get_mut(first..first + (layout.size as usize).div_ceil(8))?
                    .fill(true);
                u64_at(bytes, u32::try_from(link - range.start).ok()?)
            }
            // In the heap, from where the next one may be on the stack again.
            _ => process.memory().read_u64(Addr(link)).ok()?,
        };
        seen += 1;
        if seen > MAX_DEFERRED {
            return None;
        }
    }
    Some(())
}

/// What of a goroutine's stack is in use: all of it where memory does not say.
pub(super) fn stack(header: &Header) -> Range<u64> {
    let (lo, hi) = (header.stack_lo, header.stack_hi);
    // Not yet started, or its stack was freed.
    if lo == 0 || lo >= hi {
        return 0..0;
    }
    let top = header.stack_top().map(|(_, sp, _)| sp);
    let start = top.filter(|sp| (lo..=hi).contains(sp)).unwrap_or(lo);
    start & !7..hi
}
