//! Applying events does not allocate once every goroutine and channel is known, nor does sorting
//! them, nor do goroutines that come and go. Choosing among loaded goroutines does not allocate. A
//! program of its own: nothing else may allocate meanwhile.

#[path = "support/crowd.rs"]
mod crowd;
#[path = "support/load.rs"]
mod load;

use load::Load;
use tracer_model::event::Event;
use tracer_model::ids::Ktime;
use tracer_model::order::{Sorter, Timed};
use tracer_model::query::{Criterion, Filter, Index};
use tracer_model::snapshot::State;
use tracer_model::world::{Limits, World};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

struct At(Ktime);

impl Timed for At {
    fn at(&self) -> Ktime {
        self.0
    }
}

fn main() {
    let _profiler = dhat::Profiler::builder().testing().build();

    let mut world = World::with_limits(Limits {
        departed: 100,
        ..Limits::default()
    });
    // After the first rounds everything is known, except for the short-lived goroutines, and the
    // tables have grown to what these need.
    let first = events(1_000_000, 0);
    let second = events(4_000_000, 3_000_000_000);
    for round in [
        &first,
        &events(2_000_000, 1_000_000_000),
        &events(3_000_000, 2_000_000_000),
    ] {
        for event in round {
            world.apply(event);
        }
    }
    let allocated = blocks(|| {
        for event in &second {
            world.apply(event);
        }
    });
    assert_eq!(allocated, 0, "World::apply");
    assert_eq!(world.totals().events, 4 * first.len() as u64);

    let mut sorter = Sorter::new(1_000_000);
    let mut sort = |events: &[Event]| {
        for event in events {
            sorter.push(At(event.at));
            while sorter.pop().is_some() {}
        }
    };
    sort(&first);
    let allocated = blocks(|| sort(&second));
    assert_eq!(allocated, 0, "Sorter");

    filters();
}

/// A filter by state allocates nothing at all; any other nothing for each goroutine.
fn filters() {
    let snapshot = crowd::snapshot(10_000);
    let symbols = crowd::Symbols::new();
    let index = Index::new(&snapshot);
    let mut chosen = Vec::with_capacity(snapshot.goroutines.len());
    let state = |state| Filter {
        with: vec![Criterion::State(state)],
        without: Vec::new(),
    };
    let (waiting, runnable) = (state(State::Waiting), state(State::Runnable));
    let allocated = blocks(|| {
        for (filter, expected) in [(&waiting, 8_750), (&runnable, 625)] {
            filter.bind(&index, &symbols).choose(&mut chosen);
            assert_eq!(chosen.len(), expected);
        }
    });
    assert_eq!(allocated, 0, "a filter by state");

    for (name, argument) in [
        ("user", None),
        ("reason", Some("chan")),
        ("waiting-longer", Some("1")),
        ("created-by", Some("1")),
        ("chan", Some("0xc0000000")),
        ("userloc", Some("service7")),
        ("stack", Some("service7")),
        ("goloc", Some("service7")),
    ] {
        let criterion = Criterion::parse(name, argument, |time| time.parse().ok());
        let filter = Filter {
            with: vec![Criterion::State(State::Waiting)],
            without: vec![criterion.expect(name)],
        };
        let bound = filter.bind(&index, &symbols);
        let allocated = blocks(|| bound.choose(&mut chosen));
        assert_eq!(allocated, 0, "{name}");
    }
}

/// Every kind of event, the first at `later`.
fn events(first_goid: u64, later: u64) -> Vec<Event> {
    let mut load = Load::new(first_goid);
    load.hand_over(100, 2_000);
    load.select(100, 2_000);
    load.short_lived(2_000);
    for event in &mut load.events {
        event.at.0 += later;
    }
    load.events
}

/// How many blocks `work` allocates.
fn blocks(work: impl FnOnce()) -> u64 {
    let before = dhat::HeapStats::get().total_blocks;
    work();
    dhat::HeapStats::get().total_blocks - before
}
