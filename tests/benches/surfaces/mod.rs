//! What it costs to ask a trace of a crowd: a scrape, and the list of all goroutines.

use std::thread::sleep;
use std::time::{Duration, Instant};

use integration_tests::{Gotrace, Target, http};

use crate::{Sample, high_water, milliseconds, verdict};

const GOROUTINES: &str = "100000";
const CHANNELS: &str = "10000";
/// Scrapes a run: some meet gotrace as it reads memory, or searches it.
const SCRAPES: usize = 10;
/// Between two scrapes; no multiple of the time between two summaries.
const PAUSE: Duration = Duration::from_millis(330);
/// Milliseconds of a scrape, and its MiB.
const SCRAPE: f64 = 50.0;
const SCRAPE_MIB: f64 = 1.0;

/// The section of the report.
pub(crate) fn section(runs: usize) -> String {
    let target = Target::start("crowd", &["-n", GOROUTINES, "-channels", CHANNELS]);
    let arguments = ["--level", "park", "--listen", "127.0.0.1:0"];
    let (mut gotrace, attached) = Gotrace::attach_listening(target.pid(), &arguments);
    // It has read memory and searched it.
    for _ in 0..15 {
        gotrace.until("summary", |_| true);
    }
    let address = attached["listening"].as_str().expect("it says where");
    let ask = |path: &str| {
        let begin = Instant::now();
        let answer = http::bytes(&format!("http://{address}{path}"));
        (milliseconds(begin.elapsed()), mib(answer.len()))
    };
    let (mut scrape, mut size) = (vec![], vec![]);
    for _ in 0..runs * SCRAPES {
        let (time, bytes) = ask("/metrics");
        scrape.push(time);
        size.push(bytes);
        sleep(PAUSE);
    }
    let (mut list, mut list_size, mut growth) = (vec![], vec![], vec![]);
    for _ in 0..runs {
        let before = high_water(gotrace.pid());
        let (time, bytes) = ask("/api/v1/goroutines");
        list.push(time);
        list_size.push(bytes);
        growth.push(high_water(gotrace.pid()) - before);
    }
    gotrace.interrupt();
    let (scrape, size) = (Sample::of(scrape), Sample::of(size));
    let (list, list_size, growth) = (Sample::of(list), Sample::of(list_size), Sample::of(growth));
    let kept = scrape.median() < SCRAPE && size.median() < SCRAPE_MIB;
    format!(
        "## Questions to a trace of a crowd

`gotrace run --level park` of a program with {GOROUTINES} goroutines and {CHANNELS} channels is asked over HTTP, {SCRAPES}
scrapes a run. Promise: a scrape in under {SCRAPE} ms and of less than {SCRAPE_MIB} MiB.

| | median | least | greatest |
| --- | --- | --- | --- |
| `/metrics`, milliseconds | {} |
| `/metrics`, MiB | {} |
| `/api/v1/goroutines`, all of them, milliseconds | {} |
| `/api/v1/goroutines`, MiB | {} |
| by how much gotrace's memory was larger than ever before, MiB | {} |

{}
",
        scrape.cells(1),
        size.cells(3),
        list.cells(0),
        list_size.cells(0),
        growth.cells(1),
        verdict(kept)
    )
}

#[expect(clippy::cast_precision_loss, reason = "less than 2^52 bytes")]
fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
