//! What a machine runs: gotrace, Go programs and tests, for its architecture.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Result;
use xshell::{Shell, cmd};

use crate::fixtures::{self, Fixture};
use crate::go::Toolchain;
use crate::portable::{self, Arch};
use crate::workspace;

/// The programs that the tests trace, each with its symbols, as programs have them.
const PROGRAMS: &[&str] = &["demo", "ledger", "stuck", "hello", "relay"];

/// All of it, built.
pub(crate) struct Parts {
    pub(super) arch: Arch,
    pub(super) gotrace: PathBuf,
    /// Files of integration tests, by name.
    pub(super) tests: Vec<(String, PathBuf)>,
    /// What gotrace and the tests are linked to: nothing where they are static.
    pub(super) libraries: BTreeSet<PathBuf>,
    /// The Go programs and where they are.
    pub(super) programs: Vec<&'static str>,
    pub(super) programs_home: PathBuf,
}

impl Parts {
    pub(super) fn build(arch: Arch, toolchain: &Toolchain, tests: &[&str]) -> Result<Parts> {
        let shell = workspace::shell()?;
        let (gotrace, built) = match arch == Arch::HOST {
            true => usual(&shell, tests)?,
            false => portable::tests(arch, tests)?,
        };
        let mut libraries = BTreeSet::new();
        if arch == Arch::HOST {
            for program in [&gotrace].into_iter().chain(&built) {
                let linked = cmd!(shell, "ldd {program}").quiet().read()?;
                // Such as `libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f2891894000)`.
                let files = linked.split_whitespace().filter(|it| it.starts_with('/'));
                libraries.extend(files.map(PathBuf::from));
            }
        }
        let stripped = Fixture {
            name: "hello-stripped",
            flags: &["-ldflags", "-s -w"],
            ..Fixture::plain("hello", arch.short())
        };
        let plain = PROGRAMS
            .iter()
            .map(|name| Fixture::plain(name, arch.short()));
        let programs: Vec<Fixture> = plain.chain([stripped]).collect();
        let programs_home = workspace::target().join("fixtures").join(arch.short());
        for program in &programs {
            fixtures::build_one(toolchain, program, &programs_home)?;
        }
        let names = tests.iter().map(|&name| name.to_owned());
        Ok(Parts {
            arch,
            gotrace,
            tests: names.zip(built).collect(),
            libraries,
            programs: programs.iter().map(|program| program.name).collect(),
            programs_home,
        })
    }
}

/// What `cargo xtask test` builds and runs as well.
fn usual(shell: &Shell, tests: &[&str]) -> Result<(PathBuf, Vec<PathBuf>)> {
    let gotrace = workspace::build_gotrace(shell)?;
    if tests.is_empty() {
        return Ok((gotrace, Vec::new()));
    }
    let files = tests.iter().flat_map(|file| ["--test", file]);
    let said = workspace::cargo(shell)
        .args([
            "test",
            "--locked",
            "--no-run",
            "--package",
            "integration-tests",
        ])
        .args(files)
        .args(["--message-format", "json-render-diagnostics"])
        .read()?;
    Ok((gotrace, portable::built_tests(&said, tests)?))
}
