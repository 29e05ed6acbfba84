//! A terminal of a test's own, in which somebody types and looks.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::eventually;

/// Terminals of this process so far: each is a server of its own.
static OPENED: AtomicUsize = AtomicUsize::new(0);

/// A terminal; it ends when dropped, with what runs in it.
#[derive(Debug)]
pub struct Terminal {
    socket: String,
}

impl Terminal {
    /// Opens a terminal of this size in which `sh` runs a script, and then waits.
    #[track_caller]
    pub fn open(width: u16, height: u16, script: &str) -> Terminal {
        let number = OPENED.fetch_add(1, Ordering::Relaxed);
        let terminal = Terminal {
            socket: format!("gotrace-test-{}-{number}", std::process::id()),
        };
        let (width, height) = (width.to_string(), height.to_string());
        let script = format!("{script}; sleep 600");
        terminal.ask(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &width,
            "-y",
            &height,
            "sh",
            "-c",
            &script,
        ]);
        terminal
    }

    /// Presses keys, by tmux's names for those that are no letters.
    #[track_caller]
    pub fn press(&self, keys: &[&str]) {
        self.ask(&[&["send-keys"], keys].concat());
    }

    /// Types a text.
    #[track_caller]
    pub fn type_in(&self, text: &str) {
        self.ask(&["send-keys", "-l", text]);
    }

    /// What is on the screen.
    #[track_caller]
    pub fn screen(&self) -> String {
        self.ask(&["capture-pane", "-p"])
    }

    /// Waits until the screen has all these parts, and returns it.
    #[track_caller]
    pub fn shows(&self, parts: &[&str]) -> String {
        let mut last = String::new();
        let deadline = std::time::Instant::now() + crate::PATIENCE;
        while std::time::Instant::now() < deadline {
            last = self.screen();
            if parts.iter().all(|part| last.contains(part)) {
                return last;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("waited in vain for {parts:?} on\n{last}");
    }

    /// Whether a program has the screen for itself and did not give it back.
    #[track_caller]
    pub fn is_taken(&self) -> bool {
        self.ask(&["display-message", "-p", "#{alternate_on}"])
            .trim()
            == "1"
    }

    /// The process that the script has started and that is named so.
    #[track_caller]
    pub fn child(&self, name: &str) -> u32 {
        let shell = self.ask(&["display-message", "-p", "#{pane_pid}"]);
        let shell = shell.trim();
        eventually("the program in the terminal", || {
            let list = format!("/proc/{shell}/task/{shell}/children");
            let children = std::fs::read_to_string(list).ok()?;
            children.split_whitespace().find_map(|child| {
                let comm = std::fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
                (comm.trim() == name).then(|| child.parse().ok())?
            })
        })
    }

    /// Asks tmux.
    #[track_caller]
    fn ask(&self, arguments: &[&str]) -> String {
        let tmux = std::env::var_os("GOTRACE_TMUX").unwrap_or_else(|| "tmux".into());
        let output = Command::new(tmux)
            .args(["-L", &self.socket])
            .args(arguments)
            .env_remove("TMUX")
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .output()
            .unwrap_or_else(|error| panic!("tmux: {error}: run `cargo xtask test`"));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tmux {arguments:?}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let tmux = std::env::var_os("GOTRACE_TMUX").unwrap_or_else(|| "tmux".into());
        // Its own server, and what runs in it. It may have ended by itself.
        let _ = Command::new(tmux)
            .args(["-L", &self.socket, "kill-server"])
            .output();
    }
}
