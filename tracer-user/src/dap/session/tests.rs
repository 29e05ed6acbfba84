//! What clients ask and what they are told, with a program that is a snapshot.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Value as Json, json};
use tracer_model::detect::{Finding, FindingId, FindingKind, Link};
use tracer_model::ids::{Addr, ChanAddr, GAddr, Goid, Ktime, Pc};
use tracer_model::snapshot::{Channel, Goroutine, StackId, State as GState, Value, Waiter};
use tracer_model::symbol::{Frame, Symbolizer};
use tracer_model::wait::{Direction, Wait, WaitObject, WaitReason};

use super::*;
use crate::dap::look::Look;
use crate::document::WallClock;

const QUEUE: ChanAddr = ChanAddr(0xc000_1000);
const MUTEX: Addr = Addr(0xc000_2000);

/// Each program counter is a line of main.go in a function of its own, but for what parks.
struct Places;

impl Symbolizer for Places {
    fn frames(&self, pc: Pc) -> Arc<[Frame]> {
        let function = match pc.0 {
            1 => "runtime.wait".to_owned(),
            number => format!("main.at{number}"),
        };
        [Frame {
            function: function.into(),
            file: "/build/main.go".into(),
            line: u32::try_from(pc.0).unwrap(),
            inlined: false,
        }]
        .into()
    }
}

fn goroutine(goid: u64, wait: Option<(WaitReason, Vec<WaitObject>)>) -> Goroutine {
    Goroutine {
        at: Ktime(0),
        goid: Goid(goid),
        gaddr: GAddr(goid << 12),
        state: if wait.is_some() {
            GState::Waiting
        } else {
            GState::Running
        },
        stack: wait.is_some().then_some(StackId(0)),
        wait: wait.map(|(reason, objects)| Wait {
            reason,
            objects: objects.into(),
            since: Ktime(0).into(),
        }),
        sleeps_until: None.into(),
        system: false,
        parent: Goid(1).into(),
        created_at: Pc(70).into(),
        start: Pc(60).into(),
        stops: None,
        stack_bytes: None.into(),
        labels: Vec::new().into(),
        moving: false,
    }
}

/// Ten goroutines: 2 to 4 wait to send on a full channel, 5 to 9 for a mutex, 10 is the runtime's; 1 runs.
fn snapshot() -> Snapshot {
    let send = WaitObject::Chan {
        chan: QUEUE,
        direction: Direction::Send,
    };
    let mut goroutines = vec![goroutine(1, None)];
    for goid in 2..=4 {
        goroutines.push(goroutine(goid, Some((WaitReason::ChanSend, vec![send]))));
    }
    for goid in 5..=9 {
        let lock = vec![WaitObject::Semaphore(MUTEX)];
        goroutines.push(goroutine(goid, Some((WaitReason::MutexLock, lock))));
    }
    let system = goroutine(10, Some((WaitReason::ForceGcIdle, Vec::new())));
    goroutines.push(Goroutine {
        system: true,
        ..system
    });
    let waiter = |goid, held| Waiter {
        goid: Goid(goid),
        select: false,
        value: Some(Box::new(held)),
    };
    let channel = Channel {
        at: Ktime(0),
        addr: QUEUE,
        elem_type: "main.Job".into(),
        elem_size: 16,
        len: 5,
        cap: 5,
        closed: false,
        made_at: None,
        timer: None,
        values: vec![
            Value::Decoded(json!({"ID": 1, "Tags": ["a", "b"]})),
            Value::Decoded(json!({"$type": "main.Other", "$value": {"ID": 2}})),
            Value::Redacted(16),
            Value::Unreadable("not mapped".to_owned()),
        ],
        send_waiting: vec![
            waiter(2, Value::Decoded(json!({"ID": 6}))),
            waiter(3, Value::Decoded(json!({"ID": 7}))),
            waiter(4, Value::Decoded(json!({"ID": 8}))),
        ],
        recv_waiting: Vec::new(),
        users: Vec::new(),
        moving: false,
    };
    Snapshot {
        finished: Ktime(61_000_000_000),
        goroutines,
        channels: vec![channel],
        stacks: vec![[1, 20, 30, 40].map(Pc).into()],
        errors: vec!["half of it".to_owned()],
        ..Snapshot::default()
    }
}

fn finding() -> Finding {
    Finding {
        id: FindingId("deadlock-1".into()),
        kind: FindingKind::Deadlock,
        verdict: Verdict::Proven,
        goroutines: vec![Goid(7), Goid(8)],
        unconfirmed: vec![Goid(9)],
        chain: vec![Link {
            goid: Goid(7),
            reason: WaitReason::MutexLock,
            waits_on: Some(WaitObject::Semaphore(MUTEX)),
            held_by: vec![Goid(8)],
            site: Some(Pc(20)),
        }],
        caused_by: None,
        reason: "they wait for each other".to_owned(),
        evidence: vec!["two passes agree".to_owned()],
        advice: Some("lock in one order".to_owned()),
        created_at: None,
        at: None,
        trend: None,
    }
}

/// A program; the flag says whether it has ended.
struct Program {
    ended: Rc<Cell<bool>>,
}

impl Target for Program {
    fn process(&self) -> (u32, String) {
        (4711, "shop".to_owned())
    }

    fn is_live(&self) -> bool {
        true
    }

    fn has_ended(&self) -> bool {
        self.ended.get()
    }

    fn glance(&mut self) -> anyhow::Result<Snapshot> {
        anyhow::ensure!(!self.ended.get(), "the process has ended");
        Ok(snapshot())
    }

    fn look(&mut self) -> anyhow::Result<Look> {
        anyhow::ensure!(!self.ended.get(), "the process has ended");
        Ok(Look {
            snapshot: snapshot(),
            findings: Ok(vec![finding()]),
            unsure: vec![Goid(6)],
        })
    }

    fn why(&mut self, goid: Goid) -> anyhow::Result<String> {
        Ok(format!("why {goid}"))
    }

    fn heading(&self, snapshot: &Snapshot) -> String {
        format!(
            "\u{1b}[1mshop\u{1b}[0m: {} goroutines",
            snapshot.goroutines.len()
        )
    }

    fn symbols(&self) -> &dyn Symbolizer {
        &Places
    }

    fn clock(&self) -> WallClock {
        WallClock::new(Ktime(0))
    }
}

/// Opens it, if it is process 4711.
struct Opener {
    ended: Rc<Cell<bool>>,
}

impl Attacher for Opener {
    fn attach(&self, config: &Config) -> anyhow::Result<Box<dyn Target>> {
        anyhow::ensure!(config.source.pid == Some(4711), "no such process");
        Ok(Box::new(Program {
            ended: Rc::clone(&self.ended),
        }))
    }
}

impl Outbox for Vec<Json> {
    fn send(&mut self, message: &Message) -> io::Result<()> {
        self.push(serde_json::to_value(message)?);
        Ok(())
    }
}

/// A client with its session.
struct Chat<'a> {
    session: Session<'a>,
    seq: i64,
    heard: Vec<Json>,
}

impl<'a> Chat<'a> {
    fn new(opener: &'a Opener) -> Chat<'a> {
        Chat {
            session: Session::new(opener, Policy::default()),
            seq: 0,
            heard: Vec::new(),
        }
    }

    /// One that is attached and has a snapshot.
    fn paused(opener: &'a Opener, more: Json) -> Chat<'a> {
        let mut chat = Chat::new(opener);
        let client = json!({"supportsVariableType": true, "supportsVariablePaging": true});
        chat.ask("initialize", client).unwrap();
        let mut attach = json!({"pid": 4711, "stopOnEntry": true});
        for (name, value) in more.as_object().unwrap() {
            attach[name] = value.clone();
        }
        chat.ask("attach", attach).unwrap();
        chat.ask("configurationDone", json!({})).unwrap();
        chat
    }

    fn raw(&mut self, message: &[u8]) -> Next {
        self.heard.clear();
        self.session.take(message, &mut self.heard).unwrap()
    }

    /// The body of the answer, or its message.
    fn ask(&mut self, command: &str, arguments: Json) -> Result<Json, String> {
        self.seq += 1;
        let request = json!({
            "seq": self.seq, "type": "request", "command": command, "arguments": arguments,
        });
        self.raw(request.to_string().as_bytes());
        let mut answers = self.heard.iter().filter(|it| it["type"] == "response");
        let answer = answers.next().expect("each request is answered");
        assert!(answers.next().is_none(), "once: {:#?}", self.heard);
        assert_eq!(answer["request_seq"], self.seq);
        assert_eq!(answer["command"], command);
        match answer["success"].as_bool() {
            Some(true) => Ok(answer["body"].clone()),
            _ => {
                let format = answer["body"]["error"]["format"].as_str();
                assert!(format.is_some_and(|text| !text.is_empty()), "{answer:#}");
                Err(answer["message"].as_str().unwrap().to_owned())
            }
        }
    }

    fn event(&self, event: &str) -> Option<&Json> {
        self.heard
            .iter()
            .find(|it| it["event"] == event)
            .map(|it| &it["body"])
    }

    fn stack(&mut self, goid: u64) -> Json {
        self.ask("stackTrace", json!({"threadId": goid})).unwrap()
    }

    /// What is inside the scope of this name, by name.
    fn scope(&mut self, goid: u64, name: &str) -> i64 {
        let frame = self.stack(goid)["stackFrames"][0]["id"].clone();
        let scopes = self.ask("scopes", json!({"frameId": frame})).unwrap();
        let all = scopes["scopes"].as_array().unwrap();
        let scope = all.iter().find(|scope| scope["name"] == name);
        scope.unwrap_or_else(|| panic!("{scopes:#}"))["variablesReference"]
            .as_i64()
            .unwrap()
    }

    fn open(&mut self, reference: i64) -> Vec<Json> {
        let asked = json!({"variablesReference": reference});
        self.ask("variables", asked).unwrap()["variables"]
            .as_array()
            .unwrap()
            .clone()
    }

    /// What is inside a variable that is inside another.
    fn inside(&mut self, reference: i64, name: &str) -> (Json, i64) {
        let variables = self.open(reference);
        let found = variables.iter().find(|it| it["name"] == name);
        let found = found
            .unwrap_or_else(|| panic!("no {name} in {variables:#?}"))
            .clone();
        let inner = found["variablesReference"].as_i64().unwrap();
        (found, inner)
    }
}

fn opener() -> Opener {
    Opener {
        ended: Rc::default(),
    }
}

#[test]
fn requests_out_of_order_are_refused_and_the_session_stays() {
    let opener = opener();
    let mut chat = Chat::new(&opener);
    for command in ["attach", "threads", "pause", "evaluate", "nonsense"] {
        let refusal = chat.ask(command, json!({})).unwrap_err();
        assert!(
            refusal.contains("`initialize` comes first"),
            "{command}: {refusal}"
        );
    }
    assert!(
        chat.ask("initialize", json!({"pathFormat": "uri"}))
            .unwrap_err()
            .contains("pathFormat")
    );
    assert!(
        chat.ask("initialize", json!({"linesStartAt1": 7}))
            .unwrap_err()
            .contains("wrong")
    );
    let capabilities = chat.ask("initialize", json!(null)).unwrap();
    assert_eq!(capabilities["supportsConfigurationDoneRequest"], true);
    for never in [
        "supportTerminateDebuggee",
        "supportsSetVariable",
        "supportsStepBack",
    ] {
        assert_eq!(capabilities[never], false, "{never}");
    }
    assert!(
        chat.ask("initialize", json!({}))
            .unwrap_err()
            .contains("comes once")
    );
    for command in ["threads", "pause", "variables", "setBreakpoints"] {
        let refusal = chat.ask(command, json!({})).unwrap_err();
        assert!(
            refusal.contains("`attach` comes first"),
            "{command}: {refusal}"
        );
    }
    for (arguments, named) in [
        (json!({}), "names no process"),
        (json!({"pid": 1}), "no such process"),
        (json!({"pid": 4711, "values": "all"}), "`values`"),
    ] {
        let refusal = chat.ask("attach", arguments.clone()).unwrap_err();
        assert!(refusal.contains(named), "{arguments}: {refusal}");
    }
    chat.ask("attach", json!({"pid": 4711})).unwrap();
    assert!(chat.event("initialized").is_some());
    assert_eq!(chat.event("process").unwrap()["systemProcessId"], 4711);
    assert!(
        chat.ask("attach", json!({"pid": 4711}))
            .unwrap_err()
            .contains("already")
    );
    chat.ask("configurationDone", json!({})).unwrap();
    assert!(
        chat.event("stopped").is_none(),
        "nobody asked for a stop on entry"
    );
    for command in ["nonsense", "", "cancel", "modules"] {
        let refusal = chat.ask(command, json!({})).unwrap_err();
        assert!(refusal.contains("no request"), "{command}: {refusal}");
    }
    chat.ask("threads", json!({})).unwrap();
}

#[test]
fn what_is_no_request_is_said_and_survived() {
    let opener = opener();
    let mut chat = Chat::paused(&opener, json!({}));
    let deep = "[".repeat(100_000);
    for message in [
        &b"garbage"[..],
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b"{\"seq\": 1}",
        b"{\"seq\": \"1\", \"type\": \"request\", \"command\": \"threads\"}",
        b"{\"seq\": 1, \"type\": \"request\"}",
        b"{\"seq\": 1, \"type\": \"wish\", \"command\": \"threads\"}",
        b"{\"seq\": 1e99, \"type\": \"request\", \"command\": \"threads\"}",
        deep.as_bytes(),
    ] {
        assert_eq!(chat.raw(message), Next::Go);
        let said = chat.event("output").expect("something is said");
        assert_eq!(said["category"], "stderr", "{said}");
    }
    // Answers to what nobody asked.
    chat.raw(b"{\"seq\": 1, \"type\": \"response\", \"request_seq\": 1, \"success\": true, \"command\": \"x\"}");
    assert!(chat.heard.is_empty());
    for (command, arguments) in [
        ("stackTrace", json!({})),
        ("stackTrace", json!({"threadId": "seven"})),
        ("stackTrace", json!({"threadId": 999})),
        ("stackTrace", json!({"threadId": -7})),
        ("stackTrace", json!([])),
        ("scopes", json!({"frameId": 999})),
        ("scopes", json!({"frameId": i64::MIN})),
        ("variables", json!({"variablesReference": 0})),
        ("variables", json!({"variablesReference": i64::MAX})),
        (
            "variables",
            json!({"variablesReference": 1, "filter": "some"}),
        ),
        ("variables", json!({"variablesReference": 1, "start": -1})),
        ("evaluate", json!({})),
        ("setBreakpoints", json!({"breakpoints": 7})),
        ("completions", json!({"column": 1})),
    ] {
        chat.ask(command, arguments.clone())
            .expect_err(&format!("{command} {arguments}"));
    }
    assert_eq!(chat.stack(2)["totalFrames"], 5, "the session is as it was");
}

#[test]
fn whatever_needs_a_stop_is_refused_with_what_to_use() {
    let opener = opener();
    let mut chat = Chat::paused(&opener, json!({}));
    for (command, named) in [
        ("next", "gotrace record"),
        ("stepIn", "gotrace record"),
        ("stepOut", "gotrace record"),
        ("stepBack", "gotrace record"),
        ("goto", "gotrace record"),
        ("setVariable", "reads memory alone"),
        ("restart", "kill PID"),
        ("terminate", "kill PID"),
        ("launch", "attach"),
    ] {
        let refusal = chat.ask(command, json!({"threadId": 1})).unwrap_err();
        assert!(refusal.contains(named), "{command}: {refusal}");
    }
    for (command, arguments, number) in [
        (
            "setBreakpoints",
            json!({"source": {"path": "a.go"}, "breakpoints": [{"line": 1}, {"line": 2}]}),
            2,
        ),
        (
            "setBreakpoints",
            json!({"source": {"path": "a.go"}, "lines": [1]}),
            1,
        ),
        (
            "setBreakpoints",
            json!({"source": {"path": "a.go"}, "breakpoints": []}),
            0,
        ),
        (
            "setFunctionBreakpoints",
            json!({"breakpoints": [{"name": "main.main"}]}),
            1,
        ),
        ("setExceptionBreakpoints", json!({"filters": []}), 0),
    ] {
        let answer = chat.ask(command, arguments).unwrap();
        let breakpoints = answer["breakpoints"].as_array().unwrap();
        assert_eq!(breakpoints.len(), number);
        for breakpoint in breakpoints {
            assert_eq!(breakpoint["verified"], false);
            assert!(
                breakpoint["message"]
                    .as_str()
                    .unwrap()
                    .contains("never stops")
            );
        }
    }
    chat.seq += 1;
    let request = json!({
        "seq": chat.seq, "type": "request", "command": "disconnect", "arguments": {"terminateDebuggee": true},
    });
    assert_eq!(chat.raw(request.to_string().as_bytes()), Next::End);
    let said = chat.event("output").unwrap();
    assert!(
        said["output"].as_str().unwrap().contains("not terminated"),
        "{said}"
    );
}

#[test]
fn pause_takes_a_picture_and_continue_drops_it() {
    let opener = opener();
    let mut chat = Chat::paused(&opener, json!({}));
    let stopped = chat.event("stopped").unwrap();
    assert_eq!(stopped["reason"], "entry");
    assert_eq!(stopped["allThreadsStopped"], true);
    assert!(
        stopped["text"]
            .as_str()
            .unwrap()
            .contains("the program runs on")
    );
    assert_eq!(stopped["threadId"], 7, "the first of the surest finding");
    let said = chat.event("output").unwrap()["output"]
        .as_str()
        .unwrap()
        .to_owned();
    for part in [
        "shop: 10 goroutines",
        "1 finding (1 proven)",
        "not read: half of it",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(
        !said.contains('\u{1b}'),
        "this client shows no styles: {said:?}"
    );
    let (frame, reference) = (
        chat.stack(2)["stackFrames"][0]["id"].as_i64().unwrap(),
        chat.scope(2, "Waits for"),
    );
    let answer = chat.ask("continue", json!({"threadId": 1})).unwrap();
    assert_eq!(answer["allThreadsContinued"], true);
    for (command, arguments) in [
        ("stackTrace", json!({"threadId": 2})),
        ("scopes", json!({"frameId": frame})),
        ("variables", json!({"variablesReference": reference})),
    ] {
        assert_eq!(chat.ask(command, arguments), Err("notStopped".to_owned()));
    }
    assert_eq!(
        chat.ask("threads", json!({})).unwrap()["threads"]
            .as_array()
            .unwrap()
            .len(),
        9
    );
    chat.ask("pause", json!({"threadId": 1})).unwrap();
    assert_eq!(chat.event("stopped").unwrap()["reason"], "pause");
    // What was of the old picture is not taken for something of the new one.
    chat.stack(2);
    chat.scope(2, "Waits for");
    assert!(chat.ask("scopes", json!({"frameId": frame})).is_err());
    assert!(
        chat.ask("variables", json!({"variablesReference": reference}))
            .is_err()
    );
}

#[test]
fn goroutines_are_threads_those_with_findings_first() {
    let opener = opener();
    let mut chat = Chat::paused(&opener, json!({}));
    let names = |chat: &mut Chat<'_>| -> Vec<String> {
        let answer = chat.ask("threads", json!({})).unwrap();
        let threads = answer["threads"].as_array().unwrap();
        threads
            .iter()
            .map(|it| it["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = names(&mut chat);
    assert_eq!(all.len(), 9, "the runtime's own is hidden: {all:#?}");
    assert_eq!(
        all[0],
        "[Go 7] main.at20 (sync.Mutex.Lock, ≥ 61.0 s) DEADLOCK (proven)"
    );
    assert_eq!(all[2], "[Go 1] main.at60 (running)");
    assert_eq!(all[3], "[Go 2] main.at20 (chan send, ≥ 61.0 s)");
    assert!(all[7].contains("not known for sure"), "{all:#?}");
    assert!(all[8].contains("DEADLOCK (not confirmed)"), "{all:#?}");
    for (attributes, number) in [
        (json!({"hideSystemGoroutines": false}), 10),
        (json!({"goroutineFilters": "-with reason chan send"}), 3),
        (json!({"goroutineFilters": "-with system"}), 1),
        (json!({"goroutineFilters": "-with userloc nowhere"}), 0),
        (json!({"maxGoroutines": 2}), 2),
    ] {
        let mut chat = Chat::paused(&opener, attributes.clone());
        assert_eq!(names(&mut chat).len(), number, "{attributes}");
        chat.ask("continue", json!({"threadId": 0})).unwrap();
        assert_eq!(names(&mut chat).len(), number, "{attributes}, running");
    }
}

#[test]
fn stacks_come_in_pages_with_their_lines() {
    let opener = opener();
    let rule = json!({"substitutePath": [{"from": "/home/me", "to": "/build"}]});
    let mut chat = Chat::paused(&opener, rule);
    let stack = chat.stack(2);
    let frames = stack["stackFrames"].as_array().unwrap();
    assert_eq!(frames.len(), 5);
    assert_eq!(
        frames[0]["presentationHint"], "subtle",
        "what parks is not what one looks for"
    );
    assert_eq!(frames[1]["name"], "main.at20");
    assert_eq!(frames[1]["line"], 20);
    assert_eq!(
        frames[1]["source"],
        json!({"name": "main.go", "path": "/home/me/main.go"})
    );
    assert_eq!(frames[4]["name"], "created by main.at70 in goroutine 1");
    for (start, levels, names) in [
        (0, 1, &["runtime.wait"][..]),
        (1, 2, &["main.at20", "main.at30"]),
        (3, 0, &["main.at40", "created by main.at70 in goroutine 1"]),
        (9, 5, &[]),
    ] {
        let asked = json!({"threadId": 2, "startFrame": start, "levels": levels});
        let page = chat.ask("stackTrace", asked).unwrap();
        assert_eq!(page["totalFrames"], 5);
        let page = page["stackFrames"].as_array().unwrap();
        let found: Vec<&str> = page.iter().map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(found, names, "{start} {levels}");
    }
    let running = chat.stack(1);
    assert_eq!(running["stackFrames"][0]["presentationHint"], "label");
    assert!(
        running["stackFrames"][0]["name"]
            .as_str()
            .unwrap()
            .contains("it runs")
    );
}

#[test]
fn lines_count_as_the_client_counts() {
    let opener = opener();
    let mut chat = Chat::new(&opener);
    chat.ask(
        "initialize",
        json!({"linesStartAt1": false, "columnsStartAt1": false}),
    )
    .unwrap();
    chat.ask("attach", json!({"pid": 4711, "stopOnEntry": true}))
        .unwrap();
    chat.ask("configurationDone", json!({})).unwrap();
    let frame = chat.stack(2)["stackFrames"][1].clone();
    assert_eq!((&frame["line"], &frame["column"]), (&json!(19), &json!(0)));
}

#[test]
fn a_channel_is_open_to_its_elements_and_queues() {
    let opener = opener();
    let mut chat = Chat::paused(&opener, json!({}));
    let waits = chat.scope(2, "Waits for");
    let (reason, _) = chat.inside(waits, "reason");
    assert_eq!(reason["value"], "chan send");
    let (channel, reference) = chat.inside(waits, "send to 0xc0001000");
    assert_eq!(
        channel["value"],
        "chan main.Job 5/5, full, 3 goroutines wait to send"
    );
    assert_eq!(channel["type"], "chan main.Job");
    for (name, value) in [
        ("len", "5"),
        ("cap", "5"),
        ("state", "open"),
        ("element type", "main.Job"),
        (
            "elements",
            "4 of 5, oldest first; the others were not read (`values`)",
        ),
        ("sendq", "3 goroutines"),
        ("recvq", "none waits"),
    ] {
        assert_eq!(chat.inside(reference, name).0["value"], value, "{name}");
    }
    let (elements, list) = chat.inside(reference, "elements");
    assert_eq!(elements["indexedVariables"], 4);
    let shown: Vec<(Json, Json)> = chat
        .open(list)
        .into_iter()
        .map(|it| (it["value"].clone(), it["type"].clone()))
        .collect();
    assert_eq!(
        shown,
        [
            (json!(r#"{"ID":1,"Tags":["a","b"]}"#), json!("main.Job")),
            (json!(r#"{"ID":2}"#), json!("main.Other")),
            (json!("<redacted: 16 bytes>"), json!("main.Job")),
            (json!("<not read: not mapped>"), json!("main.Job")),
        ]
    );
    let (_, first) = chat.inside(list, "[0]");
    let (_, tags) = chat.inside(first, "Tags");
    assert_eq!(chat.inside(tags, "[1]").0["value"], "\"b\"");
    let (_, senders) = chat.inside(reference, "sendq");
    let (sender, parts) = chat.inside(senders, "[1]");
    assert!(
        sender["value"]
            .as_str()
            .unwrap()
            .ends_with("sends {\"ID\":7}"),
        "{sender}"
    );
    let (_, goroutine) = chat.inside(parts, "goroutine");
    assert_eq!(chat.inside(goroutine, "goid").0["value"], "3");
    let (_, held) = chat.inside(parts, "value");
    assert_eq!(chat.inside(held, "ID").0["value"], "7");
    // The same things have the same numbers, however often they are opened.
    assert_eq!(chat.inside(reference, "elements").1, list);
}

#[test]
fn lists_come_in_pages() {
    let opener = opener();
    let mut chat = Chat::paused(&opener, json!({}));
    let waits = chat.scope(7, "Waits for");
    let (lock, list) = chat.inside(waits, "mutex 0xc0002000");
    assert_eq!(lock["value"], "5 goroutines wait there");
    for (asked, names) in [
        (json!({"start": 1, "count": 2}), &["[1]", "[2]"][..]),
        (
            json!({"filter": "indexed", "start": 4, "count": 100}),
            &["[4]"],
        ),
        (json!({"start": 5, "count": 1}), &[]),
        (json!({"start": u64::MAX}), &[]),
        (json!({"filter": "named"}), &[]),
        (json!({"count": 0}), &["[0]", "[1]", "[2]", "[3]", "[4]"]),
    ] {
        let mut arguments = asked.clone();
        arguments["variablesReference"] = list.into();
        let page = chat.ask("variables", arguments).unwrap();
        let page = page["variables"].as_array().unwrap();
        let found: Vec<&str> = page.iter().map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(found, names, "{asked}");
    }
    let channels = chat.scope(1, "Channels");
    assert_eq!(chat.open(channels)[0]["name"], "0xc0001000");
}

#[test]
fn a_finding_shows_its_evidence() {
    let opener = opener();
    let mut chat = Chat::paused(&opener, json!({}));
    let waits = chat.scope(7, "Waits for");
    let (_, enders) = chat.inside(waits, "could be ended only by");
    assert!(
        chat.inside(enders, "[0]").0["value"]
            .as_str()
            .unwrap()
            .starts_with("[Go 8]")
    );
    let findings = chat.scope(7, "Findings");
    let (found, parts) = chat.inside(findings, "DEADLOCK (proven)");
    assert_eq!(found["value"], "they wait for each other");
    assert_eq!(
        chat.inside(parts, "usual fix").0["value"],
        "lock in one order"
    );
    let (_, evidence) = chat.inside(parts, "evidence");
    assert_eq!(chat.inside(evidence, "[0]").0["value"], "two passes agree");
    let (_, chain) = chat.inside(parts, "chain");
    let (step, _) = chat.inside(chain, "goroutine 7");
    let step = step["value"].as_str().unwrap();
    assert!(
        step.contains("mutex 0xc0002000") && step.contains("main.go:20"),
        "{step}"
    );
}

#[test]
fn the_console_answers_words_and_refuses_expressions() {
    let opener = opener();
    let mut chat = Chat::paused(&opener, json!({}));
    for (expression, part) in [
        ("help", "deadlocks"),
        ("goroutines -with reason chan send", "3 goroutines"),
        ("goroutine 7", "main.at20"),
        ("channels", "0xc0001000"),
        ("channel 0xc0001000", "received next"),
        ("deadlocks", "they wait for each other"),
        ("leaks", "they wait for each other"),
        ("why 7", "why 7"),
    ] {
        for paused in [true, false] {
            let command = if paused { "pause" } else { "continue" };
            chat.ask(command, json!({"threadId": 1})).unwrap();
            let asked = json!({"expression": expression, "context": "repl"});
            let answer = chat.ask("evaluate", asked).unwrap();
            let text = answer["result"].as_str().unwrap();
            assert!(text.contains(part), "{expression}: {text}");
            assert!(!text.contains('\u{1b}'), "{expression}: {text:?}");
        }
    }
    chat.ask("pause", json!({"threadId": 1})).unwrap();
    let watched = json!({"expression": "channel 0xc0001000", "context": "watch"});
    let watched = chat.ask("evaluate", watched).unwrap();
    let reference = watched["variablesReference"].as_i64().unwrap();
    assert_eq!(chat.inside(reference, "len").0["value"], "5");
    for expression in [
        "os.Exit(1)",
        "x = 1",
        "goroutine 99",
        "channel 0x1",
        "goroutines user",
    ] {
        let asked = json!({"expression": expression, "context": "repl"});
        chat.ask("evaluate", asked).expect_err(expression);
    }
    let targets = chat
        .ask("completions", json!({"text": "chan", "column": 5}))
        .unwrap();
    assert_eq!(targets["targets"][0]["label"], "channels");
}

#[test]
fn the_programs_end_is_told_once_and_a_picture_stays() {
    let opener = opener();
    let mut chat = Chat::paused(&opener, json!({}));
    opener.ended.set(true);
    chat.heard.clear();
    chat.session.tick(&mut chat.heard).unwrap();
    assert!(
        chat.event("output").unwrap()["output"]
            .as_str()
            .unwrap()
            .contains("has ended")
    );
    assert!(chat.event("terminated").is_none());
    chat.heard.clear();
    chat.session.tick(&mut chat.heard).unwrap();
    assert!(chat.heard.is_empty(), "{:#?}", chat.heard);
    assert_eq!(chat.stack(2)["totalFrames"], 5);
    chat.ask("continue", json!({"threadId": 1})).unwrap();
    assert!(chat.event("terminated").is_some());
    assert!(
        chat.ask("threads", json!({}))
            .unwrap_err()
            .contains("has ended")
    );
    assert!(chat.event("terminated").is_none(), "once");
    chat.ask("pause", json!({"threadId": 1})).unwrap();
    assert!(chat.event("stopped").is_none());
    assert!(
        chat.event("output").unwrap()["output"]
            .as_str()
            .unwrap()
            .contains("no snapshot")
    );
}
