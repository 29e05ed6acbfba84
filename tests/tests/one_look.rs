//! Commands that look once: filters, groups, one goroutine, one channel, and the same from a file.

use std::collections::{BTreeMap, BTreeSet};

use integration_tests::{Gotrace, Target, eventually, require_root};
use serde_json::Value;

/// Goroutines of the program `many` that wait on channels of their own.
const PARKED: usize = 12;

fn many() -> Target {
    require_root();
    Target::start("many", &["-n", "12"])
}

fn document(arguments: &[&str], schema: &str) -> Value {
    let finished = Gotrace::run(&[arguments, &["--format", "json"]].concat());
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    finished.document(schema)
}

fn goroutines(source: &[&str], filters: &[&str]) -> Vec<Value> {
    let arguments = [&["goroutines"], source, filters].concat();
    let document = document(&arguments, "gotrace.goroutines/1");
    document["goroutines"].as_array().expect("a list").clone()
}

fn text(arguments: &[&str]) -> String {
    let finished = Gotrace::run(arguments);
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    finished.text()
}

/// Each filter, and how many goroutines of `many` it lets pass: the parked ones and main.
fn check_filters(source: &[&str]) {
    for (filters, expected) in [
        (&["--with", "user"][..], PARKED + 1),
        (&["--with", "reason chan receive", "--with", "user"], PARKED),
        (&["--with", "userloc=main.parked"], PARKED),
        (&["--with", "userloc main.parked", "--limit", "5"], 5),
        (
            &[
                "--with",
                "curloc ^runtime.gopark$",
                "--with",
                "stack main.parked",
            ],
            PARKED,
        ),
        (&["--with", "user", "--without", "userloc main.parked"], 1),
        (
            &["--with", "created-by 1", "--with", "userloc main.parked"],
            PARKED,
        ),
        (&["--with", "goloc main.main", "--with", "user"], PARKED),
        (&["--with", "state=running", "--with", "user"], 0),
        (&["--with", "waiting-longer 1h"], 0),
        (&["--with", "label tenant"], 0),
    ] {
        let found = goroutines(source, filters);
        assert_eq!(found.len(), expected, "{filters:?}: {found:#?}");
    }
}

#[test]
fn filters_choose() {
    let target = many();
    check_filters(&["--pid", &target.pid_argument()]);
    target.end_unharmed();
}

#[test]
fn alike_goroutines_are_shown_once() {
    let target = many();
    let pid = target.pid_argument();
    let by_stack = text(&["goroutines", "--pid", &pid]);
    assert_eq!(by_stack.matches("main.parked\n").count(), 1, "{by_stack}");
    assert!(
        by_stack.contains("12 goroutines  waiting: chan receive"),
        "{by_stack}"
    );
    let each = text(&["goroutines", "--pid", &pid, "--group", "none"]);
    assert_eq!(each.matches("main.parked\n").count(), PARKED, "{each}");
    let by_place = text(&["goroutines", "--pid", &pid, "--group", "userloc"]);
    assert!(by_place.contains("12  main.parked "), "{by_place}");
    let limited = text(&[
        "goroutines",
        "--pid",
        &pid,
        "--group",
        "none",
        "--limit",
        "3",
    ]);
    assert!(limited.contains("and 10 goroutines more"), "{limited}");
    let groups = document(
        &[
            "goroutines",
            "--pid",
            &pid,
            "--with",
            "user",
            "--group",
            "userloc",
        ],
        "gotrace.groups/1",
    );
    let first = &groups["groups"][0];
    assert_eq!(first["count"], PARKED, "{groups:#}");
    assert!(
        first["label"].to_string().contains("main.parked"),
        "{groups:#}"
    );
    assert_eq!(first["goids"].as_array().map(Vec::len), Some(PARKED));
    assert_eq!(
        first["examples"][0]["goid"], first["goids"][0],
        "{groups:#}"
    );
    assert_eq!(
        first["examples"][0]["wait_reason"], "chan receive",
        "{groups:#}"
    );
    target.end_unharmed();
}

#[test]
fn one_goroutine_and_its_channel() {
    let target = many();
    let pid = target.pid_argument();
    let parked = goroutines(&["--pid", &pid], &["--with", "userloc main.parked"]);
    let (goid, channel) = (
        parked[0]["goid"].to_string(),
        &parked[0]["waiting_on"]["address"],
    );
    let channel = channel.as_str().expect("an address");

    let stack = text(&["stack", &goid, "--pid", &pid]);
    assert!(stack.contains("main.parked\n"), "{stack}");
    assert!(
        stack.contains(&format!("waits to receive from channel {channel}")),
        "{stack}"
    );

    let picture = text(&["channel", channel, "--pid", &pid]);
    assert!(
        picture.contains(&format!("goroutine {goid} waits to receive")),
        "{picture}"
    );
    let list = document(
        &[
            "channels",
            "--pid",
            &pid,
            "--with",
            &format!("chan {channel}"),
        ],
        "gotrace.channels/1",
    );
    assert_eq!(
        list["channels"].as_array().map(Vec::len),
        Some(1),
        "{list:#}"
    );
    assert_eq!(
        list["channels"][0]["recv_waiting"][0]["goid"].to_string(),
        goid,
        "{list:#}"
    );

    for (arguments, message) in [
        (
            &["stack", "999999", "--pid", &pid][..],
            "no goroutine 999999",
        ),
        (
            &["channel", "0x1000", "--pid", &pid],
            "no channel at 0x1000",
        ),
    ] {
        let finished = Gotrace::run(arguments);
        assert_eq!(finished.code, Some(2), "{finished:#?}");
        assert!(finished.stderr.contains(message), "{finished:#?}");
        assert!(finished.stderr.contains("next: "), "{finished:#?}");
    }
    target.end_unharmed();
}

/// Channels by what the program calls them.
fn channels_of(target: &Target, arguments: &[&str]) -> BTreeMap<String, Value> {
    let list = document(arguments, "gotrace.channels/1");
    let names = target.ready["channels"].as_object().expect("addresses");
    let name = |address: &Value| names.iter().find(|(_, other)| *other == address);
    list["channels"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|channel| Some((name(&channel["address"])?.0.clone(), channel.clone())))
        .collect()
}

#[test]
fn channels_that_nobody_waits_on() {
    require_root();
    let target = Target::start("holders", &[]);
    let pid = target.pid_argument();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("holders.gosnap");
    let file = file.to_str().expect("a path of ours");
    text(&["snapshot", "--pid", &pid, "-o", file]);
    for source in [["--pid", &pid], ["--from", file]] {
        let held = channels_of(&target, &[&["channels"], &source[..]].concat());
        let names: Vec<&str> = held.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["closed", "struct", "ticker", "variable"],
            "{held:#?}"
        );
        let timer = &held["ticker"]["timer"];
        assert_eq!(timer["period_seconds"], 3600.0, "{timer:#}");
        assert!(timer["fires_at"].is_string(), "{timer:#}");
        assert!(held["closed"]["timer"].is_null(), "{held:#?}");
        for (name, function, through) in [
            ("closed", "main.main", false),
            ("struct", "main.(*server).keepsStruct", true),
            ("variable", "main.keepsVariable", false),
        ] {
            let users = held[name]["used_by"].as_array().expect("a list");
            let user = users
                .iter()
                .find(|user| user["site"]["function"] == function);
            let user = user.unwrap_or_else(|| panic!("{function} holds {name}: {users:#?}"));
            assert_eq!(user["through"].is_string(), through, "{user:#}");
        }

        let all = channels_of(&target, &[&["channels", "--heap"], &source[..]].concat());
        let shown: Vec<String> = all
            .iter()
            .map(|(name, channel)| {
                let of = |key: &str| channel[key].to_string();
                let parts = ["type", "len", "cap", "closed", "values"].map(of);
                format!("{name}: {}", parts.join(" "))
            })
            .collect();
        assert_eq!(
            shown,
            [
                r#"closed: "error" 0 0 true []"#,
                r#"empty: "struct {}" 0 0 false []"#,
                r#"global: "string" 1 4 false ["hello"]"#,
                r#"map: "[2]int64" 1 3 false [[1,2]]"#,
                r#"struct: "*main.job" 1 2 false [{"ID":1,"Name":"first"}]"#,
                r#"ticker: "time.Time" 0 1 false []"#,
                r#"variable: "int" 1 8 false [7]"#,
            ]
        );
    }
    let sleeping = goroutines(&["--pid", &pid], &["--with", "reason sleep"]);
    assert_eq!(sleeping.len(), 2);
    for goroutine in sleeping {
        assert!(goroutine["sleeps_until"].is_string(), "{goroutine:#}");
        let goid = goroutine["goid"].to_string();
        let shown = text(&["stack", &goid, "--pid", &pid]);
        assert!(shown.contains("sleeps for 59 min"), "{shown}");
    }
    let arguments = ["channels", "--heap", "--pid", &pid, "--limit", "1"];
    let first = document(&arguments, "gotrace.channels/1");
    assert_eq!(first["channels"].as_array().map(Vec::len), Some(1));
    let redacted = channels_of(&target, &["channels", "--heap", "--redact", "--pid", &pid]);
    assert_eq!(redacted["global"]["values"][0]["$redacted"], 16);
    let cut = channels_of(
        &target,
        &["channels", "--heap", "--max-bytes", "3", "--pid", &pid],
    );
    assert_eq!(cut["global"]["values"][0]["$text"], "hel", "{cut:#?}");
    target.end_unharmed();
}

#[test]
fn which_peer_a_goroutine_waits_for() {
    require_root();
    // It runs until it is killed.
    let mut target = Target::start("demo", &[]);
    let address = target.ready["http"]
        .as_str()
        .expect("it serves HTTP")
        .to_owned();
    let connection = std::net::TcpStream::connect(&address).expect("it listens");
    let ours = connection
        .local_addr()
        .expect("it is connected")
        .to_string();
    let pid = target.pid_argument();
    let waits = |wanted: &dyn Fn(&Value) -> bool| {
        eventually("its server waits for us", || {
            goroutines(&["--pid", &pid], &["--with", "reason IO wait"])
                .into_iter()
                .find(|goroutine| wanted(&goroutine["waiting_on"]))
        })
    };
    let reader = waits(&|on| on["file"]["peer"] == ours.as_str());
    let on = &reader["waiting_on"];
    assert_eq!(on["mode"], "read", "{reader:#}");
    assert_eq!(on["file"]["kind"], "tcp", "{reader:#}");
    assert_eq!(on["file"]["local"], *address, "{reader:#}");
    let accepts = waits(&|on| on["file"]["local"] == *address && on["file"]["peer"].is_null());
    let stack = accepts["stack"].to_string();
    assert!(stack.contains("net.(*TCPListener).Accept"), "{accepts:#}");

    let goid = reader["goid"].to_string();
    let shown = text(&["stack", &goid, "--pid", &pid]);
    let expected = format!("tcp {address} connected to {ours}");
    assert!(shown.contains(&expected), "{shown}");
    drop(connection);
    assert!(target.is_alive(), "the target died");
}

#[test]
fn a_snapshot_is_studied_elsewhere() {
    let target = many();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("many.gosnap");
    let file = file.to_str().expect("a path of ours");
    let said = text(&["snapshot", "--pid", &target.pid_argument(), "-o", file]);
    assert!(said.contains("19 goroutines and "), "{said}");
    let goids = |list: &[Value]| -> BTreeSet<u64> {
        list.iter()
            .map(|goroutine| goroutine["goid"].as_u64().expect("a goid"))
            .collect()
    };
    let live = goids(&goroutines(
        &["--pid", &target.pid_argument()],
        &["--with", "user"],
    ));
    let again = Gotrace::run(&["snapshot", "--pid", &target.pid_argument(), "-o", file]);
    assert_eq!(
        again.code,
        Some(2),
        "a file that is there is not overwritten: {again:#?}"
    );
    target.end_unharmed();

    // The process is gone; the file has it all.
    assert_eq!(
        goids(&goroutines(&["--from", file], &["--with", "user"])),
        live
    );
    check_filters(&["--from", file]);
    let channels = document(&["channels", "--from", file], "gotrace.channels/1");
    assert_eq!(channels["channels"].as_array().map(Vec::len), Some(PARKED));
    let twice = [
        text(&["goroutines", "--from", file]),
        text(&["goroutines", "--from", file]),
    ];
    assert_eq!(twice[0], twice[1]);
}

#[test]
fn a_file_that_is_no_snapshot() {
    let target = many();
    let directory = tempfile::tempdir().expect("a directory");
    let whole = directory.path().join("whole");
    text(&[
        "snapshot",
        "--pid",
        &target.pid_argument(),
        "-o",
        whole.to_str().expect("a path of ours"),
    ]);
    target.end_unharmed();
    let bytes = std::fs::read(&whole).expect("the snapshot");
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 0x10;
    for (name, content) in [
        ("missing", None),
        ("empty", Some(Vec::new())),
        ("text", Some(b"not a snapshot".to_vec())),
        ("cut", Some(bytes[..bytes.len() / 2].to_vec())),
        ("flipped", Some(flipped)),
    ] {
        let path = directory.path().join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).expect("the directory is writable");
        }
        let finished = Gotrace::run(&[
            "goroutines",
            "--from",
            path.to_str().expect("a path of ours"),
        ]);
        // What is damaged beside the goroutines is said, and they are shown.
        if name == "flipped" && finished.code == Some(0) {
            let said = finished.stderr.contains("checksum");
            assert!(said, "{name}: {finished:#?}");
            continue;
        }
        assert_eq!(finished.code, Some(2), "{name}: {finished:#?}");
        assert!(
            finished.stderr.contains("cannot read "),
            "{name}: {finished:#?}"
        );
        assert!(finished.stderr.contains("next: "), "{name}: {finished:#?}");
    }
}
