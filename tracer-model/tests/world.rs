//! Events and snapshots in, state out.

mod support;

use support::{channels, goid, goroutines, lines, run};
use tracer_model::event::{ChanOp, Event, EventKind};
use tracer_model::ids::{Goid, Ktime, Pc};
use tracer_model::snapshot::State;
use tracer_model::wait::{Direction, WaitKind, WaitObject, WaitReason};
use tracer_model::world::{AnomalyKind, Limits, Made, Waker, World};

#[track_caller]
fn check(script: &str, state: &str) {
    let mut world = World::new();
    run(&mut world, script);
    assert_eq!(goroutines(&world), lines(state), "after:\n{script}");
}

#[track_caller]
fn check_channels(script: &str, state: &str) {
    let mut world = World::new();
    run(&mut world, script);
    assert_eq!(channels(&world), lines(state), "after:\n{script}");
}

#[test]
fn events_alone() {
    check("10 g1 send c1", "g1 running since 10");
    check(
        "10 g1 send c1
         11 g1 park send:c1",
        "g1 waiting [chan send] c1< since 11",
    );
    check(
        "11 g1 park send:c1
         20 g2 ready g1 send:c1",
        "g1 runnable since 20
         g2 running since 20",
    );
    check(
        "11 g1 park send:c1
         20 g2 ready g1 send:c1
         25 g1 recv c1",
        "g1 running since 25
         g2 running since 20",
    );
    // The network poller wakes without a Ready: the next act ends the wait.
    check(
        "10 g1 park io
         90 g1 send c1",
        "g1 running since 90",
    );
    check(
        "10 g1 create g5",
        "g1 running since 10
         g5 runnable since 10",
    );
    check(
        "10 g1 create g5
         20 g5 exit",
        "g1 running since 10",
    );
    // A timer: the runtime acts, and is no goroutine.
    check(
        "10 g1 park sleep
         20 g0 ready g1 sleep",
        "g1 runnable since 20",
    );
}

#[test]
fn a_select_waits_on_its_cases() {
    check(
        "10 g1 select c1< c2> c3>
         11 g1 park select",
        "g1 waiting [select] c1< c2> c3> since 11",
    );
    // Its select was lost: on what it waits is not known.
    check("11 g1 park select", "g1 waiting [select] since 11");
    // The cases of an earlier select are not those of this one.
    check(
        "10 g1 select c1< c2>
         11 g1 send c4
         12 g1 park select",
        "g1 waiting [select] since 12",
    );
    check(
        "10 g1 select c1< c2>
         11 lost 4
         12 g1 park select",
        "g1 waiting [select] since 12",
    );
    check(
        "10 g1 select c1< c2>
         11 g1 park mutex:s1",
        "g1 waiting [sync.Mutex.Lock] s1 since 11",
    );
}

#[test]
fn the_newer_source_is_believed() {
    // What was before we came.
    check(
        "snapshot 100..110
         | 101 g1 waiting send:c1
         | 102 g2 running
         | 103 g3 syscall",
        "g1 waiting [chan send] c1<
         g2 running
         g3 syscall",
    );
    // An event newer than the goroutine's stamp, applied before or after the snapshot.
    let after = "g1 runnable since 105
                 g2 running since 105";
    check(
        "snapshot 100..110
         | 101 g1 waiting send:c1
         | 102 g2 running
         105 g2 ready g1 send:c1",
        after,
    );
    check(
        "105 g2 ready g1 send:c1
         snapshot 100..110
         | 101 g1 waiting send:c1
         | 102 g2 running",
        after,
    );
    // An event older than the stamp.
    let after = "g1 running
                 g2 running";
    check(
        "snapshot 100..110
         | 101 g1 running
         | 102 g2 running
         90 g2 ready g1 send:c1",
        after,
    );
    check(
        "90 g2 ready g1 send:c1
         snapshot 100..110
         | 101 g1 running
         | 102 g2 running",
        after,
    );
    // At equal times the event is the newer.
    check(
        "101 g1 park send:c1
         snapshot 100..110
         | 101 g1 running",
        "g1 waiting [chan send] c1< since 101",
    );
    // An older snapshot that was finished later.
    check(
        "snapshot 200..210
         | 201 g1 waiting recv:c2
         snapshot 100..300
         | 101 g1 waiting send:c1",
        "g1 waiting [chan receive] c2>",
    );
}

#[test]
fn memory_and_events_complete_each_other() {
    // Memory knows the semaphore, the event the time.
    let after = "g1 waiting [sync.Mutex.Lock] s1 since 50";
    check(
        "50 g1 park mutex
         snapshot 100..110
         | 101 g1 waiting mutex:s1
         heard 101",
        after,
    );
    // As long as events from before the read may come, the wait may be another one.
    check(
        "50 g1 park mutex
         snapshot 100..110
         | 101 g1 waiting mutex:s1
         heard 100",
        "g1 waiting [sync.Mutex.Lock] s1",
    );
    check(
        "snapshot 100..110
         | 101 g1 waiting mutex:s1
         50 g1 park mutex
         heard 101",
        after,
    );
    // Another wait than the one whose park was seen.
    check(
        "50 g1 park send:c1
         snapshot 100..110
         | 101 g1 waiting send:c2 since 90",
        "g1 waiting [chan send] c2< since 90",
    );
    // A loss in between: the wait may be another one.
    check(
        "50 g1 park send:c1
         70 lost 5
         snapshot 100..110
         | 101 g1 waiting send:c1",
        "g1 waiting [chan send] c1<",
    );
    // The event knows the cases that memory could not tell.
    check(
        "49 g1 select c1> c2>
         50 g1 park select
         snapshot 100..110
         | 101 g1 waiting select
         heard 110",
        "g1 waiting [select] c1> c2> since 50",
    );
}

#[test]
fn who_is_not_in_a_snapshot_is_gone() {
    check(
        "10 g1 create g2
         20 g1 create g3
         snapshot 100..110
         | 101 g1 running
         | 101 g3 runnable",
        "g1 running
         g3 runnable",
    );
    // Created while the snapshot was taken.
    check(
        "snapshot 100..110
         | 101 g1 running
         105 g1 create g9",
        "g1 running since 105
         g9 runnable since 105",
    );
    check(
        "105 g1 create g9
         snapshot 100..110
         | 101 g1 running",
        "g1 running since 105
         g9 runnable since 105",
    );
    // It came and went before the snapshot, the events come late.
    check(
        "snapshot 100..110
         | 101 g1 running
         50 g1 create g9
         60 g9 send c1",
        "g1 running",
    );
    // It was read before its exit.
    check(
        "105 g2 exit
         snapshot 100..110
         | 101 g1 running
         | 101 g2 running",
        "g1 running",
    );
    check(
        "snapshot 100..110
         | 101 g1 running
         | 101 g2 running
         105 g2 exit",
        "g1 running",
    );
    // It ended while one snapshot was taken, and had been read by another one.
    check(
        "90 g1 send c1
         90 g2 send c1
         snapshot 100..110
         | 101 g1 running
         105 g2 exit
         snapshot 95..115
         | 96 g1 running
         | 102 g2 running",
        "g1 running",
    );
    // A goroutine that could not be read acts again.
    check(
        "10 g2 send c1
         snapshot 100..110
         | 101 g1 running
         120 g2 send c1",
        "g1 running
         g2 running since 120",
    );
}

#[test]
fn totals_count_every_event_once() {
    let script = "
        10 g1 create g2
        20 g2 send c1 0/0 @7
        21 g2 park send:c1
        30 g1 recv c1 0/0 @8
        31 g1 ready g2 send:c1
        40 g2 exit
        41 g1 close c1
        42 g1 select c1> c2<
        43 g1 park select
        50 lost 3
        60 g0 ready g1 select";
    for late in [
        "",
        "snapshot 100..110\n| 101 g1 waiting recv:c2\n",
        "snapshot 25..26\n| 25 g1 running\n| 25 g2 waiting send:c1\n",
    ] {
        for script in [format!("{late}{script}"), format!("{script}\n{late}")] {
            let mut world = World::new();
            run(&mut world, &script);
            let totals = world.totals();
            let counted = [
                totals.events,
                totals.lost,
                totals.gaps,
                totals.created,
                totals.exited,
                totals.sends,
                totals.receives,
                totals.closes,
                totals.selects,
                totals.wakeups,
                totals.wakeups_by_runtime,
                totals.parks[&WaitReason::ChanSend],
                totals.parks[&WaitReason::Select],
            ];
            assert_eq!(
                counted,
                [10, 3, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1],
                "after:\n{script}"
            );
            let channel = world.channel_at(support::chan_addr("c1")).expect("used");
            let (send, receive) = (
                channel.side(Direction::Send),
                channel.side(Direction::Receive),
            );
            assert_eq!((send.operations, send.parks, send.select_cases), (1, 1, 0));
            assert_eq!(
                (receive.operations, receive.parks, receive.select_cases),
                (1, 0, 1)
            );
            assert_eq!(send.sites.iter().collect::<Vec<_>>(), [(Pc(7), 1)]);
            assert_eq!(receive.sites.iter().collect::<Vec<_>>(), [(Pc(8), 1)]);
        }
    }
}

#[test]
fn blocked_time_is_of_ended_waits() {
    let mut world = World::new();
    run(
        &mut world,
        "9 g1 send c1
         10 g1 park send:c1
         40 g2 ready g1 send:c1
         50 g1 park io
         70 g1 park recv:c1
         80 lost 1
         90 g2 ready g1 recv:c1
         91 g1 park send:c1",
    );
    let counters = world.goroutine(goid("g1")).expect("lives").counters();
    assert_eq!((counters.parks, counters.wakeups), (4, 2));
    assert_eq!(counters.blocked_nanos(WaitKind::Chan), 30);
    assert_eq!(counters.blocked_nanos(WaitKind::Netpoll), 20);
    let channel = world.channel_at(support::chan_addr("c1")).expect("used");
    assert_eq!(channel.side(Direction::Send).blocked_nanos, 30);
    // Ended across a loss: how long it took is not known.
    assert_eq!(channel.side(Direction::Receive).blocked_nanos, 0);
    let waker = world.goroutine(goid("g1")).and_then(|g| g.last_waker());
    assert_eq!(
        waker,
        Some(Waker {
            goid: goid("g2"),
            at: Ktime(90),
            reason: WaitReason::ChanReceive,
            object: Some(WaitObject::Chan {
                chan: support::chan_addr("c1"),
                direction: Direction::Receive,
            }),
        })
    );
}

#[test]
fn a_run_ends_the_time_that_a_goroutine_waited_for_it() {
    let script = "10 g1 park send:c1
         20 g2 ready g1 send:c1
         27 g1 run
         30 g1 create g5
         35 g5 run
         36 g5 park io
         96 g5 run
         99 g1 run";
    check(
        script,
        "g1 running since 99
         g2 running since 20
         g5 running since 96",
    );
    let mut world = World::new();
    run(&mut world, script);
    let totals = world.totals();
    let counted = (totals.runs, totals.scheduled, totals.scheduling_nanos);
    assert_eq!(counted, (4, 2, 7 + 5));
    assert_eq!(totals.anomalies.total(), 0);
    let counters = |name| world.goroutine(goid(name)).expect("lives").counters();
    assert_eq!(
        (counters("g1").runs, counters("g1").scheduling_nanos),
        (2, 7)
    );
    assert_eq!(totals.scheduling.count(), 2);
    assert_eq!(totals.scheduling.sum_nanos(), 7 + 5);
    let blocked = |reason| {
        let histogram = totals.blocked.get(&reason);
        histogram.map(|histogram| (histogram.count(), histogram.sum_nanos()))
    };
    assert_eq!(blocked(WaitReason::ChanSend), Some((1, 10)));
    assert_eq!(blocked(WaitReason::IoWait), Some((1, 60)));
    assert_eq!(blocked(WaitReason::Select), None);
    // The network poller makes no event: what it ended lasted until the run.
    assert_eq!(counters("g5").blocked_nanos(WaitKind::Netpoll), 60);
}

#[test]
fn a_run_counts_though_a_snapshot_was_ahead_of_it() {
    let read = "snapshot 50..51\n| 50 g1 running\n";
    let events = ["10 g1 create g5", "13 g5 run", "14 g5 exit"];
    for before in 0..=events.len() {
        let mut lines = events.to_vec();
        lines.insert(before, read);
        let mut world = World::new();
        run(&mut world, &lines.join("\n"));
        let totals = world.totals();
        assert_eq!(
            (totals.runs, totals.scheduled, totals.scheduling_nanos),
            (1, 1, 3),
            "{lines:#?}"
        );
    }
}

#[test]
fn across_a_loss_it_is_not_known_how_long_a_run_was_waited_for() {
    let mut world = World::new();
    run(
        &mut world,
        "20 g2 ready g1 send:c1
         25 lost 1
         27 g1 run",
    );
    let totals = world.totals();
    assert_eq!((totals.runs, totals.scheduled), (1, 0));
}

#[test]
fn a_channel_that_is_made_takes_the_place_of_an_older_one() {
    check_channels(
        "10 g1 send c1 0/2
         20 g1 make c1",
        "c1 #1 ?/?",
    );
    check_channels(
        "20 g1 make c1
         30 g1 send c1 0/2",
        "c1 #0 0/2",
    );
    // What was read after it was made is about the new one, though the read was told first.
    let mut world = World::new();
    run(
        &mut world,
        "snapshot 30..31
         | 30 c1 1/4
         20 g1 make c1",
    );
    assert_eq!(channels(&world), lines("c1 #0 1/4"));
    let channel = world.channel_at(support::chan_addr("c1")).expect("made");
    assert_eq!(
        channel.made(),
        Some(Made {
            at: Ktime(20),
            by: goid("g1"),
            site: Some(Pc(0x600)),
        })
    );
    assert_eq!(world.totals().made, 1);
}

#[test]
fn operations_that_meet_a_waiting_goroutine_are_counted_by_side() {
    let mut world = World::new();
    run(
        &mut world,
        "10 g1 recv c1
         11 g1 park recv:c1
         20 g2 send c1
         21 g2 meet c1< g1
         22 g2 ready g1 recv:c1",
    );
    let totals = world.totals();
    assert_eq!((totals.direct_sends, totals.direct_receives), (1, 0));
    assert_eq!(totals.anomalies.total(), 0);
    let channel = world.channel_at(support::chan_addr("c1")).expect("used");
    assert_eq!(channel.side(Direction::Send).direct, 1);
    assert_eq!(channel.side(Direction::Receive).direct, 0);
}

#[test]
fn other_probes_leave_nothing_certain_until_a_read() {
    let mut world = World::new();
    run(
        &mut world,
        "10 g1 park send:c1
         11 g2 send c2",
    );
    // Fewer probes: what they told no longer holds for sure.
    world.retrace(Ktime(20), false);
    assert_eq!(
        goroutines(&world),
        lines(
            "g1 waiting [chan send] c1< since 10 unknown
             g2 running since 11 unknown"
        )
    );
    assert_eq!(world.totals().gaps, 1);
    assert_eq!(world.totals().lost, 0);
    // Memory heals whom it shows.
    run(
        &mut world,
        "snapshot 30..31
         | 30 g1 waiting recv:c3
         | 30 g2 running",
    );
    assert_eq!(world.census().unknown, 0);
    // More probes: g1 was woken and parked again, unseen. Neither is strange, and no wait that began
    // before is measured.
    world.retrace(Ktime(40), true);
    assert_eq!(world.census().unknown, 2);
    run(&mut world, "50 g2 ready g1 send:c1");
    assert_eq!(
        goroutines(&world),
        lines(
            "g1 runnable since 50
             g2 running since 11"
        )
    );
    assert_eq!(world.totals().anomalies.total(), 0);
    let g1 = world.goroutine(Goid(1)).expect("it lives");
    assert_eq!(g1.counters().blocked_nanos(WaitKind::Chan), 0);
    // From here on every park is seen again.
    run(
        &mut world,
        "60 g1 park send:c1
         75 g2 ready g1 send:c1",
    );
    let g1 = world.goroutine(Goid(1)).expect("it lives");
    assert_eq!(g1.counters().blocked_nanos(WaitKind::Chan), 15);
    assert_eq!(world.totals().anomalies.total(), 0);
}

#[test]
fn what_was_seen_before_other_probes_came_is_neither_fullest_nor_longest() {
    let mut world = World::new();
    run(
        &mut world,
        "10 g1 send c1 3/4
         11 g2 park recv:c2",
    );
    let shown = |world: &World| {
        (
            world.fullest_channels(1).len(),
            world.longest_waits(1).len(),
        )
    };
    assert_eq!(shown(&world), (1, 1));
    world.retrace(Ktime(20), false);
    assert_eq!(shown(&world), (0, 0));
    run(
        &mut world,
        "snapshot 30..31
         | 30 g1 running
         | 30 g2 waiting recv:c2
         | 30 c1 2/4",
    );
    assert_eq!(shown(&world), (1, 1));
}

#[test]
fn without_parks_a_state_is_not_known_between_a_wake_up_and_a_read() {
    let check = |script: &str, state: &str| {
        let mut world = World::new().without_parks();
        run(&mut world, script);
        assert_eq!(goroutines(&world), lines(state), "after:\n{script}");
        assert_eq!(world.totals().anomalies.total(), 0, "after:\n{script}");
        world
    };
    check(
        "snapshot 5..6
         | 5 g1 waiting send:c1
         | 5 g3 waiting recv:c2",
        "g1 waiting [chan send] c1<
         g3 waiting [chan receive] c2>",
    );
    // Who wakes runs, who is woken can run, and how long that lasts nobody says.
    let woken = "snapshot 5..6
         | 5 g1 waiting send:c1
         | 5 g3 waiting recv:c2
         20 g2 ready g1 send:c1\n";
    let world = check(
        woken,
        "g1 runnable since 20 unknown
         g2 running since 20 unknown
         g3 waiting [chan receive] c2>",
    );
    assert_eq!(world.census().unknown, 2);
    // It ran and parked in between, unseen, which is nothing strange.
    let world = check(
        &format!(
            "{woken} 30 g2 ready g1 recv:c1
             31 g1 ready g2 select
             32 g1 ready g2 recv:c1"
        ),
        "g1 running since 31 unknown
         g2 runnable since 32 unknown
         g3 waiting [chan receive] c2>",
    );
    let totals = world.totals();
    assert_eq!(totals.wakeups_from[&WaitReason::ChanReceive], 2);
    assert_eq!(totals.wakeups_from[&WaitReason::ChanSend], 1);
    assert_eq!(totals.wakeups_from[&WaitReason::Select], 1);
    let channel = world.channel_at(support::chan_addr("c1")).expect("used");
    let wakeups = |direction| channel.side(direction).wakeups;
    assert_eq!(wakeups(Direction::Send), 1);
    assert_eq!(wakeups(Direction::Receive), 2);
    // A read says what is.
    check(
        &format!(
            "{woken} snapshot 40..41
             | 40 g1 running
             | 40 g2 waiting mutex:s1
             | 40 g3 waiting recv:c2"
        ),
        "g1 running
         g2 waiting [sync.Mutex.Lock] s1
         g3 waiting [chan receive] c2>",
    );
}

#[test]
fn a_loss_leaves_states_unknown_until_something_newer() {
    let before = "10 g1 park send:c1
                  11 g2 park recv:c2
                  12 g3 park recv:c3
                  50 lost 7\n";
    check(
        before,
        "g1 waiting [chan send] c1< since 10 unknown
         g2 waiting [chan receive] c2> since 11 unknown
         g3 waiting [chan receive] c3> since 12 unknown",
    );
    check(
        &format!(
            "{before}
             50 g1 send c1
             snapshot 60..61
             | 60 g1 running
             | 60 g2 waiting recv:c2
             | 60 g3 waiting recv:c3
             61 g1 ready g3 recv:c3"
        ),
        "g1 running since 50
         g2 waiting [chan receive] c2>
         g3 runnable since 61",
    );
    let mut world = World::new();
    run(&mut world, before);
    assert_eq!(world.unknown_goroutines().count(), 3);
    assert_eq!(world.census().unknown, 3);
}

#[test]
fn queues_follow_goroutines() {
    let parked = "
        1 g1 send c1 2/2
        2 g1 park send:c1
        3 g2 park send:c1
        4 g3 select c1< c2>
        5 g3 park select\n";
    check_channels(
        parked,
        "c1 #0 2/2 send g1,g2,g3
         c2 #1 ?/? recv g3",
    );
    // Woken from the head; a select leaves all its queues at once.
    check_channels(
        &format!("{parked} 8 g9 ready g1 send:c1\n 9 g9 ready g3 select"),
        "c1 #0 2/2 send g2
         c2 #1 ?/?",
    );
}

#[test]
fn queues_keep_the_order_that_was_read() {
    check_channels(
        "snapshot 100..110
         | 101 g1 waiting send:c1
         | 101 g2 waiting send:c1
         | 101 g3 waiting send:c1
         | 102 c1 0/0 type int send g3,g1,g2
         120 g4 park send:c1
         121 g5 park send:c1",
        "c1 #0 0/0 send g3,g1,g2,g4,g5",
    );
    // Woken and back again: at the end.
    check_channels(
        "snapshot 100..110
         | 101 g1 waiting send:c1
         | 101 g3 waiting send:c1
         | 102 c1 0/0 send g3,g1
         120 g9 ready g3 send:c1
         121 g3 park send:c1",
        "c1 #0 0/0 send g1,g3",
    );
}

#[test]
fn a_channel_is_not_its_address() {
    // The newest fill is believed, whichever source it is from.
    check_channels(
        "10 g1 send c1 3/8
         snapshot 5..9
         | 6 c1 7/8 type int",
        "c1 #0 3/8",
    );
    check_channels(
        "10 g1 send c1 3/8
         snapshot 20..30
         | 26 c1 7/8 closed
         25 g1 recv c1 5/8",
        "c1 #0 7/8 closed",
    );
    // Another capacity, another type, open again: another channel.
    check_channels(
        "10 g1 send c1 3/8
         20 g1 send c1 0/4",
        "c1 #1 0/4",
    );
    check_channels(
        "snapshot 5..9
         | 6 c1 0/4 type int
         snapshot 15..19
         | 16 c1 0/4 type string",
        "c1 #1 0/4",
    );
    check_channels(
        "snapshot 5..9
         | 6 c1 0/4 closed
         snapshot 15..19
         | 16 c1 0/4",
        "c1 #1 0/4",
    );
    // An old observation of the channel that had the address before.
    check_channels(
        "10 g1 send c1 3/8
         snapshot 5..9
         | 6 c1 0/4",
        "c1 #0 3/8",
    );
    // A look that is ahead: it shows the later channel, whatever is still told of the earlier one.
    for late in [
        "",
        "11 g1 send c1 4/8",
        "11 g1 send c1 4/8\n 12 g1 recv c1 5/8",
    ] {
        check_channels(
            &format!("10 g1 send c1 3/8\n snapshot 20..30\n | 25 c1 2/4\n {late}"),
            "c1 #1 2/4",
        );
    }
    // What was told of the later one when the look came is found with it.
    let mut world = World::new();
    run(
        &mut world,
        "10 g1 send c1 3/8
         snapshot 20..30
         | 25 c1 1/4
         11 g1 send c1 4/8
         20 g2 make c1
         21 g2 send c1 0/4
         26 g2 send c1 1/4",
    );
    assert_eq!(channels(&world), lines("c1 #1 1/4"));
    let channel = world.channel_at(support::chan_addr("c1")).expect("made");
    assert_eq!(channel.side(Direction::Send).operations, 2);
    assert_eq!(channel.made().map(|made| made.by), Some(goid("g2")));
}

#[test]
fn idle_channels_are_forgotten() {
    let mut world = World::with_limits(Limits {
        channels: 4,
        ..Limits::default()
    });
    run(
        &mut world,
        "1 g1 park send:c1
         2 g2 send c2
         3 g2 send c3
         4 g2 send c4
         5 g2 send c5
         6 g2 send c2",
    );
    // c1 is waited on; of the rest the older half made room.
    assert_eq!(
        channels(&world),
        lines(
            "c1 #0 ?/? send g1
             c2 #5 ?/?
             c4 #3 ?/?
             c5 #4 ?/?"
        )
    );
    assert_eq!(world.forgotten_channels(), 2);
    assert_eq!(world.totals().sends, 5);
}

#[test]
fn departed_goroutines_are_remembered_within_limits() {
    let mut world = World::with_limits(Limits {
        departed: 1,
        ..Limits::default()
    });
    run(
        &mut world,
        "10 g1 exit
         11 g2 exit
         snapshot 5..20
         | 6 g1 running
         | 6 g2 running
         | 12 g3 running",
    );
    // Of g1 it was forgotten: it is shown, but not vouched for.
    assert_eq!(
        goroutines(&world),
        lines(
            "g1 running unknown
             g3 running"
        )
    );
}

#[test]
fn impossible_transitions_are_counted() {
    let table: &[(&str, &[AnomalyKind])] = &[
        ("10 g1 send c1\n 9 g1 recv c1", &[AnomalyKind::Late]),
        (
            "10 g1 park send:c1\n 11 g1 send c1",
            &[AnomalyKind::ActedWhileWaiting],
        ),
        // After a loss nothing is impossible.
        (
            "10 g1 park send:c1\n 10 g9 exit\n 11 lost 1\n 12 g1 send c1",
            &[],
        ),
        ("10 g1 park sleep\n 11 g1 send c1", &[]),
        // The collector stops who runs, with no event, and lets it go on.
        ("10 g1 send c1\n 11 g2 ready g1 preempted", &[]),
        (
            "10 g1 send c1\n 11 g2 ready g1 send:c1",
            &[AnomalyKind::ReadyWithoutPark],
        ),
        (
            "10 g2 ready g1 send:c1\n 11 g2 ready g1 send:c1",
            &[AnomalyKind::ReadyTwice],
        ),
        (
            "10 g1 park send:c1\n 11 g2 ready g1 mutex",
            &[AnomalyKind::ReasonChanged],
        ),
        (
            "10 g1 create g2\n 11 g1 create g2",
            &[AnomalyKind::CreatedTwice],
        ),
        ("10 g1 exit\n 11 g1 exit", &[AnomalyKind::ActedAfterExit]),
        ("10 g1 exit\n 11 g1 send c1", &[AnomalyKind::ActedAfterExit]),
        (
            "10 g2 send c1\n snapshot 20..21\n | 20 g1 running\n 30 g2 send c1",
            &[AnomalyKind::ReturnedAfterAbsence],
        ),
        // It acted, and ended before it was read.
        (
            "10 g2 send c1\n snapshot 20..40\n | 20 g1 running\n 30 g2 send c1",
            &[],
        ),
        ("10 g1 ready g0 sleep", &[AnomalyKind::NobodyWoken]),
        ("10 g1 send c1 9/4", &[AnomalyKind::ImpossibleFill]),
    ];
    for (script, expected) in table {
        let mut world = World::new();
        run(&mut world, script);
        let seen: Vec<AnomalyKind> = world
            .totals()
            .anomalies
            .iter()
            .map(|(kind, count)| {
                assert_eq!(count, 1, "{script}");
                kind
            })
            .collect();
        assert_eq!(seen, *expected, "after:\n{script}");
    }
}

#[test]
fn summaries() {
    let mut world = World::new();
    run(
        &mut world,
        "snapshot 10..20
         | 11 g1 running
         | 11 g2 waiting sleep system
         | 11 g3 waiting recv:c1
         | 12 g4 waiting recv:c1 since 4
         | 12 g7 waiting sleep since 1
         | 12 c1 0/0 recv g3,g4
         30 g5 park send:c2
         31 g6 send c2 4/4
         32 g6 send c3 9/10
         33 g6 send c4 0/3
         34 g6 send c5 8/8",
    );
    let census = world.census();
    assert_eq!(census.user(State::Waiting), 4);
    assert_eq!(census.user(State::Running), 2);
    assert_eq!(census.system(State::Waiting), 1);
    assert_eq!((census.users(), census.systems()), (6, 1));
    let waits = |k| -> Vec<u64> {
        let longest = world.longest_waits(k);
        longest.iter().map(|goroutine| goroutine.goid().0).collect()
    };
    // What is not known to have begun counts from when it was first seen; sleep ends by itself.
    assert_eq!(waits(9), [4, 3, 5]);
    assert_eq!(waits(1), [4]);
    assert!(waits(0).is_empty());
    let fullest: Vec<u64> = world
        .fullest_channels(3)
        .iter()
        .map(|channel| channel.addr().0 / 0x1000)
        .collect();
    assert_eq!(fullest, [5, 2, 3]);
}

#[test]
fn a_wait_is_seen_from_the_first_of_the_reads_that_agree() {
    for (script, seen) in [
        ("snapshot 10..20\n | 11 g1 waiting recv:c1", 11),
        (
            "snapshot 10..20\n | 11 g1 waiting recv:c1\n snapshot 30..40\n | 31 g1 waiting recv:c1",
            11,
        ),
        // The runtime notes the time later: the same wait.
        (
            "snapshot 10..20\n | 11 g1 waiting recv:c1\n snapshot 30..40\n | 31 g1 waiting recv:c1 since 25",
            11,
        ),
        (
            "snapshot 10..20\n | 11 g1 waiting recv:c1\n snapshot 30..40\n | 31 g1 waiting recv:c2",
            31,
        ),
        (
            "snapshot 10..20\n | 11 g1 waiting recv:c1\n 25 g1 send c9\n snapshot 30..40\n | 31 g1 waiting recv:c1",
            31,
        ),
        (
            "25 g1 park recv:c1\n snapshot 30..40\n | 31 g1 waiting recv:c1\n heard 31",
            25,
        ),
    ] {
        let mut world = World::new();
        run(&mut world, script);
        let wait = world
            .goroutine(Goid(1))
            .and_then(|goroutine| goroutine.wait());
        assert_eq!(
            wait.map(|wait| wait.seen),
            Some(Ktime(seen)),
            "after:\n{script}"
        );
    }
}

#[test]
fn which_case_ends_a_select() {
    for (script, selected) in [
        ("10 g1 select c1> c2<\n 11 g1 selected 1", "c2<"),
        ("10 g1 select c1> c2<\n 11 g1 selected default", "default"),
        // Nil channels are counted, though they are no cases.
        ("10 g1 select nil c1> nil c2<\n 11 g1 selected 3", "c2<"),
        ("10 g1 select nil c1> nil c2<\n 11 g1 selected 1", "c1>"),
        // It meets who waits, or is met, or another one was let run in between.
        (
            "10 g1 select c1> c2<\n 11 g1 meet c2< g2\n 12 g1 selected 1",
            "c2<",
        ),
        (
            "10 g1 select c1> c2<\n 11 g1 park select\n 20 g2 meet c1< g1 select\n 21 g2 ready g1 select\n 22 g1 run\n 23 g1 selected 0",
            "c1>",
        ),
        (
            "10 g1 select c1> c2<\n 11 g3 ready g1 preempted\n 12 g1 run\n 13 g1 selected 0",
            "c1>",
        ),
        // In the midst of it it helped the collector.
        (
            "10 g1 select c1> c2<\n 11 g1 acquire s1\n 12 g1 selected 1",
            "c2<",
        ),
        // A snapshot found it gone before this was told.
        (
            "10 g1 create g2\n 11 g2 select c1> c2<\n snapshot 30..40\n | 31 g1 running\n 20 g2 selected 1",
            "c2<",
        ),
        // Whoever closes wakes receivers, and senders to panic.
        (
            "10 g1 select c1> c2<\n 11 g1 park select\n 20 g2 close c1\n 21 g2 ready g1 select\n 22 g1 selected 0",
            "c1>",
        ),
        (
            "10 g1 select c1> c2<\n 11 g1 park select\n 20 g2 close c2\n 21 g2 ready g1 select",
            " panics",
        ),
        (
            "10 g1 park send:c2\n 20 g2 close c2\n 21 g2 ready g1 send:c2",
            " panics",
        ),
        // The close is over.
        (
            "10 g1 select c1> c2<\n 11 g1 park select\n 20 g2 close c2\n 21 g2 send c3\n 22 g2 ready g1 select",
            "",
        ),
        // What was lost may have been the beginning of another one.
        ("10 g1 select c1> c2<\n 11 lost 3\n 12 g1 selected 1", ""),
        // Its beginning was not seen.
        ("10 g1 send c3\n 12 g1 selected 1", ""),
    ] {
        let mut world = World::new();
        run(&mut world, script);
        let mut said: Vec<String> = world
            .channels()
            .flat_map(|channel| {
                [(Direction::Send, '<'), (Direction::Receive, '>')]
                    .into_iter()
                    .filter(|(direction, _)| channel.side(*direction).selected > 0)
                    .map(|(_, sign)| format!("c{}{sign}", channel.addr().0 / 0x1000))
            })
            .collect();
        said.sort();
        if world.totals().defaulted > 0 {
            said.push("default".to_owned());
        }
        let panics = world.totals().panics.send_on_closed > 0;
        let said = said.join(" ") + if panics { " panics" } else { "" };
        assert_eq!(said, selected, "after:\n{script}");
        assert!(world.totals().selected <= 1, "after:\n{script}");
    }
}

#[test]
fn a_lock_is_waited_for_by_its_address() {
    check(
        "10 g1 acquire s1
         11 g1 park mutex",
        "g1 waiting [sync.Mutex.Lock] s1 since 11",
    );
    // What it wanted before is not what it waits for now.
    check(
        "10 g1 acquire s1
         11 g1 send c1
         12 g1 park mutex",
        "g1 waiting [sync.Mutex.Lock] since 12",
    );
    check(
        "10 g1 acquire s1
         11 lost 2
         12 g1 park mutex",
        "g1 waiting [sync.Mutex.Lock] since 12",
    );
    let mut world = World::new();
    run(
        &mut world,
        "10 g1 acquire s1
         11 g1 park mutex
         20 g2 acquire s1
         21 g2 park mutex
         41 g3 ready g1 mutex
         42 g1 run
         51 g1 ready g2 mutex
         60 g2 acquire s2",
    );
    let top = world.locks().top(10);
    let told: Vec<_> = top
        .iter()
        .map(|(_, lock)| {
            (
                lock.attempts,
                lock.waits,
                lock.blocked_nanos,
                lock.longest_nanos,
            )
        })
        .collect();
    assert_eq!(told, [(2, 2, 60, 30), (1, 0, 0, 0)]);
    assert_eq!(world.totals().acquires, 3);
}

#[test]
fn a_system_call_is_a_state_and_takes_time() {
    check("10 g1 enter", "g1 syscall since 10");
    check(
        "10 g1 enter
         30 g1 leave",
        "g1 running since 30",
    );
    let mut world = World::new();
    run(
        &mut world,
        "10 g1 enter
         30 g1 leave
         40 g1 enter
         41 lost 1
         50 g1 leave
         60 g2 leave",
    );
    let totals = world.totals();
    assert_eq!(
        (totals.syscalls, totals.syscalls_timed, totals.syscall_nanos),
        (2, 1, 20)
    );
    assert_eq!(
        (totals.syscall.count(), totals.syscall.sum_nanos()),
        (1, 20)
    );
    let counters = world.goroutine(Goid(1)).expect("it is there").counters();
    assert_eq!((counters.syscalls, counters.syscall_nanos), (2, 20));
}

#[test]
fn wakes_are_counted_by_the_functions_of_both() {
    let mut world = World::new();
    run(
        &mut world,
        "10 g1 create g2
         11 g2 park recv:c1
         12 g1 ready g2 recv:c1
         13 g2 park recv:c1
         14 g1 ready g2 recv:c1
         15 g2 park sleep
         16 g0 ready g2 sleep",
    );
    let start = Some(Pc(0x400));
    let top: Vec<_> = world
        .wakes()
        .top(10)
        .into_iter()
        .map(|(wake, count)| (wake.waker, wake.reason, wake.woken, count))
        .collect();
    assert_eq!(
        top,
        [
            (None, WaitReason::ChanReceive, start, 2),
            (None, WaitReason::Sleep, start, 1)
        ]
    );
}

#[test]
fn closes_that_panic() {
    let nil = Event {
        at: Ktime(5),
        actor: Goid(1),
        kind: EventKind::Close(ChanOp {
            chan: None,
            blocking: false,
            site: None,
            fill: None,
        }),
    };
    for (script, again) in [
        ("10 g1 make c1\n 11 g1 close c1", 0),
        ("10 g1 make c1\n 11 g1 close c1\n 12 g1 close c1", 1),
        // It may have been another one, at the same address.
        ("11 g1 close c1\n 12 g1 close c1", 0),
        (
            "10 g1 make c1\n 11 g1 close c1\n 12 lost 1\n 13 g1 close c1",
            0,
        ),
        // A look that is ahead of the events found a later one at the same address: when nothing was
        // told of the first, when it was made, and when it was closed once.
        (
            "snapshot 20..30
             | 25 c1 0/5
             10 g1 make c1
             11 g1 close c1 0/1
             12 g1 close c1 0/1",
            1,
        ),
        (
            "10 g1 make c1
             snapshot 20..30
             | 25 c1 0/5
             11 g1 close c1 0/1
             12 g1 close c1 0/1",
            1,
        ),
        (
            "10 g1 make c1
             11 g1 close c1 0/1
             snapshot 20..30
             | 25 c1 0/5
             12 g1 close c1 0/1
             20 g1 make c1
             21 g1 close c1 0/5",
            1,
        ),
    ] {
        let mut world = World::new();
        world.apply(&nil);
        run(&mut world, script);
        let panics = world.totals().panics;
        assert_eq!(panics.close_of_nil, 1);
        assert_eq!(panics.close_of_closed, again, "after:\n{script}");
    }
}

#[test]
fn ended_goroutines_are_counted_by_origin() {
    let mut world = World::new();
    run(
        &mut world,
        "10 g1 create g2
         11 g1 create g3
         12 g2 exit
         13 g7 exit
         snapshot 20..30
         | 21 g1 running
         15 g3 exit",
    );
    let mut ended: Vec<_> = world
        .ended()
        .map(|(origin, count)| (origin.start, origin.created_at, count))
        .collect();
    ended.sort();
    assert_eq!(
        ended,
        [(None, None, 1), (Some(Pc(0x400)), Some(Pc(0x500)), 2)]
    );
    // g3 was missed by the snapshot before its exit came.
    assert_eq!((world.totals().exited, world.totals().vanished), (3, 1));
}

#[test]
fn channels_that_are_waited_on_stay_and_cost_no_search_each() {
    // More waited-on channels than the limit: a search at each new one would take minutes.
    const CHANNELS: u64 = 200_000;
    let mut world = World::with_limits(Limits {
        channels: 1_000,
        departed: 10,
    });
    for number in 1..=CHANNELS {
        run(
            &mut world,
            &format!("{number} g{number} park recv:c{number}"),
        );
    }
    assert_eq!(world.channels().len() as u64, CHANNELS);
    assert_eq!(world.forgotten_channels(), 0);
}

#[test]
fn a_sender_that_the_kernel_does_not_let_run_has_not_lost_its_message() {
    // g1 begins to send and is off its processor for 50 ms; meanwhile g2 finds the buffer empty, is let go on
    // by the message, and says so by what it does next.
    let mut world = World::new();
    run(
        &mut world,
        "1000 g1 make c1
         2000 g1 send c1 0/4
         50000000 g2 recv c1 0/4
         50001000 g2 recv c1 0/4
         50001500 g1 exit
         50002000 g2 park recv:c1",
    );
    let flows = world.flows();
    assert_eq!((flows.delivered(), flows.stale()), (1, 0));
    assert_eq!(flows.outcomes().closed_receives, 0);

    // That of a send which is over is in an empty buffer no more, whoever was given it.
    let mut world = World::new();
    run(
        &mut world,
        "1000 g1 make c1
         2000 g1 send c1 0/4
         3000 g1 exit
         50000000 g2 recv c1 0/4",
    );
    assert_eq!(world.flows().stale(), 1);
}
