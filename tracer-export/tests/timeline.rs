//! What a timeline draws of events, reads of memory and losses, as a table.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use tracer_export::timeline::{
    Canvas, Channel, End, Fill, Gap, Goroutine, Mark, Message, Place, Slice, Timeline, Wake,
};
use tracer_export::{Export, Part, Told};
use tracer_model::event::{ChanOp, Event, EventKind};
use tracer_model::ids::{ChanAddr, GAddr, Goid, Ktime, Pc};
use tracer_model::snapshot::{self, Snapshot, StackId, State};
use tracer_model::symbol::{Frame, Symbolizer};
use tracer_model::wait::{Direction, Wait, WaitObject, WaitReason};

const CHAN: ChanAddr = ChanAddr(0xc0);
const SITE: Pc = Pc(0x40);

struct Names;

impl Symbolizer for Names {
    fn frames(&self, pc: Pc) -> Arc<[Frame]> {
        let frame = Frame {
            function: format!("main.f{}", pc.0).into(),
            file: "/src/main.go".into(),
            line: 7,
            inlined: false,
        };
        Arc::new([frame])
    }
}

/// Writes down what it is given.
#[derive(Default)]
struct Notes(Vec<String>);

impl Canvas for Notes {
    fn goroutine(&mut self, goroutine: &Goroutine<'_>) -> io::Result<()> {
        self.0.push(format!("track {}", goroutine.title()));
        Ok(())
    }

    fn channel(&mut self, channel: &Channel<'_>) -> io::Result<()> {
        self.0.push(format!("track {}", channel.title()));
        Ok(())
    }

    fn slice(&mut self, slice: &Slice<'_>) -> io::Result<()> {
        let mut line = format!(
            "G{} {}..{} {}",
            slice.goid,
            slice.from.0,
            slice.to.0,
            slice.state.name()
        );
        match slice.end {
            End::Seen => {}
            End::Cut => line.push_str(", cut"),
            End::Open => line.push_str(", open"),
        }
        if !slice.begun {
            line.push_str(", began before");
        }
        if let Some(arrow) = slice.arrow {
            let _ = write!(line, ", arrow {arrow}");
        }
        match slice.place {
            Place::Stack(stack) => {
                let _ = write!(line, ", stack of {}", stack.len());
            }
            Place::Site(site) => {
                let _ = write!(line, ", at {site}");
            }
            Place::NotKnown => {}
        }
        self.0.push(line);
        Ok(())
    }

    fn wake(&mut self, wake: &Wake) -> io::Result<()> {
        self.0.push(format!(
            "{} G{} -> G{}, arrow {}",
            wake.at.0, wake.waker, wake.woken, wake.arrow
        ));
        Ok(())
    }

    fn message(&mut self, message: &Message) -> io::Result<()> {
        self.0.push(format!(
            "message G{} at {} -> G{} at {}",
            message.sender, message.sent.0, message.receiver, message.received.0
        ));
        Ok(())
    }

    fn fill(&mut self, fill: &Fill) -> io::Result<()> {
        self.0.push(format!("{} len {}", fill.at.0, fill.len));
        Ok(())
    }

    fn mark(&mut self, mark: &Mark) -> io::Result<()> {
        let what = if mark.closed { "closed" } else { "made" };
        self.0.push(format!("{} {what} by G{}", mark.at.0, mark.by));
        Ok(())
    }

    fn gap(&mut self, gap: &Gap<'_>) -> io::Result<()> {
        self.0
            .push(format!("{}..{} {}", gap.from.0, gap.to.0, gap.title()));
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Something to be told.
enum Step {
    Event(u64, u64, EventKind),
    Read(u64, Vec<snapshot::Goroutine>),
    Missing,
}

/// What is drawn of a part, after a beginning at 0 at which memory showed these goroutines.
#[track_caller]
fn check(
    (from, to): (u64, u64),
    known: Vec<snapshot::Goroutine>,
    steps: Vec<Step>,
    expected: &[&str],
) {
    let part = Part {
        from: Ktime(from),
        to: Ktime(to),
    };
    let mut timeline = Timeline::new(Notes::default(), part, Arc::new(Names));
    let mut tell = |told: Told<'_>| timeline.tell(told).expect("notes can be written");
    tell(Told::Known {
        at: Ktime(0),
        snapshot: Some(&read(0, known)),
        parks_seen: true,
    });
    for step in steps {
        match step {
            Step::Event(at, actor, kind) => tell(Told::Event(&Event {
                at: Ktime(at),
                actor: Goid(actor),
                kind,
            })),
            Step::Read(at, goroutines) => tell(Told::Observed(Box::new(read(at, goroutines)))),
            Step::Missing => tell(Told::Missing { what: "a block" }),
        }
    }
    timeline.finish().expect("notes can be written");
    assert_eq!(timeline.canvas().0, expected);
}

fn read(at: u64, goroutines: Vec<snapshot::Goroutine>) -> Snapshot {
    Snapshot {
        started: Ktime(at),
        finished: Ktime(at),
        goroutines,
        stacks: vec![Box::new([Pc(1), Pc(2)])],
        ..Snapshot::default()
    }
}

fn goroutine(goid: u64, at: u64, wait: Option<WaitReason>) -> snapshot::Goroutine {
    snapshot::Goroutine {
        at: Ktime(at),
        goid: Goid(goid),
        gaddr: GAddr(goid),
        state: wait.map_or(State::Running, |_| State::Waiting),
        wait: wait.map(|reason| Wait {
            reason,
            objects: [].into(),
            since: None.into(),
        }),
        sleeps_until: None.into(),
        system: false,
        parent: None.into(),
        created_at: None.into(),
        start: Pc(goid).into(),
        stack: wait.map(|_| StackId(0)),
        stops: None,
        stack_bytes: None.into(),
        labels: Vec::new().into(),
        moving: false,
    }
}

fn park(reason: WaitReason) -> EventKind {
    EventKind::Park {
        reason,
        object: None,
    }
}

fn ready(woken: u64) -> EventKind {
    EventKind::Ready {
        woken: Goid(woken),
        reason: WaitReason::ChanReceive,
        object: None,
    }
}

fn operation(fill: Option<(u32, u32)>) -> ChanOp {
    ChanOp {
        chan: Some(CHAN),
        blocking: true,
        site: Some(SITE),
        fill: fill.map(|(len, cap)| tracer_model::event::Fill { len, cap }),
    }
}

#[test]
fn goroutines_go_from_state_to_state() {
    check(
        (0, 100),
        vec![goroutine(1, 0, None)],
        vec![
            Step::Event(
                10,
                1,
                EventKind::Create {
                    child: Goid(2),
                    gaddr: GAddr(2),
                    start: Pc(2),
                    site: Some(SITE),
                },
            ),
            Step::Event(15, 2, EventKind::Run),
            Step::Event(20, 2, EventKind::ReceiveBegin(operation(None))),
            Step::Event(21, 2, park(WaitReason::ChanReceive)),
            Step::Event(30, 1, ready(2)),
            Step::Event(35, 2, EventKind::SyscallEnter),
            Step::Event(40, 2, EventKind::SyscallExit),
            Step::Event(50, 2, EventKind::Exit),
        ],
        &[
            "track G1 main.f1",
            "track G2 main.f2",
            "10 G1 -> G2, arrow 1",
            "G2 10..15 runnable, arrow 1",
            "G2 15..21 running",
            "G2 21..30 chan receive, at 0x40",
            "30 G1 -> G2, arrow 2",
            // When it began to run was not traced.
            "G2 30..35 runnable, then running, arrow 2",
            "G2 35..40 in a system call",
            "G2 40..50 running",
            "G1 0..100 running, open, began before",
        ],
    );
}

#[test]
fn messages_and_fills_are_drawn() {
    let direct = EventKind::Direct {
        chan: CHAN,
        direction: Direction::Send,
        partner: Goid(2),
        partner_selects: false,
    };
    let object = Some(WaitObject::Chan {
        chan: CHAN,
        direction: Direction::Receive,
    });
    check(
        (0, 100),
        Vec::new(),
        vec![
            Step::Event(
                5,
                1,
                EventKind::Make {
                    chan: CHAN,
                    site: Some(SITE),
                },
            ),
            Step::Event(10, 2, EventKind::ReceiveBegin(operation(Some((0, 1))))),
            Step::Event(
                11,
                2,
                EventKind::Park {
                    reason: WaitReason::ChanReceive,
                    object,
                },
            ),
            Step::Event(20, 1, EventKind::SendBegin(operation(Some((0, 1))))),
            Step::Event(21, 1, direct),
            Step::Event(22, 1, ready(2)),
            Step::Event(30, 1, EventKind::SendBegin(operation(Some((0, 1))))),
            Step::Event(40, 1, EventKind::SendBegin(operation(Some((1, 1))))),
            Step::Event(50, 1, EventKind::Close(operation(Some((1, 1))))),
        ],
        &[
            "track chan 0xc0 made at main.f64 main.go:7",
            "track G1",
            "5 made by G1",
            "10 len 0",
            "track G2",
            "G2 10..11 running",
            "message G1 at 20 -> G2 at 21",
            "G2 11..22 chan receive, at 0x40",
            "22 G1 -> G2, arrow 2",
            "40 len 1",
            "50 closed by G1",
            "G1 5..100 running, open",
            "G2 22..100 runnable, open, arrow 2",
        ],
    );
}

#[test]
fn nothing_is_guessed_across_a_loss() {
    check(
        (0, 100),
        vec![
            goroutine(1, 0, None),
            goroutine(2, 0, Some(WaitReason::ChanReceive)),
        ],
        vec![
            Step::Event(10, 1, EventKind::SyscallEnter),
            Step::Event(20, 3, EventKind::Lost { count: 3 }),
            Step::Event(30, 1, EventKind::SyscallExit),
            // The read tells again, but not before the events have come so far.
            Step::Read(
                35,
                vec![
                    goroutine(1, 35, None),
                    goroutine(2, 35, Some(WaitReason::Select)),
                ],
            ),
            Step::Event(40, 1, EventKind::Run),
            Step::Missing,
            Step::Event(60, 1, EventKind::Run),
        ],
        &[
            "track G1 main.f1",
            "G1 0..10 running, began before",
            "G1 10..10 in a system call, cut",
            "track G2 main.f2",
            "G2 0..10 chan receive, cut, began before, stack of 2",
            "10..20 3 events are lost",
            "G1 10..30 not known",
            "G2 10..35 not known",
            "G1 30..40 running, cut",
            "G2 35..40 select, cut, began before, stack of 2",
            "40..60 the recording is damaged: a block",
            "G1 40..60 not known",
            "G1 60..100 running, open",
            "G2 40..100 not known, open",
        ],
    );
}

#[test]
fn a_part_begins_with_what_was_before() {
    check(
        (25, 45),
        vec![goroutine(1, 0, None)],
        vec![
            Step::Event(10, 2, park(WaitReason::ChanReceive)),
            Step::Event(20, 3, park(WaitReason::Sleep)),
            Step::Event(22, 3, EventKind::Exit),
            Step::Event(30, 1, ready(2)),
            Step::Event(40, 1, park(WaitReason::MutexLock)),
            Step::Event(50, 4, ready(1)),
        ],
        &[
            "track G2",
            "G2 25..30 chan receive, began before",
            "track G1 main.f1",
            "30 G1 -> G2, arrow 1",
            "G1 25..40 running, began before",
            "G1 40..45 sync.Mutex.Lock, open",
            "G2 30..45 runnable, open, arrow 1",
        ],
    );
}
