//! Delve, the debugger that people use today, if there is one here.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A Delve on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Delve {
    pub(crate) program: PathBuf,
    pub(crate) version: String,
}

impl Delve {
    /// The one that was named, else the `dlv` on the path, if there is one.
    pub(crate) fn find(named: Option<&Path>) -> Option<Delve> {
        let program = named.map_or_else(|| "dlv".into(), Path::to_owned);
        let output = match Command::new(&program).arg("version").output() {
            Ok(output) => output,
            Err(_) if named.is_none() => return None,
            Err(error) => panic!("{}: {error}", program.display()),
        };
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.lines().find_map(|line| line.strip_prefix("Version: "));
        Some(Delve {
            program,
            version: version.unwrap_or("of an unknown version").to_owned(),
        })
    }

    /// Attaches, prints every goroutine with its stack, and detaches. The time until the first
    /// goroutine was printed, and until all were.
    pub(crate) fn goroutines(&self, pid: u32) -> (Duration, Duration) {
        let script = std::env::temp_dir().join(format!("gotrace-bench-{pid}.dlv"));
        fs::write(&script, "goroutines -t\nexit\n").expect("a script can be written");
        let begin = Instant::now();
        let mut child = Command::new(&self.program)
            .args(["attach", &pid.to_string(), "--init"])
            .arg(&script)
            .arg("--allow-non-terminal-interactive=true")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.program.display()));
        // Whether to kill the process.
        let mut stdin = child.stdin.take().expect("its input is a pipe");
        stdin.write_all(b"n\n").expect("it takes an answer");
        let mut output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let mut line = String::new();
        while !line.contains("Goroutine ") {
            line.clear();
            let length = output.read_line(&mut line).expect("it speaks UTF-8");
            assert!(length > 0, "Delve printed no goroutine");
        }
        let first = begin.elapsed();
        let mut rest = Vec::new();
        output
            .read_to_end(&mut rest)
            .expect("its output can be read");
        let status = child.wait().expect("it is our child");
        let all = begin.elapsed();
        assert!(status.success(), "Delve ended with {status}");
        // Nothing is left to do if it is gone already.
        let _ = fs::remove_file(script);
        (first, all)
    }
}
