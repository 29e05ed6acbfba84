//! What the integration tests share: starting a Go program that knows its own truth, running
//! gotrace on it, and looking at both from outside.
//!
//! The tests need root, a kernel with BTF and the fixtures that `cargo xtask test` builds; what is
//! missing fails a test with a message, never skips it. Every wait has a deadline and ends as soon
//! as its condition holds. Every process that is started ends with the value that stands for it.

use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, thread};

pub mod chaos;
pub mod gotrace;
pub mod http;
pub mod json;
pub mod kubernetes;
mod lines;
pub mod otlp;
pub mod pods;
pub mod profile;
pub mod prometheus;
pub mod target;
pub mod text;
pub mod tmux;

pub use gotrace::{Finished, Gotrace};
pub use target::Target;

/// How long anything may take that should take moments. Generous, since machines of CI stall.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Set by `cargo xtask vm` where the processor is emulated.
const EMULATED: &str = "GOTRACE_EMULATED";

/// Whether this processor is emulated: everything takes many times as long, and it stands still now and then.
pub fn is_emulated() -> bool {
    env::var_os(EMULATED).is_some()
}

/// [`PATIENCE`], or what that is on a processor that is emulated.
pub fn patience() -> Duration {
    match is_emulated() {
        true => 6 * PATIENCE,
        false => PATIENCE,
    }
}

/// Waits until the condition yields a value.
///
/// # Panics
///
/// When [`patience`] is over.
#[track_caller]
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A path that `cargo xtask test` sets, or its usual place below the target directory.
///
/// # Panics
///
/// When there is nothing.
pub fn provided(variable: &str, usual: &str) -> PathBuf {
    let path = env::var_os(variable).map_or_else(
        || {
            env::var_os("CARGO_TARGET_DIR")
                .map_or_else(
                    || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
                    PathBuf::from,
                )
                .join(usual)
        },
        PathBuf::from,
    );
    path.canonicalize().unwrap_or_else(|error| {
        panic!(
            "{}: {error}: run the integration tests by `cargo xtask test`",
            path.display()
        )
    })
}

/// Fails a test that is not run by root, whom attaching needs.
#[track_caller]
pub fn require_root() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test attaches probes, so it needs root: run `cargo xtask test` as root"
    );
}
