//! What is known about one goroutine.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::event::EventKind;
use crate::ids::{ChanAddr, GAddr, Goid, Ktime, Pc};
use crate::maybe::Maybe;
use crate::snapshot::{self, Labels, State};
use crate::wait::{Direction, Wait, WaitKind, WaitObject, WaitReason};

use super::join::{Source, Stamp};
use super::totals::{AnomalyKind, Origin};

/// What was counted of one goroutine since the tracer attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// How often it parked.
    pub parks: u64,
    /// How often it was made runnable after a wait.
    pub wakeups: u64,
    /// How often it made another goroutine runnable.
    pub wakeups_made: u64,
    /// How often it started to run.
    pub runs: u64,
    /// Nanoseconds from its wake-ups, and from its creation, until it ran: where both were seen.
    pub scheduling_nanos: u64,
    /// How often it entered a system call.
    pub syscalls: u64,
    /// Nanoseconds in system calls, where the whole of them was seen.
    pub syscall_nanos: u64,
    /// Most goroutines wait for one kind of thing all their life.
    blocked: SmallVec<[(WaitKind, u64); 1]>,
}

impl Counters {
    /// Those of a goroutine without events.
    const fn none() -> Counters {
        Counters {
            parks: 0,
            wakeups: 0,
            wakeups_made: 0,
            runs: 0,
            scheduling_nanos: 0,
            syscalls: 0,
            syscall_nanos: 0,
            blocked: SmallVec::new_const(),
        }
    }

    /// Nanoseconds that it spent in ended waits of a kind. A wait that nobody ended, as far as one
    /// can see (the network poller), counts up to the next sign of life; one that began before the
    /// tracer attached, or during a loss, does not count.
    pub fn blocked_nanos(&self, kind: WaitKind) -> u64 {
        let mut blocked = self.blocked.iter();
        blocked
            .find(|(of, _)| *of == kind)
            .map_or(0, |(_, nanos)| *nanos)
    }

    fn add_blocked(&mut self, kind: WaitKind, nanos: u64) {
        match self.blocked.iter_mut().find(|(of, _)| *of == kind) {
            Some((_, all)) => *all += nanos,
            None => self.blocked.push((kind, nanos)),
        }
    }
}

/// Who woke a goroutine last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waker {
    /// Who; `Goid(0)` is the runtime.
    pub goid: Goid,
    /// When.
    pub at: Ktime,
    /// From which wait.
    pub reason: WaitReason,
    /// On what it waited, if that was seen.
    pub object: Option<WaitObject>,
}

/// A wait as the world knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitView<'w> {
    /// The runtime's reason.
    pub reason: WaitReason,
    /// What can end it, as in [`Wait::objects`].
    pub objects: &'w [WaitObject],
    /// Since when: exact if its park was seen, else the runtime's own note, which can be later than
    /// the truth, never earlier. `None` if not known.
    pub since: Option<Ktime>,
    /// Since when it was seen: the park, or the first of the reads of memory that all showed this
    /// wait with no event in between. Where parks are traced it lasts at least since then; where
    /// only memory is read the goroutine may have run between two reads.
    pub seen: Ktime,
}

impl WaitView<'_> {
    /// Since when at the latest: when it began, if that is known, else when it was first seen.
    pub fn at_latest(self) -> Ktime {
        self.since.map_or(self.seen, |since| since.min(self.seen))
    }
}

/// What events told. Nothing but events changes it.
#[derive(Debug)]
pub(super) struct Told {
    /// Time of the newest event by or for the goroutine; 0 if there was none.
    at: Ktime,
    phase: Phase,
    /// When it came into that phase: exact for waiting and runnable, the first proof for running.
    since: Ktime,
    /// Objects of the wait, or the cases of the select that has begun. Kept for reuse.
    objects: SmallVec<[WaitObject; 1]>,
    /// What it has begun and is still about, whether it runs or waits or another one was let run.
    begun: Option<Begun>,
    created: Maybe<Ktime>,
    last_site: Maybe<Pc>,
    counters: Counters,
    last_waker: Option<Waker>,
}

/// Where what events told of a goroutine was kept that is gone: memory for another one.
#[derive(Debug)]
pub(super) struct Memory(Box<Told>);

#[derive(Clone, Copy, Debug)]
struct Begun {
    at: Ktime,
    operation: Operation,
}

/// An operation that further events belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// A select; its cases are [`Told::objects`].
    Select,
    /// An attempt to get a lock or the like; it is [`Told::objects`].
    Acquire,
    /// A close, which wakes whoever waits.
    Close(ChanAddr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No event so far.
    Untold,
    Running,
    Runnable,
    Waiting(WaitReason),
    Syscall,
}

/// What memory showed last.
#[derive(Debug)]
pub(super) struct Seen {
    at: Ktime,
    state: State,
    wait: Option<Wait>,
    stack: Option<Arc<[Pc]>>,
    moving: bool,
    system: bool,
    /// Time of the first observation that showed this wait; all since agree, and no event came in
    /// between.
    wait_seen: Ktime,
}

/// A wait that has just ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// The runtime's reason.
    pub(super) reason: WaitReason,
    /// What it was on, if that was just one thing.
    pub(super) object: Option<WaitObject>,
    /// How long it took, if known.
    pub(super) nanos: Option<u64>,
}

/// What an event did to a goroutine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Effect {
    pub(super) ended: Option<Ended>,
    pub(super) anomaly: Option<AnomalyKind>,
}

/// What is known of a goroutine. There may be very many, so each takes as little as it can: of most
/// goroutines of a large program no event ever tells, since they wait.
#[derive(Debug, Default)]
pub(super) struct Entry {
    gaddr: Maybe<GAddr>,
    parent: Maybe<Goid>,
    start: Maybe<Pc>,
    created_at: Maybe<Pc>,
    labels: Labels,
    /// `None` until there is an event.
    told: Option<Box<Told>>,
    seen: Option<Seen>,
    /// Knowledge older than this may be out of date, whatever else is known.
    doubted: Ktime,
}

/// What is told of a goroutine without events.
static UNTOLD: Told = Told::nothing();

impl Entry {
    /// What events told, to be told more.
    pub(super) fn told(&mut self) -> &mut Told {
        self.told.get_or_insert_with(|| Box::new(Told::nothing()))
    }

    /// Whether events are still to tell of it.
    pub(super) const fn is_untold(&self) -> bool {
        self.told.is_none()
    }

    /// Takes memory for what events will tell, which was in use before.
    pub(super) fn reuse(&mut self, Memory(mut memory): Memory) {
        *memory = Told::nothing();
        self.told = Some(memory);
    }

    /// The memory of what events told, when the goroutine is gone.
    pub(super) fn into_memory(self) -> Option<Memory> {
        self.told.map(Memory)
    }

    fn known_told(&self) -> &Told {
        self.told.as_deref().unwrap_or(&UNTOLD)
    }

    pub(super) fn origin(&self) -> Origin {
        Origin {
            start: self.start.get(),
            created_at: self.created_at.get(),
        }
    }

    pub(super) fn doubt(&mut self, until: Ktime) {
        self.doubted = self.doubted.max(until);
    }

    /// Time of the newest knowledge about its state.
    pub(super) fn known_at(&self) -> Ktime {
        let seen = self.seen.as_ref().map_or(Ktime(0), |seen| seen.at);
        self.known_told().at.max(seen)
    }

    /// What the goroutine has begun and is still about, unless a record that is missing may have been
    /// its end.
    pub(super) fn begun(&self, lost_at: Option<Ktime>) -> Option<Operation> {
        self.known_told().begun(lost_at)
    }

    /// Whether it waits, in a plain operation or a select, to send to the channel, as far as its events
    /// told.
    pub(super) fn wants_to_send(&self, chan: ChanAddr) -> bool {
        self.known_told().wants_to_send(chan)
    }

    /// The goroutine was created. What it is and where it comes from is learnt even from a late
    /// event.
    pub(super) fn create(
        &mut self,
        at: Ktime,
        parent: Goid,
        gaddr: GAddr,
        origin: Origin,
    ) -> Effect {
        if self.known_told().created.get().is_some() {
            return Effect {
                ended: None,
                anomaly: Some(AnomalyKind::CreatedTwice),
            };
        }
        self.gaddr = gaddr.into();
        self.parent = (parent.0 != 0).then_some(parent).into();
        self.start = origin.start.into();
        self.created_at = origin.created_at.into();
        let told = self.told();
        told.created = at.into();
        if at >= told.at {
            told.phase = Phase::Runnable;
            told.since = at;
            told.at = at;
        }
        Effect::default()
    }

    /// Takes over what memory showed, unless a newer observation was there before. `state` has the
    /// stack that belongs to `goroutine`.
    pub(super) fn observe(
        &mut self,
        at: Ktime,
        goroutine: &snapshot::Goroutine,
        stack: Option<Arc<[Pc]>>,
    ) {
        let snapshot::Goroutine {
            at: _,
            goid: _,
            gaddr,
            state,
            wait,
            system,
            parent,
            created_at,
            start,
            stack: _,
            stops: _,
            stack_bytes: _,
            labels,
            sleeps_until: _,
            moving,
        } = goroutine;
        if self.seen.as_ref().is_some_and(|seen| seen.at > at) {
            return;
        }
        let told_at = self.known_told().at;
        self.gaddr = (*gaddr).into();
        self.parent = parent.or(self.parent);
        self.created_at = created_at.or(self.created_at);
        self.start = start.or(self.start);
        if self.labels != *labels {
            self.labels = labels.clone();
        }
        match &mut self.seen {
            Some(seen) => {
                let what = |wait: &Option<Wait>| {
                    let wait = wait.as_ref()?;
                    Some((wait.reason, wait.objects.clone()))
                };
                let same = what(&seen.wait) == what(wait) && told_at < seen.at;
                if !same {
                    seen.wait_seen = at;
                }
                seen.at = at;
                seen.state = *state;
                if seen.wait != *wait {
                    seen.wait.clone_from(wait);
                }
                seen.stack = stack;
                seen.moving = *moving;
                seen.system = *system;
            }
            None => {
                self.seen = Some(Seen {
                    at,
                    state: *state,
                    wait: wait.clone(),
                    stack,
                    moving: *moving,
                    system: *system,
                    wait_seen: at,
                });
            }
        }
    }
}

impl Told {
    /// Nothing so far.
    const fn nothing() -> Told {
        Told {
            at: Ktime(0),
            phase: Phase::Untold,
            since: Ktime(0),
            objects: SmallVec::new_const(),
            begun: None,
            created: Maybe::NONE,
            last_site: Maybe::NONE,
            counters: Counters::none(),
            last_waker: None,
        }
    }

    /// The goroutine acted: it was running then, and is not about what it had begun before.
    pub(super) fn act(&mut self, at: Ktime, site: Option<Pc>, lost_at: Option<Ktime>) -> Effect {
        let effect = self.live(at, site, lost_at);
        if effect.anomaly != Some(AnomalyKind::Late) {
            self.begun = None;
        }
        effect
    }

    /// The goroutine was running.
    pub(super) fn live(&mut self, at: Ktime, site: Option<Pc>, lost_at: Option<Ktime>) -> Effect {
        if at < self.at {
            return Effect::late();
        }
        let mut effect = Effect::default();
        if let Phase::Waiting(reason) = self.phase {
            let gap = lost_at.is_some_and(|lost| lost > self.since);
            effect.ended = self.end_wait(at, lost_at);
            if reason.kind().ends_only_by_goroutine() && !gap {
                effect.anomaly = Some(AnomalyKind::ActedWhileWaiting);
            }
        }
        if self.phase != Phase::Running {
            self.since = at;
        }
        self.phase = Phase::Running;
        self.at = at;
        if site.is_some() {
            self.last_site = site.into();
        }
        effect
    }

    /// The goroutine starts to run: after a wake-up or its creation, after it was preempted or had
    /// yielded (of which there is no event), or since it did not park after all. Returns how long it
    /// waited for that since the wake-up or creation, if that was seen.
    pub(super) fn run(&mut self, at: Ktime, lost_at: Option<Ktime>) -> (Effect, Option<u64>) {
        self.counters.runs += 1;
        let since = self.since;
        let latency = (self.phase == Phase::Runnable
            && at >= self.at
            && lost_at.is_none_or(|lost| lost <= since))
        .then(|| at.since(since));
        self.counters.scheduling_nanos += latency.unwrap_or(0);
        let effect = self.live(at, None, lost_at);
        if effect.anomaly != Some(AnomalyKind::Late) {
            self.since = at;
        }
        (effect, latency)
    }

    /// The goroutine made another one runnable.
    pub(super) fn wake(&mut self, at: Ktime, lost_at: Option<Ktime>) -> Effect {
        self.counters.wakeups_made += 1;
        self.live(at, None, lost_at)
    }

    /// The goroutine closes a channel.
    pub(super) fn close(
        &mut self,
        at: Ktime,
        chan: Option<ChanAddr>,
        site: Option<Pc>,
        lost_at: Option<Ktime>,
    ) -> Effect {
        let effect = self.act(at, site, lost_at);
        if effect.anomaly != Some(AnomalyKind::Late) {
            let operation = chan.map(Operation::Close);
            self.begun = operation.map(|operation| Begun { at, operation });
        }
        effect
    }

    /// What the goroutine has begun and is still about, unless a record that is missing may have been
    /// its end.
    pub(super) fn begun(&self, lost_at: Option<Ktime>) -> Option<Operation> {
        let Begun { at, operation } = self.begun?;
        lost_at.is_none_or(|lost| lost <= at).then_some(operation)
    }

    /// Whether it waits, in a plain operation or a select, to send to the channel, as far as its events
    /// told.
    pub(super) fn wants_to_send(&self, chan: ChanAddr) -> bool {
        // The runtime turns to the receivers first.
        let cases = |direction| {
            let case = WaitObject::Chan { chan, direction };
            self.objects.contains(&case)
        };
        cases(Direction::Send) && !cases(Direction::Receive)
    }

    /// The goroutine begins a select with these cases.
    pub(super) fn select(
        &mut self,
        at: Ktime,
        cases: &[WaitObject],
        site: Option<Pc>,
        lost_at: Option<Ktime>,
    ) -> Effect {
        let effect = self.act(at, site, lost_at);
        if effect.anomaly != Some(AnomalyKind::Late) {
            let operation = Operation::Select;
            self.begun = Some(Begun { at, operation });
            self.objects.clear();
            self.objects.extend_from_slice(cases);
        }
        effect
    }

    /// The goroutine tries to get a lock or the like that is not free.
    pub(super) fn acquire(
        &mut self,
        at: Ktime,
        object: WaitObject,
        lost_at: Option<Ktime>,
    ) -> Effect {
        let effect = self.act(at, None, lost_at);
        if effect.anomaly != Some(AnomalyKind::Late) {
            let operation = Operation::Acquire;
            self.begun = Some(Begun { at, operation });
            self.objects.clear();
            self.objects.push(object);
        }
        effect
    }

    /// The goroutine enters a system call.
    pub(super) fn enter_syscall(&mut self, at: Ktime, lost_at: Option<Ktime>) -> Effect {
        self.counters.syscalls += 1;
        let effect = self.act(at, None, lost_at);
        if effect.anomaly != Some(AnomalyKind::Late) {
            self.phase = Phase::Syscall;
            self.since = at;
        }
        effect
    }

    /// The goroutine comes out of a system call. Returns how long it was in it, if that was seen.
    pub(super) fn exit_syscall(
        &mut self,
        at: Ktime,
        lost_at: Option<Ktime>,
    ) -> (Effect, Option<u64>) {
        let since = self.since;
        let nanos = (self.phase == Phase::Syscall
            && at >= self.at
            && lost_at.is_none_or(|lost| lost <= since))
        .then(|| at.since(since));
        self.counters.syscall_nanos += nanos.unwrap_or(0);
        (self.act(at, None, lost_at), nanos)
    }

    /// The goroutine parks.
    pub(super) fn park(
        &mut self,
        at: Ktime,
        reason: WaitReason,
        object: Option<WaitObject>,
        lost_at: Option<Ktime>,
    ) -> Effect {
        self.counters.parks += 1;
        // After a loss the park may be of a later select than the one that was seen.
        let begun = self.begun;
        let begun_for_this = match self.begun(lost_at) {
            Some(Operation::Select) => reason.kind() == WaitKind::Select,
            Some(Operation::Acquire) => reason.kind().is_sync(),
            Some(Operation::Close(_)) | None => false,
        };
        let effect = self.act(at, None, lost_at);
        if effect.anomaly == Some(AnomalyKind::Late) {
            return effect;
        }
        if begun_for_this {
            self.begun = begun;
        } else {
            self.objects.clear();
            self.objects.extend(object);
        }
        self.phase = Phase::Waiting(reason);
        self.since = at;
        effect
    }

    /// The goroutine was made runnable. If parks make no events, it may have run and parked unseen
    /// since it was last heard of.
    pub(super) fn ready(
        &mut self,
        at: Ktime,
        waker: Waker,
        lost_at: Option<Ktime>,
        parks_seen: bool,
    ) -> Effect {
        self.counters.wakeups += 1;
        if at < self.at {
            return Effect::late();
        }
        let gap = lost_at.is_some_and(|lost| lost > self.since);
        let anomaly = match self.phase {
            Phase::Untold => None,
            _ if gap || !parks_seen => None,
            // The collector stopped it: that makes no event, only its release does.
            _ if waker.reason == WaitReason::Preempted => None,
            Phase::Running | Phase::Syscall => Some(AnomalyKind::ReadyWithoutPark),
            Phase::Runnable => Some(AnomalyKind::ReadyTwice),
            Phase::Waiting(parked) => {
                (parked.kind() != waker.reason.kind()).then_some(AnomalyKind::ReasonChanged)
            }
        };
        let ended = self.end_wait(at, lost_at);
        self.phase = Phase::Runnable;
        self.since = at;
        self.at = at;
        self.last_waker = Some(waker);
        Effect { ended, anomaly }
    }

    fn end_wait(&mut self, at: Ktime, lost_at: Option<Ktime>) -> Option<Ended> {
        let Phase::Waiting(reason) = self.phase else {
            return None;
        };
        let since = self.since;
        let nanos = lost_at
            .is_none_or(|lost| lost <= since)
            .then(|| at.since(since));
        let kind = reason.kind();
        if let Some(nanos) = nanos {
            self.counters.add_blocked(kind, nanos);
        }
        let object = match (kind, self.objects.as_slice()) {
            (WaitKind::Select, _) => None,
            (_, &[object]) => Some(object),
            _ => None,
        };
        Some(Ended {
            reason,
            object,
            nanos,
        })
    }
}

impl Effect {
    fn late() -> Effect {
        Effect {
            ended: None,
            anomaly: Some(AnomalyKind::Late),
        }
    }
}

/// A goroutine in the world, as all that is known adds up.
#[derive(Clone, Copy, Debug)]
pub struct Goroutine<'w> {
    goid: Goid,
    entry: &'w Entry,
    lost_at: Option<Ktime>,
    heard_until: Ktime,
    parks_seen: bool,
}

impl<'w> Goroutine<'w> {
    pub(super) const fn new(
        goid: Goid,
        entry: &'w Entry,
        lost_at: Option<Ktime>,
        heard_until: Ktime,
        parks_seen: bool,
    ) -> Goroutine<'w> {
        Goroutine {
            goid,
            entry,
            lost_at,
            heard_until,
            parks_seen,
        }
    }

    /// Its id.
    pub const fn goid(self) -> Goid {
        self.goid
    }

    /// Its g, if known.
    pub fn gaddr(self) -> Option<GAddr> {
        self.entry.gaddr.get()
    }

    /// Who created it, if known.
    pub fn parent(self) -> Option<Goid> {
        self.entry.parent.get()
    }

    /// Its function and the `go` statement, as far as known.
    pub fn origin(self) -> Origin {
        self.entry.origin()
    }

    /// When it was created, if that was seen.
    pub fn created(self) -> Option<Ktime> {
        self.entry.known_told().created.get()
    }

    /// Whether it is the runtime's own; a goroutine that no snapshot showed yet counts as a user's.
    pub fn system(self) -> bool {
        self.entry.seen.as_ref().is_some_and(|seen| seen.system)
    }

    /// Its pprof labels at the last observation.
    pub fn labels(self) -> &'w Labels {
        &self.entry.labels
    }

    /// What was counted of it.
    pub fn counters(self) -> &'w Counters {
        &self.entry.known_told().counters
    }

    /// Where it last asked for a channel operation, if that was seen.
    pub fn last_site(self) -> Option<Pc> {
        self.entry.known_told().last_site.get()
    }

    /// Who woke it last, if that was seen.
    pub fn last_waker(self) -> Option<Waker> {
        self.entry.known_told().last_waker
    }

    /// Time of the newest event by it or for it.
    pub fn last_event(self) -> Option<Ktime> {
        let told = self.entry.known_told();
        (told.phase != Phase::Untold).then_some(told.at)
    }

    /// From when and where its state is known.
    pub fn known(self) -> Stamp {
        match self.seen() {
            Some(seen) => Stamp::memory(seen.at),
            None => Stamp::event(self.entry.known_told().at),
        }
    }

    /// If its state may have changed unseen since it was last known: the time up to which records
    /// were lost; where parks make no events, that of the last event, since what happened after it
    /// nobody said. A newer observation heals it, and so does a newer event after a loss.
    pub fn unknown_since(self) -> Option<Ktime> {
        if !self.parks_seen
            && self.seen().is_none()
            && let Some(told) = self.last_event()
        {
            return Some(told);
        }
        let doubted = self.lost_at.max(Some(self.entry.doubted))?;
        (self.entry.known_at() < doubted).then_some(doubted)
    }

    /// Its state. Events alone tell running from being in a system call only where these are traced.
    pub fn state(self) -> State {
        match self.seen() {
            Some(seen) => seen.state,
            None => match self.entry.known_told().phase {
                Phase::Untold => State::Idle,
                Phase::Running => State::Running,
                Phase::Runnable => State::Runnable,
                Phase::Waiting(_) => State::Waiting,
                Phase::Syscall => State::Syscall,
            },
        }
    }

    /// Since when it is in that state: exact for a wait or a wake-up that was seen, at the latest
    /// for running and for what memory told of a wait. `None` if not known.
    pub fn since(self) -> Option<Ktime> {
        match self.seen() {
            Some(_) => self.wait().and_then(|wait| wait.since),
            None => {
                let told = self.entry.known_told();
                (told.phase != Phase::Untold).then_some(told.since)
            }
        }
    }

    /// Why, on what and since when it waits, if it does.
    pub fn wait(self) -> Option<WaitView<'w>> {
        let told = self.entry.known_told();
        match self.seen() {
            None => match told.phase {
                Phase::Waiting(reason) => Some(WaitView {
                    reason,
                    objects: &told.objects,
                    since: Some(told.since),
                    seen: told.since,
                }),
                _ => None,
            },
            Some(seen) => {
                let wait = seen.wait.as_ref()?;
                let same = self.is_told_wait(seen.at, wait);
                Some(WaitView {
                    reason: wait.reason,
                    objects: if same && wait.objects.is_empty() {
                        &told.objects
                    } else {
                        &wait.objects
                    },
                    since: if same {
                        Some(told.since)
                    } else {
                        wait.since.get()
                    },
                    seen: if same { told.since } else { seen.wait_seen },
                })
            }
        }
    }

    /// Its stack, innermost frame first, if it was read and nothing happened to the goroutine
    /// since.
    pub fn stack(self) -> Option<&'w Arc<[Pc]>> {
        self.seen()?.stack.as_ref()
    }

    /// The stack that was read last, and when.
    pub fn last_stack(self) -> Option<(&'w Arc<[Pc]>, Ktime)> {
        let seen = self.entry.seen.as_ref()?;
        Some((seen.stack.as_ref()?, seen.at))
    }

    /// Whether its state is from a read under which it changed: the fields may not belong together.
    pub fn moving(self) -> bool {
        self.seen().is_some_and(|seen| seen.moving)
    }

    /// The observation, if that is the newest knowledge.
    fn seen(self) -> Option<&'w Seen> {
        let told_at = self.entry.known_told().at;
        let seen = self.entry.seen.as_ref();
        seen.filter(|seen| Stamp::memory(seen.at) > Stamp::event(told_at))
    }

    /// Whether what memory showed at `at` is the wait whose park was seen: nothing was heard of the
    /// goroutine since, nothing is still to come or lost, and both agree.
    fn is_told_wait(self, at: Ktime, wait: &Wait) -> bool {
        let told = self.entry.known_told();
        let agrees = match (&*told.objects, &*wait.objects) {
            ([told], [seen]) => told == seen,
            _ => true,
        };
        told.phase == Phase::Waiting(wait.reason)
            && agrees
            && self.heard_until >= at
            && self.lost_at.is_none_or(|lost| lost <= told.since)
    }

    /// Which source its state is from.
    pub fn source(self) -> Source {
        self.known().source
    }
}

/// The code address that an event carries for its actor.
pub(super) const fn site(kind: &EventKind) -> Option<Pc> {
    match kind {
        EventKind::SendBegin(op) | EventKind::ReceiveBegin(op) | EventKind::Close(op) => op.site,
        EventKind::SelectBegin { site, .. }
        | EventKind::Create { site, .. }
        | EventKind::Make { site, .. } => *site,
        EventKind::Park { .. }
        | EventKind::Run
        | EventKind::SelectEnd { .. }
        | EventKind::Acquire { .. }
        | EventKind::SyscallEnter
        | EventKind::SyscallExit
        | EventKind::Direct { .. }
        | EventKind::Ready { .. }
        | EventKind::Exit
        | EventKind::Lost { .. } => None,
    }
}
