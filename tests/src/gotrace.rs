//! Running gotrace.

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::lines::Lines;
use crate::target::send;
use crate::{eventually, patience, provided};

/// The program.
pub fn program() -> PathBuf {
    provided("GOTRACE_BIN", "release/gotrace")
}

/// How a run of gotrace ended.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Lines of its standard output that were not taken before.
    pub stdout: Vec<String>,
    /// Its standard error.
    pub stderr: String,
}

impl Finished {
    /// Its standard output as one text.
    pub fn text(&self) -> String {
        self.stdout.join("\n")
    }

    /// Its standard output as objects, one a line, each of which has the schema of `gotrace run`.
    #[track_caller]
    pub fn objects(&self) -> Vec<Value> {
        self.stdout.iter().map(|line| object(line)).collect()
    }

    /// Its standard output as one document of the given schema.
    #[track_caller]
    pub fn document(&self, schema: &str) -> Value {
        let document: Value = serde_json::from_str(&self.text())
            .unwrap_or_else(|error| panic!("{error} in {self:#?}"));
        assert_eq!(document["schema"], schema);
        document
    }

    /// The last line of a run with `--format json`.
    #[track_caller]
    pub fn report(&self) -> Value {
        let last = self
            .stdout
            .last()
            .unwrap_or_else(|| panic!("no output: {}", self.stderr));
        let report = object(last);
        assert_eq!(report["type"], "report", "the last line is the report");
        report
    }
}

/// A line of `gotrace run --format json`, or of `gotrace agent`.
#[track_caller]
fn object(line: &str) -> Value {
    let object: Value =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
    assert!(
        ["gotrace.run/1", "gotrace.agent/1"]
            .contains(&object["schema"].as_str().unwrap_or_default()),
        "no such schema in {line}"
    );
    assert!(object["type"].is_string(), "no type in {line}");
    object
}

/// A running gotrace; killed when dropped.
#[derive(Debug)]
pub struct Gotrace {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines,
    stderr: Lines,
    seen: Vec<String>,
}

impl Gotrace {
    /// Starts `gotrace ARGUMENTS`.
    #[track_caller]
    pub fn start<A: AsRef<str>>(arguments: &[A]) -> Gotrace {
        let mut command = Command::new(program());
        command.args(arguments.iter().map(AsRef::as_ref));
        Gotrace::start_command(command)
    }

    /// Starts a command that becomes gotrace.
    #[track_caller]
    pub fn start_command(mut command: Command) -> Gotrace {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env_remove("GOTRACE_LOG")
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = Lines::of(child.stdout.take().expect("its output is a pipe"));
        let stderr = Lines::of(child.stderr.take().expect("its error output is a pipe"));
        Gotrace {
            stdin: child.stdin.take(),
            child,
            stdout,
            stderr,
            seen: Vec::new(),
        }
    }

    /// Runs `gotrace ARGUMENTS` to its end.
    #[track_caller]
    pub fn run<A: AsRef<str>>(arguments: &[A]) -> Finished {
        Gotrace::start(arguments).finish()
    }

    /// Starts `gotrace run --format json --listen off` on a process and waits until its probes are
    /// placed; returns it with what it says of that.
    #[track_caller]
    pub fn attach(pid: u32, arguments: &[&str]) -> (Gotrace, Value) {
        Gotrace::attach_listening(pid, &[&["--listen", "off"], arguments].concat())
    }

    /// The same with whatever server the arguments say.
    #[track_caller]
    pub fn attach_listening(pid: u32, arguments: &[&str]) -> (Gotrace, Value) {
        let pid = pid.to_string();
        let mut all = vec!["run", "--pid", &pid, "--format", "json"];
        all.extend(arguments);
        let mut gotrace = Gotrace::start(&all);
        let attached = gotrace.until("attached", |_| true);
        (gotrace, attached)
    }

    /// Starts `gotrace record --format json` on a process, into this file or directory.
    #[track_caller]
    pub fn record(pid: u32, output: &Path, arguments: &[&str]) -> Gotrace {
        let pid = pid.to_string();
        let output = output.to_str().expect("a path of ours");
        let start = ["record", "--pid", &pid, "-o", output, "--format", "json"];
        Gotrace::start(&[&start, arguments].concat())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Takes the next line of its standard output.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let line = self.stdout.next(Instant::now() + patience());
        line.expect("it has more to say")
    }

    /// Takes lines of text until one begins so.
    #[track_caller]
    pub fn until_line(&mut self, beginning: &str) {
        let deadline = Instant::now() + patience();
        loop {
            let line = self.stdout.next(deadline).expect("it has more to say");
            assert!(Instant::now() < deadline, "waited in vain for {beginning}");
            let is_it = line.starts_with(beginning);
            self.seen.push(line);
            if is_it {
                return;
            }
        }
    }

    /// Takes lines of JSON until one has the given type and fulfils the condition.
    #[track_caller]
    pub fn until(&mut self, kind: &str, condition: impl Fn(&Value) -> bool) -> Value {
        self.until_within(patience(), kind, condition)
    }

    /// The same for what takes longer than moments even on a machine with nothing else to do.
    #[track_caller]
    pub fn until_within(
        &mut self,
        patience: Duration,
        kind: &str,
        condition: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + patience;
        loop {
            let Some(line) = self.stdout.next(deadline) else {
                let stderr = self.stderr.rest(deadline).join("\n");
                panic!("gotrace ended before a matching {kind}: {stderr}");
            };
            assert!(
                Instant::now() < deadline,
                "waited in vain for a matching {kind}: {line}"
            );
            let object = object(&line);
            self.seen.push(line);
            if object["type"] == kind && condition(&object) {
                return object;
            }
        }
    }

    /// Ends its standard input, which a program that it started shares.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Sends it a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Asks it to end, as Ctrl-C does, and waits for that.
    #[track_caller]
    pub fn interrupt(self) -> Finished {
        self.signal(Signal::INT);
        self.finish()
    }

    /// Waits for its end. Lines taken by [`Gotrace::until`] and [`Gotrace::until_line`] are
    /// part of the output.
    #[track_caller]
    pub fn finish(mut self) -> Finished {
        let mut stdout = std::mem::take(&mut self.seen);
        let deadline = Instant::now() + 2 * patience();
        stdout.extend(self.stdout.rest(deadline));
        let stderr = self.stderr.rest(deadline).join("\n");
        let status = eventually("gotrace ends", || {
            self.child.try_wait().expect("it is our child")
        });
        Finished {
            code: status.code(),
            stdout,
            stderr,
        }
    }
}

impl Drop for Gotrace {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            // What it said helps whoever reads the failure.
            for line in self.stderr.so_far() {
                eprintln!("gotrace: {line}");
            }
        }
    }
}
