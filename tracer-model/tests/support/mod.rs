//! A small language for tables: one event or observation a line, one line of state for each
//! goroutine and channel.
//!
//! Addresses are small numbers: `c1` is the hchan at 0x1000, `s1` the semaphore at 0x51000. Times
//! are nanoseconds.

#![allow(
    dead_code,
    reason = "every test binary uses its own part of this module"
)]

use std::fmt::Write as _;

use tracer_model::event::{ChanOp, Event, EventKind, Fill};
use tracer_model::ids::{Addr, ChanAddr, GAddr, Goid, Ktime, Pc};
use tracer_model::snapshot::{
    Channel, Goroutine, Holder, Reachability, Snapshot, StackId, State, Unused, WaitTarget, Waiter,
};
use tracer_model::wait::{Direction, Wait, WaitObject, WaitReason};
use tracer_model::world::World;

/// Feeds a script to the world: one line an event, or `snapshot FROM..TO` followed by indented
/// lines of what it saw, or `heard TIME` when no event from before that is still to come.
pub(crate) fn run(world: &mut World, script: &str) {
    let mut snapshot: Option<Snapshot> = None;
    for line in script.lines().filter(|line| !line.trim().is_empty()) {
        let text = line.trim();
        if let Some(span) = text.strip_prefix("snapshot ") {
            if let Some(done) = snapshot.take() {
                world.observe(&done);
            }
            snapshot = Some(empty_snapshot(span));
        } else if text.starts_with('|') {
            let snapshot = snapshot.as_mut().expect("a `|` line outside a snapshot");
            observed(snapshot, text.trim_start_matches('|').trim());
        } else {
            if let Some(done) = snapshot.take() {
                world.observe(&done);
            }
            match text.strip_prefix("heard ") {
                Some(until) => world.heard_until(Ktime(number(until))),
                None => world.apply(&event(text)),
            }
        }
    }
    if let Some(done) = snapshot.take() {
        world.observe(&done);
    }
}

/// A snapshot from lines as in [`run`], without the bar.
pub(crate) fn snapshot(span: &str, lines: &str) -> Snapshot {
    let mut snapshot = empty_snapshot(span);
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        observed(&mut snapshot, line);
    }
    snapshot
}

fn empty_snapshot(span: &str) -> Snapshot {
    let (started, finished) = span.split_once("..").expect("FROM..TO");
    Snapshot {
        started: Ktime(number(started)),
        finished: Ktime(number(finished)),
        ..Snapshot::default()
    }
}

/// What the mark found, one fact a line: `unreached gN,gN`, `unused none`, `gN unused VARIABLE cN`, `running gN,gN`, `ran gN,gN`, `gN holds cN cN sN`,
/// `error TEXT`.
pub(crate) fn mark(snapshot: &Snapshot, lines: &str) -> Reachability {
    let mut mark = Reachability {
        started: snapshot.finished,
        finished: Ktime(snapshot.finished.0 + 10),
        ..Reachability::default()
    };
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["unreached", goids] => mark.unreached.extend(goids.split(',').map(goid)),
            ["running", goids] => mark.running.extend(goids.split(',').map(goid)),
            ["ran", goids] => mark.ran.extend(goids.split(',').map(goid)),
            ["unused", "none"] => mark.unused = Some(Vec::new()),
            [who, "unused", variable, target] => {
                let addr = target_addr(target);
                mark.unused.get_or_insert_default().push(Unused {
                    goid: goid(who),
                    object: WaitTarget(addr),
                    variable: (*variable).into(),
                    path: vec![Addr(0x50_0000), addr],
                });
            }
            [who, "holds", targets @ ..] => {
                for target in targets {
                    let addr = target_addr(target);
                    mark.holders.push(Holder {
                        object: WaitTarget(addr),
                        goid: goid(who),
                        path: vec![Addr(0x77_0000), addr],
                        frame: Some(2),
                    });
                }
            }
            ["error", ..] => mark.errors.push(line.to_owned()),
            _ => panic!("not about a mark: {line}"),
        }
    }
    mark
}

fn target_addr(target: &str) -> Addr {
    match target.strip_prefix('c') {
        Some(_) => Addr(chan_addr(target).0),
        None => semaphore_addr(target),
    }
}

/// `AT gN VERB …`
pub(crate) fn event(line: &str) -> Event {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (at, actor, verb, rest) = match words.as_slice() {
        [at, "lost", count] => {
            return Event {
                at: Ktime(number(at)),
                actor: Goid(0),
                kind: EventKind::Lost {
                    count: number(count),
                },
            };
        }
        [at, actor, verb, rest @ ..] => (*at, *actor, *verb, rest),
        _ => panic!("not an event: {line}"),
    };
    let kind = match (verb, rest) {
        ("send", [chan, rest @ ..]) => EventKind::SendBegin(operation(chan, rest)),
        ("recv", [chan, rest @ ..]) => EventKind::ReceiveBegin(operation(chan, rest)),
        ("close", [chan, rest @ ..]) => EventKind::Close(operation(chan, rest)),
        ("select", cases) => EventKind::SelectBegin {
            // `nil` is a case too, and left out.
            cases: cases
                .iter()
                .filter(|case| **case != "nil")
                .map(|case| object(case))
                .collect(),
            nils: (0..)
                .zip(cases)
                .map(|(index, case)| u32::from(*case == "nil") << index)
                .sum(),
            blocking: true,
            truncated: false,
            site: None,
        },
        ("park", [what]) => {
            let (reason, object) = wait(what);
            EventKind::Park { reason, object }
        }
        ("ready", [woken, what]) => {
            let (reason, object) = wait(what);
            EventKind::Ready {
                woken: goid(woken),
                reason,
                object: object.filter(|object| matches!(object, WaitObject::Chan { .. })),
            }
        }
        ("create", [child]) => EventKind::Create {
            child: goid(child),
            gaddr: GAddr(0xc000 + goid(child).0),
            start: Pc(0x400),
            site: Some(Pc(0x500)),
        },
        ("run", []) => EventKind::Run,
        ("selected", ["default"]) => EventKind::SelectEnd { case: None },
        ("selected", [case]) => EventKind::SelectEnd {
            case: Some(number(case) as u32),
        },
        ("acquire", [lock]) => EventKind::Acquire {
            object: object(lock),
        },
        ("enter", []) => EventKind::SyscallEnter,
        ("leave", []) => EventKind::SyscallExit,
        ("make", [chan]) => EventKind::Make {
            chan: chan_addr(chan),
            site: Some(Pc(0x600)),
        },
        ("meet", [case, partner, rest @ ..]) => {
            let WaitObject::Chan { chan, direction } = object(case) else {
                panic!("only channels have two sides: {line}");
            };
            EventKind::Direct {
                chan,
                direction,
                partner: goid(partner),
                partner_selects: *rest == ["select"],
            }
        }
        ("exit", []) => EventKind::Exit,
        _ => panic!("not an event: {line}"),
    };
    Event {
        at: Ktime(number(at)),
        actor: goid(actor),
        kind,
    }
}

/// `AT gN STATE [WAIT [since T]] [stack PC,PC…] [moving] [system] [parent gN]` or
/// `AT cN LEN/CAP [closed] [type T] [send gN,gN…] [recv gN,gN…]`.
fn observed(snapshot: &mut Snapshot, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [at, who, state, rest @ ..] = words.as_slice() else {
        panic!("not an observation: {line}");
    };
    let at = Ktime(number(at));
    if who.starts_with('g') {
        let goroutine = observed_goroutine(snapshot, at, goid(who), state, rest);
        snapshot.goroutines.push(goroutine);
    } else {
        snapshot
            .channels
            .push(observed_channel(at, who, state, rest));
    }
}

fn observed_goroutine(
    snapshot: &mut Snapshot,
    at: Ktime,
    goid: Goid,
    state: &str,
    mut rest: &[&str],
) -> Goroutine {
    let state = *State::ALL
        .iter()
        .find(|known| known.name() == state)
        .unwrap_or_else(|| panic!("not a state: {state}"));
    let mut goroutine = Goroutine {
        at,
        goid,
        gaddr: GAddr(0xc000 + goid.0),
        state,
        wait: None,
        sleeps_until: None.into(),
        system: false,
        parent: None.into(),
        created_at: None.into(),
        start: None.into(),
        stack: None,
        stops: None,
        stack_bytes: None.into(),
        labels: Vec::new().into(),
        moving: false,
    };
    if state == State::Waiting {
        let mut objects = Vec::new();
        let (reason, first) = wait(rest[0]);
        objects.extend(first);
        rest = &rest[1..];
        while let [case, after @ ..] = rest
            && reason == WaitReason::Select
            && case.starts_with('c')
        {
            objects.push(object(case));
            rest = after;
        }
        goroutine.wait = Some(Wait {
            reason,
            objects: objects.into(),
            since: None.into(),
        });
    }
    loop {
        rest = match rest {
            [] => return goroutine,
            ["since", time, rest @ ..] => {
                let wait = goroutine.wait.as_mut().expect("since is of a wait");
                wait.since = Ktime(number(time)).into();
                rest
            }
            ["stack", pcs, rest @ ..] => {
                let stack: Box<[Pc]> = pcs.split(',').map(|pc| Pc(number(pc))).collect();
                let known = snapshot.stacks.iter().position(|known| *known == stack);
                let index = known.unwrap_or_else(|| {
                    snapshot.stacks.push(stack);
                    snapshot.stacks.len() - 1
                });
                goroutine.stack = Some(StackId(u32::try_from(index).expect("few stacks")));
                rest
            }
            ["moving", rest @ ..] => {
                goroutine.moving = true;
                rest
            }
            ["system", rest @ ..] => {
                goroutine.system = true;
                rest
            }
            ["parent", parent, rest @ ..] => {
                goroutine.parent = Goid(number(&parent[1..])).into();
                rest
            }
            _ => panic!("not about a goroutine: {rest:?}"),
        };
    }
}

fn observed_channel(at: Ktime, chan: &str, fill: &str, mut rest: &[&str]) -> Channel {
    let (len, cap) = fill.split_once('/').expect("LEN/CAP");
    let mut channel = Channel {
        at,
        addr: chan_addr(chan),
        elem_type: Box::default(),
        elem_size: 8,
        len: number(len),
        cap: number(cap),
        closed: false,
        values: Vec::new(),
        send_waiting: Vec::new(),
        recv_waiting: Vec::new(),
        users: Vec::new(),
        timer: None,
        made_at: None,
        moving: false,
    };
    let waiters = |goids: &str| -> Vec<Waiter> {
        goids
            .split(',')
            .map(|waiter| Waiter {
                goid: goid(waiter),
                select: false,
                value: None,
            })
            .collect()
    };
    loop {
        rest = match rest {
            [] => return channel,
            ["closed", rest @ ..] => {
                channel.closed = true;
                rest
            }
            ["type", name, rest @ ..] => {
                channel.elem_type = (*name).into();
                rest
            }
            ["send", goids, rest @ ..] => {
                channel.send_waiting = waiters(goids);
                rest
            }
            ["recv", goids, rest @ ..] => {
                channel.recv_waiting = waiters(goids);
                rest
            }
            _ => panic!("not about a channel: {rest:?}"),
        };
    }
}

fn operation(chan: &str, rest: &[&str]) -> ChanOp {
    ChanOp {
        chan: (chan != "nil").then(|| chan_addr(chan)),
        blocking: true,
        site: rest
            .iter()
            .find_map(|word| word.strip_prefix('@'))
            .map(|pc| Pc(number(pc))),
        fill: rest
            .iter()
            .find_map(|word| word.split_once('/'))
            .map(|(len, cap)| Fill {
                len: u32::try_from(number(len)).expect("small"),
                cap: u32::try_from(number(cap)).expect("small"),
            }),
    }
}

/// `send:c1`, `recv:c1`, `send:nil`, `recv:nil`, `select`, `select{}`, `sleep`, `io`, `mutex`,
/// `mutex:s1`, `wg:s1`.
pub(crate) fn wait(what: &str) -> (WaitReason, Option<WaitObject>) {
    let (name, target) = match what.split_once(':') {
        Some((name, target)) => (name, Some(target)),
        None => (what, None),
    };
    match (name, target) {
        ("send", Some("nil")) => (WaitReason::ChanSendNil, None),
        ("recv", Some("nil")) => (WaitReason::ChanReceiveNil, None),
        ("send", chan) => (
            WaitReason::ChanSend,
            chan.map(|chan| chan_object(chan, Direction::Send)),
        ),
        ("recv", chan) => (
            WaitReason::ChanReceive,
            chan.map(|chan| chan_object(chan, Direction::Receive)),
        ),
        ("select", None) => (WaitReason::Select, None),
        ("select{}", None) => (WaitReason::SelectNoCases, None),
        ("sleep", None) => (WaitReason::Sleep, None),
        ("io", None) => (WaitReason::IoWait, None),
        ("preempted", None) => (WaitReason::Preempted, None),
        ("mutex", semaphore) => (WaitReason::MutexLock, semaphore.map(semaphore_object)),
        ("wg", semaphore) => (WaitReason::WaitGroupWait, semaphore.map(semaphore_object)),
        _ => panic!("not a wait: {what}"),
    }
}

/// `c1<` is a send case, `c1>` a receive case, `s1` a semaphore.
pub(crate) fn object(case: &str) -> WaitObject {
    if case.starts_with('s') {
        return semaphore_object(case);
    }
    match case.strip_suffix('<') {
        Some(chan) => chan_object(chan, Direction::Send),
        None => chan_object(
            case.strip_suffix('>').expect("c1< or c1>"),
            Direction::Receive,
        ),
    }
}

fn chan_object(chan: &str, direction: Direction) -> WaitObject {
    WaitObject::Chan {
        chan: chan_addr(chan),
        direction,
    }
}

fn semaphore_object(name: &str) -> WaitObject {
    WaitObject::Semaphore(semaphore_addr(name))
}

fn semaphore_addr(name: &str) -> Addr {
    Addr(0x50000 + 0x1000 * number(name.strip_prefix('s').expect("sN")))
}

pub(crate) fn chan_addr(name: &str) -> ChanAddr {
    ChanAddr(0x1000 * number(name.strip_prefix('c').expect("cN")))
}

pub(crate) fn goid(name: &str) -> Goid {
    Goid(number(name.strip_prefix('g').expect("gN")))
}

fn number(text: &str) -> u64 {
    text.parse()
        .unwrap_or_else(|_| panic!("not a number: {text}"))
}

pub(crate) fn show_object(object: WaitObject) -> String {
    match object {
        WaitObject::Chan { chan, direction } => {
            let arrow = match direction {
                Direction::Send => '<',
                Direction::Receive => '>',
            };
            format!("c{}{arrow}", chan.0 / 0x1000)
        }
        WaitObject::Semaphore(addr) => format!("s{}", (addr.0 - 0x50000) / 0x1000),
        WaitObject::Cond(addr) | WaitObject::Netpoll(addr) => addr.to_string(),
    }
}

/// `gN STATE [REASON [OBJECTS]] [since T] [unknown]`, by goid.
pub(crate) fn goroutines(world: &World) -> String {
    let mut all: Vec<_> = world.goroutines().collect();
    all.sort_by_key(|goroutine| goroutine.goid());
    let mut text = String::new();
    for goroutine in all {
        write!(text, "g{} {}", goroutine.goid(), goroutine.state()).expect("a string");
        if let Some(wait) = goroutine.wait() {
            write!(text, " [{}]", wait.reason).expect("a string");
            for &object in wait.objects {
                write!(text, " {}", show_object(object)).expect("a string");
            }
        }
        if let Some(since) = goroutine.since() {
            write!(text, " since {}", since.0).expect("a string");
        }
        if goroutine.unknown_since().is_some() {
            text.push_str(" unknown");
        }
        text.push('\n');
    }
    text
}

/// `cN #ID LEN/CAP [closed] [send gN,gN] [recv gN,gN]`, by address.
pub(crate) fn channels(world: &World) -> String {
    let queues = world.queues();
    let mut all: Vec<_> = world.channels().collect();
    all.sort_by_key(|channel| channel.addr());
    let mut text = String::new();
    for channel in all {
        let show = |value: Option<u64>| value.map_or("?".to_owned(), |value| value.to_string());
        write!(
            text,
            "c{} #{} {}/{}",
            channel.addr().0 / 0x1000,
            channel.id().0,
            show(channel.len().map(|known| known.value)),
            show(channel.cap()),
        )
        .expect("a string");
        if channel.closed().is_some() {
            text.push_str(" closed");
        }
        if let Some(queue) = queues.get(channel.addr()) {
            for (side, waiters) in [("send", &queue.send), ("recv", &queue.receive)] {
                if !waiters.is_empty() {
                    let goids: Vec<String> = waiters
                        .iter()
                        .map(|waiter| format!("g{}", waiter.goid))
                        .collect();
                    write!(text, " {side} {}", goids.join(",")).expect("a string");
                }
            }
        }
        text.push('\n');
    }
    text
}

/// The lines of an expected text, without its indentation.
pub(crate) fn lines(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        out.push_str(line);
        out.push('\n');
    }
    out
}
