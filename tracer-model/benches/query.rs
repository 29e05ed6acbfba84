//! Choosing among loaded goroutines: `cargo bench -p tracer-model --bench query`. Promise, for 10,000
//! of them: by state in under 12 µs, by a function's pattern in under 90 µs, the pattern's answers
//! for every distinct stack and place included.

#[path = "../tests/support/crowd.rs"]
mod crowd;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use tracer_model::query::{Criterion, Filter, Index};

const GOROUTINES: u64 = 10_000;

fn main() {
    divan::main();
}

/// Chooses by one criterion; what is chosen goes into a list that is there already.
fn choose(bencher: Bencher<'_, '_>, name: &str, argument: &str) {
    let snapshot = crowd::snapshot(GOROUTINES);
    let index = Index::new(&snapshot);
    let symbols = crowd::Symbols::new();
    let criterion = Criterion::parse(name, Some(argument), |_| None).expect("a criterion");
    let filter = Filter {
        with: vec![criterion],
        without: Vec::new(),
    };
    let mut chosen = Vec::with_capacity(snapshot.goroutines.len());
    bencher
        .counter(ItemsCount::new(GOROUTINES))
        .bench_local(|| {
            let bound = filter.bind(black_box(&index), &symbols);
            bound.choose(&mut chosen);
            chosen.len()
        });
}

#[divan::bench(args = ["waiting", "runnable"])]
fn by_state(bencher: Bencher<'_, '_>, state: &str) {
    choose(bencher, "state", state);
}

#[divan::bench(args = ["curloc", "userloc", "goloc", "startloc", "stack"])]
fn by_function(bencher: Bencher<'_, '_>, place: &str) {
    choose(bencher, place, r"service7\.\(\*pool\)\.serve1.7$");
}

/// What a snapshot needs once before it can be asked anything.
#[divan::bench]
fn index(bencher: Bencher<'_, '_>) {
    let snapshot = crowd::snapshot(GOROUTINES);
    bencher
        .counter(ItemsCount::new(GOROUTINES))
        .bench_local(|| Index::new(black_box(&snapshot)));
}
