//! The proof of a leak against a process that knows the truth about its goroutines.

mod common;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::{Build, fixture_with, go, installed};
use serde::Deserialize;
use target::Target;
use tracer_golang::process::{GoProcess, ReadOptions, ktime_now};
use tracer_model::snapshot::{Reachability, Snapshot, Unused, WaitTarget};
use tracer_model::symbol::Symbolizer;

/// What the program says about its goroutines: their names by goid.
#[derive(Deserialize)]
struct Truth {
    leaked: BTreeMap<u64, String>,
    healthy: BTreeMap<u64, String>,
}

impl Truth {
    /// The goid of the leaked goroutine with this name.
    fn goid(&self, wanted: &str) -> u64 {
        let found = self.leaked.iter().find(|(_, name)| *name == wanted);
        *found.expect("it is there").0
    }
}

fn start(go: &Path) -> (Target, GoProcess, Truth) {
    let build = Build {
        program: "leaks",
        arch: "amd64",
        flags: &[],
    };
    let target = Target::start(&fixture_with(go, build), &[]);
    let truth = serde_json::from_str(&target.ready).expect("JSON");
    let process = target.attach();
    (target, process, truth)
}

fn pass(process: &mut GoProcess) -> (Snapshot, Reachability) {
    let options = ReadOptions::default();
    let snapshot = process.snapshot(&options, &ktime_now).expect("a snapshot");
    let found = process.reachability(&snapshot, &ktime_now);
    (snapshot, found.expect("it can be marked"))
}

#[test]
fn finds_what_can_never_run_again_and_nothing_else() {
    let mut toolchains = installed();
    if toolchains.is_empty() {
        toolchains.push(go());
    }
    for go in toolchains {
        let (mut target, mut process, truth) = start(&go);
        let go = go.display();
        for _ in 0..5 {
            let (_, found) = pass(&mut process);
            assert_eq!(found.errors, Vec::<String>::new(), "{go}");
            assert!(found.started <= found.finished);
            let unreached: BTreeSet<u64> = found.unreached.iter().map(|goid| goid.0).collect();
            for goid in &unreached {
                assert_eq!(truth.healthy.get(goid), None, "{go}: {goid}");
            }
            // What is left over somewhere may hide one now and then.
            let missed = (truth.leaked.iter()).filter(|(goid, _)| !unreached.contains(goid));
            let missed: Vec<_> = missed.collect();
            assert!(missed.len() <= 2, "{go}: {missed:?}");
        }
        // The runtime's own opinion, where it has one.
        target.tell("profile");
        let profile: Option<BTreeSet<String>> = serde_json::from_str(&target.line()).expect("JSON");
        if let Some(profile) = profile {
            let leaked: BTreeSet<String> = truth.leaked.keys().map(u64::to_string).collect();
            assert_eq!(profile, leaked, "{go}");
        }
    }
}

#[test]
fn says_who_holds_what_is_waited_on() {
    let (_target, mut process, truth) = start(&go());
    let (snapshot, found) = pass(&mut process);
    let waits_on = |goid: u64| {
        let goroutine = (snapshot.goroutines.iter()).find(|found| found.goid.0 == goid);
        let wait = goroutine.and_then(|found| found.wait.as_ref());
        WaitTarget::from(*wait.and_then(|wait| wait.objects.first()).expect("a wait"))
    };
    for (waiter, holder) in [
        ("cycle of two, 1", "cycle of two, 2"),
        ("cycle of two, 2", "cycle of two, 1"),
        ("cycle of three, 1", "cycle of three, 2"),
        ("cycle of three, 2", "cycle of three, 3"),
        ("cycle of three, 3", "cycle of three, 1"),
        ("AB-BA deadlock, 1", "AB-BA deadlock, 2"),
        ("AB-BA deadlock, 2", "AB-BA deadlock, 1"),
        ("waits for one that is stuck", "stuck, would answer"),
    ] {
        let (waiter, goid) = (truth.goid(waiter), truth.goid(holder));
        let target = waits_on(waiter);
        let held = (found.holders.iter())
            .find(|held| held.object == target && held.goid.0 == goid)
            .unwrap_or_else(|| panic!("{holder} holds what {waiter} waits on"));
        assert_eq!(held.path.last(), Some(&target.0));
        assert!(held.path.len() >= 2, "{held:?}");
        // In the program's own code, not in the runtime's.
        let frame = held.frame.expect("a frame") as usize;
        let goroutine = (snapshot.goroutines.iter()).find(|found| found.goid.0 == goid);
        let stack = goroutine.and_then(|found| found.stack).expect("a stack");
        let pc = snapshot.stacks[stack.0 as usize][frame];
        let frames = process.symbols().frames(pc);
        assert!(
            frames
                .iter()
                .any(|frame| frame.function.starts_with("main.")),
            "{frames:?}"
        );
    }
}

/// What a look at a case of the corpus finds.
fn look(case: &str, flags: &'static [&'static str]) -> Reachability {
    let build = Build {
        program: "corpus",
        arch: "amd64",
        flags,
    };
    let target = Target::start(&fixture_with(&go(), build), &[case]);
    pass(&mut target.attach()).1
}

/// What a look at a case of the corpus tells of unused variables.
fn unused(case: &str) -> Vec<Unused> {
    let found = look(case, &[]);
    assert_eq!(found.unreached, [], "{case}");
    found.unused.unwrap_or_default()
}

#[test]
fn names_the_variable_that_nobody_uses() {
    for (case, variable, steps) in [
        ("global-channel", "main.never", 2),
        ("global-struct", "main.singleton", 3),
        ("global-missing-unlock", "main.poolLock", 1),
        ("global-subscribers", "main.subscribers", 3),
    ] {
        // What is left over somewhere may hide it now and then.
        let found = (0..5).map(|_| unused(case)).find(|found| !found.is_empty());
        let found = found.unwrap_or_else(|| panic!("{case}: nothing is unused"));
        for unused in found {
            assert_eq!(&*unused.variable, variable, "{case}");
            assert_eq!(unused.path.len(), steps, "{case}: {unused:?}");
            assert_eq!(unused.path.last(), Some(&unused.object.0), "{case}");
        }
    }
}

/// What is about to run may refer to anything: if it is not known what that is, nobody is stuck.
#[test]
fn behind_a_finalizer_or_cleanup_that_blocks_nothing_is_said() {
    for (case, flags, of) in [
        (
            "by-queued-finalizer",
            &["-ldflags=-s -w"][..],
            "a finalizer",
        ),
        ("by-queued-cleanup", &[], "a cleanup"),
    ] {
        let found = look(case, flags);
        assert_eq!(found.unreached, [], "{case}");
        assert!(
            found.errors.iter().any(|error| error.contains(of)),
            "{case}: {:?}",
            found.errors
        );
    }
}

#[test]
fn what_may_be_used_is_not_unused() {
    for case in [
        "by-switch",
        "by-table-of-functions",
        "by-type-of-a-field",
        "by-closure-of-a-number",
        "by-deferred",
        "by-lock",
        "by-finalizer",
        "by-queued-finalizer",
    ] {
        assert_eq!(unused(case), [], "{case}");
    }
}
