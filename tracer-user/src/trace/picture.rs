//! What the world looks like at one moment: as the model's snapshot, from which documents are made, and
//! as the numbers that `gotrace run` shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tracer_model::ids::{Ktime, Pc};
use tracer_model::snapshot::{self, Descriptor, Snapshot, StackId, State, Waiter};
use tracer_model::symbol::Symbolizer;
use tracer_model::wait::{Direction, Wait, WaitKind, WaitObject, WaitReason};
use tracer_model::world::{Channel, Goroutine, Queue, QueuedWaiter, Queues, Waker, World};

use crate::document::moment;
use crate::document::run::{self, Goroutines, LongWait, Rates, Summary, Totals};
use crate::document::{Site, WallClock, seconds};

/// How many channels and waits a summary shows.
const TOP: usize = 3;

/// The counters at one moment; two of them make rates.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    pub(super) at: Ktime,
    pub(super) totals: Totals,
    pub(super) loss: run::Loss,
    pub(super) hits: Vec<(run::Name, u64)>,
    /// The cost of one hit in seconds.
    pub(super) hit_seconds: f64,
}

/// When memory was read last: the kernel time before and after.
pub(super) type LastRead = Option<(Ktime, Ktime)>;

/// The state of affairs now; `before` is the count of the last summary.
pub(super) fn summary(
    world: &World,
    now: &Counted,
    before: &Counted,
    symbols: &dyn Symbolizer,
    clock: WallClock,
    last_read: LastRead,
) -> Summary {
    let at = now.at;
    let moment::State {
        goroutines,
        fullest,
        longest_waits,
        ..
    } = state(world, symbols, at, last_read);
    Summary {
        governor: None,
        time: clock.rfc3339(at),
        goroutines,
        totals: now.totals.clone(),
        rates: rates(now, before),
        fullest,
        longest_waits,
        loss: now.loss.clone(),
        memory_age_seconds: last_read.map(|(_, finished)| seconds(at.since(finished))),
        memory_read_seconds: last_read.map(|(started, finished)| seconds(finished.since(started))),
    }
}

/// What is known at a time, findings left out.
pub(super) fn state(
    world: &World,
    symbols: &dyn Symbolizer,
    at: Ktime,
    last_read: LastRead,
) -> moment::State {
    let mut fullest = world.fullest_channels(TOP);
    fullest.retain(|channel| world.len_of(channel).is_some_and(|len| len > 0));
    let queues = match fullest.is_empty() {
        true => Queues::default(),
        false => world.queues_of(|chan| fullest.iter().any(|channel| channel.addr() == chan)),
    };
    moment::State {
        goroutines: census(world),
        fullest: fullest
            .into_iter()
            .map(|channel| channel_entry(world, channel, queues.get(channel.addr()), symbols))
            .collect(),
        longest_waits: world
            .longest_waits(TOP)
            .into_iter()
            .filter_map(|goroutine| long_wait(goroutine, at, symbols))
            .collect(),
        findings: Vec::new(),
        memory_age_seconds: last_read.map(|(_, finished)| seconds(at.since(finished))),
    }
}

/// The totals by name.
pub(super) fn totals(world: &World) -> Totals {
    let totals = world.totals();
    Totals {
        events: totals.events,
        sends: totals.sends,
        receives: totals.receives,
        closes: totals.closes,
        selects: totals.selects,
        parks: by_reason(&totals.parks),
        wakeups: totals.wakeups,
        wakeups_by_runtime: totals.wakeups_by_runtime,
        wakeups_from: by_reason(&totals.wakeups_from),
        created: totals.created,
        exited: totals.exited,
        made: totals.made,
        direct_sends: totals.direct_sends,
        direct_receives: totals.direct_receives,
        sends_by_runtime: totals.sends_by_runtime,
        selected: totals.selected,
        defaulted: totals.defaulted,
        acquires: totals.acquires,
        syscalls: totals.syscalls,
        syscalls_timed: totals.syscalls_timed,
        syscall_seconds: seconds(totals.syscall_nanos),
        panics: run::Panics {
            close_of_nil: totals.panics.close_of_nil,
            close_of_closed: totals.panics.close_of_closed,
            send_on_closed: totals.panics.send_on_closed,
        },
        runs: totals.runs,
        scheduled: totals.scheduled,
        scheduling_seconds: seconds(totals.scheduling_nanos),
        anomalies: totals
            .anomalies
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(kind, count)| (kind.name(), count))
            .collect(),
    }
}

fn by_reason<'a>(
    counts: impl IntoIterator<Item = (&'a WaitReason, &'a u64)>,
) -> BTreeMap<String, u64> {
    counts
        .into_iter()
        .map(|(reason, count)| (reason.to_string(), *count))
        .collect()
}

fn last_waker(waker: Waker) -> run::Waker {
    run::Waker {
        goid: waker.goid,
        wait_reason: waker.reason.to_string(),
        channel: match waker.object {
            Some(WaitObject::Chan { chan, .. }) => Some(chan.to_string()),
            _ => None,
        },
    }
}

/// What was counted of a goroutine.
pub(super) fn goroutine(goroutine: Goroutine<'_>) -> run::Goroutine {
    let counters = goroutine.counters();
    run::Goroutine {
        goid: goroutine.goid(),
        state: goroutine.state().name(),
        unknown: goroutine.unknown_since().is_some(),
        wait_reason: goroutine.wait().map(|wait| wait.reason.to_string()),
        system: goroutine.system(),
        parks: counters.parks,
        wakeups: counters.wakeups,
        wakeups_made: counters.wakeups_made,
        blocked_seconds: seconds(
            WaitKind::ALL
                .iter()
                .map(|kind| counters.blocked_nanos(*kind))
                .sum(),
        ),
        runs: counters.runs,
        scheduling_seconds: seconds(counters.scheduling_nanos),
        syscalls: counters.syscalls,
        syscall_seconds: seconds(counters.syscall_nanos),
        last_waker: goroutine.last_waker().map(last_waker),
    }
}

/// Every goroutine for the report, by goid.
pub(super) fn goroutines(world: &World) -> Vec<run::Goroutine> {
    let mut list: Vec<run::Goroutine> = world.goroutines().map(goroutine).collect();
    list.sort_unstable_by_key(|goroutine| goroutine.goid);
    list
}

/// Every channel for the report, in the order in which they were first heard of.
pub(super) fn channels(world: &World, symbols: &dyn Symbolizer) -> Vec<run::Channel> {
    let queues = world.queues();
    let mut list: Vec<run::Channel> = world
        .channels()
        .map(|channel| channel_entry(world, channel, queues.get(channel.addr()), symbols))
        .collect();
    list.sort_unstable_by_key(|channel| channel.id);
    list
}

/// Which channels a snapshot of the world has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// None: to find out who waits on which takes most of the time.
    None,
    /// Those that somebody waits on.
    Waited,
    /// Those of which it is known how full they are.
    Certain,
}

/// The world as a snapshot: what memory showed, brought up to date by events.
pub(super) fn snapshot(
    world: &World,
    shown: Shown,
    last_read: LastRead,
    descriptors: &[Descriptor],
    errors: &[String],
) -> Snapshot {
    let mut stacks = Stacks::default();
    let mut goroutines: Vec<snapshot::Goroutine> = world
        .goroutines()
        .map(|goroutine| goroutine_entry(goroutine, &mut stacks))
        .collect();
    goroutines.sort_unstable_by_key(|goroutine| goroutine.goid);
    let mut channels: Vec<snapshot::Channel> = match shown {
        Shown::None => Vec::new(),
        Shown::Waited => world
            .queues()
            .iter()
            .filter_map(|(addr, queue)| Some(channel_as_read(world.channel_at(addr)?, queue)))
            .collect(),
        Shown::Certain => {
            let queues = world.queues();
            let nobody = Queue::default();
            world
                .channels()
                .filter(|channel| world.len_of(channel).is_some() && channel.cap().is_some())
                .map(|channel| {
                    let queue = queues.get(channel.addr()).unwrap_or(&nobody);
                    channel_as_read(channel, queue)
                })
                .collect()
        }
    };
    channels.sort_unstable_by_key(|channel| channel.addr);
    let (started, finished) = last_read.unwrap_or_default();
    Snapshot {
        started,
        finished: finished.max(world.now()),
        moving: goroutines
            .iter()
            .filter(|goroutine| goroutine.moving)
            .count() as u64,
        goroutines,
        channels,
        descriptors: descriptors.to_vec(),
        stacks: stacks.list,
        reread: 0,
        errors: errors.to_vec(),
        corrupt: Vec::new(),
        reachability: None,
    }
}

/// Distinct stacks as a snapshot numbers them. The world keeps one copy of each, so that their addresses
/// tell them apart.
#[derive(Default)]
struct Stacks {
    list: Vec<Box<[Pc]>>,
    known: FxHashMap<*const Pc, StackId>,
}

impl Stacks {
    fn id(&mut self, stack: &Arc<[Pc]>) -> StackId {
        let list = &mut self.list;
        *self.known.entry(stack.as_ptr()).or_insert_with(|| {
            list.push(stack.as_ref().into());
            StackId(u32::try_from(list.len() - 1).unwrap_or(u32::MAX))
        })
    }
}

fn goroutine_entry(goroutine: Goroutine<'_>, stacks: &mut Stacks) -> snapshot::Goroutine {
    let origin = goroutine.origin();
    snapshot::Goroutine {
        at: goroutine.known().at,
        goid: goroutine.goid(),
        gaddr: goroutine.gaddr().unwrap_or_default(),
        state: goroutine.state(),
        wait: goroutine.wait().map(|wait| Wait {
            reason: wait.reason,
            objects: wait.objects.into(),
            since: wait.since.into(),
        }),
        sleeps_until: None.into(),
        system: goroutine.system(),
        parent: goroutine.parent().into(),
        created_at: origin.created_at.into(),
        start: origin.start.into(),
        stack: goroutine.stack().map(|stack| stacks.id(stack)),
        stops: None,
        stack_bytes: None.into(),
        labels: goroutine.labels().clone(),
        moving: goroutine.moving(),
    }
}

fn channel_as_read(channel: &Channel, queue: &Queue<'_>) -> snapshot::Channel {
    let waiters = |queue: &[QueuedWaiter<'_>]| -> Vec<Waiter> {
        queue
            .iter()
            .map(|waiter| Waiter {
                goid: waiter.goid,
                select: waiter.select,
                value: waiter.value.cloned().map(Box::new),
            })
            .collect()
    };
    snapshot::Channel {
        at: channel.last_activity(),
        addr: channel.addr(),
        elem_type: channel.elem_type().unwrap_or_default().into(),
        elem_size: channel.contents().map_or(0, |contents| contents.elem_size),
        len: channel.len().map_or(0, |len| len.value),
        cap: channel.cap().unwrap_or(0),
        closed: channel.closed().is_some(),
        values: channel
            .contents()
            .map(|contents| contents.values.to_vec())
            .unwrap_or_default(),
        send_waiting: waiters(&queue.send),
        recv_waiting: waiters(&queue.receive),
        users: Vec::new(),
        timer: channel.contents().and_then(|contents| contents.timer),
        made_at: channel.made().and_then(|made| made.site),
        moving: channel.contents().is_some_and(|contents| contents.moving),
    }
}

fn census(world: &World) -> Goroutines {
    let census = world.census();
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let by_state: BTreeMap<&'static str, usize> = State::ALL
        .into_iter()
        .map(|state| (state.name(), count(census.user(state))))
        .filter(|(_, number)| *number > 0)
        .collect();
    let mut by_wait = BTreeMap::new();
    for goroutine in world.goroutines().filter(|goroutine| !goroutine.system()) {
        if let Some(wait) = goroutine.wait() {
            *by_wait.entry(wait.reason.kind()).or_insert(0) += 1;
        }
    }
    Goroutines {
        by_wait,
        total: count(census.users()),
        system: count(census.systems()),
        by_state,
        unknown: count(census.unknown),
    }
}

fn channel_entry(
    world: &World,
    channel: &Channel,
    queue: Option<&Queue<'_>>,
    symbols: &dyn Symbolizer,
) -> run::Channel {
    let made = channel.made();
    let (send, receive) = (
        channel.side(Direction::Send),
        channel.side(Direction::Receive),
    );
    run::Channel {
        id: channel.id().0,
        address: channel.addr().to_string(),
        elem_type: channel.elem_type().unwrap_or_default().to_owned(),
        len: world.len_of(channel),
        cap: channel.cap(),
        closed: channel.closed().is_some(),
        made_at: made.and_then(|made| Site::of(made.site?, symbols)),
        made_by: made.map(|made| made.by),
        sends: send.operations,
        receives: receive.operations,
        closes: channel.closes(),
        parks_send: send.parks,
        parks_receive: receive.parks,
        wakeups_send: send.wakeups,
        wakeups_receive: receive.wakeups,
        direct_sends: send.direct,
        direct_receives: receive.direct,
        selected_sends: send.selected,
        selected_receives: receive.selected,
        max_len: channel.max_len(),
        send_waiting: queue.map_or(0, |queue| queue.send.len()),
        recv_waiting: queue.map_or(0, |queue| queue.receive.len()),
    }
}

fn long_wait(goroutine: Goroutine<'_>, now: Ktime, symbols: &dyn Symbolizer) -> Option<LongWait> {
    let wait = goroutine.wait()?;
    let stack = goroutine.stack().map_or(&[][..], |stack| stack);
    Some(LongWait {
        goid: goroutine.goid(),
        reason: wait.reason.to_string(),
        seconds: wait.since.map(|since| seconds(now.since(since))),
        seen_seconds: seconds(now.since(wait.seen)),
        site: Site::of_user(stack, symbols),
    })
}

fn rates(now: &Counted, before: &Counted) -> Rates {
    let seconds = seconds(now.at.since(before.at));
    let rate = |of: fn(&Totals) -> u64| {
        if seconds > 0.0 {
            of(&now.totals).saturating_sub(of(&before.totals)) as f64 / seconds
        } else {
            0.0
        }
    };
    let hits = |counted: &Counted| counted.hits.iter().map(|(_, hits)| hits).sum::<u64>();
    let spent = hits(now).saturating_sub(hits(before)) as f64 * now.hit_seconds;
    Rates {
        events: rate(|totals| totals.events),
        sends: rate(|totals| totals.sends),
        receives: rate(|totals| totals.receives),
        closes: rate(|totals| totals.closes),
        selects: rate(|totals| totals.selects),
        parks: rate(Totals::parked),
        wakeups: rate(|totals| totals.wakeups),
        created: rate(|totals| totals.created),
        exited: rate(|totals| totals.exited),
        estimated_tax: if seconds > 0.0 { spent / seconds } else { 0.0 },
    }
}
