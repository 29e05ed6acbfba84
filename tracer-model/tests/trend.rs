//! Trends: series that must raise one, and the many that must not.

use std::sync::Arc;

use proptest::prelude::*;
use tracer_model::detect::{Finding, FindingKind, Trends, Verdict};
use tracer_model::event::{Event, EventKind};
use tracer_model::ids::{Addr, ChanAddr, GAddr, Goid, Ktime, Pc};
use tracer_model::snapshot::{Channel, ChannelTimer, Goroutine, Snapshot, StackId, State, Waiter};
use tracer_model::symbol::{Frame, Landmark, Symbolizer};
use tracer_model::wait::{Direction, Wait, WaitObject, WaitReason};
use tracer_model::world::World;

const SECOND: u64 = 1_000_000_000;
/// The window of these tests: a block is 15 s.
const WINDOW: u64 = 180;

/// A function for each program counter; some are landmarks.
struct Names;

const READER: Pc = Pc(0x9001);
const WRITER: Pc = Pc(0x9002);
const WATCHER: Pc = Pc(0x9003);
const ACCEPTOR: Pc = Pc(0x9004);

impl Symbolizer for Names {
    fn frames(&self, pc: Pc) -> Arc<[Frame]> {
        let function = match pc.0 {
            ..0x100 => format!("runtime.f{pc}"),
            _ => format!("main.f{pc}"),
        };
        Arc::new([Frame {
            function: function.into(),
            file: "/src/app/main.go".into(),
            line: 7,
            inlined: false,
        }])
    }

    fn landmark(&self, pc: Pc) -> Option<Landmark> {
        match pc {
            READER => Some(Landmark::ResponseReader),
            WRITER => Some(Landmark::RequestWriter),
            WATCHER => Some(Landmark::ContextWatcher),
            ACCEPTOR => Some(Landmark::Acceptor),
            _ => None,
        }
    }
}

/// What a goroutine does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    /// Waits to send and never runs again.
    Stuck,
    /// Waits for the network.
    Network,
    /// Waits for work on the channel of its pool, which it gets every so many seconds.
    Works(u64),
    /// Sleeps.
    Sleeps,
    /// Receives from a ticker of its own, once a second.
    Ticks,
    /// Selects on a timer that is set.
    Expects,
    Runs,
}

/// One goroutine's life, in seconds.
#[derive(Clone, Copy, Debug)]
struct Life {
    from: u64,
    to: u64,
    does: Does,
    start: Pc,
}

impl Life {
    fn new(does: Does, from: u64, to: u64) -> Life {
        let start = Pc(0x1000 + does.number());
        Life {
            from,
            to,
            does,
            start,
        }
    }
}

impl Does {
    const fn number(self) -> u64 {
        match self {
            Does::Stuck => 1,
            Does::Network => 2,
            Does::Works(_) => 3,
            Does::Sleeps => 4,
            Does::Ticks => 5,
            Does::Expects => 6,
            Does::Runs => 7,
        }
    }
}

const FOREVER: u64 = u64::MAX;

fn chan(number: u64) -> ChanAddr {
    ChanAddr(0xc000_0000 + number * 0x100)
}

fn goroutine(goid: u64, state: State, start: Pc, stack: Option<StackId>) -> Goroutine {
    Goroutine {
        at: Ktime(0),
        goid: Goid(goid),
        gaddr: GAddr(goid * 0x400),
        state,
        wait: None,
        sleeps_until: None.into(),
        system: false,
        parent: None.into(),
        created_at: Pc(start.0 + 0x10_0000).into(),
        start: start.into(),
        stack,
        stops: Some(0),
        stack_bytes: 1024.into(),
        labels: Vec::new().into(),
        moving: false,
    }
}

fn channel(addr: ChanAddr, len: u64, cap: u64) -> Channel {
    Channel {
        at: Ktime(0),
        addr,
        elem_type: "int".into(),
        elem_size: 8,
        len,
        cap,
        closed: false,
        made_at: None,
        timer: None,
        values: Vec::new(),
        send_waiting: Vec::new(),
        recv_waiting: Vec::new(),
        users: Vec::new(),
        moving: false,
    }
}

fn waits(goroutine: &mut Goroutine, reason: WaitReason, objects: &[WaitObject]) {
    goroutine.wait = Some(Wait {
        reason,
        objects: objects.into(),
        since: None.into(),
    });
}

/// What a look at `second` shows of these lives.
fn look(lives: &[Life], second: u64) -> Snapshot {
    let mut snapshot = Snapshot {
        started: Ktime(second * SECOND + 1),
        finished: Ktime(second * SECOND + 1000),
        ..Snapshot::default()
    };
    for (goid, life) in (1..).zip(lives) {
        if second < life.from || second >= life.to {
            continue;
        }
        // A garbage collection each minute.
        let collected = (life.from / 60 + 1) * 60;
        let stack: Box<[Pc]> = Box::new([Pc(0x10), Pc(0x2000 + life.does.number()), life.start]);
        let known = snapshot.stacks.iter().position(|known| *known == stack);
        let index = known.unwrap_or_else(|| {
            snapshot.stacks.push(stack);
            snapshot.stacks.len() - 1
        });
        let id = StackId(u32::try_from(index).expect("few stacks"));
        let state = match life.does {
            Does::Runs => State::Running,
            _ => State::Waiting,
        };
        let mut one = goroutine(goid, state, life.start, Some(id));
        let object = |direction| WaitObject::Chan {
            chan: chan(goid),
            direction,
        };
        let age = second - life.from;
        match life.does {
            Does::Stuck => waits(&mut one, WaitReason::ChanSend, &[object(Direction::Send)]),
            Does::Network => waits(
                &mut one,
                WaitReason::IoWait,
                &[WaitObject::Netpoll(Addr(goid))],
            ),
            Does::Works(every) => {
                one.stops = Some((age / every) as u8);
                let pool = WaitObject::Chan {
                    chan: chan(0),
                    direction: Direction::Receive,
                };
                waits(&mut one, WaitReason::ChanReceive, &[pool]);
            }
            Does::Sleeps => {
                waits(&mut one, WaitReason::Sleep, &[]);
                one.sleeps_until = Ktime(life.to).into();
            }
            Does::Ticks | Does::Expects => {
                let ticks = life.does == Does::Ticks;
                one.stops = Some(if ticks { age as u8 } else { 0 });
                waits(
                    &mut one,
                    WaitReason::ChanReceive,
                    &[object(Direction::Receive)],
                );
                let mut timer = channel(chan(goid), 0, 1);
                timer.elem_type = "time.Time".into();
                timer.timer = Some(ChannelTimer {
                    when: Some(Ktime((second + 1) * SECOND)),
                    period: if ticks { SECOND } else { 0 },
                });
                snapshot.channels.push(timer);
            }
            Does::Runs => one.stops = Some(age as u8),
        }
        if let Some(wait) = &mut one.wait
            && life.does == Does::Stuck
        {
            wait.since = (second >= collected)
                .then_some(Ktime(collected * SECOND))
                .into();
        }
        snapshot.goroutines.push(one);
    }
    snapshot
}

/// All that is ever said of these lives, with when it was said first.
fn said(lives: &[Life], seconds: u64) -> Vec<(u64, Finding)> {
    said_between(lives, (0, seconds))
}

fn said_between(lives: &[Life], (from, to): (u64, u64)) -> Vec<(u64, Finding)> {
    let mut trends = Trends::new(WINDOW * SECOND);
    let mut said: Vec<(u64, Finding)> = Vec::new();
    for second in from..to {
        let found = trends.look(&look(lives, second), None, &Names);
        for finding in found.unwrap_or_default() {
            assert_eq!(finding.verdict, Verdict::Suspect);
            if said.iter().all(|(_, known)| known.id != finding.id) {
                said.push((second, finding));
            }
        }
    }
    said
}

/// One life each `every` seconds from `from` to `to`, each lasting `lasts`.
fn stream(does: Does, every: u64, (from, to): (u64, u64), lasts: u64) -> Vec<Life> {
    (from..to)
        .step_by(usize::try_from(every).expect("short"))
        .map(|at| Life::new(does, at, at.saturating_add(lasts)))
        .collect()
}

#[test]
fn where_some_are_stuck_for_long_a_window_is_enough() {
    let lives = stream(Does::Stuck, 2, (5, 5000), FOREVER);
    let said = said_between(&lives, (2000, 2600));
    let [(at, finding)] = said.as_slice() else {
        panic!("{said:#?}");
    };
    assert!((2180..=2240).contains(at), "at {at} s");
    assert_eq!(finding.kind, FindingKind::Growth);
    assert!(
        finding.id.0.starts_with("growth-0x101001-"),
        "{}",
        finding.id
    );
    assert_eq!(finding.created_at, Some(Pc(0x10_1001)));
    let trend = finding.trend.as_ref().expect("it is one");
    let slope = trend.slope.expect("it grows");
    assert!((slope.per_second - 0.5).abs() < 0.05, "{slope:?}");
    assert!(slope.low <= slope.per_second && slope.per_second <= slope.high);
    assert!(trend.chance.expect("tested") < 0.001);
    assert!(finding.reason.contains("chan send"), "{}", finding.reason);
    let advice = finding.advice.as_deref().expect("there is one");
    assert!(advice.contains("make(chan T, 1)"), "{advice}");
}

#[test]
fn of_a_new_program_it_takes_five() {
    let lives = stream(Does::Stuck, 2, (5, 5000), FOREVER);
    let said = said(&lives, 1200);
    let [(at, _)] = said.as_slice() else {
        panic!("{said:#?}");
    };
    assert!((900..=960).contains(at), "at {at} s");
}

#[test]
fn a_slow_leak_takes_three_windows() {
    let lives = stream(Does::Stuck, 20, (5, 9000), FOREVER);
    let said = said_between(&lives, (2000, 3200));
    let [(at, finding)] = said.as_slice() else {
        panic!("{said:#?}");
    };
    assert!((2540..=2700).contains(at), "at {at} s");
    let slope = finding.trend.as_ref().and_then(|trend| trend.slope);
    assert!((slope.expect("it grows").per_second - 0.05).abs() < 0.01);
}

#[test]
fn it_is_over_when_no_more_come() {
    let lives = stream(Does::Stuck, 2, (5, 1200), FOREVER);
    let mut trends = Trends::new(WINDOW * SECOND);
    let mut last = Vec::new();
    let mut most = 0;
    for second in 0..2400 {
        if let Some(found) = trends.look(&look(&lives, second), None, &Names) {
            most = most.max(found.len());
            last = found;
        }
    }
    assert_eq!(most, 1);
    assert_eq!(last, [], "they are still there, but it does not grow");
}

#[test]
fn goroutines_that_tick_for_ever_are_said_after_five_windows() {
    let lives = stream(Does::Ticks, 3, (5, 5000), FOREVER);
    let said = said(&lives, 1200);
    let [(at, finding)] = said.as_slice() else {
        panic!("{said:#?}");
    };
    assert!((900..=960).contains(at), "at {at} s");
    let advice = finding.advice.as_deref().expect("there is one");
    assert!(advice.contains("ticker.Stop()"), "{advice}");
}

#[test]
fn the_library_tells_which_classic_mistake_it_is() {
    let cases = [
        (Does::Stuck, READER, "resp.Body.Close()"),
        (Does::Stuck, WATCHER, "defer cancel()"),
        (Does::Network, ACCEPTOR, "Server.Shutdown"),
    ];
    for (does, start, remedy) in cases {
        let mut lives = stream(does, 3, (5, 5000), FOREVER);
        for life in &mut lives {
            life.start = start;
        }
        // A connection comes with each response that is left open, and with each request served here.
        if start == READER {
            lives.extend(stream(Does::Network, 3, (5, 5000), FOREVER));
            let mut writers = stream(Does::Stuck, 3, (5, 5000), FOREVER);
            writers.iter_mut().for_each(|life| life.start = WRITER);
            lives.extend(writers);
        }
        let said = said(&lives, 1100);
        let [(_, finding)] = said.as_slice() else {
            panic!("{said:#?}");
        };
        let advice = finding.advice.as_deref().expect("there is one");
        assert!(advice.contains(remedy), "{advice}");
    }
}

/// Series that engineers know and that are as they should be, each watched for an hour.
#[test]
fn nothing_is_said_of_what_is_well() {
    let hour = 3600;
    let mut wells: Vec<(&str, Vec<Life>)> = vec![
        (
            "a ramp at the start",
            stream(Does::Stuck, 1, (0, 100), FOREVER),
        ),
        (
            "all there from the beginning",
            stream(Does::Stuck, 1, (0, 1), FOREVER).repeat(500),
        ),
        ("a burst", vec![Life::new(Does::Stuck, 400, FOREVER); 1000]),
        (
            "a burst that passes",
            vec![Life::new(Does::Stuck, 400, 900); 1000],
        ),
        (
            "a pool that fills and works",
            stream(Does::Works(5), 4, (30, 1800), FOREVER),
        ),
        (
            "requests that wait long",
            stream(Does::Stuck, 1, (0, hour), 120),
        ),
        ("sleepers", stream(Does::Sleeps, 2, (0, hour), FOREVER)),
        (
            "those that wait for a time-out",
            stream(Does::Expects, 2, (0, hour), FOREVER),
        ),
        ("connections", stream(Does::Network, 2, (0, hour), FOREVER)),
        ("busy ones that end", stream(Does::Runs, 1, (0, hour), 300)),
    ];
    // Each user has a goroutine that reads and one that waits for something to write.
    let mut users = stream(Does::Network, 3, (0, hour), FOREVER);
    users.extend(stream(Does::Stuck, 3, (0, hour), FOREVER));
    wells.push(("the users of a morning", users));
    // A batch that waits for its end, every quarter of an hour.
    let batches = (0..4).flat_map(|batch| {
        let (from, to) = (batch * 900 + 60, batch * 900 + 200);
        (from..to).map(move |at| Life::new(Does::Stuck, at, to))
    });
    wells.push(("batches", batches.collect()));
    // It fills ever more slowly.
    let filling = (0..400u64).map(|n| {
        let at = 60.0 - 120.0 * (1.0 - n as f64 / 400.0).ln();
        Life::new(Does::Stuck, at as u64, FOREVER)
    });
    wells.push(("a pool that fills ever more slowly", filling.collect()));
    // Some that follow the sun, with lives of five minutes on average: 24 hours in one.
    let mut random = fastrand::Rng::with_seed(1);
    let mut day = Vec::new();
    for at in 0..hour {
        let phase = at as f64 / hour as f64 * std::f64::consts::TAU;
        for _ in 0..(2.0 * (1.0 - phase.cos())).round() as usize {
            let life = -300.0 * (1.0 - random.f64()).ln();
            day.push(Life::new(Does::Stuck, at, at + life as u64));
        }
    }
    wells.push(("a day in an hour", day));
    // The first hour of a service whose sessions live for ten minutes, no more and no less.
    wells.push(("sessions", stream(Does::Stuck, 1, (10, hour), 600)));
    // The first hour of a service whose sessions live for half an hour.
    let sessions = (0..).map_while(|n: u64| {
        let (at, life) = (n * 6, -1800.0 * (1.0 - random.f64()).ln());
        (at < hour).then(|| Life::new(Does::Stuck, at, at + life as u64))
    });
    wells.push(("the first sessions", sessions.collect()));
    for (name, lives) in wells {
        let said = said(&lives, hour);
        assert!(said.is_empty(), "{name}: {said:#?}");
    }
}

#[test]
fn after_a_hole_it_begins_anew() {
    let lives = stream(Does::Stuck, 2, (5, 3000), FOREVER);
    let mut trends = Trends::new(WINDOW * SECOND);
    for second in (0..150).chain(400..550) {
        let found = trends.look(&look(&lives, second), None, &Names);
        assert_eq!(found.unwrap_or_default(), []);
    }
}

#[test]
fn rare_looks_take_longer() {
    let lives = stream(Does::Stuck, 10, (5, 20_000), FOREVER);
    let mut trends = Trends::new(WINDOW * SECOND);
    let first = (0..20_000).step_by(120).find(|&second| {
        let found = trends.look(&look(&lives, second), None, &Names);
        !found.unwrap_or_default().is_empty()
    });
    // Two looks a block, a window of twelve blocks, and the first look of all.
    assert!(
        (24 * 120..40 * 120).contains(&first.expect("it grows")),
        "{first:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Numbers that stay around a value, whatever the rate at which goroutines come and how long they
    /// stay: each life is drawn. The first ones were there before, or none was, as in a program that has
    /// just begun.
    #[test]
    fn nothing_is_said_of_what_is_stationary(
        seed in any::<u64>(),
        per_minute in 1u64..120,
        life in 5u64..800,
        fixed in any::<bool>(),
        begins in any::<bool>(),
        does in prop_oneof![Just(Does::Stuck), Just(Does::Ticks), Just(Does::Runs)],
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mean = life as f64;
        let (warm, watched) = (if begins { 0 } else { 6 * life }, 1500);
        let mut lives = Vec::new();
        let mut at = 0.0;
        loop {
            at -= (1.0 - random.f64()).ln() * 60.0 / per_minute as f64;
            if at >= (warm + watched) as f64 {
                break;
            }
            let lasts = match fixed {
                true => mean,
                false => -(1.0 - random.f64()).ln() * mean,
            };
            let (from, to) = (at as u64, (at + lasts) as u64 + 1);
            if to > warm {
                lives.push(Life::new(does, from.saturating_sub(warm), to - warm));
            }
        }
        let said = said(&lives, watched);
        prop_assert!(said.is_empty(), "{said:#?}");
    }
}

/// A look at a channel with these waiting to send.
fn queue(second: u64, addr: ChanAddr, (len, cap): (u64, u64), waiting: &[u64]) -> Snapshot {
    let mut snapshot = look(&[], second);
    snapshot.stacks.push(Box::new([Pc(0x10), Pc(0x2100)]));
    for &goid in waiting {
        let mut one = goroutine(goid, State::Waiting, Pc(0x1100), Some(StackId(0)));
        let object = WaitObject::Chan {
            chan: addr,
            direction: Direction::Send,
        };
        waits(&mut one, WaitReason::ChanSend, &[object]);
        snapshot.goroutines.push(one);
    }
    let mut full = channel(addr, len, cap);
    full.send_waiting = waiting
        .iter()
        .map(|&goid| Waiter {
            goid: Goid(goid),
            select: false,
            value: None,
        })
        .collect();
    snapshot.channels.push(full);
    snapshot
}

fn queues_said(looks: impl Iterator<Item = Snapshot>) -> Vec<Finding> {
    let mut trends = Trends::new(WINDOW * SECOND);
    let mut said: Vec<Finding> = Vec::new();
    for snapshot in looks {
        for finding in trends.look(&snapshot, None, &Names).unwrap_or_default() {
            if said.iter().all(|known| known.id != finding.id) {
                said.push(finding);
            }
        }
    }
    said
}

#[test]
fn a_channel_that_stays_full_while_ever_others_wait_is_a_backlog() {
    let said = queues_said((0..200).map(|second| {
        let waiting = [second + 10, second + 11, second + 12];
        queue(second, chan(1), (4, 4), &waiting)
    }));
    let [finding] = said.as_slice() else {
        panic!("{said:#?}");
    };
    assert_eq!(finding.kind, FindingKind::Backlog);
    assert!(
        finding
            .reason
            .starts_with("channel 0xc0000100 (chan int, cap 4) is full at every look for 3 min"),
        "{}",
        finding.reason
    );
    assert_eq!(finding.goroutines.len(), 3);
    assert!(
        finding.evidence[1].contains("not known"),
        "{:?}",
        finding.evidence
    );
}

#[test]
fn events_tell_who_is_slow() {
    let mut trends = Trends::new(WINDOW * SECOND);
    let mut world = World::new();
    let mut last = Vec::new();
    for second in 0..200 {
        let waiting = [second + 10, second + 11, second + 12];
        let mut snapshot = queue(second, chan(1), (4, 4), &waiting);
        let receiver = goroutine(7, State::Running, Pc(0x1200), Some(StackId(0)));
        snapshot.goroutines.push(receiver);
        world.observe(&snapshot);
        if let Some(found) = trends.look(&snapshot, Some(&world), &Names) {
            last = found;
        }
        world.apply(&Event {
            at: Ktime(second * SECOND + SECOND / 2),
            actor: Goid(7),
            kind: EventKind::Ready {
                woken: Goid(second + 11),
                reason: WaitReason::ChanSend,
                object: Some(WaitObject::Chan {
                    chan: chan(1),
                    direction: Direction::Send,
                }),
            },
        });
    }
    let [finding] = last.as_slice() else {
        panic!("{last:#?}");
    };
    let trend = finding.trend.as_ref().expect("it is one");
    assert_eq!(trend.served_by, Some(Goid(7)));
    assert!(
        finding.evidence[1].starts_with("goroutine 7 receives from it ("),
        "{:?}",
        finding.evidence
    );
    assert!(finding.evidence[1].ends_with("it is running at main.f0x2100 (main.go:7)"));
}

#[test]
fn a_pipeline_a_limit_and_a_short_jam_are_no_backlog() {
    let few = (0..600).map(|second| queue(second, chan(1), (4, 4), &[10, 11, 12]));
    assert_eq!(queues_said(few), [], "a source faster than its sink");

    let limit = (0..600).map(|second| {
        let waiting: Vec<u64> = (second..second + 20).collect();
        let mut snapshot = queue(second, chan(1), (4, 4), &waiting);
        snapshot.channels[0].elem_size = 0;
        snapshot
    });
    assert_eq!(queues_said(limit), [], "permits that are used up");

    let jams = (0..600).map(|second| {
        let waiting: Vec<u64> = (second..second + 20).collect();
        match second % 100 < 80 {
            true => queue(second, chan(1), (4, 4), &waiting),
            false => queue(second, chan(1), (2, 4), &[]),
        }
    });
    assert_eq!(queues_said(jams), [], "it is emptied now and then");
}

#[test]
fn a_channel_that_nobody_takes_from_is_said_so() {
    let waiting: Vec<u64> = (10..30).collect();
    let looks = (0..200).map(|second| queue(second, chan(1), (4, 4), &waiting));
    let said = queues_said(looks);
    let backlog = said.iter().find(|it| it.kind == FindingKind::Backlog);
    let reason = &backlog.expect("there is one").reason;
    assert!(
        reason.ends_with("and nobody takes anything out"),
        "{reason}"
    );
}

/// A look at a lock with so many waiting, of whom others are first each time if it moves.
fn lock(second: u64, waiting: u64, moves: bool) -> Snapshot {
    let mut snapshot = look(&[], second);
    snapshot.stacks.push(Box::new([Pc(0x10), Pc(0x2200)]));
    let first = if moves { second } else { 0 };
    for goid in first..first + waiting {
        let mut one = goroutine(goid + 10, State::Waiting, Pc(0x1100), Some(StackId(0)));
        waits(
            &mut one,
            WaitReason::MutexLock,
            &[WaitObject::Semaphore(Addr(0x5000))],
        );
        snapshot.goroutines.push(one);
    }
    snapshot
}

#[test]
fn a_crowd_at_a_lock_is_a_convoy() {
    let said = queues_said((0..200).map(|second| lock(second, 12, true)));
    let [finding] = said.as_slice() else {
        panic!("{said:#?}");
    };
    assert_eq!(
        (finding.kind, finding.goroutines.len()),
        (FindingKind::Convoy, 12)
    );
    assert!(
        finding.reason.ends_with("one after the other"),
        "{}",
        finding.reason
    );
    assert!(
        finding.evidence[1].contains("main.f0x2200"),
        "{:?}",
        finding.evidence
    );

    let said = queues_said((0..200).map(|second| lock(second, 12, false)));
    assert!(said[0].reason.ends_with("none of the first ones got it"));

    let spread = queues_said((0..200).map(|second| {
        let mut snapshot = lock(second, 20, true);
        for (one, goroutine) in (0..).zip(&mut snapshot.goroutines) {
            let own = WaitObject::Semaphore(Addr(0x6000 + one * 8));
            waits(goroutine, WaitReason::MutexLock, &[own]);
        }
        snapshot
    }));
    assert!(spread[0].reason.starts_with("half of all goroutines"));

    let few = queues_said((0..600).map(|second| lock(second, 5, true)));
    assert_eq!(few, [], "some always wait for a lock that is used");
    let at_times = queues_said((0..600).map(|second| lock(second, (second % 5) * 4, true)));
    assert_eq!(at_times, []);
}

#[test]
fn a_stack_that_only_grows_is_a_recursion() {
    let depth = |bytes: &dyn Fn(u64) -> u64| {
        let looks = (0..400).map(|second| {
            let mut snapshot = look(&[Life::new(Does::Works(1), 0, FOREVER)], second);
            snapshot.goroutines[0].stack_bytes = bytes(second).into();
            snapshot
        });
        queues_said(looks)
    };
    let said = depth(&|second| (20 << 10) + second * 1024);
    let [finding] = said.as_slice() else {
        panic!("{said:#?}");
    };
    assert_eq!(finding.kind, FindingKind::Recursion);
    assert_eq!(finding.goroutines, [Goid(1)]);

    assert_eq!(depth(&|_| 1 << 20), [], "deep, but it stays so");
    assert_eq!(depth(&|second| (second % 60) << 14), [], "it comes back");
    assert_eq!(depth(&|second| second.min(60) << 12), [], "it has stopped");
    assert_eq!(depth(&|second| second * 10), [], "it is small");
}
