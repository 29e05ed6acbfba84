//! Bad input gets exit code 2, a message that names what is wrong, and a next step; and no process
//! is harmed.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use integration_tests::target::fixture;
use integration_tests::text::assert_no_probe;
use integration_tests::{Finished, Gotrace, Target, gotrace, require_root};
use tempfile::TempDir;

/// Checks that gotrace refused, and that its message has these words in it.
#[track_caller]
fn refused(case: &str, finished: &Finished, words: &[&str]) {
    assert_eq!(finished.code, Some(2), "{case}: {finished:#?}");
    let stderr = &finished.stderr;
    assert!(stderr.starts_with("error: "), "{case}: {stderr}");
    assert!(stderr.contains("\nnext: "), "{case}: {stderr}");
    assert!(!stderr.contains("panicked"), "{case}: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{case}: no {word:?} in:\n{stderr}");
    }
}

/// Runs `gotrace run` with arguments and without a server.
fn run(arguments: &[&str]) -> Finished {
    Gotrace::run(&[&["run", "--listen", "off", "--duration", "5s"], arguments].concat())
}

/// The pid of a process that has ended and was waited for.
fn ended_pid() -> String {
    let mut child = Command::new("/bin/true")
        .spawn()
        .expect("/bin/true is there");
    child.wait().expect("it is our child");
    child.id().to_string()
}

/// A directory that everyone may enter.
fn open_directory() -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    directory
}

/// A copy of a fixture whose Go version reads differently. Both names have the same length.
fn with_version(directory: &TempDir, name: &str, version: &str) -> PathBuf {
    let original = fixture(name);
    let target = Target::start_file(&original, &[]);
    let own = target.ready["go_version"]
        .as_str()
        .expect("text")
        .to_owned();
    target.end_unharmed();
    assert_eq!(own.len(), version.len());
    let mut bytes = fs::read(&original).expect("the fixture is a file");
    let places: Vec<usize> = bytes
        .windows(own.len())
        .enumerate()
        .filter(|(_, window)| *window == own.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty(), "the file has its version in it");
    for at in places {
        bytes[at..at + own.len()].copy_from_slice(version.as_bytes());
    }
    let copy = directory.path().join(format!("{name}-{version}"));
    fs::write(&copy, bytes).expect("the directory is ours");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("it is ours");
    copy
}

/// gotrace under another command, such as `setpriv`.
fn under(command: &[&str], program: &Path, arguments: &[&str]) -> Finished {
    let mut wrapped = Command::new(command[0]);
    wrapped.args(&command[1..]).arg(program).args(arguments);
    Gotrace::start_command(wrapped).finish()
}

#[test]
fn no_such_process() {
    require_root();
    let pid = ended_pid();
    for command in ["run", "goroutines", "channels", "deadlocks"] {
        refused(
            command,
            &Gotrace::run(&[command, "--pid", &pid]),
            &["no such process", &pid],
        );
    }
}

#[test]
fn not_a_go_program() {
    require_root();
    let mut sleep = Command::new("/bin/sleep")
        .arg("600")
        .stdin(Stdio::null())
        .spawn()
        .expect("/bin/sleep is there");
    let pid = sleep.id().to_string();
    let commands = ["run", "goroutines", "channels", "deadlocks"];
    let outcomes = commands.map(|command| Gotrace::run(&[command, "--pid", &pid]));
    let alive = sleep.try_wait().expect("it is our child").is_none();
    sleep.kill().expect("it is our child");
    sleep.wait().expect("it is our child");
    for (command, finished) in commands.iter().zip(&outcomes) {
        refused(command, finished, &["not a Go program", &pid, "/sleep"]);
    }
    let started = run(&["--", "/bin/sleep", "600"]);
    refused("a command", &started, &["not a Go program", "/sleep"]);
    assert!(alive, "the process was harmed");
}

#[test]
fn a_go_version_that_is_not_known() {
    require_root();
    let directory = open_directory();
    for (name, version) in [
        ("hello", "go1.12.3"),
        ("hello", "go1.18.9"),
        ("hello-stripped", "go1.18.9"),
    ] {
        let program = with_version(&directory, name, version);
        let target = Target::start_file(&program, &[]);
        let pid = target.pid_argument();
        for command in ["run", "goroutines"] {
            refused(
                &format!("{command} on {name} of {version}"),
                &Gotrace::run(&[command, "--pid", &pid]),
                &[version, &pid],
            );
        }
        target.end_unharmed();
    }
}

/// A version that is newer than gotrace is no bad input as long as its runtime passes every check
/// (this one does, being Go 1.27), but it is said.
#[test]
fn a_go_version_that_is_newer_than_gotrace() {
    require_root();
    let directory = open_directory();
    for name in ["hello", "hello-stripped"] {
        let program = with_version(&directory, name, "go1.99.3");
        let target = Target::start_file(&program, &[]);
        let (gotrace, attached) = Gotrace::attach(target.pid(), &[]);
        assert_eq!(attached["target"]["go_version"], "go1.99.3", "{attached:#}");
        let layout = attached["target"]["layout"].as_str().expect("text");
        assert!(
            layout.contains("DWARF") || layout.contains("self-check"),
            "{layout}"
        );
        assert_eq!(gotrace.interrupt().code, Some(0));
        let once = Gotrace::run(&["goroutines", "--pid", &target.pid_argument()]);
        assert_eq!(once.code, Some(0), "{once:#?}");
        let assumed = layout.contains("self-check");
        assert_eq!(
            once.text().contains("not known to gotrace"),
            assumed,
            "{once:#?}"
        );
        assert_eq!(
            attached["target"]["layout_assumed"], assumed,
            "{attached:#}"
        );
        target.end_unharmed();
    }
}

/// Probes and goroutines are found by the names of the runtime's functions.
#[test]
fn obfuscated_names() {
    require_root();
    let directory = open_directory();
    let mut bytes = fs::read(fixture("hello-stripped")).expect("the fixture is a file");
    let name = b"\0runtime.";
    let places: Vec<usize> = bytes
        .windows(name.len())
        .enumerate()
        .filter(|(_, window)| window == name)
        .map(|(at, _)| at)
        .collect();
    for at in places {
        bytes[at + 1..at + 8].copy_from_slice(b"zXk3_qp");
    }
    let program = directory.path().join("obfuscated");
    fs::write(&program, bytes).expect("the directory is ours");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
    // What it prints comes from other names: it runs.
    let target = Target::start_file(&program, &[]);
    let pid = target.pid_argument();
    for command in ["run", "goroutines"] {
        let finished = Gotrace::run(&[command, "--pid", &pid]);
        refused(command, &finished, &["obfuscated", "pclntab", &pid]);
    }
    target.end_unharmed();
}

#[test]
fn another_architecture() {
    require_root();
    let target = Target::start("hello-386", &[]);
    let pid = target.pid_argument();
    for command in ["run", "goroutines"] {
        refused(
            command,
            &Gotrace::run(&[command, "--pid", &pid]),
            &["32 bit", "hello-386", &pid],
        );
    }
    target.end_unharmed();

    let foreign = fixture("hello-arm64");
    let foreign = foreign.to_str().expect("a path of ours");
    refused(
        "an arm64 program",
        &run(&["--", foreign]),
        &["arm64", "amd64", foreign],
    );
}

#[test]
fn no_command() {
    require_root();
    refused(
        "no such file",
        &run(&["--", "/no/such/program"]),
        &["/no/such/program"],
    );
    let directory = open_directory();
    let text = directory.path().join("text");
    fs::write(&text, "not a program").expect("the directory is ours");
    let text = text.to_str().expect("a path of ours");
    refused("not executable", &run(&["--", text]), &[text]);
}

#[test]
fn rights_are_missing() {
    require_root();
    let directory = open_directory();
    let program = directory.path().join("gotrace");
    fs::copy(gotrace::program(), &program).expect("gotrace is a file");
    let target = Target::start("hello", &[]);
    let pid = target.pid_argument();
    let trace = ["run", "--pid", &pid, "--listen", "off"];
    let look = ["goroutines", "--pid", &pid];
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let without = |capabilities| ["setpriv", "--bounding-set", capabilities];
    for (case, finished, words) in [
        (
            "tracing as nobody",
            under(&nobody, &program, &trace),
            &["CAP_SYS_PTRACE"],
        ),
        (
            "looking as nobody",
            under(&nobody, &program, &look),
            &["CAP_SYS_PTRACE"],
        ),
        (
            "no CAP_BPF",
            under(&without("-bpf,-sys_admin"), &program, &trace),
            &["CAP_BPF"],
        ),
        (
            "no CAP_PERFMON",
            under(&without("-perfmon,-sys_admin"), &program, &trace),
            &["CAP_PERFMON"],
        ),
        (
            "no CAP_SYS_PTRACE",
            under(&without("-sys_ptrace"), &program, &trace),
            &["CAP_SYS_PTRACE"],
        ),
    ] {
        refused(case, &finished, words);
        assert_no_probe(target.pid());
    }
    target.end_unharmed();
}

#[test]
fn a_kernel_that_is_not_enough() {
    require_root();
    let target = Target::start("hello", &[]);
    let pid = target.pid_argument();
    let trace = ["run", "--pid", &pid, "--listen", "off"];
    let hide_btf = "mount -t tmpfs none /sys/kernel/btf && exec \"$@\"";
    let no_btf = ["unshare", "--mount", "sh", "-c", hide_btf, "sh"];
    let old_kernel = ["setarch", "--uname-2.6"];
    let program = gotrace::program();
    for (case, finished, words) in [
        (
            "no BTF",
            under(&no_btf, &program, &trace),
            &["BTF", "CONFIG_DEBUG_INFO_BTF", "--level observe"],
        ),
        (
            "an old kernel",
            under(&old_kernel, &program, &trace),
            &["too old", "5.15", "--level observe"],
        ),
    ] {
        refused(case, &finished, words);
    }
    // What needs less works there.
    let look = ["goroutines", "--pid", &pid];
    for wrapper in [&no_btf[..], &old_kernel] {
        let finished = under(wrapper, &program, &look);
        assert_eq!(finished.code, Some(0), "{wrapper:?}: {finished:#?}");
    }
    target.end_unharmed();
}

#[test]
fn an_address_that_is_in_use() {
    require_root();
    let target = Target::start("hello", &[]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    refused(
        "in use",
        &Gotrace::run(&["run", "--pid", &target.pid_argument(), "--listen", &address]),
        &[&address, "in use", "--listen"],
    );
    assert_no_probe(target.pid());
    target.end_unharmed();
}

/// This one works: what runs is still there for who asks the kernel for it.
#[test]
fn a_binary_that_was_replaced_while_it_runs() {
    require_root();
    let directory = open_directory();
    let program = directory.path().join("service");
    fs::copy(fixture("many"), &program).expect("the fixture is a file");
    let target = Target::start_file(&program, &["-n", "10"]);
    let new = directory.path().join("new");
    fs::write(&new, "a new version").expect("the directory is ours");
    fs::rename(&new, &program).expect("the directory is ours");

    let (mut gotrace, attached) = Gotrace::attach(target.pid(), &["--level", "full"]);
    assert_eq!(attached["target"]["replaced"], true, "{attached:#}");
    let summary = gotrace.until("summary", |_| true);
    assert_eq!(
        summary["goroutines"]["by_state"]["waiting"], 10,
        "{summary:#}"
    );
    assert_eq!(gotrace.interrupt().code, Some(0));

    let pid = target.pid_argument();
    for arguments in [
        &["goroutines", "--pid", &pid][..],
        &[
            "run",
            "--pid",
            &pid,
            "--listen",
            "off",
            "--duration",
            "100ms",
        ],
    ] {
        let finished = Gotrace::run(arguments);
        assert_eq!(finished.code, Some(0), "{finished:#?}");
        let said = finished.text() + &finished.stderr;
        assert!(said.contains("replaced"), "{arguments:?}: {said}");
    }
    target.end_unharmed();
}

/// Whether gotrace still saw it or not is a matter of luck; that it says so is not.
#[test]
fn a_command_that_ends_at_once() {
    require_root();
    let program = fixture("hello");
    let program = program.to_str().expect("a path of ours");
    let mut gotrace = Gotrace::start(&["run", "--listen", "off", "--", program]);
    gotrace.close_input();
    let finished = gotrace.finish();
    match finished.code {
        Some(0) => assert!(finished.text().contains("exited"), "{finished:#?}"),
        _ => {
            assert_eq!(finished.code, Some(2), "{finished:#?}");
            for word in ["error: ", "ended", "hello", "\nnext: "] {
                assert!(finished.stderr.contains(word), "{word}: {finished:#?}");
            }
        }
    }
}

/// The target ends at a moment of gotrace's start that differs from turn to turn.
#[test]
fn a_target_that_ends_while_gotrace_attaches() {
    require_root();
    for turn in 0..25 {
        let mut target = Target::start("hello", &[]);
        let pid = target.pid_argument();
        let arguments = ["run", "--pid", &pid, "--level", "full", "--listen", "off"];
        let gotrace = Gotrace::start(&arguments);
        // Not a wait for something, but a choice of the moment.
        std::thread::sleep(Duration::from_millis(8 * turn));
        target.close_input();
        assert!(target.wait().success(), "turn {turn}");
        let finished = gotrace.finish();
        match finished.code {
            Some(0) => assert!(finished.text().contains("exited"), "{turn}: {finished:#?}"),
            _ => refused(&format!("turn {turn}"), &finished, &[&pid]),
        }
    }
}

/// What answers there is no gotrace, but says what one could say that is interrupted.
#[test]
fn an_answer_that_is_no_snapshot_is_told_as_what_it_is() {
    let cases: &[(&str, &[u8], &str)] = &[
        (
            "it ends too early",
            b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nGOTRACE",
            "did not send all of its snapshot",
        ),
        ("it hangs up", b"", "did not answer"),
        (
            "it is something else",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "cannot read",
        ),
        (
            "it is another server",
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "404",
        ),
    ];
    for &(case, answer, words) in cases {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("it has one");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody asks");
            let mut request = [0; 4096];
            let asked = stream.read(&mut request).expect("a question");
            assert!(asked > 0);
            stream.write_all(answer).expect("it listens");
        });
        let url = format!("http://{address}");
        let finished = Gotrace::run(&["goroutines", "--url", &url]);
        server.join().expect("it answered once");
        refused(case, &finished, &[words]);
    }
}
