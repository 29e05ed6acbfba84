//! The web page that gotrace embeds: built from `tracer-user/web` by Node's tools, committed as files, so that
//! whoever builds gotrace needs none of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use xshell::{Shell, cmd};

use crate::{debian, workspace};

/// What is done with the page.
#[derive(Args)]
pub(crate) struct Options {
    /// Only compare the committed files with what the sources give.
    #[arg(long)]
    pub(crate) check: bool,
}

/// Where sources and files lie, from the workspace's root.
const SOURCES: &str = "tracer-user/web";
const PAGE: &str = "tracer-user/page";
/// What is no source.
const MODULES: &str = "node_modules";
/// Files that say which tools are installed.
const LOCKED: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];

/// What the page is tested with.
pub(crate) struct Browser {
    /// A directory whose Node modules have Playwright.
    pub(crate) home: PathBuf,
    pub(crate) chromium: PathBuf,
}

/// Checks and builds the page; writes it, or compares.
pub(crate) fn run(options: &Options) -> Result<()> {
    let shell = workspace::shell()?;
    let home = modules(&shell)?;
    copy(&shell, &workspace::root().join(SOURCES), &home, &[MODULES])?;
    let built = shell.create_temp_dir()?;
    let built = built.path();
    {
        let _home = shell.push_dir(&home);
        let bin = home.join(MODULES).join(".bin");
        let tool = |name: &str| bin.join(name);
        let (tsc, vite, rolldown) = (tool("tsc"), tool("vite"), tool("rolldown"));
        cmd!(shell, "{tsc} --noEmit")
            .run()
            .context("the page's types do not fit")?;
        let tests = built.join("logic.mjs");
        cmd!(
            shell,
            "{rolldown} test/logic.test.ts --platform node --format esm --file {tests} --log-level silent"
        )
        .quiet()
        .ignore_stdout()
        .run()?;
        cmd!(shell, "node --test --test-reporter dot {tests}")
            .run()
            .context("the page's tests fail")?;
        shell.remove_path(&tests)?;
        let page = built.join("page");
        let said = cmd!(
            shell,
            "{vite} build --logLevel warn --outDir {page} --emptyOutDir"
        )
        .read()?;
        ensure!(said.trim().is_empty(), "vite has something to say: {said}");
    }
    let (built, committed) = (built.join("page"), workspace::root().join(PAGE));
    let (new, old) = (files(&built)?, files(&committed).unwrap_or_default());
    let bytes: usize = new.values().map(Vec::len).sum();
    if options.check {
        let differing: Vec<&str> = new
            .keys()
            .chain(old.keys())
            .filter(|name| new.get(*name) != old.get(*name))
            .map(String::as_str)
            .collect();
        if !differing.is_empty() {
            bail!(
                "the page is not what its sources give: {}\nnext: run `cargo xtask web` and commit {PAGE}",
                differing.join(", ")
            );
        }
        println!("web: {PAGE} is what {SOURCES} gives, {bytes} bytes");
        return Ok(());
    }
    shell.remove_path(&committed)?;
    copy(&shell, &built, &committed, &[])?;
    println!("web: {} with {bytes} bytes", committed.display());
    Ok(())
}

/// Finds what the page is tested with, or installs it.
pub(crate) fn install() -> Result<Browser> {
    let shell = workspace::shell()?;
    let find = || cmd!(shell, "which chromium").quiet().ignore_stderr().read();
    if find().is_err() {
        debian::install(&shell, &["chromium"])?;
    }
    let chromium = find().context("there is no `chromium`\nnext: install Chromium")?;
    Ok(Browser {
        home: modules(&shell)?,
        chromium: chromium.into(),
    })
}

/// A directory in the cache with the tools that the lock file names.
fn modules(shell: &Shell) -> Result<PathBuf> {
    let sources = workspace::root().join(SOURCES);
    let home = workspace::cache()?.join("web");
    let current = LOCKED
        .iter()
        .all(|name| fs::read(home.join(name)).ok() == fs::read(sources.join(name)).ok());
    // npm writes this file last.
    if current && home.join(MODULES).join(".package-lock.json").exists() {
        return Ok(home);
    }
    println!("setup: installing the page's tools into {}", home.display());
    shell.remove_path(&home)?;
    shell.create_dir(&home)?;
    for name in LOCKED {
        shell.copy_file(sources.join(name), home.join(name))?;
    }
    let _home = shell.push_dir(&home);
    cmd!(shell, "npm ci --silent --ignore-scripts")
        .run()
        .context("`npm ci` failed\nnext: install Node 20.19 or newer with npm")?;
    Ok(home)
}

/// Copies a directory's files over another one's; there is nothing else in that but what is left out.
fn copy(shell: &Shell, from: &Path, to: &Path, left_out: &[&str]) -> Result<()> {
    shell.create_dir(to)?;
    for path in shell.read_dir(to)? {
        if !left_out.iter().any(|name| path.ends_with(name)) {
            shell.remove_path(path)?;
        }
    }
    for path in shell.read_dir(from)? {
        let name = path.file_name().context("a file has a name")?;
        if left_out.iter().any(|other| path.ends_with(other)) {
            continue;
        }
        if path.is_dir() {
            copy(shell, &path, &to.join(name), &[])?;
        } else {
            shell.copy_file(&path, to.join(name))?;
        }
    }
    Ok(())
}

/// Every file below a directory, by its path there.
fn files(directory: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("no {}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(directory)?.to_string_lossy().into_owned();
                found.insert(name, fs::read(&path)?);
            }
        }
    }
    Ok(found)
}
