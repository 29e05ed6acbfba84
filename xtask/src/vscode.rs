//! VS Code's own test client for debug adapters, from npm's registry.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::{debian, workspace};

/// What says which client it is, in tests/dap.
const FILES: &[&str] = &["package.json", "package-lock.json", ".npmrc"];

/// Finds the client in the cache, or installs it there, as the lock file says. Returns the directory that has
/// its `node_modules`.
pub(crate) fn install() -> Result<PathBuf> {
    let shell = workspace::shell()?;
    let sources = workspace::root().join("tests/dap");
    let mut hasher = DefaultHasher::new();
    for file in FILES {
        fs::read(sources.join(file))?.hash(&mut hasher);
    }
    node(&shell)?;
    let cache = workspace::cache()?;
    let home = cache.join(format!("dap-client-{:016x}", hasher.finish()));
    if home.exists() {
        return Ok(home);
    }
    println!(
        "setup: installing VS Code's test client into {}",
        home.display()
    );
    // Into a directory of its own first, so that an interrupted installation is none.
    let partial = cache.join(".dap-client.partial");
    shell.remove_path(&partial)?;
    shell.create_dir(&partial)?;
    for file in FILES {
        shell.copy_file(sources.join(file), &partial)?;
    }
    {
        let _inside = shell.push_dir(&partial);
        cmd!(shell, "npm ci --ignore-scripts --no-audit --no-fund")
            .quiet()
            .ignore_stdout()
            .run()
            .context("`npm ci` failed\nnext: see whether npm's registry can be reached")?;
    }
    fs::rename(&partial, &home)?;
    Ok(home)
}

/// Node and npm on PATH, or Debian's.
fn node(shell: &Shell) -> Result<()> {
    let found = || {
        cmd!(shell, "which node npm")
            .quiet()
            .ignore_stdout()
            .ignore_stderr()
            .run()
    };
    if found().is_err() {
        debian::install(shell, &["nodejs", "npm"])?;
    }
    found().context("there is no `node` or no `npm`\nnext: install Node.js 18 or newer")
}
