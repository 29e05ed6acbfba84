//! bpftrace, which people use today to see a function being called, if it is here.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

/// What bpftrace does at each hit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Does {
    /// Counts by function, in the kernel.
    Count,
    /// Prints a line with the time and two registers.
    Print,
}

/// A running bpftrace; ended when dropped, which removes its probes.
pub(crate) struct Bpftrace {
    child: Child,
    reader: Option<JoinHandle<u64>>,
}

/// Its version, if it is there.
pub(crate) fn version() -> Option<String> {
    let output = Command::new("bpftrace").arg("--version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl Bpftrace {
    /// Places a probe at the first instruction of each function, of one process, and waits until
    /// they are there.
    pub(crate) fn attach(program: &Path, pid: u32, functions: &[&str], does: Does) -> Bpftrace {
        let body = match does {
            Does::Count => "@[probe] = count();",
            Does::Print => r#"printf("%llu %llx %llx\n", nsecs, reg("ax"), reg("r14"));"#,
        };
        let mut script = String::from("BEGIN { printf(\"ready\\n\"); }\n");
        for function in functions {
            let program = program.display();
            script.push_str(&format!("uprobe:{program}:\"{function}\" {{ {body} }}\n"));
        }
        let mut child = Command::new("bpftrace")
            .args(["-p", &pid.to_string(), "-e", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("bpftrace starts");
        let mut output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let mut line = String::new();
        while line.trim() != "ready" {
            line.clear();
            let length = output.read_line(&mut line).expect("it speaks UTF-8");
            assert!(length > 0, "bpftrace ended before its probes were placed");
        }
        // Somebody has to take what it prints.
        let reader = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            let mut total = 0;
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                total += length as u64;
            }
            total
        });
        Bpftrace {
            child,
            reader: Some(reader),
        }
    }

    /// Ends it and returns how many bytes it printed since its probes were placed.
    pub(crate) fn end(mut self) -> u64 {
        self.stop()
    }

    fn stop(&mut self) -> u64 {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            // It may have ended by itself; then there is nothing to end.
            let _ = kill_process(pid, Signal::INT);
        }
        let _ = self.child.wait();
        let reader = self.reader.take();
        reader.map_or(0, |reader| reader.join().expect("reading does not fail"))
    }
}

impl Drop for Bpftrace {
    fn drop(&mut self) {
        if self.reader.is_some() {
            self.stop();
        }
    }
}
