//! Whether memory stays flat while goroutines come and go.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use integration_tests::{Gotrace, Target};

use crate::{high_water, memory, verdict};

/// Goroutines after which memory is looked at.
const LOOKS: [u64; 4] = [1_000_000, 2_000_000, 5_000_000, 10_000_000];
/// How long to wait for a look: twice as long as all of it takes.
const LONGEST: Duration = Duration::from_secs(20 * 60);
/// What it may grow from the first look to the last, MiB.
const GROWTH: f64 = 1.0;

/// The section of the report.
pub(crate) fn section() -> String {
    let mut target = Target::start("turnover", &[]);
    let (mut gotrace, _) = Gotrace::attach(target.pid(), &["--level", "park"]);
    target.say("GO");
    let begin = Instant::now();
    let mut rows = String::new();
    let mut resident = Vec::new();
    for goroutines in LOOKS {
        let summary = gotrace.until_within(LONGEST, "summary", |summary| {
            summary["totals"]["created"].as_u64() >= Some(goroutines)
        });
        resident.push(memory(gotrace.pid(), "VmRSS:"));
        writeln!(
            rows,
            "| {goroutines} | {:.0} | {:.1} | {} |",
            begin.elapsed().as_secs_f64(),
            resident[resident.len() - 1],
            summary["loss"]["records"]
        )
        .expect("a string");
    }
    let most = high_water(gotrace.pid());
    let grown = resident[resident.len() - 1] - resident[0];
    target.hear();
    gotrace.interrupt();
    format!(
        "## Goroutines that come and go

Pairs that meet once and end, about 16,700 goroutines a second, traced at `park`. Promise: flat.

| goroutines so far | seconds | resident MiB | records lost |
| --- | --- | --- | --- |
{rows}
It had {most:.1} MiB resident at most. {}
",
        verdict(grown <= GROWTH)
    )
}
