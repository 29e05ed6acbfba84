//! Memory does not grow with events: ten times as many need no more of it. A program of its own, since nothing
//! else may allocate meanwhile.

use std::io::{self, Write};
use std::sync::Arc;

use tracer_export::block::Blocking;
use tracer_export::chrome::Chrome;
use tracer_export::csv::Csv;
use tracer_export::perfetto::Perfetto;
use tracer_export::timeline::Timeline;
use tracer_export::{About, Clocks, Export, Part, Symbols, Told};
use tracer_model::event::{ChanOp, Event, EventKind, Fill};
use tracer_model::ids::{ChanAddr, GAddr, Goid, Ktime, Pc};
use tracer_model::snapshot::Snapshot;
use tracer_model::symbol::{Frame, Symbolizer};
use tracer_model::wait::{Direction, WaitObject, WaitReason};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Rounds of the fewer events.
const ROUNDS: u64 = 1000;

struct Names(Arc<[Frame]>);

impl Symbolizer for Names {
    fn frames(&self, _: Pc) -> Arc<[Frame]> {
        Arc::clone(&self.0)
    }
}

/// Counts bytes and keeps none.
#[derive(Default)]
struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A goroutine comes, hands a value over, and goes; one stays.
fn round(round: u64, mut hear: impl FnMut(&Event)) {
    let chan = ChanAddr(0xc000_0000 + 96 * (round % 50));
    let child = Goid(2 + round);
    let mut at = 1000 * round;
    let operation = ChanOp {
        chan: Some(chan),
        blocking: true,
        site: Some(Pc(1 + round % 7)),
        fill: Some(Fill { len: 0, cap: 1 }),
    };
    let object = Some(WaitObject::Chan {
        chan,
        direction: Direction::Receive,
    });
    let reason = WaitReason::ChanReceive;
    let create = EventKind::Create {
        child,
        gaddr: GAddr(0xc100_0000),
        start: Pc(20),
        site: Some(Pc(30)),
    };
    let direct = EventKind::Direct {
        chan,
        direction: Direction::Send,
        partner: child,
        partner_selects: false,
    };
    let ready = EventKind::Ready {
        woken: child,
        reason,
        object,
    };
    for (actor, kind) in [
        (
            Goid(1),
            EventKind::Make {
                chan,
                site: Some(Pc(40)),
            },
        ),
        (Goid(1), create),
        (child, EventKind::Run),
        (child, EventKind::ReceiveBegin(operation)),
        (child, EventKind::Park { reason, object }),
        (Goid(1), EventKind::SendBegin(operation)),
        (Goid(1), direct),
        (Goid(1), ready),
        (child, EventKind::Run),
        (Goid(1), EventKind::Lost { count: 1 }),
        (child, EventKind::Exit),
    ] {
        at += 10;
        hear(&Event {
            at: Ktime(at),
            actor,
            kind,
        });
    }
}

/// The most bytes that were allocated at once while so many rounds were exported.
fn peak(rounds: u64, export: &mut dyn Export) -> usize {
    let before = dhat::HeapStats::get().curr_bytes;
    let mut most = before;
    export
        .tell(Told::Known {
            at: Ktime(0),
            snapshot: None,
            parks_seen: true,
        })
        .expect("counting does not fail");
    for number in 0..rounds {
        round(number, |event| {
            export
                .tell(Told::Event(event))
                .expect("counting does not fail");
        });
        // As a recording has one now and then: who has ended need not be remembered any more.
        if number % 100 == 99 {
            let at = Ktime(1000 * number + 500);
            let snapshot = Snapshot {
                started: at,
                finished: at,
                ..Snapshot::default()
            };
            export
                .tell(Told::Observed(Box::new(snapshot)))
                .expect("counting does not fail");
        }
        most = most.max(dhat::HeapStats::get().curr_bytes);
    }
    export.finish().expect("counting does not fail");
    most - before
}

fn main() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let symbols: Symbols = Arc::new(Names(Arc::new([Frame {
        function: "main.work".into(),
        file: "/src/main.go".into(),
        line: 7,
        inlined: false,
    }])));
    let clocks = Clocks {
        kernel: Ktime(0),
        unix: 1_700_000_000_000_000_000,
    };
    let about = About {
        pid: 7,
        name: "made-up".to_owned(),
        exe: "/made/up".to_owned(),
        build_id: String::new(),
        clocks,
    };
    let part = Part {
        from: Ktime(0),
        to: Ktime(u64::MAX),
    };
    let timeline = || {
        let canvas = Perfetto::new(Count::default(), &about, Arc::clone(&symbols));
        Timeline::new(
            canvas.expect("counting does not fail"),
            part,
            Arc::clone(&symbols),
        )
    };
    let chrome = || {
        let canvas = Chrome::new(Count::default(), &about, Arc::clone(&symbols));
        Timeline::new(
            canvas.expect("counting does not fail"),
            part,
            Arc::clone(&symbols),
        )
    };
    let csv = || {
        let csv = Csv::new(Count::default(), part, clocks, Arc::clone(&symbols));
        csv.expect("counting does not fail")
    };
    let block = || {
        let canvas = Blocking::new(part, Arc::clone(&symbols));
        Timeline::new(canvas, part, Arc::clone(&symbols))
    };
    for (format, few, many) in [
        (
            "perfetto",
            peak(ROUNDS, &mut timeline()),
            peak(10 * ROUNDS, &mut timeline()),
        ),
        (
            "chrome",
            peak(ROUNDS, &mut chrome()),
            peak(10 * ROUNDS, &mut chrome()),
        ),
        (
            "csv",
            peak(ROUNDS, &mut csv()),
            peak(10 * ROUNDS, &mut csv()),
        ),
        (
            "block",
            peak(ROUNDS, &mut block()),
            peak(10 * ROUNDS, &mut block()),
        ),
    ] {
        println!("{format}: {few} bytes, then {many}");
        assert!(many <= few + few / 10, "{format}: {few} bytes, then {many}");
    }
}
