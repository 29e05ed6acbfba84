//! Where things lie: the workspace, its target directory, and the cache of downloaded tools.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;
use xshell::{Cmd, Shell, cmd};

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the xtask package lies in the workspace")
}

/// Cargo's target directory.
pub(crate) fn target() -> PathBuf {
    // Cargo takes a relative directory as relative to where it was called.
    env::var_os("CARGO_TARGET_DIR").map_or_else(
        || root().join("target"),
        |dir| std::path::absolute(dir).unwrap_or_else(|_| root().join("target")),
    )
}

/// The directory that keeps downloaded tools between runs and workspaces.
pub(crate) fn cache() -> Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(dir) = set("GOTRACE_CACHE") {
        return Ok(dir.into());
    }
    if let Some(dir) = set("XDG_CACHE_HOME") {
        return Ok(Path::new(&dir).join("gotrace"));
    }
    let home = set("HOME").context("none of GOTRACE_CACHE, XDG_CACHE_HOME and HOME is set")?;
    Ok(Path::new(&home).join(".cache/gotrace"))
}

/// A shell in the root of the workspace.
pub(crate) fn shell() -> Result<Shell> {
    let shell = Shell::new()?;
    shell.change_dir(root());
    Ok(shell)
}

/// The cargo that runs this task.
pub(crate) fn cargo(shell: &Shell) -> Cmd<'_> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    cmd!(shell, "{cargo}")
}

/// What cargo says of the packages of the workspace.
pub(crate) fn metadata(shell: &Shell) -> Result<Value> {
    let said = cargo(shell)
        .args(["metadata", "--locked", "--no-deps", "--format-version", "1"])
        .quiet()
        .read()?;
    Ok(serde_json::from_str(&said)?)
}

/// A cargo whose compiler is clippy's for what is ours: what tests run is checked as it is built, and nothing is read twice.
/// Any warning is an error.
pub(crate) fn linted(shell: &Shell) -> Cmd<'_> {
    cargo(shell)
        .env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver")
        .env("CLIPPY_ARGS", "--deny__CLIPPY_HACKERY__warnings")
}

/// The cargo that runs this task, without what it and the caller's shell set for this task's own
/// build: flags, wrappers, profiles, a target directory, a toolchain.
pub(crate) fn bare_cargo(shell: &Shell) -> Cmd<'_> {
    const KEPT: [&str; 6] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    let mut command = cargo(shell);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        let set_by_build = name.starts_with("CARGO")
            || name.starts_with("RUSTC")
            || name.starts_with("RUSTDOC")
            || matches!(&*name, "RUSTFLAGS" | "RUSTUP_TOOLCHAIN");
        if set_by_build && !KEPT.iter().any(|kept| name.starts_with(kept)) {
            command = command.env_remove(&*name);
        }
    }
    command
}

/// Lets the calling thread, and all that it starts from now on, run when nothing else wants to.
pub(crate) fn yield_to_all() -> Result<()> {
    let shell = shell()?;
    // Such as `4711/task/4712`.
    let own = std::fs::read_link("/proc/thread-self")?;
    let thread = own.file_name().context("a thread has a number")?;
    Ok(cmd!(shell, "chrt --idle --pid 0 {thread}").quiet().run()?)
}

/// Builds the `gotrace` program with optimisation and returns its path.
pub(crate) fn build_gotrace(shell: &Shell) -> Result<PathBuf> {
    cargo(shell)
        .args(["build", "--locked", "--release", "--package", "tracer-user"])
        .run()?;
    Ok(target().join("release/gotrace"))
}
