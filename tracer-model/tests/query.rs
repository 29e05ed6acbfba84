//! Filters, groups and orders over one small snapshot.

use std::sync::Arc;

use tracer_model::ids::{ChanAddr, GAddr, Goid, Ktime, Pc};
use tracer_model::query::{Criterion, Filter, GroupBy, Index, SortBy, group};
use tracer_model::snapshot::{Goroutine, Snapshot, StackId, State};
use tracer_model::symbol::{Frame, Symbolizer};
use tracer_model::wait::{Direction, Wait, WaitObject, WaitReason};

/// Names every program counter by its number.
struct Names;

impl Symbolizer for Names {
    fn frames(&self, pc: Pc) -> Arc<[Frame]> {
        let function = match pc.0 {
            1 => "runtime.gopark",
            2 => "runtime.chansend1",
            10 => "main.(*pool).submit",
            11 => "main.worker",
            12 => "main.main",
            _ => return Arc::from([]),
        };
        Arc::from([Frame {
            function: function.into(),
            file: "/src/pool.go".into(),
            line: pc.0 as u32,
            inlined: false,
        }])
    }
}

fn goroutine(goid: u64, state: State, stack: u32) -> Goroutine {
    Goroutine {
        at: Ktime(90),
        goid: Goid(goid),
        gaddr: GAddr(goid * 0x100),
        state,
        wait: None,
        sleeps_until: None.into(),
        system: false,
        parent: Goid(1).into(),
        created_at: Pc(12).into(),
        start: Pc(11).into(),
        stack: Some(StackId(stack)),
        stops: None,
        stack_bytes: None.into(),
        labels: Vec::new().into(),
        moving: false,
    }
}

fn waiting(goid: u64, reason: WaitReason, chan: u64, since: Option<u64>) -> Goroutine {
    let object = WaitObject::Chan {
        chan: ChanAddr(chan),
        direction: Direction::Send,
    };
    Goroutine {
        wait: Some(Wait {
            reason,
            objects: [object].into(),
            since: since.map(Ktime).into(),
        }),
        ..goroutine(goid, State::Waiting, 0)
    }
}

/// 1 is main and runs; 2 and 3 wait to send on 0xa0; 4 selects on 0xb0; 5 is the runtime's.
fn snapshot() -> Snapshot {
    let stacks = vec![
        Box::from([Pc(1), Pc(2), Pc(10), Pc(11)]),
        Box::from([Pc(12)]),
    ];
    let main = Goroutine {
        parent: None.into(),
        created_at: None.into(),
        start: Pc(12).into(),
        ..goroutine(1, State::Running, 1)
    };
    let labelled = Goroutine {
        labels: vec![("tenant".into(), "blue".into())].into(),
        ..waiting(3, WaitReason::ChanSend, 0xa0, Some(50))
    };
    let system = Goroutine {
        system: true,
        stack: None,
        ..goroutine(5, State::Syscall, 0)
    };
    Snapshot {
        finished: Ktime(100),
        goroutines: vec![
            main,
            waiting(2, WaitReason::ChanSend, 0xa0, Some(10)),
            labelled,
            waiting(4, WaitReason::Select, 0xb0, None),
            system,
        ],
        stacks,
        ..Snapshot::default()
    }
}

fn criterion(text: &str) -> Criterion {
    let (name, argument) = text
        .split_once(' ')
        .map_or((text, None), |(name, argument)| (name, Some(argument)));
    Criterion::parse(name, argument, |time| time.strip_suffix("ns")?.parse().ok()).expect(text)
}

#[test]
fn each_criterion_chooses() {
    let snapshot = snapshot();
    for (with, without, expected) in [
        ("", "", &[1, 2, 3, 4, 5][..]),
        ("user", "", &[1, 2, 3, 4]),
        ("system", "", &[5]),
        ("running", "", &[1, 5]),
        ("state waiting", "", &[2, 3, 4]),
        ("reason chan send", "", &[2, 3]),
        ("reason sel", "", &[4]),
        ("label tenant", "", &[3]),
        ("label tenant=blue", "", &[3]),
        ("label tenant=red", "", &[]),
        ("curloc gopark", "", &[2, 3, 4]),
        ("userloc submit", "", &[2, 3, 4]),
        ("userloc pool.go:10$", "", &[2, 3, 4]),
        ("userloc gopark", "", &[]),
        ("goloc main.main", "", &[2, 3, 4, 5]),
        ("startloc ^main.main$", "", &[1]),
        ("stack chansend1", "", &[2, 3, 4]),
        ("chan 0xa0", "", &[2, 3]),
        ("waiting-longer 60ns", "", &[2]),
        ("created-by 1", "", &[2, 3, 4, 5]),
        ("goid 3", "", &[3]),
        ("goid 9", "", &[]),
        ("text SUBMIT", "", &[2, 3, 4]),
        ("text chan send", "", &[2, 3]),
        ("text runn", "", &[1]),
        ("text blue", "", &[3]),
        ("text pool.go:12", "", &[1, 2, 3, 4, 5]),
        ("text 4", "", &[4]),
        ("text .", "", &[1, 2, 3, 4, 5]),
        ("text .*", "", &[]),
        ("user", "text chan send", &[1, 4]),
        ("", "user", &[5]),
        ("state waiting", "chan 0xa0", &[4]),
        ("", "state waiting", &[1, 5]),
        ("", "userloc submit", &[1, 5]),
    ] {
        let list = |text: &str| {
            if text.is_empty() {
                Vec::new()
            } else {
                vec![criterion(text)]
            }
        };
        let filter = Filter {
            with: list(with),
            without: list(without),
        };
        let index = Index::new(&snapshot);
        let mut chosen = Vec::new();
        filter.bind(&index, &Names).choose(&mut chosen);
        let kept: Vec<u64> = chosen
            .into_iter()
            .map(|position| snapshot.goroutines[position].goid.0)
            .collect();
        assert_eq!(kept, expected, "with `{with}` without `{without}`");
    }
}

#[test]
fn what_is_not_understood_says_what_is() {
    for (name, argument, expected) in [
        ("colour", None, "there are user, system"),
        ("state", Some("asleep"), "one of idle, runnable"),
        ("user", Some("x"), "no argument"),
        ("curloc", Some("("), "a regular expression"),
        ("chan", Some("12"), "an address"),
        ("waiting-longer", Some("soon"), "a time"),
        ("created-by", Some("main"), "a goroutine's id"),
        ("label", Some("=x"), "a key"),
        ("goid", Some("main"), "a goroutine's id"),
        ("text", Some(""), "a part of what is shown"),
    ] {
        let error = Criterion::parse(name, argument, |_| None)
            .expect_err(name)
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn groups_are_the_largest_first() {
    let snapshot = snapshot();
    let by = |by: &GroupBy| -> Vec<(String, usize)> {
        group(&snapshot, 0..5, by, &Names)
            .into_iter()
            .map(|group| (group.label, group.members.len()))
            .collect()
    };
    let named = |list: &[(&str, usize)]| -> Vec<(String, usize)> {
        list.iter()
            .map(|(label, number)| ((*label).to_owned(), *number))
            .collect()
    };
    assert_eq!(
        by(&GroupBy::State),
        named(&[("waiting", 3), ("running", 1), ("syscall", 1)])
    );
    assert_eq!(
        by(&GroupBy::Reason),
        named(&[("not waiting", 2), ("chan send", 2), ("select", 1)])
    );
    assert_eq!(
        by(&GroupBy::Label("tenant".into())),
        named(&[("no label tenant", 4), ("tenant=blue", 1)])
    );
    assert_eq!(
        by(&GroupBy::Chan),
        named(&[("no channel", 2), ("0xa0", 2), ("0xb0", 1)])
    );
    assert_eq!(
        by(&GroupBy::User),
        named(&[
            ("main.(*pool).submit /src/pool.go:10", 3),
            ("main.main /src/pool.go:12", 1),
            ("unknown", 1)
        ])
    );
    assert_eq!(
        by(&GroupBy::Wait),
        named(&[
            ("chan send: main.(*pool).submit /src/pool.go:10", 2),
            ("running: main.main /src/pool.go:12", 1),
            ("select: main.(*pool).submit /src/pool.go:10", 1),
            ("syscall: unknown", 1)
        ])
    );
    let sizes: Vec<usize> = by(&GroupBy::Stack)
        .into_iter()
        .map(|(_, number)| number)
        .collect();
    assert_eq!(sizes, [2, 1, 1, 1]);
}

#[test]
fn orders() {
    let snapshot = snapshot();
    for (by, expected) in [
        (SortBy::Goid, [1, 2, 3, 4, 5]),
        (SortBy::Waiting, [2, 3, 1, 4, 5]),
        (SortBy::State, [1, 5, 2, 3, 4]),
    ] {
        let mut indices = vec![4, 3, 2, 1, 0];
        by.sort(&snapshot.goroutines, &mut indices);
        let goids: Vec<u64> = indices
            .iter()
            .map(|index| snapshot.goroutines[*index].goid.0)
            .collect();
        assert_eq!(goids, expected, "{by:?}");
    }
}
