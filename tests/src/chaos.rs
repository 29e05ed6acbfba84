//! Chaos: gotrace comes and goes on a busy target in every way that there is, at random; the target
//! must not notice.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::text::{assert_no_probe, patched};
use crate::{Gotrace, Target, eventually};

/// Levels that place probes.
const LEVELS: [&str; 3] = ["wake", "park", "full"];

/// How a trace comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By itself.
    Duration,
    /// As Ctrl-C.
    Interrupt,
    /// Without a chance to clean up.
    Kill,
}

/// One trace.
#[derive(Clone, Copy, Debug)]
struct Turn {
    level: &'static str,
    /// Whether the ring is far too small.
    overflow: bool,
    /// Whether the tracer stands still for a while.
    pause: bool,
    /// Whether each probe is a link of its own.
    single: bool,
    /// Milliseconds from the attachment to the end.
    length: u64,
    end: End,
}

/// What a session was made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Traces.
    pub turns: u64,
    /// Of these, ended by SIGKILL.
    pub killed: u64,
    /// Of these, with records lost.
    pub lossy: u64,
    /// Records that arrived.
    pub events: u64,
    /// Records that did not.
    pub lost: u64,
}

/// Numbers that look random and are the same for the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        let index = self.below(choices.len() as u64);
        choices[usize::try_from(index).expect("an index")]
    }

    fn turn(&mut self) -> Turn {
        Turn {
            level: self.of(&LEVELS),
            overflow: self.below(3) == 0,
            pause: self.below(4) == 0,
            single: self.below(6) == 0,
            // gotrace takes no shorter time.
            length: 10 + self.below(690),
            end: self.of(&[End::Duration, End::Interrupt, End::Kill]),
        }
    }
}

/// Traces the program `churn` in one way after the other for the given time, and at least in one; it
/// checks each of its own messages and results.
///
/// # Panics
///
/// When the target or what gotrace says of a trace is not right.
pub fn run(mut target: Target, seed: u64, duration: Duration) -> Summary {
    let mut dice = Dice(seed);
    let mut summary = Summary::default();
    let started = Instant::now();
    loop {
        let turn = dice.turn();
        eprintln!("chaos: seed {seed}, turn {}: {turn:?}", summary.turns);
        take(turn, &target, &mut summary);
        assert!(target.is_alive(), "the target died: {:?}", target.wait());
        if started.elapsed() > duration {
            break;
        }
    }
    account(target);
    summary
}

fn take(turn: Turn, target: &Target, summary: &mut Summary) {
    summary.turns += 1;
    let length = format!("{}ms", turn.length);
    let mut arguments = vec!["--level", turn.level, "--interval", "100ms"];
    if turn.overflow {
        arguments.extend(["--ring-kib", "4"]);
    }
    if turn.single {
        arguments.push("--single-links");
    }
    if turn.end == End::Duration {
        arguments.extend(["--duration", &length]);
    }
    let (gotrace, attached) = Gotrace::attach(target.pid(), &arguments);
    let probes = attached["probes"].as_array().expect("a list").len();
    if turn.pause {
        gotrace.signal(Signal::STOP);
        assert_eq!(patched(target.pid()).len(), probes, "{turn:?}");
        gotrace.signal(Signal::CONT);
    }
    if turn.end != End::Duration {
        thread::sleep(Duration::from_millis(turn.length));
    }
    if turn.end == End::Kill {
        gotrace.signal(Signal::KILL);
        assert_eq!(gotrace.finish().code, None, "a signal ended it");
        summary.killed += 1;
        eventually("the kernel removed the probes", || {
            patched(target.pid()).is_empty().then_some(())
        });
        return;
    }
    if turn.end == End::Interrupt {
        gotrace.signal(Signal::INT);
    }
    let finished = gotrace.finish();
    assert!(matches!(finished.code, Some(0 | 1)), "{finished:#?}");
    let report = finished.report();
    assert_no_probe(target.pid());
    assert_eq!(report["probes_removed"], probes, "{turn:?}");
    check_loss(&report, summary);
}

/// No more records arrived or are lost than probes were hit; those that were hit while they were
/// removed, and further records of one select, are the difference.
fn check_loss(report: &Value, summary: &mut Summary) {
    let number = |value: &Value| value.as_u64().expect("a number");
    let lost = number(&report["loss"]["records"]);
    let by_cpu = report["loss"]["by_cpu"].as_array().expect("a list");
    assert_eq!(by_cpu.iter().map(number).sum::<u64>(), lost, "{report:#}");
    let arrived = number(&report["totals"]["events"]);
    let hits = report["hits"].as_object().expect("hits by probe");
    let hits: u64 = hits.values().map(number).sum();
    assert!(arrived + lost <= hits, "{arrived} and {lost} of {hits}");
    summary.lossy += u64::from(lost > 0);
    summary.events += arrived;
    summary.lost += lost;
}

/// Asks the busy target for its account, which must be right, and for its end.
#[track_caller]
pub fn account(mut target: Target) -> Value {
    assert!(target.is_alive(), "the target died: {:?}", target.wait());
    target.signal(Signal::TERM);
    let account = target.hear();
    assert_eq!(account["ok"], true, "{account:#}");
    assert_eq!(account["checksum"], account["expected"], "{account:#}");
    assert!(target.wait().success(), "{account:#}");
    account
}
