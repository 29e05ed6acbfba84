//! What the console shows, on a screen in memory.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;
use serde_json::json;
use tracer_model::detect::{Finding, FindingId, FindingKind, Verdict};
use tracer_model::ids::{ChanAddr, GAddr, Goid, Ktime, Pc};
use tracer_model::snapshot::{
    Channel, Goroutine, Snapshot, StackId, State as GoState, Value, Waiter,
};
use tracer_model::symbol::{Frame, Symbolizer};
use tracer_model::wait::{Direction, Wait, WaitObject, WaitReason};

use super::look::Look;
use super::{Ask, Event, State, Theme, draw};
use crate::document;
use crate::document::findings::Entry;
use crate::document::run::{self, Summary};
use crate::trace::story::Output;

const SECOND: u64 = 1_000_000_000;
const NOW: Ktime = Ktime(1_000 * SECOND);
const ORDERS: ChanAddr = ChanAddr(0xc000_1000);

/// Names by address, and how often it was asked for one.
#[derive(Default)]
struct Names(AtomicUsize);

impl Symbolizer for Names {
    fn frames(&self, pc: Pc) -> Arc<[Frame]> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let (function, file, line) = match pc.0 {
            1 => ("runtime.block", "/go/src/runtime/proc.go", 461),
            2 => ("main.(*shop).place", "/src/demo/shop.go", 31),
            3 => ("main.(*shop).pack", "/src/demo/shop.go", 58),
            4 => ("main.main", "/src/demo/main.go", 12),
            _ => ("main.\x1b[2Jevil", "/src/\n\u{202e}evil.go", 1),
        };
        Arc::from([Frame {
            function: function.into(),
            file: file.into(),
            line,
            inlined: false,
        }])
    }
}

fn goroutine(goid: u64, state: GoState, wait: Option<Wait>, stack: u32) -> Goroutine {
    Goroutine {
        at: NOW,
        goid: Goid(goid),
        gaddr: GAddr(goid << 12),
        state,
        wait,
        sleeps_until: None.into(),
        system: false,
        parent: Goid(1).into(),
        created_at: Pc(4).into(),
        start: None.into(),
        stack: Some(StackId(stack)),
        stops: None,
        stack_bytes: None.into(),
        labels: Vec::new().into(),
        moving: false,
    }
}

fn waits(reason: WaitReason, direction: Direction, seconds: u64) -> Option<Wait> {
    let object = WaitObject::Chan {
        chan: ORDERS,
        direction,
    };
    Some(Wait {
        reason,
        objects: [object].into(),
        since: Ktime(NOW.0 - seconds * SECOND).into(),
    })
}

/// A shop: 20 and 21 wait to send to a full channel, 5 receives from another, 1 runs; 2 is the runtime's own.
fn snapshot() -> Snapshot {
    let send = |seconds| waits(WaitReason::ChanSend, Direction::Send, seconds);
    let mut runtime = goroutine(2, GoState::Waiting, None, 0);
    runtime.system = true;
    let waiter = |goid| Waiter {
        goid: Goid(goid),
        select: false,
        value: Some(Box::new(Value::Decoded(json!({"ID": goid})))),
    };
    Snapshot {
        started: NOW,
        finished: NOW,
        goroutines: vec![
            goroutine(1, GoState::Running, None, 2),
            runtime,
            goroutine(5, GoState::Runnable, None, 1),
            goroutine(20, GoState::Waiting, send(12), 0),
            goroutine(21, GoState::Waiting, send(75), 0),
        ],
        channels: vec![Channel {
            at: NOW,
            addr: ORDERS,
            elem_type: "*main.order".into(),
            elem_size: 8,
            len: 3,
            cap: 3,
            closed: false,
            made_at: None,
            timer: None,
            values: vec![Value::Decoded(json!({"ID": 7})), Value::Redacted(16)],
            send_waiting: vec![waiter(21), waiter(20)],
            recv_waiting: Vec::new(),
            users: Vec::new(),
            moving: false,
        }],
        stacks: vec![
            Box::from([Pc(1), Pc(2)]),
            Box::from([Pc(3)]),
            Box::from([Pc(4)]),
        ],
        ..Snapshot::default()
    }
}

fn look_at(snapshot: Snapshot, before: Option<&Look>) -> Look {
    let finding = Finding {
        id: FindingId("leak-1".into()),
        kind: FindingKind::Leak,
        verdict: Verdict::Proven,
        goroutines: vec![Goid(20), Goid(21)],
        unconfirmed: Vec::new(),
        chain: Vec::new(),
        caused_by: None,
        reason: "they wait to send on a channel that nobody else has".to_owned(),
        evidence: vec!["two passes agree".to_owned()],
        advice: None,
        created_at: None,
        at: None,
        trend: None,
    };
    let symbols: Arc<dyn Symbolizer + Send + Sync> = Arc::new(Names::default());
    let findings = vec![Entry::new(&finding, &*symbols)];
    Look::new(snapshot, findings, vec![Goid(5)], symbols, before)
}

fn summary() -> Summary {
    Summary {
        goroutines: run::Goroutines {
            total: 4,
            system: 1,
            by_state: [("running", 1), ("runnable", 1), ("waiting", 2)].into(),
            unknown: 1,
            ..run::Goroutines::default()
        },
        rates: run::Rates {
            events: 12_345.0,
            parks: 88.0,
            ..run::Rates::default()
        },
        governor: Some(run::Governor {
            level: "wake".into(),
            windows: true,
            skipped: Vec::new(),
            budget: 0.01,
            tax: 0.0072,
            seconds_per_hit: 1e-6,
            spent_seconds: 0.1,
            allowed_seconds: 0.1,
            cpu_seconds: 10.0,
            debt_seconds: 0.0,
            traced_seconds: [].into(),
            windows_made: 3,
            estimates: vec![run::Estimate {
                hook: "ready".into(),
                estimate: true,
                per_second: 250_000.0,
                low: Some(240_000.0),
                high: Some(260_000.0),
            }],
        }),
        loss: run::Loss {
            records: 17,
            late: 2,
            ..run::Loss::default()
        },
        memory_age_seconds: Some(0.4),
        ..Summary::default()
    }
}

fn console(colours: bool) -> State {
    let target = document::Target {
        pid: 4711,
        exe: PathBuf::from("/srv/demo"),
        replaced: false,
        build_id: "b".to_owned(),
        go_version: "go1.27.3".to_owned(),
        arch: "amd64".to_owned(),
        main: None,
        stripped: false,
        pie: false,
        layout: "the table".to_owned(),
        layout_assumed: false,
    };
    State::new(Theme::new(colours), target, "level auto")
}

/// A console that was told all that there is.
fn told() -> State {
    let mut state = console(true);
    state.update(Event::Said(Arc::new(Output::Summary(Box::new(summary())))));
    state.update(Event::Look(Arc::new(look_at(snapshot(), None))));
    state
}

fn press(state: &mut State, code: KeyCode) -> Vec<Ask> {
    state.update(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

fn type_in(state: &mut State, text: &str) {
    for letter in text.chars() {
        press(state, KeyCode::Char(letter));
    }
}

fn terminal(state: &mut State, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("memory");
    terminal.draw(|frame| draw(frame, state)).expect("memory");
    terminal
}

/// The lines of the screen.
fn screen(state: &mut State, width: u16, height: u16) -> String {
    let terminal = terminal(state, width, height);
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for y in 0..height {
        let line: String = (0..width)
            .filter_map(|x| Some(buffer.cell((x, y))?.symbol()))
            .collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The first cells of the rows of a list.
fn first_cells(state: &mut State) -> Vec<String> {
    let screen = screen(state, 100, 24);
    let rows = screen.lines().skip(6).take(17);
    rows.filter_map(|row| Some(row.split_whitespace().next()?.to_owned()))
        .collect()
}

#[test]
fn a_screen_of_80_by_24_has_all_that_counts() {
    let mut state = told();
    insta::assert_snapshot!("goroutines", screen(&mut state, 80, 24));
    press(&mut state, KeyCode::Char('2'));
    insta::assert_snapshot!("channels", screen(&mut state, 80, 24));
    press(&mut state, KeyCode::Char('3'));
    insta::assert_snapshot!("findings", screen(&mut state, 80, 24));
    press(&mut state, KeyCode::Tab);
    insta::assert_snapshot!("sites", screen(&mut state, 120, 16));
    press(&mut state, KeyCode::Char('?'));
    insta::assert_snapshot!("help", screen(&mut state, 100, 28));
    // Any key closes it, and does nothing else.
    for key in ['x', '1'] {
        press(&mut state, KeyCode::Char(key));
        let shown = screen(&mut state, 100, 28);
        assert!(shown.contains("LONGEST"), "{key}: {shown}");
        assert!(!shown.contains("any key"), "{key}: {shown}");
        press(&mut state, KeyCode::Char('?'));
    }
}

#[test]
fn closer_looks_lead_from_one_to_the_next() {
    let mut state = told();
    // The longest wait is the first row.
    assert_eq!(
        press(&mut state, KeyCode::Enter),
        [Ask::Goroutine(Goid(21))]
    );
    let counts = run::Goroutine {
        goid: Goid(21),
        state: "waiting",
        unknown: false,
        wait_reason: None,
        system: false,
        parks: 3,
        wakeups: 2,
        wakeups_made: 1,
        blocked_seconds: 76.5,
        runs: 0,
        scheduling_seconds: 0.0,
        syscalls: 0,
        syscall_seconds: 0.0,
        last_waker: Some(run::Waker {
            goid: Goid(5),
            wait_reason: "chan send".to_owned(),
            channel: Some(ORDERS.to_string()),
        }),
    };
    state.update(Event::Goroutine(Goid(21), Some(Box::new(counts))));
    assert_eq!(press(&mut state, KeyCode::Char('w')), [Ask::Why(Goid(21))]);
    // It is asked once.
    assert_eq!(press(&mut state, KeyCode::Char('w')), []);
    state.update(Event::Why(
        Goid(21),
        Ok("STUCK (proven)\n  nobody is left".to_owned()),
    ));
    insta::assert_snapshot!("goroutine", screen(&mut state, 90, 30));

    assert_eq!(press(&mut state, KeyCode::Enter), [Ask::Channel(ORDERS)]);
    let read = snapshot().channels.remove(0);
    state.update(Event::Channel(ORDERS, Ok(Box::new(read))));
    insta::assert_snapshot!("channel", screen(&mut state, 90, 24));

    // Back twice, and to the finding.
    press(&mut state, KeyCode::Esc);
    press(&mut state, KeyCode::Esc);
    press(&mut state, KeyCode::Char('3'));
    assert_eq!(press(&mut state, KeyCode::Enter), []);
    let shown = screen(&mut state, 90, 24);
    assert!(shown.contains("LEAK (proven)"), "{shown}");
    assert_eq!(
        press(&mut state, KeyCode::Enter),
        [Ask::Goroutine(Goid(20))]
    );
}

#[test]
fn a_filter_narrows_as_it_is_typed() {
    let mut state = told();
    assert_eq!(first_cells(&mut state), ["21", "20", "1", "5"]);
    press(&mut state, KeyCode::Char('/'));
    type_in(&mut state, "shop");
    assert_eq!(first_cells(&mut state), ["21", "20", "5"]);
    type_in(&mut state, " !SEND");
    assert_eq!(first_cells(&mut state), ["5"]);
    let shown = screen(&mut state, 80, 24);
    assert!(shown.contains("/shop !SEND"), "{shown}");
    press(&mut state, KeyCode::Backspace);
    press(&mut state, KeyCode::Enter);
    // Letters are commands again, and the filter stays.
    press(&mut state, KeyCode::Char('r'));
    assert!(!first_cells(&mut state).contains(&"1".to_owned()));
    press(&mut state, KeyCode::Esc);
    assert_eq!(first_cells(&mut state).len(), 4);
    press(&mut state, KeyCode::Char('/'));
    type_in(&mut state, "nothing like that");
    let shown = screen(&mut state, 80, 24);
    assert!(
        shown.contains("nothing here is as the filter wants it"),
        "{shown}"
    );
}

#[test]
fn any_column_orders_both_ways() {
    let mut state = told();
    for expected in [
        // By place, by where they were created, by goid, by state, by wait reason, by time again.
        ["5", "20", "21", "1"],
        ["1", "5", "20", "21"],
        ["1", "5", "20", "21"],
        ["1", "5", "20", "21"],
        ["1", "5", "20", "21"],
        ["21", "20", "1", "5"],
    ] {
        press(&mut state, KeyCode::Char('s'));
        assert_eq!(first_cells(&mut state), expected);
        press(&mut state, KeyCode::Char('r'));
        let reversed: Vec<&str> = expected.into_iter().rev().collect();
        assert_eq!(first_cells(&mut state), reversed);
    }
    press(&mut state, KeyCode::Char('u'));
    assert!(
        first_cells(&mut state).contains(&"2".to_owned()),
        "the runtime's own"
    );
}

#[test]
fn what_is_selected_stays_so_wherever_it_goes() {
    let mut state = told();
    press(&mut state, KeyCode::Down);
    // The one that waited longest is gone; 20 is now the first.
    let mut next = snapshot();
    next.goroutines
        .retain(|goroutine| goroutine.goid != Goid(21));
    let look = Arc::new(look_at(next, None));
    assert_eq!(state.update(Event::Look(look)), []);
    assert_eq!(
        press(&mut state, KeyCode::Enter),
        [Ask::Goroutine(Goid(20))]
    );
    // Its closer look outlives it.
    let look = Arc::new(look_at(Snapshot::default(), None));
    assert_eq!(state.update(Event::Look(look)), [Ask::Goroutine(Goid(20))]);
    let shown = screen(&mut state, 80, 24);
    assert!(shown.contains("it has ended"), "{shown}");
}

#[test]
fn a_pause_stops_the_lists_alone() {
    let mut state = told();
    press(&mut state, KeyCode::Char(' '));
    assert!(state.is_paused());
    state.update(Event::Look(Arc::new(look_at(Snapshot::default(), None))));
    let mut lost = summary();
    lost.loss.records = 99_000;
    state.update(Event::Said(Arc::new(Output::Summary(Box::new(lost)))));
    let shown = screen(&mut state, 80, 24);
    for part in ["PAUSED", "lost 99,000", "chan send"] {
        assert!(shown.contains(part), "no {part} in\n{shown}");
    }
    press(&mut state, KeyCode::Char(' '));
    state.update(Event::Look(Arc::new(look_at(Snapshot::default(), None))));
    let shown = screen(&mut state, 80, 24);
    assert!(!shown.contains("chan send"), "{shown}");
}

#[test]
fn the_last_view_stays_when_the_target_has_ended() {
    let mut state = told();
    let report = run::Report {
        governor: None,
        ended: "target exited".into(),
        seconds: 3.0,
        totals: run::Totals::default(),
        loss: run::Loss::default(),
        hits: [].into(),
        goroutines: Vec::new(),
        channels: Vec::new(),
        flow: document::flow::Flow::default(),
        findings: Vec::new(),
        probes_removed: 4,
    };
    state.update(Event::Said(Arc::new(Output::Report(Box::new(report)))));
    let shown = screen(&mut state, 80, 24);
    for part in ["ENDED: target exited", "chan send", "lost 0"] {
        assert!(shown.contains(part), "no {part} in\n{shown}");
    }
    // Nobody is asked any more.
    assert_eq!(press(&mut state, KeyCode::Enter), []);
    assert_eq!(press(&mut state, KeyCode::Char('w')), []);
    assert_eq!(press(&mut state, KeyCode::Char('q')), [Ask::Quit]);
}

#[test]
fn sites_lead_to_their_goroutines_and_tell_growth() {
    let first = look_at(snapshot(), None);
    let mut more = snapshot();
    let mut another = goroutine(22, GoState::Waiting, None, 0);
    another.wait = waits(WaitReason::ChanSend, Direction::Send, 1);
    more.goroutines.push(another);
    let mut state = told();
    state.update(Event::Look(Arc::new(look_at(more, Some(&first)))));
    press(&mut state, KeyCode::Char('4'));
    let shown = screen(&mut state, 100, 24);
    let row = shown.lines().find(|row| row.contains("shop.go:31"));
    let cells: Vec<&str> = row.expect("it is there").split_whitespace().collect();
    assert_eq!(cells.first_chunk(), Some(&["3", "+1", "chan", "send"]));
    press(&mut state, KeyCode::Enter);
    assert_eq!(first_cells(&mut state), ["21", "20", "22"]);
}

#[test]
fn no_size_is_too_small_or_too_large() {
    let mut state = told();
    for (width, height) in [
        (0, 0),
        (1, 1),
        (3, 2),
        (10, 5),
        (20, 200),
        (500, 3),
        (300, 120),
    ] {
        for code in ['1', '2', '3', '4', '?', 'j'] {
            press(&mut state, KeyCode::Char(code));
            press(&mut state, KeyCode::Enter);
            terminal(&mut state, width, height);
        }
    }
}

#[test]
fn without_colours_there_are_none() {
    for (colours, some) in [(true, true), (false, false)] {
        let mut state = console(colours);
        state.update(Event::Said(Arc::new(Output::Summary(Box::new(summary())))));
        state.update(Event::Look(Arc::new(look_at(snapshot(), None))));
        let terminal = terminal(&mut state, 80, 24);
        let cells = terminal.backend().buffer().content();
        let coloured = cells
            .iter()
            .any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        assert_eq!(coloured, some);
    }
}

#[test]
fn names_cannot_command_the_terminal() {
    let mut snapshot = snapshot();
    snapshot.stacks = vec![Box::from([Pc(9)]); 3];
    for goroutine in &mut snapshot.goroutines {
        goroutine.labels = vec![("\x1b]0;k\x07".into(), "v\u{9b}31m".into())].into();
    }
    for channel in &mut snapshot.channels {
        channel.elem_type = "\x1b[1mT".into();
    }
    let mut state = told();
    state.update(Event::Look(Arc::new(look_at(snapshot, None))));
    state.update(Event::Note("\x1b[2Jnote".to_owned()));
    let mut shown = screen(&mut state, 200, 40);
    press(&mut state, KeyCode::Enter);
    shown.push_str(&screen(&mut state, 200, 40));
    press(&mut state, KeyCode::Enter);
    shown.push_str(&screen(&mut state, 200, 40));
    let obeyed = |letter: &char| letter.is_control() && *letter != '\n';
    assert_eq!(shown.chars().find(obeyed), None, "{shown:?}");
    assert!(shown.contains(r"main.\u{1b}[2Jevil"), "{shown}");
}

/// To draw is to read what was prepared: no name is looked up, whatever the number of goroutines.
#[test]
fn a_frame_looks_no_name_up() {
    let many = Snapshot {
        goroutines: (1..=20_000)
            .map(|goid| goroutine(goid, GoState::Waiting, None, 0))
            .collect(),
        ..snapshot()
    };
    let names = Arc::new(Names::default());
    let look = Look::new(many, Vec::new(), Vec::new(), names.clone(), None);
    let prepared = names.0.load(Ordering::Relaxed);
    assert!(prepared < 20, "each stack once: {prepared}");
    let mut state = console(true);
    state.update(Event::Look(Arc::new(look)));
    for key in ['G', 'k', 'g', 's', 'r', '4', '1'] {
        press(&mut state, KeyCode::Char(key));
        terminal(&mut state, 200, 60);
    }
    assert_eq!(names.0.load(Ordering::Relaxed), prepared);
}
