//! Running Go programs that are read while they run.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test file is a crate of its own and uses a part of this"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use tracer_golang::binary::GoBinary;
use tracer_golang::process::GoProcess;

/// A running Go program that has said "ready". It ends with this value.
pub struct Target {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// What it said when it was ready.
    pub ready: String,
}

impl Target {
    /// Starts a program and waits until it is ready.
    pub fn start(path: &Path, arguments: &[&str]) -> Target {
        let mut child = Command::new(path)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut target = Target {
            input: child.stdin.take().expect("piped"),
            output: BufReader::new(child.stdout.take().expect("piped")),
            child,
            ready: String::new(),
        };
        let line = target.line();
        let ready = line.split_at_checked("ready".len());
        let ready = ready.filter(|(word, _)| word.eq_ignore_ascii_case("ready"));
        let ready = ready.map(|(_, rest)| rest.trim().to_owned());
        target.ready = ready.unwrap_or_else(|| panic!("{}: {line:?}", path.display()));
        target
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Attaches to it.
    pub fn attach(&self) -> GoProcess {
        // What it runs, should another test build the fixture anew meanwhile.
        let exe = format!("/proc/{}/exe", self.pid());
        let binary = GoBinary::open(Path::new(&exe)).expect("the fixture can be read");
        GoProcess::attach(self.pid(), Arc::new(binary))
            .unwrap_or_else(|error| panic!("{error} (these tests need CAP_SYS_PTRACE or root)"))
    }

    /// Ends it.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is a child");
    }

    /// Writes a line to its standard input.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("the program reads");
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .expect("the program prints text");
        line.trim_end().to_owned()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
