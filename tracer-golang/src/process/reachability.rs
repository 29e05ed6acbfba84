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

use rustc_hash::FxHashSet;
use tracer_model::ids::{Addr, Goid, Ktime};
use tracer_model::snapshot::{Holder, Reachability, Snapshot, State, Unused};

use super::candidates::{self, Candidate};
use super::header::Header;
use super::heap::{Heap, HeapError};
use super::lives::{self, Live, Lives};
use super::mark::Mark;
use super::memory::{Bulk, TargetMemory};
use super::role::Role;
use super::stack_words::{Stacks, stack};
use super::unused::Held;
use super::uses::Uses;
use super::{GoProcess, ProcessError, goroutines, holders};

/// Goroutines whose stacks are read together.
const GROUP: usize = 256;
/// Bytes of stacks that are read together.
const STACK_BYTES: u64 = 1 << 20;
/// Of so many searches one looks at code.
const CODE_EVERY: u32 = 4;
/// Problems that are kept; more say nothing new.
const MAX_ERRORS: usize = 16;

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
            unreached,
            holders,
            unused,
            running,
            ran,
            errors,
        })
    }
}

/// The candidates that no root reaches.
struct Unreached<'l> {
    candidates: Vec<Candidate<'l>>,
    /// None was needed without candidates.
    mark: Option<Mark>,
    /// Those that globals alone reach, and some that nothing does; if that can be told.
    held: Option<Held>,
}

impl Unreached<'_> {
    /// Nobody.
    const fn none() -> Self {
        Unreached {
            candidates: Vec::new(),
            mark: None,
            held: None,
        }
    }
}

/// What one pass found.
struct Found {
    unreached: Vec<Goid>,
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
        } = self.unreached(snapshot, &first)?;
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
        let unreached = unreached.iter().map(|candidate| candidate.goid);
        Ok(Found {
            unreached: unreached.collect(),
            mark,
            holders,
            unused,
            running,
            ran,
        })
    }

    /// What keeps a queue of functions busy that are about to run, if it is not known where the queue is.
    /// They may refer to anything, and nothing else leads to them.
    fn unknown_queue(&self, first: &Lives) -> Option<&'static str> {
        let binary = self.process.binary();
        first.living().find_map(|Live { header, .. }| {
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
    fn unreached<'l>(
        &mut self,
        snapshot: &Snapshot,
        lives: &'l Lives,
    ) -> Result<Unreached<'l>, ProcessError> {
        let heap = Heap::read(self.process.memory(), self.process.heap_place()?)?;
        let mut candidates = candidates::find(self.process, snapshot, lives, &heap)?;
        if candidates.is_empty() {
            return Ok(Unreached::none());
        }
        let mut mark = Mark::new(self.process.memory(), heap)?;
        self.exclude(&mut mark, lives)?;
        let held = match self.looks_at_code {
            true => self.by_code(&mut mark, lives, &mut candidates)?,
            false => {
                self.acting(&mut mark, lives, &candidates)?;
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
            let lives = self.headers()?;
            let new = (mark.heap_mut()).grown(self.process.memory(), self.process.heap_place()?)?;
            mark.grow();
            if mark.heap().refused > 0 {
                self.problem(format!("{} spans make no sense", mark.heap().refused));
            }
            for object in new {
                mark.force(object);
            }
            self.exclude(&mut mark, &lives)?;
            let before = candidates.len();
            candidates.retain(|candidate| {
                let later = lives.header(candidate.gaddr());
                later.is_some_and(|later| candidate.header().unchanged(&later))
            });
            let moved = candidates.len() < before;
            self.roots(&mut mark, &lives, &candidates)?;
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
        lives: &Lives,
        candidates: &mut Vec<Candidate>,
    ) -> Result<Option<Held>, ProcessError> {
        let uses = Uses::new(self.process, std::mem::take(&mut self.code));
        mark.watch(uses.range());
        self.uses = Some(uses);
        self.acting(mark, lives, candidates)?;
        self.fixed_point(mark, candidates)?;
        let held = self.held(mark, candidates)?;
        mark.watch(0..0);
        self.code = (self.uses.take()).map_or_else(Default::default, Uses::into_known);
        Ok(held)
    }

    /// The user goroutines that ran since their headers were read first, or may have, and of each
    /// whether its stack was read at rest.
    fn ran(&mut self, first: &Lives) -> Result<Vec<(Goid, bool)>, ProcessError> {
        let mut ran = Vec::new();
        let mut unreadable = Vec::new();
        let note = |g| unreadable.push(g);
        lives::each(self.process, note, |Live { gaddr, header }| {
            let before = first.header(gaddr);
            let rested = before.is_some_and(|before| before.rested(&header));
            let role = || Role::of(self.process.binary(), self.process.bias(), header.startpc);
            // The runtime's own move no references of the program, except when they run its code.
            if !rested && !matches!(role(), Role::System) {
                let known = before.is_some_and(|before| before.goid == header.goid);
                let at_rest = known && !self.caught.contains(&header.goid);
                ran.push((Goid(header.goid), at_rest));
            }
        })?;
        unreadable.into_iter().for_each(|g| self.unreadable(g));
        Ok(ran)
    }

    /// The headers of all goroutines.
    fn headers(&mut self) -> Result<Lives, ProcessError> {
        Lives::read(self.process, |g| self.unreadable(g))
    }

    fn unreadable(&mut self, g: u64) {
        self.problem(format!("the g at {g:#x} is not readable"));
    }

    /// Takes the runtime's own bookkeeping out of the way: g's lead to all goroutines, their sudogs to
    /// what they wait on, processors to what is left in their caches.
    fn exclude(&self, mark: &mut Mark, lives: &Lives) -> Result<(), ProcessError> {
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
        let starts = lives.all().map(|live| live.header.waiting);
        candidates::each_sudog(
            self.process,
            starts,
            |i| lives.gaddr(i),
            |_, sudog| mark.exclude(sudog.addr),
        )?;
        Ok(())
    }

    /// Marks from all roots.
    fn roots(
        &mut self,
        mark: &mut Mark,
        lives: &Lives,
        candidates: &[Candidate],
    ) -> Result<(), ProcessError> {
        self.process.mark_globals(mark)?;
        self.acting(mark, lives, candidates)
    }

    /// Marks from everything that can act: all but the candidates that are not revived.
    fn acting(
        &mut self,
        mark: &mut Mark,
        lives: &Lives,
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
        let waiting: FxHashSet<u64> = candidates.iter().map(|c| c.gaddr()).collect();
        let acting = lives.living();
        let acting = acting.filter(|live| !waiting.contains(&live.gaddr));
        self.goroutines(mark, acting)
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
                .map(|candidate| candidate.gaddr())
                .collect();
            self.revive(mark, candidates, |of| chosen.contains(&of.gaddr()))?;
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
        let revived = candidates
            .extract_if(.., |candidate| chosen(candidate))
            .map(|candidate| candidate.live.live());
        self.goroutines(mark, revived)
    }

    /// Marks what these goroutines hold: their g's (deferred calls, labels) and their stacks.
    fn goroutines(
        &mut self,
        mark: &mut Mark,
        lives: impl Iterator<Item = Live>,
    ) -> Result<(), ProcessError> {
        let mut group: Vec<Live> = Vec::new();
        let mut total = 0;
        for live in lives {
            let stack = stack(&live.header);
            let bytes = stack.end - stack.start;
            if bytes > STACK_BYTES {
                self.whole_stack(mark, live.header.goid, stack);
            }
            group.push(live);
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
            for g in [g, g_again] {
                if let Err(error) = self.process.mark_vector_registers(mark, g) {
                    self.problem(format!("goroutine {goid}: {error}"));
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
