//! Chaos on the busy program of each Go version, run by `cargo xtask chaos`, which builds them:
//! `chaos SEED SECONDS PROGRAM…`, for so long on each.

use std::path::Path;
use std::time::Duration;

use integration_tests::{Target, chaos};

fn main() {
    integration_tests::require_root();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [seed, seconds, programs @ ..] = arguments.as_slice() else {
        panic!("chaos SEED SECONDS PROGRAM…");
    };
    let seed = seed.parse().expect("a seed is a number");
    let seconds = seconds.parse().expect("seconds are a number");
    assert!(!programs.is_empty(), "no program to trace");
    for program in programs {
        let target = Target::start_file(Path::new(program), &[]);
        let version = target.ready["go_version"].clone();
        let summary = chaos::run(target, seed, Duration::from_secs(seconds));
        println!("chaos: {version}: unharmed by {summary:?}");
    }
}
