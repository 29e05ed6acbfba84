//! What needs a terminal: `gotrace top` driven by keys, pagers; and what is the case without one.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use integration_tests::target::{fixture, send};
use integration_tests::text::assert_no_probe;
use integration_tests::tmux::Terminal;
use integration_tests::{Gotrace, Target, eventually, gotrace, require_root};
use rustix::process::Signal;

/// Runs a command in a terminal and says then how it ended, and how the terminal is.
fn run_in_terminal(command: &str) -> Terminal {
    let program = gotrace::program();
    let program = program.to_str().expect("a path of ours");
    let script = format!(
        "{} ; echo exit=$?; stty -a",
        // The word, which is no part of a path.
        command.replace("gotrace ", &format!("{program} "))
    );
    Terminal::open(100, 30, &script)
}

/// A terminal as it was before: keys are echoed, lines are edited, the screen is the shell's.
#[track_caller]
fn is_restored(terminal: &Terminal) {
    let screen = terminal.shows(&["exit=", "baud", "icanon", "extproc"]);
    let words: Vec<&str> = screen.split([' ', '\n']).collect();
    assert!(
        words.contains(&"echo") && words.contains(&"icanon"),
        "{screen}"
    );
    assert!(!terminal.is_taken(), "{screen}");
}

#[test]
fn the_console_is_driven_by_keys_until_the_target_ends() {
    require_root();
    let target = Target::start("demo", &["-leak-every", "100ms"]);
    let pid = target.pid();
    let terminal = run_in_terminal(&format!("gotrace top --pid {pid} --level full"));

    // The header, and the list with what waits longest.
    let screen = terminal.shows(&[
        "pid ",
        "level full",
        "waiting",
        "events",
        "tax",
        "lost 0",
        "chan receive",
    ]);
    assert!(screen.contains(&format!("pid {pid}")), "{screen}");
    terminal.shows(&["SINCE▼"]);
    terminal.press(&["s"]);
    terminal.shows(&["AT▼"]);

    // A filter, as it is typed.
    terminal.press(&["/"]);
    terminal.type_in("fetchPrice");
    terminal.shows(&["/fetchPrice", "left"]);
    terminal.press(&["Enter"]);

    // A goroutine, what keeps it, its channel, and back.
    terminal.press(&["Enter"]);
    terminal.shows(&[
        "› goroutine",
        "waits to send on channel",
        "stack",
        "created",
    ]);
    terminal.press(&["w"]);
    terminal.shows(&["why", "because"]);
    terminal.press(&["c"]);
    terminal.shows(&["› channel 0x", "to send"]);
    terminal.press(&["Escape"]);
    terminal.press(&["Escape"]);

    // Channels, the full one with what is in it.
    terminal.press(&["2"]);
    terminal.shows(&["LEN/CAP", "full", "██████████"]);
    terminal.press(&["Enter"]);
    terminal.shows(&["buffer", "[0]", "received next", "Customer"]);

    // Findings come by themselves.
    terminal.press(&["3"]);
    terminal.press(&["/"]);
    terminal.type_in("deadlock");
    terminal.shows(&["VERDICT", "deadlock ", "1 left"]);
    terminal.press(&["Enter", "Enter"]);
    terminal.shows(&["DEADLOCK (", "could send on or close"]);
    terminal.press(&["?"]);
    terminal.shows(&["any key closes this"]);
    terminal.press(&["x"]);
    terminal.press(&["4"]);
    terminal.press(&["Space"]);
    terminal.shows(&["PAUSED", "COUNT"]);

    // The last view stays.
    target.signal(Signal::KILL);
    terminal.shows(&["ENDED: target exited", "COUNT"]);
    terminal.press(&["q"]);
    is_restored(&terminal);
}

#[test]
fn a_signal_ends_the_console_and_leaves_nothing_behind() {
    require_root();
    let target = Target::start("many", &["-n", "3"]);
    let pid = target.pid();
    let terminal = run_in_terminal(&format!("gotrace top --pid {pid} --level park"));
    terminal.shows(&["level park", "waiting"]);
    assert!(terminal.is_taken());
    send(terminal.child("gotrace"), Signal::TERM);
    is_restored(&terminal);
    assert_no_probe(pid);
    target.end_unharmed();
}

#[test]
fn a_terminal_that_is_gone_ends_the_console() {
    require_root();
    let target = Target::start("many", &["-n", "3"]);
    let pid = target.pid();
    let terminal = run_in_terminal(&format!("gotrace top --pid {pid} --level park"));
    terminal.shows(&["level park", "waiting"]);
    let console = PathBuf::from(format!("/proc/{}", terminal.child("gotrace")));
    drop(terminal);
    eventually("it ends with the terminal", || {
        (!console.exists()).then_some(())
    });
    assert_no_probe(pid);
    target.end_unharmed();
}

#[test]
fn a_started_program_does_not_write_into_the_console() {
    require_root();
    let program = fixture("demo");
    let program = program.to_str().expect("a path of ours");
    let terminal = run_in_terminal(&format!(
        "NO_COLOR=1 gotrace top --level observe -- {program}"
    ));
    let screen = terminal.shows(&["level observe", "main."]);
    assert!(!screen.contains("READY"), "{screen}");
    terminal.press(&["C-c"]);
    is_restored(&terminal);
    let screen = terminal.shows(&["runs on as pid"]);
    let (_, pid) = screen.split_once("runs on as pid ").expect("it says so");
    let pid = pid
        .split_whitespace()
        .next()
        .and_then(|pid| pid.parse().ok());
    send(pid.expect("a pid"), Signal::KILL);
}

#[test]
fn long_text_goes_through_a_pager_on_a_terminal_alone() {
    require_root();
    let target = Target::start("many", &["-n", "3"]);
    let pid = target.pid();
    let paged = format!("GOTRACE_PAGER='sed s/^/paged:/' gotrace goroutines --pid {pid}");
    let terminal = run_in_terminal(&paged);
    let screen = terminal.shows(&["exit=0"]);
    assert!(screen.contains("paged:    main.main"), "{screen}");
    let terminal = run_in_terminal(&format!("{paged} --no-pager"));
    let screen = terminal.shows(&["exit=0"]);
    assert!(!screen.contains("paged:"), "{screen}");
    // Many a host has a shell and nothing to read with: then the text comes as it is.
    let directory = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::symlink("/bin/sh", directory.path().join("sh")).expect("a link");
    let path = directory.path().display();
    let terminal = run_in_terminal(&format!(
        "env -u PAGER -u GOTRACE_PAGER PATH={path} gotrace goroutines --pid {pid}"
    ));
    let screen = terminal.shows(&["exit=0"]);
    assert!(screen.contains("    main.main"), "{screen}");
    // Without a terminal there is no pager, and no console.
    let finished = Gotrace::run(&["goroutines", "--pid", &target.pid_argument()]);
    assert!(finished.text().starts_with("many"), "{finished:#?}");
    let finished = Gotrace::run(&["top", "--pid", &target.pid_argument()]);
    assert_eq!(finished.code, Some(2), "{finished:#?}");
    assert!(
        finished.stderr.contains("needs a terminal"),
        "{finished:#?}"
    );

    // Who has seen enough ends it quietly.
    let mut child = Command::new(gotrace::program())
        .args([
            "goroutines",
            "--group",
            "none",
            "--pid",
            &target.pid_argument(),
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gotrace starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it is our child");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{output:?}");
    target.end_unharmed();
}

#[test]
fn the_doctor_tells_what_this_host_and_a_process_allow() {
    require_root();
    let target = Target::start("many", &["-n", "3"]);
    let finished = Gotrace::run(&["doctor", "--json", "--pid", &target.pid_argument()]);
    // The other tests trace here, so it can.
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    let document = finished.document("gotrace.doctor/1");
    assert_eq!(document["can_run"], true);
    assert_eq!(document["target"]["pid"], target.pid());
    let checks = document["target_checks"].as_array().expect("a list");
    let probes = checks.iter().find(|check| check["name"] == "probes");
    let found = probes.expect("it is told")["found"].as_str().expect("text");
    assert!(found.contains("park ") && found.contains("+0x"), "{found}");
    assert_no_probe(target.pid());
    target.end_unharmed();

    let own = std::process::id().to_string();
    let finished = Gotrace::run(&["doctor", "--pid", &own]);
    assert_eq!(finished.code, Some(1), "{finished:#?}");
    for part in ["missing  process", "next: ", "cannot work here"] {
        assert!(finished.text().contains(part), "no {part}: {finished:#?}");
    }
}

#[test]
fn a_file_of_settings_counts_unless_something_else_is_said() {
    require_root();
    let target = Target::start("many", &["-n", "3"]);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("gotrace.toml");
    std::fs::write(&file, "level = \"observe\"\nlisten = \"off\"\n").expect("it is ours");
    let file = file.to_str().expect("a path of ours");
    let pid = target.pid_argument();
    let level = |arguments: &[&str], variable: Option<&str>| {
        let mut command = Command::new(gotrace::program());
        command
            .args([
                "run",
                "--pid",
                &pid,
                "--duration",
                "50ms",
                "--format",
                "json",
            ])
            .args(["--config", file])
            .args(arguments);
        if let Some(level) = variable {
            command.env("GOTRACE_LEVEL", level);
        }
        let finished = Gotrace::start_command(command).finish();
        let objects = finished.objects();
        let attached = objects.first().unwrap_or_else(|| panic!("{finished:#?}"));
        assert!(attached["listening"].is_null(), "{attached}");
        attached["level"].as_str().expect("text").to_owned()
    };
    assert_eq!(level(&[], None), "observe");
    assert_eq!(level(&[], Some("wake")), "wake");
    assert_eq!(level(&["--level", "park"], Some("wake")), "park");

    std::fs::write(file, "level = \"observe\"\nlissten = \"off\"\n").expect("it is ours");
    for arguments in [
        &["config", "check", file][..],
        &["run", "--pid", &pid, "--config", file],
    ] {
        let finished = Gotrace::run(arguments);
        assert_eq!(finished.code, Some(2), "{finished:#?}");
        for part in ["gotrace.toml:2", "`lissten`", "did you mean `listen`?"] {
            assert!(finished.stderr.contains(part), "no {part}: {finished:#?}");
        }
    }
    target.end_unharmed();
}
