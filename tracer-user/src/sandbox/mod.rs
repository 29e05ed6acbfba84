//! What `gotrace agent` leaves itself once all is open: the capabilities that it goes on to need, no way to gain
//! others, and the system calls that it makes. Who takes the agent over has no more than that. docs/deploy.md.
//!
//! [`capabilities`] drops rights, [`filter`] refuses system calls.

mod capabilities;
mod filter;

use rustix::thread::set_no_new_privs;
use serde::Serialize;

use crate::failure::Failure;

/// What was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Sandbox {
    /// Whether no program that it might start can have more rights.
    pub(crate) no_new_privs: bool,
    /// The capabilities that are left, such as `CAP_BPF`.
    pub(crate) capabilities: Vec<String>,
    /// Whether no other can come back.
    pub(crate) bounding_set: bool,
    /// Whether other system calls than those that the agent makes are refused.
    pub(crate) seccomp: bool,
    /// What could not be given up, and why.
    pub(crate) failed: Vec<String>,
}

/// Gives up what is not needed from here on. What the kernel refuses to take is said in what is returned, and logged.
///
/// # Errors
/// There are threads already: the kernel keeps capabilities for each by itself, so theirs would stay.
pub(crate) fn enter() -> Result<Sandbox, Failure> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads != 1 {
        return Err(Failure::new("rights cannot be given up")
            .because(format!("there are {threads} threads already"))
            .next("say so to who makes gotrace; --no-sandbox does without"));
    }
    let mut failed = Vec::new();
    let mut done = |what: &str, result: Result<(), String>| {
        result
            .inspect_err(|error| {
                tracing::warn!("sandbox: {what}: {error}");
                failed.push(format!("{what}: {error}"));
            })
            .is_ok()
    };
    // In this order: to lower the bound takes a right that is then dropped.
    let bounding_set = done("bounding set", capabilities::lower_bound());
    done("capabilities", capabilities::drop_others());
    let no_new_privs = done(
        "no_new_privs",
        set_no_new_privs(true).map_err(|error| error.to_string()),
    );
    let seccomp = done(
        "seccomp",
        filter::Filter::of_agent()
            .and_then(|filter| filter.install(filter::Threads::All))
            .map_err(|error| error.to_string()),
    );
    Ok(Sandbox {
        no_new_privs,
        capabilities: capabilities::names(capabilities::effective()),
        bounding_set,
        seccomp,
        failed,
    })
}
