//! `gotrace record`: what is kept is what was said, whatever ends it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use age::secrecy::ExposeSecret as _;
use age::x25519::Identity;
use integration_tests::target::fixture;
use integration_tests::text::assert_no_probe;
use integration_tests::{Finished, Gotrace, Target, eventually, require_root};
use rustix::process::Signal;
use tempfile::TempDir;

/// How often recorders are killed: `cargo xtask test --kills N` says it.
fn kills() -> u32 {
    std::env::var("GOTRACE_KILLS").map_or(10, |kills| kills.parse().expect("a number"))
}

struct Place(TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

/// Starts to record a process and waits until memory was read.
#[track_caller]
fn record(target: &Target, output: &Path, arguments: &[&str]) -> Gotrace {
    let mut gotrace = Gotrace::record(target.pid(), output, arguments);
    gotrace.until("summary", |summary| {
        !summary["memory_age_seconds"].is_null()
    });
    gotrace
}

#[track_caller]
fn replay(path: &Path, arguments: &[&str]) -> Finished {
    let start = ["replay", text(path), "--format", "json"];
    Gotrace::run(&[&start, arguments].concat())
}

#[test]
fn what_is_replayed_is_what_was_said() {
    require_root();
    let place = Place::new();
    for level in ["observe", "wake", "park", "full", "auto"] {
        let path = place.path(level);
        let mut target = Target::start("ledger", &[]);
        let mut gotrace = record(&target, &path, &["--level", level]);
        target.ask("RUN 20000");
        gotrace.until("summary", |_| true);
        target.ask("PARK");
        gotrace.until("summary", |_| true);
        let live = gotrace.interrupt();
        assert_no_probe(target.pid());
        let first = replay(&path, &[]);
        let second = replay(&path, &[]);
        assert_eq!(live.stdout.len(), first.stdout.len(), "{level}");
        for (said, again) in live.stdout.iter().zip(&first.stdout) {
            assert_eq!(said, again, "{level}");
        }
        assert_eq!(live.code, first.code, "{level}");
        assert_eq!(first.stdout, second.stdout, "{level}");
        target.end_unharmed();
    }
}

#[test]
fn the_file_is_its_owners_alone_and_none_is_overwritten() {
    use std::os::unix::fs::PermissionsExt as _;
    require_root();
    let place = Place::new();
    let path = place.path("a");
    let target = Target::start("hello", &[]);
    record(&target, &path, &[]).interrupt();
    let mode = fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let pid = target.pid_argument();
    let again = Gotrace::run(&["record", "--pid", &pid, "-o", text(&path)]);
    assert_eq!(again.code, Some(2), "{again:#?}");
    assert!(again.stderr.contains("exists"), "{again:#?}");
    assert_no_probe(target.pid());
    target.end_unharmed();
}

#[test]
fn a_command_is_recorded_to_its_end() {
    require_root();
    let place = Place::new();
    let path = place.path("a");
    let program = fixture("hello");
    let arguments = ["record", "--level", "full", "-o", text(&path), "--"];
    let mut gotrace = Gotrace::start(&[&arguments[..], &[text(&program)]].concat());
    gotrace.close_input();
    let finished = gotrace.finish();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert!(finished.stderr.contains(text(&path)), "{finished:#?}");
    let report = replay(&path, &[]).report();
    assert_eq!(report["ended"], "target exited");
    assert!(report["totals"]["created"].as_u64() > Some(2), "{report:#}");
}

#[test]
fn a_killed_recorder_leaves_what_it_wrote() {
    require_root();
    let place = Place::new();
    let mut target = Target::start("load", &["-mode", "pingpong", "-n", "2", "-rate", "20000"]);
    target.ask("START");
    let mut events = 0;
    for round in 0..kills() {
        let path = place.path(&round.to_string());
        let gotrace = record(&target, &path, &["--level", "full", "--interval", "100ms"]);
        // At any moment, be it in the middle of a write.
        let moment = 1 + u64::from(round) * 7919 % 400;
        std::thread::sleep(Duration::from_millis(moment));
        gotrace.signal(Signal::KILL);
        let live = gotrace.finish();
        assert_eq!(live.code, None, "a signal ended it");
        assert_no_probe(target.pid());
        let finished = replay(&path, &[]);
        assert!(
            matches!(finished.code, Some(0 | 1)),
            "{round}: {finished:#?}"
        );
        let objects = finished.objects();
        let report = finished.report();
        assert_eq!(report["ended"], "recording ends", "{round}");
        // What it said had been told to the recording before; of its events the last are not there yet.
        let summaries = |lines: &[serde_json::Value]| {
            let of = lines.iter().filter(|line| line["type"] == "summary");
            of.map(|line| line["totals"]["events"].as_u64().expect("a number"))
                .collect::<Vec<_>>()
        };
        let (said, kept) = (summaries(&live.objects()), summaries(&objects));
        assert!(
            kept.len() + 2 >= said.len(),
            "{round}: {} of {}",
            kept.len(),
            said.len()
        );
        assert!(
            said.starts_with(&kept) || kept.starts_with(&said),
            "{round}"
        );
        events += report["totals"]["events"].as_u64().expect("a number");
        fs::remove_file(&path).expect("it is ours");
    }
    assert!(events > 0);
    target.end_unharmed();
}

#[test]
fn the_oldest_is_deleted_and_the_rest_is_understood() {
    require_root();
    let place = Place::new();
    let path = place.path("limited");
    let most = 128 << 10;
    let mut target = Target::start("load", &["-mode", "pingpong", "-n", "8"]);
    target.ask("START");
    let gotrace = record(&target, &path, &["--level", "full", "--max-size", "128K"]);
    let files = || {
        let entries = fs::read_dir(&path).expect("it is a directory");
        let files = entries.map(|entry| entry.expect("it is readable"));
        let mut files: Vec<(String, u64)> = files
            .filter_map(|file| {
                // It may be deleted meanwhile.
                let bytes = file.metadata().ok()?.len();
                Some((file.file_name().into_string().expect("text"), bytes))
            })
            .collect();
        files.sort();
        files
    };
    eventually("the oldest file is deleted", || {
        let first = files().first().map(|(name, _)| name.clone());
        first
            .filter(|name| !name.starts_with("00000000"))
            .map(|_| ())
    });
    let bytes: u64 = files().iter().map(|(_, bytes)| bytes).sum();
    assert!(bytes <= most, "{bytes}");
    let live = gotrace.interrupt();
    assert_eq!(live.code, Some(0), "{live:#?}");
    let finished = replay(&path, &[]);
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    let objects = finished.objects();
    assert!(
        objects.iter().any(|object| object["type"] == "warning"
            && object["message"].to_string().contains("deleted")),
        "{objects:#?}"
    );
    // Counts are of what is left; states are what they were.
    let (said, kept) = (live.report(), finished.report());
    assert!(kept["totals"]["events"].as_u64() < said["totals"]["events"].as_u64());
    let states = |report: &serde_json::Value| {
        let list = report["goroutines"].as_array().expect("a list");
        list.iter()
            .map(|goroutine| (goroutine["goid"].clone(), goroutine["state"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(states(&said), states(&kept));
    // Files one after the other are one recording.
    let joined = place.path("joined");
    let whole: Vec<u8> = files()
        .iter()
        .flat_map(|(name, _)| fs::read(path.join(name)).expect("it is readable"))
        .collect();
    fs::write(&joined, whole).expect("it is ours");
    assert_eq!(replay(&joined, &[]).stdout, finished.stdout);
    target.end_unharmed();
}

#[test]
fn a_full_disk_ends_the_recording_and_nothing_else() {
    require_root();
    let place = Place::new();
    let mount = place.path("small");
    fs::create_dir(&mount).expect("it is ours");
    let mounted = Mounted::tmpfs(&mount, "300k");
    let path = mount.join("a");
    let mut target = Target::start("load", &["-mode", "pingpong", "-n", "8"]);
    target.ask("START");
    let finished = Gotrace::record(target.pid(), &path, &["--level", "full"]).finish();
    assert_eq!(finished.code, Some(2), "{finished:#?}");
    assert!(finished.stderr.contains("No space left"), "{finished:#?}");
    assert_eq!(finished.report()["ended"], "recording failed");
    assert_no_probe(target.pid());
    let replayed = replay(&path, &[]);
    assert_eq!(replayed.code, Some(0), "{replayed:#?}");
    assert!(replayed.report()["totals"]["events"].as_u64() > Some(0));
    drop(mounted);
    target.end_unharmed();
}

/// A file system that is unmounted at the end.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(path: &Path, size: &str) -> Mounted {
        let mut command = std::process::Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        let status = command.arg(path).status().expect("mount is there");
        assert!(
            status.success(),
            "a small file system cannot be mounted: {status}"
        );
        Mounted(path.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // The directory goes away with the test whatever becomes of it.
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn an_encrypted_recording_needs_its_key() {
    require_root();
    let place = Place::new();
    let (recipients, keys, others) = (place.path("to"), place.path("key"), place.path("other"));
    let (key, other) = (Identity::generate(), Identity::generate());
    fs::write(&recipients, format!("# ours\n{}\n", key.to_public())).expect("it is ours");
    fs::write(&keys, key.to_string().expose_secret()).expect("it is ours");
    fs::write(&others, other.to_string().expose_secret()).expect("it is ours");
    let path = place.path("sealed");
    let target = Target::start("many", &["-n", "3"]);
    let live = record(&target, &path, &["--encrypt-to", text(&recipients)]).interrupt();
    let bytes = fs::read(&path).expect("it is readable");
    assert!(!bytes.windows(11).any(|window| window == b"main.parked"));
    for (arguments, expected) in [
        (vec![], "it is encrypted"),
        (
            vec!["--identity", text(&others)],
            "none of the keys opens it",
        ),
        (vec!["--identity", text(&recipients)], "no key"),
    ] {
        let finished = replay(&path, &arguments);
        assert_eq!(finished.code, Some(2), "{finished:#?}");
        assert!(finished.stderr.contains(expected), "{finished:#?}");
        assert!(finished.stderr.contains("next: "), "{finished:#?}");
    }
    let finished = replay(&path, &["--identity", text(&keys)]);
    assert_eq!(finished.stdout, live.stdout);
    target.end_unharmed();
}

/// The files in the directory of a ring.
fn kept(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("it is a directory");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it is readable").path())
        .collect();
    files.sort();
    files
}

#[test]
fn the_last_seconds_before_a_deadlock_are_kept() {
    require_root();
    let place = Place::new();
    let directory = place.path("incidents");
    let target = Target::start("late", &["-well-for", "3s"]);
    let arguments = ["--level", "full", "--ring", "60s", "--after", "500ms"];
    let mut gotrace = record(&target, &directory, &arguments);
    let finding = gotrace.until("finding", |line| line["finding"]["verdict"] == "proven");
    let said = gotrace.until("warning", |_| true);
    let file = eventually("the file is written", || kept(&directory).pop());
    assert!(
        said["message"].to_string().contains(text(&file)),
        "{said:#}"
    );
    assert!(
        text(&file).ends_with("-finding.gotrace"),
        "{}",
        file.display()
    );
    eventually("it is whole", || {
        (replay(&file, &[]).code == Some(1)).then_some(())
    });

    // What came before: who took which key, in order, up to the two takes that never ended.
    let stuck = finding["finding"]["goroutines"].as_array().expect("a list");
    assert_eq!(stuck.len(), 2, "{finding:#}");
    let list = replay(&file, &["--events"]);
    let events: Vec<serde_json::Value> = list
        .stdout
        .iter()
        .map(|line| serde_json::from_str(line).expect("an object a line"))
        .collect();
    for goid in stuck {
        let takes: Vec<&serde_json::Value> = events
            .iter()
            .filter(|event| event["event"] == "receive" && event["goid"] == *goid)
            .collect();
        assert!(takes.len() > 10, "{goid}: {}", takes.len());
        let [.., held, wanted] = &takes[..] else {
            panic!("{takes:?}");
        };
        assert_ne!(
            held["channel"], wanted["channel"],
            "it has one key and wants the other"
        );
    }
    let deadlocks = Gotrace::run(&["deadlocks", "--from", text(&file), "--format", "dot"]);
    assert_eq!(deadlocks.code, Some(1), "{deadlocks:#?}");
    for goid in stuck {
        assert!(
            deadlocks.text().contains(&goid.to_string()),
            "{}",
            deadlocks.text()
        );
    }
    gotrace.interrupt();
    target.end_unharmed();
}

#[test]
fn the_last_seconds_are_kept_when_somebody_asks_or_there_are_too_many() {
    require_root();
    let place = Place::new();
    let directory = place.path("incidents");
    let mut target = Target::start("ledger", &[]);
    let pid = target.pid_argument();
    let mut gotrace = Gotrace::start(&[
        "run",
        "--pid",
        &pid,
        "--format",
        "json",
        "--listen",
        "off",
        "--interval",
        "200ms",
        "--ring",
        "60s",
        "--ring-to",
        text(&directory),
        "--after",
        "200ms",
        "--on-goroutines",
        "5",
    ]);
    gotrace.until("summary", |summary| summary["goroutines"]["total"] == 1);
    gotrace.signal(Signal::USR1);
    gotrace.until("warning", |line| {
        line["message"].to_string().contains("-asked.gotrace")
    });
    let asked = eventually("the file is written", || kept(&directory).pop());
    target.ask("PARK");
    gotrace.until("warning", |line| {
        line["message"].to_string().contains("-goroutines.gotrace")
    });
    gotrace.interrupt();
    let files = kept(&directory);
    assert_eq!(files.len(), 2, "{files:?}");
    for file in &files {
        let report = replay(file, &[]).report();
        let total = report["goroutines"].as_array().expect("a list");
        let users = total
            .iter()
            .filter(|goroutine| goroutine["system"] == false)
            .count();
        assert_eq!(users >= 5, *file != asked, "{}: {report:#}", file.display());
    }
    target.end_unharmed();
}
