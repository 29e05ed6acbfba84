//! A Go program to trace.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::lines::Lines;
use crate::{eventually, patience, provided};

/// The file of a program of tests/programs.
pub fn fixture(name: &str) -> PathBuf {
    provided("GOTRACE_FIXTURES", "fixtures/go1.27.3").join(name)
}

/// The same, built by the oldest version of Go that is supported.
pub fn oldest_fixture(name: &str) -> PathBuf {
    provided("GOTRACE_OLDEST", "fixtures/go1.19.8").join(name)
}

/// The file of a program that others built, as a package registry has it.
pub fn real(name: &str) -> PathBuf {
    provided("GOTRACE_REAL", "real").join(name)
}

/// A running program of tests/programs; killed when dropped.
#[derive(Debug)]
pub struct Target {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines,
    /// What it said with READY.
    pub ready: Value,
}

impl Target {
    /// Starts a program of tests/programs and waits until it is ready.
    #[track_caller]
    pub fn start(name: &str, arguments: &[&str]) -> Target {
        Target::start_file(&fixture(name), arguments)
    }

    /// The same for a copy of such a program.
    #[track_caller]
    pub fn start_file(program: &Path, arguments: &[&str]) -> Target {
        let mut command = Command::new(program);
        command.args(arguments);
        Target::start_command(command)
    }

    /// The same for a command that becomes such a program, or starts it.
    #[track_caller]
    pub fn start_command(mut command: Command) -> Target {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let lines = Lines::of(child.stdout.take().expect("its output is a pipe"));
        let stdin = child.stdin.take();
        let mut target = Target {
            child,
            stdin,
            lines,
            ready: Value::Null,
        };
        let line = target.lines.next(Instant::now() + patience());
        let ready = line
            .as_deref()
            .and_then(|line| line.strip_prefix("READY "))
            .unwrap_or_else(|| panic!("{command:?} is not ready: {line:?}"));
        target.ready = serde_json::from_str(ready).expect("READY is followed by an object");
        target
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its process id as an argument.
    pub fn pid_argument(&self) -> String {
        self.pid().to_string()
    }

    /// The answer to a GET request of a program that serves HTTP.
    #[track_caller]
    pub fn get(&self, path: &str) -> String {
        let address = self.ready["http"].as_str().expect("it serves HTTP");
        crate::http::get(&format!("http://{address}{path}")).1
    }

    /// Gives it a line of input.
    #[track_caller]
    pub fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("its input is still open");
        writeln!(stdin, "{line}").expect("it reads its input");
    }

    /// Takes the next line of its output, a JSON value.
    #[track_caller]
    pub fn hear(&mut self) -> Value {
        let line = self
            .lines
            .next(Instant::now() + 2 * patience())
            .expect("it has more to say");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"))
    }

    /// Gives it a line of input and takes the line that it answers.
    #[track_caller]
    pub fn ask(&mut self, line: &str) -> Value {
        self.say(line);
        self.hear()
    }

    /// Ends its input, at which most programs end.
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

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        eventually("the target ends", || {
            self.child.try_wait().expect("it is our child")
        })
    }

    /// Fails unless it still runs and then ends well when its input does: nothing harmed it.
    #[track_caller]
    pub fn end_unharmed(mut self) {
        assert!(self.is_alive(), "the target died: {:?}", self.wait());
        self.close_input();
        let status = self.wait();
        assert!(status.success(), "the target ended with {status}");
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process of ours.
#[track_caller]
pub fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a pid is not 0");
    kill_process(pid, signal).expect("the process is there and ours");
}
