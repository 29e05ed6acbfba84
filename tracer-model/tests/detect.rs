//! Snapshots with a mark in, findings out.

mod support;

use std::fmt::Write as _;
use std::sync::Arc;

use support::{lines, mark, run, show_object, snapshot};
use tracer_model::detect::{Detector, Finding, FindingLog};
use tracer_model::ids::{Ktime, Pc};
use tracer_model::snapshot::Snapshot;
use tracer_model::symbol::{Frame, Symbolizer};
use tracer_model::world::World;

/// Below 100 is the runtime, from 100 on the user's code.
struct Names;

impl Symbolizer for Names {
    fn frames(&self, pc: Pc) -> Arc<[Frame]> {
        let function = match pc.0 {
            0..100 => "runtime.gopark",
            _ => "main.work",
        };
        Arc::from([Frame {
            function: function.into(),
            file: "main.go".into(),
            line: 1,
            inlined: false,
        }])
    }
}

/// A snapshot at `at`, of goroutines and a mark. Goroutines get a stack of their own unless they
/// have one.
fn pass_at(at: u64, goroutines: &str, facts: &str) -> Snapshot {
    let mut text = String::new();
    for line in lines(goroutines).lines() {
        let (who, rest) = line.split_once(' ').expect("who and what");
        write!(text, "{at} {who} {rest}").expect("a string");
        if who.starts_with('g') && !rest.contains("stack") {
            write!(text, " stack 1,{}", 100 + who[1..].len()).expect("a string");
            write!(text, ",10{}", &who[1..]).expect("a string");
        }
        text.push('\n');
    }
    let mut snapshot = snapshot(&format!("{at}..{}", at + 10), &text);
    snapshot.reachability = Some(mark(&snapshot, facts));
    snapshot
}

/// `KIND VERDICT gN,gN [unconfirmed gN] | gN OBJECT(gN,gN) … [| caused by ID]`
fn show(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let goids = |goids: &[tracer_model::ids::Goid]| {
            let all: Vec<String> = goids.iter().map(|goid| format!("g{goid}")).collect();
            all.join(",")
        };
        write!(
            text,
            "{} {} {}",
            finding.kind.name(),
            finding.verdict.name(),
            goids(&finding.goroutines)
        )
        .expect("a string");
        if !finding.unconfirmed.is_empty() {
            write!(text, " unconfirmed {}", goids(&finding.unconfirmed)).expect("a string");
        }
        text.push_str(" |");
        for link in &finding.chain {
            let object = link.waits_on.map_or("-".to_owned(), show_object);
            write!(text, " g{} {object}({})", link.goid, goids(&link.held_by)).expect("a string");
        }
        if let Some(cause) = &finding.caused_by {
            write!(text, " | caused by {cause}").expect("a string");
        }
        text.push('\n');
    }
    text
}

/// One pass.
#[track_caller]
fn check(goroutines: &str, facts: &str, expected: &str) {
    let snapshot = pass_at(1000, goroutines, facts);
    let findings = Detector::new().pass(&snapshot, None, &Names);
    assert_eq!(show(&findings), lines(expected), "of:\n{goroutines}{facts}");
}

const TWO_CYCLE: (&str, &str) = (
    "g1 waiting wg:s9
     g18 waiting send:c1
     g19 waiting send:c2
     c1 0/0
     c2 0/0",
    "unreached g18,g19
     g18 holds c1 c2
     g19 holds c2 c1",
);

#[test]
fn cycles() {
    check(
        TWO_CYCLE.0,
        TWO_CYCLE.1,
        "deadlock likely g18,g19 | g18 c1<(g19) g19 c2<(g18)",
    );
    check(
        "g3 waiting recv:c1
         g1 waiting recv:c2
         g2 waiting mutex:s1",
        "unreached g1,g2,g3
         g1 holds c1
         g2 holds c2
         g3 holds s1",
        "deadlock likely g1,g2,g3 | g1 c2>(g2) g2 s1(g3) g3 c1>(g1)",
    );
    // Of two cycles in one part the shorter one explains.
    check(
        "g1 waiting recv:c1
         g2 waiting recv:c2
         g3 waiting recv:c3
         g4 waiting recv:c4",
        "unreached g1,g2,g3,g4
         g2 holds c1
         g3 holds c2
         g1 holds c3
         g4 holds c3
         g3 holds c4",
        "deadlock likely g1,g2,g3,g4 | g3 c3>(g1,g4) g4 c4>(g3)",
    );
    // Two mutexes, and a third goroutine in the queue of one of them.
    check(
        "g1 waiting mutex:s2
         g2 waiting mutex:s1
         g3 waiting mutex:s1",
        "unreached g1,g2,g3
         g1 holds s1 s2
         g2 holds s1 s2
         g3 holds s1",
        "deadlock likely g1,g2 | g1 s2(g2) g2 s1(g1)
         leak likely g3 | g3 s1(g1) g1 s2(g2) | caused by deadlock-1-2",
    );
    // Two cycles that have nothing to do with each other.
    check(
        "g1 waiting send:c1
         g2 waiting send:c2
         g3 waiting send:c3
         g4 waiting send:c4",
        "unreached g1,g2,g3,g4
         g1 holds c2
         g2 holds c1
         g3 holds c4
         g4 holds c3",
        "deadlock likely g1,g2 | g1 c1<(g2) g2 c2<(g1)
         deadlock likely g3,g4 | g3 c3<(g4) g4 c4<(g3)",
    );
}

#[test]
fn leaks() {
    check(
        "g5 waiting send:c1",
        "unreached g5
         g5 holds c1",
        "leak likely g5 | g5 c1<()",
    );
    // Workers on a channel that nobody will ever send on: they hold it, but none can help.
    check(
        "g5 waiting recv:c1 stack 1,100
         g6 waiting recv:c1 stack 1,100
         g7 waiting recv:c1 stack 1,100",
        "unreached g5,g6,g7
         g5 holds c1
         g6 holds c1
         g7 holds c1",
        "leak likely g5,g6,g7 | g5 c1>()",
    );
    // One that selects on that channel and another one is a peer of a kind: it could be woken by
    // the other channel, which again only it refers to.
    check(
        "g5 waiting recv:c1
         g6 waiting select c1> c2>",
        "unreached g5,g6
         g5 holds c1
         g6 holds c1 c2",
        "leak likely g5 | g5 c1>(g6) g6 c1>()
         leak likely g6 | g6 c1>()",
    );
    // The same stack, each with a channel of its own; another stack is another finding.
    check(
        "g5 waiting send:c1 stack 1,100
         g6 waiting send:c2 stack 1,100
         g7 waiting send:c3 stack 1,101",
        "unreached g5,g6,g7",
        "leak likely g5,g6 | g5 c1<()
         leak likely g7 | g7 c3<()",
    );
    // Behind a leaked one.
    check(
        "g5 waiting send:c1
         g6 waiting recv:c2",
        "unreached g5,g6
         g5 holds c1 c2
         g6 holds c2",
        "leak likely g5 | g5 c1<()
         leak likely g6 | g6 c2>(g5) g5 c1<()",
    );
}

#[test]
fn victims_of_a_deadlock() {
    check(
        &format!(
            "{}\n g20 waiting recv:c3 stack 1,100
             g21 waiting recv:c3 stack 1,100
             g22 waiting recv:c4 stack 1,101",
            TWO_CYCLE.0
        ),
        "unreached g18,g19,g20,g21,g22
         g18 holds c1 c2
         g19 holds c2 c1 c3
         g20 holds c3 c4",
        "deadlock likely g18,g19 | g18 c1<(g19) g19 c2<(g18)
         leak likely g20,g21 | g20 c3>(g19) g19 c2<(g18) | caused by deadlock-18-19
         leak likely g22 | g22 c4>(g20) g20 c3>(g19) g19 c2<(g18) | caused by deadlock-18-19",
    );
}

#[test]
fn waits_that_are_forever() {
    // No mark is needed to know.
    check(
        "g1 waiting send:nil
         g5 waiting recv:nil
         g6 waiting select{}",
        "",
        "leak likely g1 | g1 -()
         leak likely g5 | g5 -()
         leak likely g6 | g6 -()",
    );
    // The main goroutine does so on purpose; who waits for it is leaked all the same.
    check(
        "g1 waiting select{}
         g5 waiting recv:c1",
        "unreached g1,g5
         g1 holds c1",
        "leak likely g5 | g5 c1>(g1) g1 -()",
    );
}

#[test]
fn the_main_goroutine_may_idle() {
    // `<-make(chan T)` in a program that lives.
    check(
        "g1 waiting recv:c1
         g2 waiting io",
        "unreached g1",
        "leak suspect g1 | g1 c1>()",
    );
    // Nobody else is left.
    check(
        "g1 waiting recv:c1",
        "unreached g1",
        "leak likely g1 | g1 c1>()",
    );
    check(
        "g1 waiting recv:c1
         g2 waiting recv:c2",
        "unreached g1,g2",
        "leak likely g1 | g1 c1>()
         leak likely g2 | g2 c2>()",
    );
    // Any other goroutine, and any other wait.
    check(
        "g2 waiting recv:c1
         g3 waiting io",
        "unreached g2",
        "leak likely g2 | g2 c1>()",
    );
    check(
        "g1 waiting send:c1
         g2 waiting io",
        "unreached g1",
        "leak likely g1 | g1 c1<()",
    );
}

#[test]
fn the_living() {
    // A healthy pool: nothing is unreached.
    check(
        "g1 waiting wg:s1
         g5 waiting recv:c1
         g6 waiting recv:c1
         g7 waiting sleep
         g8 waiting io
         c1 0/8",
        "running g9",
        "",
    );
    // Whoever cannot be stuck is not, and neither is who waits for it, directly or not.
    let behind = "\n g6 waiting recv:c2\n g7 waiting recv:c3";
    let facts = "unreached g5,g6,g7
                 g5 holds c2
                 g6 holds c3";
    for life in [
        "g5 waiting recv:c1 moving",
        "g5 waiting recv:c1 system",
        "g5 runnable",
        "g5 waiting sleep",
        "g5 waiting io",
    ] {
        check(&format!("{life}{behind}"), facts, "");
    }
    // One that is not even there.
    check(behind, facts, "");
    // A select of which one channel is held by a living goroutine: by the mark it is reached, and
    // if it was missed, its sign of life counts.
    check(
        "g5 waiting recv:c9 moving
         g6 waiting select c1> c2>",
        "unreached g5,g6
         g5 holds c2
         g6 holds c1 c2",
        "",
    );
}

#[test]
fn without_a_mark_nothing_is_said() {
    let mut snapshot = pass_at(1000, "g5 waiting send:nil", "");
    snapshot.reachability = None;
    assert_eq!(Detector::new().pass(&snapshot, None, &Names), []);
}

#[test]
fn an_act_that_was_seen_is_a_sign_of_life() {
    let (goroutines, facts) = TWO_CYCLE;
    let mut world = World::new();
    run(&mut world, "2000 g18 send c1");
    let snapshot = pass_at(1000, goroutines, facts);
    assert_eq!(Detector::new().pass(&snapshot, Some(&world), &Names), []);
}

#[test]
fn proof_takes_two_passes() {
    let stuck = "g5 waiting send:c1";
    let facts = "unreached g5";
    let proven = "leak proven g5 | g5 c1<()";
    let likely = "leak likely g5 | g5 c1<()";
    // First pass, second pass, events between them, what the second pass finds.
    let table = [
        ((stuck, facts), (stuck, facts), "", proven),
        (
            (stuck, "unreached g5\n running g9"),
            (stuck, facts),
            "",
            likely,
        ),
        (
            (stuck, facts),
            (stuck, "unreached g5\n running g9"),
            "",
            likely,
        ),
        (
            (stuck, "unreached g5\n error of a read"),
            (stuck, facts),
            "",
            likely,
        ),
        (
            (stuck, facts),
            (stuck, "unreached g5\n error of a read"),
            "",
            "leak suspect g5 | g5 c1<()",
        ),
        // It was reached before.
        ((stuck, ""), (stuck, facts), "", likely),
        // It moved: another channel, another reason, another stack, a younger wait.
        (("g5 waiting send:c2", facts), (stuck, facts), "", likely),
        (("g5 waiting recv:c1", facts), (stuck, facts), "", likely),
        (
            ("g5 waiting send:c1 stack 1,100", facts),
            (stuck, facts),
            "",
            likely,
        ),
        (
            ("g5 waiting send:c1 since 400", facts),
            ("g5 waiting send:c1 since 1500", facts),
            "",
            likely,
        ),
        (
            ("g5 waiting send:c1 since 400", facts),
            (stuck, facts),
            "",
            likely,
        ),
        // The collector noted the time of the same wait meanwhile.
        (
            (stuck, facts),
            ("g5 waiting send:c1 since 1500", facts),
            "",
            proven,
        ),
        // Events tell of a move that memory does not show.
        (
            (stuck, facts),
            (stuck, facts),
            "1500 g9 ready g5 send:c1\n 1501 g5 park send:c1",
            likely,
        ),
        (
            (stuck, facts),
            (stuck, facts),
            "900 g5 park send:c1\n 1500 g9 send c7",
            proven,
        ),
        // Nothing in the mark matters to a wait that is forever.
        (
            ("g5 waiting send:nil", "running g9"),
            ("g5 waiting send:nil", "error of a read"),
            "",
            "leak proven g5 | g5 -()",
        ),
        // On what it waits is not known.
        (
            ("g5 waiting mutex", facts),
            ("g5 waiting mutex", facts),
            "",
            "leak suspect g5 | g5 -()",
        ),
    ];
    for (first, second, events, expected) in table {
        let mut world = World::new();
        run(&mut world, events);
        let mut detector = Detector::new();
        detector.pass(&pass_at(1000, first.0, first.1), None, &Names);
        let second = pass_at(2000, second.0, second.1);
        let findings = detector.pass(&second, Some(&world), &Names);
        assert_eq!(show(&findings), lines(expected), "{first:?} {events}");
    }
}

#[test]
fn passes_during_which_others_ran() {
    let clean = "unreached g5";
    let calm = "unreached g5\n ran g9";
    let busy = "unreached g5\n ran g9\n running g8";
    let of = |groups: &[(&'static str, usize)]| -> Vec<&'static str> {
        let repeat = |&(facts, times)| std::iter::repeat_n(facts, times);
        groups.iter().flat_map(repeat).collect()
    };
    // Passes in a row, and what the last one finds.
    let table = [
        (of(&[(busy, 1)]), "suspect"),
        (of(&[(busy, 3)]), "suspect"),
        (of(&[(busy, 4)]), "likely"),
        (of(&[(busy, 100)]), "likely"),
        (of(&[(calm, 3)]), "suspect"),
        (of(&[(calm, 4)]), "likely"),
        (of(&[(calm, 19), (busy, 9)]), "likely"),
        (of(&[(calm, 20), (busy, 1)]), "proven"),
        (of(&[(clean, 1), (busy, 1)]), "likely"),
        (of(&[(clean, 1), (calm, 18)]), "likely"),
        (of(&[(clean, 1), (calm, 19)]), "proven"),
        (
            of(&[(busy, 1), (clean, 1), (busy, 1), (clean, 1)]),
            "proven",
        ),
        (of(&[(clean, 2), (busy, 2)]), "proven"),
    ];
    for (passes, expected) in table {
        let mut detector = Detector::new();
        let mut found = String::new();
        for (index, facts) in passes.iter().enumerate() {
            let snapshot = pass_at(1000 * (index as u64 + 1), "g5 waiting send:c1", facts);
            found = show(&detector.pass(&snapshot, None, &Names));
        }
        let expected = format!("leak {expected} g5 | g5 c1<()\n");
        assert_eq!(found, expected, "{passes:?}");
    }
}

#[test]
fn what_an_unused_variable_leads_to_is_likely_and_never_proven() {
    let held = "g5 unused main.jobs c1";
    let nobody = "unused none";
    let unclear = "ran g9";
    let likely = "leak likely g5 | g5 c1<()\n";
    // The facts of each pass, and what the last one finds.
    let table: [(&[&str], &str); 8] = [
        (&[held], likely),
        (&[held; 30], likely),
        (&[held, unclear, unclear], likely),
        (&[held, nobody], ""),
        (&[held, nobody, unclear], ""),
        (&["g5 unused main.jobs c1\n unreached g6"], ""),
        // Held twice and unreached once is no proof.
        (&[held, held, "unreached g5\n unused none"], likely),
        (&[held, "unreached g5\n ran g9"], likely),
    ];
    for (passes, expected) in table {
        let mut detector = Detector::new();
        let mut found = String::new();
        for (index, facts) in passes.iter().enumerate() {
            let goroutines = "g5 waiting recv:c1\n g6 running";
            let snapshot = pass_at(1000 * (index as u64 + 1), goroutines, facts);
            found = show(&detector.pass(&snapshot, None, &Names));
        }
        assert_eq!(found.replace('>', "<"), expected, "{passes:?}");
    }
}

#[test]
fn who_moved_is_not_held_any_more() {
    let mut detector = Detector::new();
    let facts = "g5 unused main.jobs c1\n g6 unused main.jobs c1";
    let goroutines = "g5 waiting recv:c1\n g6 waiting recv:c1";
    let found = detector.pass(&pass_at(1000, goroutines, facts), None, &Names);
    assert_eq!(found.len(), 2, "{}", show(&found));
    let goroutines = "g5 waiting recv:c1\n g6 waiting recv:c2";
    let found = detector.pass(&pass_at(2000, goroutines, "ran g6"), None, &Names);
    assert_eq!(found, []);
}

#[test]
fn an_unused_variable_is_named() {
    let facts = "g5 unused main.jobs c1";
    let snapshot = pass_at(1000, "g5 waiting recv:c1", facts);
    let mut detector = Detector::new();
    let findings = detector.pass(&snapshot, None, &Names);
    assert!(detector.is_settled(), "looking again makes it no surer");
    assert!(
        findings[0]
            .reason
            .ends_with("which nothing but the unused variable main.jobs leads to"),
        "{}",
        findings[0].reason
    );
    let why = detector.pass_with_why(&snapshot, None, &Names, findings[0].goroutines[0]);
    let why = why.expect("it is there");
    assert!(
        why.reasons[0].starts_with("the unused variable main.jobs leads to"),
        "{:?}",
        why.reasons
    );
}

#[test]
fn the_same_snapshot_twice_proves_nothing() {
    let mut detector = Detector::new();
    let snapshot = pass_at(1000, "g5 waiting send:c1", "unreached g5");
    detector.pass(&snapshot, None, &Names);
    let findings = detector.pass(&snapshot, None, &Names);
    assert_eq!(show(&findings), "leak likely g5 | g5 c1<()\n");
}

#[test]
fn a_growing_leak_is_one_finding() {
    let mut detector = Detector::new();
    let mut log = FindingLog::new();
    let one = "g5 waiting send:c1 stack 1,100";
    let two = "g5 waiting send:c1 stack 1,100
               g6 waiting send:c2 stack 1,100";
    let mut pass = |at, goroutines, unreached: &str| {
        let snapshot = pass_at(at, goroutines, &format!("unreached {unreached}"));
        let findings = detector.pass(&snapshot, None, &Names);
        let text = show(&findings);
        (text, log.update(findings, Ktime(at)))
    };
    let (text, changes) = pass(1000, one, "g5");
    assert_eq!(text, "leak likely g5 | g5 c1<()\n");
    assert_eq!((changes.new.len(), changes.changed.len()), (1, 0));
    let id = changes.new[0].finding.id.clone();

    let (text, changes) = pass(2000, two, "g5,g6");
    assert_eq!(text, "leak proven g5 unconfirmed g6 | g5 c1<()\n");
    assert_eq!((changes.new.len(), changes.changed.len()), (0, 1));
    assert_eq!(changes.changed[0].finding.id, id);

    let (text, changes) = pass(3000, two, "g5,g6");
    assert_eq!(text, "leak proven g5,g6 | g5 c1<()\n");
    assert_eq!(
        changes.changed.len(),
        1,
        "it is twice as large as it was told"
    );

    let (_, changes) = pass(4000, two, "g5,g6");
    assert!(changes.is_empty());

    // One that misses it is none that says it is over.
    let (_, changes) = pass(5000, "g9 running", "g9");
    assert!(changes.is_empty());
    let (_, changes) = pass(10_000_000_000, "g9 running", "g9");
    assert_eq!((changes.new.len(), changes.changed.len()), (0, 0));
    let resolved = &changes.resolved[0];
    assert_eq!(resolved.finding.id, id);
    assert_eq!(
        (resolved.first_seen, resolved.last_seen),
        (Ktime(1000), Ktime(4000))
    );
    assert_eq!(log.iter().count(), 0);
}

#[test]
fn a_finding_that_comes_and_goes_is_told_ever_more_rarely() {
    const SECOND: u64 = 1_000_000_000;
    let stuck = "g5 waiting send:c1 stack 1,100";
    let mut log = FindingLog::new();
    let mut told = Vec::new();
    // A pass each second; it is there for 5 and not there for 10, for 5 minutes.
    for second in 1..300 {
        let found = match second % 15 < 5 {
            true => {
                let snapshot = pass_at(second * SECOND, stuck, "unreached g5");
                Detector::new().pass(&snapshot, None, &Names)
            }
            false => Vec::new(),
        };
        let changes = log.update(found, Ktime(second * SECOND));
        assert!(changes.changed.is_empty());
        told.extend(changes.new.iter().map(|_| ("new", second)));
        told.extend(changes.resolved.iter().map(|_| ("resolved", second)));
    }
    assert_eq!(
        told,
        [
            ("new", 1),
            ("resolved", 9),
            ("new", 15),
            ("resolved", 29),
            ("new", 30),
        ],
        "from then on it has to be away for 20 seconds"
    );
    let tracked = log.iter().next();
    assert!(tracked.is_none(), "the last pass did not find it");
}

#[test]
fn findings_speak_to_people() {
    let (goroutines, facts) = TWO_CYCLE;
    let mut detector = Detector::new();
    detector.pass(&pass_at(1_000_000, goroutines, facts), None, &Names);
    let goroutines = format!("{goroutines}\n g20 waiting mutex:s1");
    let facts = "unreached g18,g19,g20
                 g18 holds c1 c2 s1
                 g19 holds c2 c1
                 running g30";
    let findings = detector.pass(&pass_at(251_000_000, &goroutines, facts), None, &Names);
    let [deadlock, victim] = findings.as_slice() else {
        panic!("{}", show(&findings));
    };
    assert_eq!(deadlock.id.to_string(), "deadlock-18-19");
    assert_eq!(
        deadlock.reason,
        "goroutine 18 waits to send on channel 0x1000 (cap 0), which only goroutine 19 could \
         receive from; it waits to send on channel 0x2000 (cap 0), which only goroutine 18 could \
         receive from"
    );
    assert_eq!(
        deadlock.evidence,
        [
            "goroutine 19 refers to channel 0x1000 (cap 0) from its stack at 0x770000 (frame 2)",
            "goroutine 18 refers to channel 0x2000 (cap 0) from its stack at 0x770000 (frame 2)",
            "no global and no goroutine that can still run refers to what they wait on",
            "2 of 2 still to be confirmed by a further pass",
            "goroutine 30 ran while memory was searched, and registers cannot be read",
        ]
    );
    assert_eq!(
        victim.reason,
        "goroutine 20 waits to lock the mutex of semaphore 0x51000, which only goroutine 18 \
         refers to; it waits to send on channel 0x1000 (cap 0), which only goroutine 19 could \
         receive from; goroutine 18 is deadlocked (deadlock-18-19)"
    );
    assert_eq!(deadlock.chain[0].site, Some(Pc(102)));
}

#[test]
fn a_whole_program_that_is_stuck_is_told_from_an_idle_one() {
    let stuck = "g1 waiting mutex:s1
                 g18 waiting send:c1
                 g19 waiting send:c2";
    let facts = "unreached g1,g18,g19
                 g18 holds c2 s1
                 g19 holds c1";
    let said = |more: &str, facts: &str| {
        let snapshot = pass_at(1000, &format!("{stuck}\n{more}"), facts);
        let findings = Detector::new().pass(&snapshot, None, &Names);
        let stall = findings.iter().find(|it| it.kind.name() == "stall");
        stall.map(|stall| (stall.goroutines.len(), stall.reason.clone()))
    };
    for (keeper, what) in [
        ("g7 waiting io", "goroutine 7 waits for the network"),
        ("g7 waiting sleep", "goroutine 7 waits for a timer"),
        (
            "g7 waiting recv:c3\n c3 0/1 type os.Signal recv g7",
            "goroutine 7 waits for signals",
        ),
        (
            "g7 waiting recv:c3\n c3 0/1 type time.Time recv g7",
            "goroutine 7 waits for a timer",
        ),
    ] {
        let (count, reason) = said(keeper, facts).unwrap_or_else(|| panic!("of {keeper}"));
        assert_eq!(count, 3);
        assert!(reason.ends_with(what), "{reason}");
    }
    assert_eq!(said("", facts), None, "the runtime says so itself");
    for worker in [
        "g7 running",
        "g7 waiting recv:c3",
        "g7 waiting io\n g8 running",
    ] {
        assert_eq!(said(worker, facts), None, "of {worker}: it may work");
    }
    let alive = "unreached g18,g19
                 g18 holds c2
                 g19 holds c1";
    assert_eq!(said("g7 waiting io", alive), None, "main lives");
}

#[test]
fn a_crowd_does_not_blow_up() {
    // 20,000 goroutines that all refer to the one channel they wait on, and one that they wait for.
    let mut goroutines = String::from("g1 waiting recv:c2\n");
    let mut facts = String::from("g1 holds c1 c2\n");
    let mut unreached = vec!["g1".to_owned()];
    for goid in 2..20_002 {
        writeln!(goroutines, "g{goid} waiting send:c1 stack 1,100").expect("a string");
        writeln!(facts, "g{goid} holds c1").expect("a string");
        unreached.push(format!("g{goid}"));
    }
    writeln!(facts, "unreached {}", unreached.join(",")).expect("a string");
    let snapshot = pass_at(1000, &goroutines, &facts);
    let findings = Detector::new().pass(&snapshot, None, &Names);
    let sizes: Vec<usize> = findings
        .iter()
        .map(|finding| finding.goroutines.len())
        .collect();
    assert_eq!(sizes, [20_000, 1]);
    assert!(findings[0].reason.starts_with(
        "20000 goroutines are stuck in the same place, for one: goroutine 2 waits to send on \
         channel 0x1000, which only goroutine 1 could receive from; it waits to receive from"
    ));
}

#[test]
fn a_long_chain_is_told_briefly() {
    // 100,000 goroutines in one circle.
    let count = 100_000;
    let mut goroutines = String::new();
    let mut facts = String::new();
    let mut unreached = Vec::new();
    for goid in 1..=count {
        writeln!(goroutines, "g{goid} waiting send:c{goid} stack 1,100").expect("a string");
        writeln!(facts, "g{} holds c{goid}", goid % count + 1).expect("a string");
        unreached.push(format!("g{goid}"));
    }
    writeln!(facts, "unreached {}", unreached.join(",")).expect("a string");
    let snapshot = pass_at(1000, &goroutines, &facts);
    let findings = Detector::new().pass(&snapshot, None, &Names);
    let [deadlock] = findings.as_slice() else {
        panic!("{} findings", findings.len());
    };
    assert_eq!(deadlock.chain.len(), count);
    assert!(deadlock.id.0.starts_with("deadlock-1-2-3-4-"));
    assert!(
        deadlock.reason.ends_with(
            "; so on through 99992 more; goroutine 100000 waits to send on channel 0x186a0000, \
             which only goroutine 1 could receive from"
        ),
        "{}",
        deadlock.reason
    );
    assert!(deadlock.evidence.len() < 20);
}
