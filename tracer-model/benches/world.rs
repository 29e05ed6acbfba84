//! Throughput of the world, the sorter and the detector: `cargo bench -p tracer-model`. The budget is
//! 500 ns an event (a million events a second on half a core), all of the way included.

#[path = "../tests/support/load.rs"]
mod load;

use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use load::Load;
use tracer_model::detect::{Detector, Trends};
use tracer_model::event::Event;
use tracer_model::ids::{Addr, ChanAddr, GAddr, Goid, Ktime, Pc};
use tracer_model::order::{Sorter, Timed};
use tracer_model::snapshot::{Goroutine, Holder, Reachability, Snapshot, StackId, State};
use tracer_model::symbol::{Frame, Symbolizer};
use tracer_model::wait::{Direction, Wait, WaitObject, WaitReason};
use tracer_model::world::World;

fn main() {
    divan::main();
}

/// Applies a load again and again to a world that knows all its goroutines and channels.
fn apply(bencher: Bencher<'_, '_>, load: Load) {
    let mut world = World::new();
    let mut events = load.events;
    let span = events.last().map_or(0, |event| event.at.0);
    bencher
        .counter(ItemsCount::new(events.len()))
        .bench_local(|| {
            for event in &events {
                world.apply(black_box(event));
            }
            for event in &mut events {
                event.at.0 += span;
            }
        });
}

#[divan::bench(args = [4, 1_000, 50_000])]
fn hand_over(bencher: Bencher<'_, '_>, pairs: u64) {
    let mut load = Load::new(0);
    load.hand_over(pairs, 20_000);
    apply(bencher, load);
}

#[divan::bench(args = [4, 1_000, 50_000])]
fn select(bencher: Bencher<'_, '_>, workers: u64) {
    let mut load = Load::new(0);
    load.select(workers, 25_000);
    apply(bencher, load);
}

#[divan::bench]
fn short_lived(bencher: Bencher<'_, '_>) {
    // New goroutines each time, so a new stream each time.
    let mut next = 1;
    let mut world = World::new();
    bencher
        .with_inputs(|| {
            next += 33_000;
            let mut load = Load::new(next);
            load.short_lived(33_000);
            load.events
        })
        .input_counter(|events: &Vec<Event>| ItemsCount::new(events.len()))
        .bench_local_refs(|events| {
            for event in events {
                world.apply(black_box(event));
            }
        });
}

/// Goroutines that all wait to send on channels of their own, each referring to the next one's
/// channel: every one of them in one cycle.
fn ring(goroutines: u64) -> Snapshot {
    let chan = |index: u64| ChanAddr(0xc000_0000 + 96 * (index % goroutines));
    let goroutine = |index: u64| Goroutine {
        at: Ktime(10),
        goid: Goid(index + 1),
        gaddr: GAddr(0xc100_0000 + index),
        state: State::Waiting,
        wait: Some(Wait {
            reason: WaitReason::ChanSend,
            objects: [WaitObject::Chan {
                chan: chan(index),
                direction: Direction::Send,
            }]
            .into(),
            since: None.into(),
        }),
        sleeps_until: None.into(),
        system: false,
        parent: Goid(1).into(),
        created_at: Pc(0x5100).into(),
        start: Pc(0x5000).into(),
        stack: Some(StackId(0)),
        stops: None,
        stack_bytes: None.into(),
        labels: Vec::new().into(),
        moving: false,
    };
    let holder = |index: u64| Holder {
        object: chan(index).into(),
        goid: Goid((index + 1) % goroutines + 1),
        path: vec![Addr(0x7000), Addr(chan(index).0)],
        frame: Some(1),
    };
    Snapshot {
        started: Ktime(10),
        finished: Ktime(20),
        goroutines: (0..goroutines).map(goroutine).collect(),
        stacks: vec![Box::new([Pc(1), Pc(2), Pc(3)])],
        reachability: Some(Reachability {
            started: Ktime(20),
            finished: Ktime(30),
            unreached: (1..=goroutines).map(Goid).collect(),
            holders: (0..goroutines).map(holder).collect(),
            ..Reachability::default()
        }),
        ..Snapshot::default()
    }
}

#[divan::bench(args = [1_000, 100_000])]
fn observe(bencher: Bencher<'_, '_>, goroutines: u64) {
    let mut world = World::new();
    let mut snapshot = ring(goroutines);
    bencher
        .counter(ItemsCount::new(goroutines))
        .bench_local(|| {
            world.observe(black_box(&snapshot));
            snapshot.started.0 += 100;
            snapshot.finished.0 += 100;
        });
}

#[divan::bench(args = [1_000, 100_000])]
fn queues(bencher: Bencher<'_, '_>, goroutines: u64) {
    let mut world = World::new();
    world.observe(&ring(goroutines));
    bencher
        .counter(ItemsCount::new(goroutines))
        .bench_local(|| black_box(world.queues()));
}

/// No names.
struct Nameless;

impl Symbolizer for Nameless {
    fn frames(&self, _: Pc) -> Arc<[Frame]> {
        Arc::from([])
    }
}

#[divan::bench(args = [1_000, 10_000])]
fn detect_one_cycle(bencher: Bencher<'_, '_>, goroutines: u64) {
    let snapshot = ring(goroutines);
    bencher
        .counter(ItemsCount::new(goroutines))
        .bench_local(|| Detector::new().pass(black_box(&snapshot), None, &Nameless));
}

#[divan::bench(args = [1_000, 100_000])]
fn trends_look(bencher: Bencher<'_, '_>, goroutines: u64) {
    let mut trends = Trends::new(180_000_000_000);
    let mut snapshot = ring(goroutines);
    bencher
        .counter(ItemsCount::new(goroutines))
        .bench_local(|| {
            snapshot.started.0 += 1_000_000_000;
            trends.look(black_box(&snapshot), None, &Nameless)
        });
}

/// A time alone.
#[derive(Clone, Copy)]
struct At(u64);

impl Timed for At {
    fn at(&self) -> Ktime {
        Ktime(self.0)
    }
}

/// Two CPUs' events a microsecond apart, a fourth of them out of order, with as many held back as
/// the slack says.
#[divan::bench(args = [100, 10_000])]
fn sort(bencher: Bencher<'_, '_>, held: u64) {
    let mut sorter = Sorter::new(held * 1000);
    let mut clock = 0;
    bencher
        .counter(ItemsCount::new(100_000_usize))
        .bench_local(|| {
            for step in 0..100_000_u64 {
                clock += 1000;
                let late = if step % 4 == 3 { 1500 } else { 0 };
                sorter.push(At(clock - late));
                while let Some(event) = sorter.pop() {
                    black_box(event.0);
                }
            }
        });
}
