//! Go programs built by a real toolchain, for tests. No root needed.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test file is a crate of its own and uses a part of this"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// How a fixture is built.
#[derive(Clone, Copy, Debug)]
pub struct Build<'a> {
    /// Directory under `tests/programs`.
    pub program: &'a str,
    /// GOARCH.
    pub arch: &'a str,
    /// Further arguments of `go build`, e.g. `-buildmode=pie`.
    pub flags: &'a [&'a str],
}

impl Build<'_> {
    /// The `everything` program for amd64, as `go build` builds it by default.
    pub const EVERYTHING: Build<'static> = Build {
        program: "everything",
        arch: "amd64",
        flags: &[],
    };
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the workspace")
}

/// The `go` command: `$GOTRACE_GO`, else the toolchain that `cargo xtask setup` installs.
pub fn go() -> PathBuf {
    if let Some(go) = std::env::var_os("GOTRACE_GO") {
        return go.into();
    }
    let go = toolchains().join("1.27.3/go/bin/go");
    assert!(
        go.exists(),
        "no Go toolchain at {}: run `cargo xtask setup`, or name a go command in GOTRACE_GO",
        go.display()
    );
    go
}

/// Where `cargo xtask setup` installs Go toolchains, each in a directory named after its version.
fn toolchains() -> PathBuf {
    let cache = std::env::var_os("GOTRACE_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/gotrace"),
        PathBuf::from,
    );
    cache.join("go")
}

/// The `go` commands of all installed toolchains, the tests' own included.
pub fn installed() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(toolchains())
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("go/bin/go")))
        .filter(|go| go.exists())
        .collect();
    let own = go();
    if !found.contains(&own) {
        found.push(own);
    }
    found.sort();
    found
}

/// Runs a Go command with nothing of the surrounding Go configuration.
pub fn go_command(go: &Path) -> Command {
    let mut command = Command::new(go);
    command
        .env_remove("GOROOT")
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "-mod=mod")
        .env("GOPROXY", "off")
        .env("CGO_ENABLED", "0");
    command
}

/// Builds a program, unless `target/fixtures` has it already, and returns its path.
pub fn fixture(build: Build<'_>) -> PathBuf {
    fixture_with(&go(), build)
}

/// As [`fixture`], with this `go` command.
pub fn fixture_with(go: &Path, build: Build<'_>) -> PathBuf {
    let source = workspace().join("tests/programs").join(build.program);
    let version = output(go_command(go).args(["env", "GOVERSION"]));
    let flags: String = build
        .flags
        .iter()
        .flat_map(|flag| ["_", flag.trim_start_matches('-')])
        .collect::<String>()
        .replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let directory = workspace().join("target/fixtures").join(version.trim());
    std::fs::create_dir_all(&directory).expect("target/ is writable");
    let path = directory.join(format!("{}-{}{flags}", build.program, build.arch));
    let newest_source = std::fs::read_dir(&source)
        .expect("the program's directory exists")
        .filter_map(|entry| entry.ok()?.metadata().ok()?.modified().ok())
        .max();
    let built = std::fs::metadata(&path)
        .and_then(|file| file.modified())
        .ok();
    if built.is_some() && built >= newest_source {
        return path;
    }
    // Tests run at the same time: each builds a file of its own, the last one stays.
    let unique = format!(
        "{}.{}.{:?}",
        path.display(),
        std::process::id(),
        std::thread::current().id()
    );
    output(
        go_command(go)
            .current_dir(&source)
            .env("GOARCH", build.arch)
            .args(["build", "-o", &unique])
            .args(build.flags)
            .arg("."),
    );
    std::fs::rename(&unique, &path).expect("the fixture was built");
    path
}

/// What a command prints; its failure fails the test.
pub fn output(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}
