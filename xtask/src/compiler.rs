//! A Rust compiler that can build for targets whose library is not installed: one with the library's source in
//! its sysroot.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::debian;

/// The variable that names the compiler to use.
const OVERRIDE: &str = "GOTRACE_BPF_RUSTC";

/// Where Debian installs `rustc-web`.
pub(crate) const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// A compiler with its library's source.
pub(crate) struct Compiler {
    /// The compiler itself, no wrapper.
    pub(crate) rustc: PathBuf,
    /// What it says of itself: one line with its version and LLVM's.
    pub(crate) version: String,
    /// Major version of its LLVM; the linker's must not be older.
    pub(crate) llvm: u32,
    /// Why it was taken.
    pub(crate) reason: &'static str,
    sysroot: PathBuf,
}

impl Compiler {
    /// The first compiler that has its library's source and whose output a linker of this LLVM,
    /// a major version, can read; on Debian, as root, installs one if there is none. Failing that,
    /// the first that has its source: a newer linker may be on PATH.
    pub(crate) fn find(shell: &Shell, llvm: u32) -> Result<Compiler> {
        if let Some(rustc) = env::var_os(OVERRIDE).filter(|rustc| !rustc.is_empty()) {
            let rustc = PathBuf::from(rustc);
            return Compiler::open(shell, &rustc, "named by GOTRACE_BPF_RUSTC")?
                .with_context(|| format!("{OVERRIDE}: {} has no library source", rustc.display()));
        }
        let links = |compiler: &Compiler| compiler.llvm <= llvm;
        if let Some(compiler) = Compiler::installed(shell).find(links) {
            return Ok(compiler);
        }
        if debian::can_install(shell) {
            debian::install(shell, &["rustc-web", "rust-web-src"])?;
            if let Some(compiler) = Compiler::installed(shell).find(links) {
                return Ok(compiler);
            }
        }
        if let Some(compiler) = Compiler::installed(shell).next() {
            return Ok(compiler);
        }
        bail!(
            "no Rust compiler here has its library's source, which building for another target needs.\n\
             looked at: {OVERRIDE}, rustup's nightly, rustup's default, {DEBIAN_RUSTC}\n\
             next, with rustup: rustup toolchain install nightly --component rust-src\n\
             next, on Debian 12 as root: apt-get install rustc-web rust-web-src llvm-22-dev"
        )
    }

    /// Those that have their library's source, in the order in which they are looked for.
    fn installed(shell: &Shell) -> impl Iterator<Item = Compiler> {
        let rustup = |toolchain: &[&str]| {
            let path = cmd!(shell, "rustup which")
                .args(toolchain)
                .arg("rustc")
                .env_remove("RUSTUP_TOOLCHAIN")
                .quiet()
                .ignore_stderr()
                .read();
            path.ok().map(PathBuf::from)
        };
        let candidates = [
            (rustup(&["--toolchain", "nightly"]), "rustup's nightly"),
            (rustup(&[]), "rustup's default"),
            (Some(DEBIAN_RUSTC.into()), "the system's"),
        ];
        candidates
            .into_iter()
            .filter_map(|(rustc, reason)| Compiler::open(shell, &rustc?, reason).ok()?)
    }

    /// The compiler at this path; `None` if its library's source is not there.
    fn open(shell: &Shell, rustc: &Path, reason: &'static str) -> Result<Option<Compiler>> {
        let ask = |question: &str| {
            cmd!(shell, "{rustc} {question}")
                .args((question == "--print").then_some("sysroot"))
                .env_remove("RUSTUP_TOOLCHAIN")
                .quiet()
                .ignore_stderr()
                .read()
                .with_context(|| format!("{} does not run", rustc.display()))
        };
        let sysroot = PathBuf::from(ask("--print")?);
        let verbose = ask("-vV")?;
        let (version, llvm) = version(&verbose)
            .with_context(|| format!("{} -vV is not understood: {verbose}", rustc.display()))?;
        let compiler = Compiler {
            rustc: rustc.to_owned(),
            version,
            llvm,
            reason,
            sysroot,
        };
        let present = compiler.source().join("library/Cargo.lock").exists();
        Ok(present.then_some(compiler))
    }

    /// The source of the compiler and its library.
    pub(crate) fn source(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib/src/rust")
    }

    /// Programs that rustup's `llvm-tools` component puts into the sysroot.
    pub(crate) fn llvm_tool(&self, name: &str) -> PathBuf {
        self.sysroot
            .join("lib/rustlib")
            .join(format!("{}-unknown-linux-gnu", env::consts::ARCH))
            .join("bin")
            .join(name)
    }
}

/// One line for version and LLVM, and LLVM's major version, from the answer to `rustc -vV`.
fn version(verbose: &str) -> Option<(String, u32)> {
    let first = verbose.lines().next()?;
    let llvm = verbose
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))?;
    let major = llvm.split('.').next()?.parse().ok()?;
    Some((format!("{first}, LLVM {llvm}"), major))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn version_and_llvm_in_one_line() {
        let verbose = "rustc 1.96.0 (ac68faa20 2026-05-25)\nbinary: rustc\nLLVM version: 22.1.8";
        assert_eq!(
            version(verbose),
            Some((
                "rustc 1.96.0 (ac68faa20 2026-05-25), LLVM 22.1.8".to_owned(),
                22
            ))
        );
        assert_eq!(version("rustc 1.96.0\nbinary: rustc"), None);
    }
}
