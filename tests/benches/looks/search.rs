//! The search of a large heap for goroutines that can never run again.

use integration_tests::{Gotrace, Target, gotrace};

use super::measure::run;
use super::{Column, WATCH};
use crate::{number, verdict};

/// The live heap, MiB.
const HEAP: u64 = 1024;
/// What a search may take.
const PROMISED_SECONDS: f64 = 3.0;
/// Of the heap's size, how much memory gotrace may take.
const PROMISED_SHARE: f64 = 0.15;

/// The section of the report.
pub(crate) fn section(runs: usize) -> String {
    let mut target = Target::start("crowd", &["-n", "1000", "-heap", &HEAP.to_string()]);
    let pid = target.pid_argument();
    let (mut seconds, mut share) = <(Column, Column)>::default();
    let mut stalls: [Column; 3] = Default::default();
    for _ in 0..runs {
        let finished = Gotrace::run(&["why", "1", "--pid", &pid, "--format", "json"]);
        let document = finished.document("gotrace.why/1");
        seconds.add(number(&document["passes"]["search_seconds"]));

        target.say("WATCH");
        std::thread::sleep(WATCH);
        stalls[0].add(worst(&mut target));
        target.say("WATCH");
        let took = run(&gotrace::program(), &["deadlocks", "--pid", &pid]);
        stalls[1].add(worst(&mut target));
        #[expect(clippy::cast_precision_loss, reason = "less than 2^52 bytes")]
        share.add(took.memory as f64 / (HEAP << 20) as f64);
        target.say("WATCH");
        let profile = target.get("/debug/pprof/goroutineleak?debug=1");
        assert!(profile.contains("goroutineleak profile"), "{profile}");
        stalls[2].add(worst(&mut target));
    }
    target.end_unharmed();
    let mut rows = String::new();
    seconds.row(&mut rows, "one search, seconds", 2);
    share.row(&mut rows, "gotrace's memory / the heap's size", 3);
    let names = [
        "worst stall while nobody looks, ms",
        "worst stall while `gotrace deadlocks` looks, ms",
        "worst stall of the program's own goroutineleak profile, ms",
    ];
    for (name, stalls) in names.iter().zip(&stalls) {
        stalls.row(&mut rows, name, 2);
    }
    let kept = seconds.median() < PROMISED_SECONDS && share.median() < PROMISED_SHARE;
    format!(
        "## A search of a heap of {HEAP} MiB

Of live objects, two thirds of them with pointers, and 1,000 parked goroutines; one goroutine looks at the
clock, as above. A search reads all of it; `deadlocks` makes two or more. Promise: a search under
{PROMISED_SECONDS} seconds, memory under {PROMISED_SHARE} of the heap.

| | median | least | greatest |
| --- | --- | --- | --- |
{rows}
{}
",
        verdict(kept)
    )
}

/// Milliseconds.
fn worst(target: &mut Target) -> f64 {
    number(&target.ask("TELL")["worst_nanoseconds"]) / 1e6
}
