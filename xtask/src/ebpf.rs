//! Builds the BPF objects that `gotrace` embeds.
//!
//! They are committed, so that building `gotrace` needs a stable Rust alone. Building them needs
//! more: a compiler with the library's source beside it ([`crate::compiler`]) and a linker for BPF
//! ([`tools`]). Their bytes depend on the versions of both, which `BUILT` beside them names, and on
//! nothing else: paths are remapped, and each architecture is built by itself.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use sha2::{Digest as _, Sha256};
use xshell::{Shell, cmd};

use crate::compiler::Compiler;
use crate::workspace;
use tools::Tools;

pub(crate) use tools::LLVM;

mod tools;

/// Architectures of the kernels that the objects run on, as BPF code calls them.
const ARCHITECTURES: [&str; 2] = ["x86_64", "aarch64"];

/// The programs that are an object each, and what the names of their files begin with.
const PROGRAMS: [(&str, &str); 2] = [("tracer-ebpf", ""), ("watch", "watch-")];

/// The file beside the objects that says what built them.
const BUILT: &str = "BUILT";

/// What the task does.
#[derive(Args)]
pub(crate) struct Options {
    /// Build, and compare with the committed objects instead of replacing them.
    #[arg(long)]
    pub(crate) check: bool,
    /// Build here, and once more from a copy of the source in another directory, and compare the bytes; nothing is
    /// replaced.
    #[arg(long, conflicts_with = "check")]
    pub(crate) reproducible: bool,
}

/// Where the source is and where it is built.
struct Place {
    root: PathBuf,
    target: PathBuf,
}

/// Builds the objects of all architectures, and replaces or checks the committed ones.
pub(crate) fn run(options: &Options) -> Result<()> {
    let shell = workspace::shell()?;
    let compiler = Compiler::find(&shell, LLVM)?;
    println!(
        "ebpf: {} at {} ({})",
        compiler.version,
        compiler.rustc.display(),
        compiler.reason
    );
    let tools = Tools::find(&shell, &compiler)?;
    println!("ebpf: {} at {}", tools.version, tools.linker.display());

    // Before the flags are made: they name the directories that this fills.
    let here = Place {
        root: workspace::root().to_owned(),
        target: workspace::target().join("ebpf"),
    };
    let manifest = here.root.join("tracer-ebpf/Cargo.toml");
    workspace::bare_cargo(&shell)
        .args(["fetch", "--quiet", "--locked", "--manifest-path"])
        .arg(&manifest)
        .run()?;
    let objects = build_all(&shell, &compiler, &tools, &here)?;
    if options.reproducible {
        return compare_with_copy(&shell, &compiler, &tools, &here, &objects);
    }
    let built = Built {
        by: format!(
            "{}\n{}\n{}\n",
            compiler.version, tools.version, tools.strip_version
        ),
        hashes: objects
            .iter()
            .map(|(name, bytes)| (name.clone(), sha256(bytes)))
            .collect(),
    };
    let committed = workspace::root().join("tracer-user/bpf");
    if options.check {
        return check(&committed, &objects, &built);
    }
    shell.create_dir(&committed)?;
    for (name, bytes) in &objects {
        let path = committed.join(name);
        let same = fs::read(&path).is_ok_and(|old| old == *bytes);
        shell.write_file(&path, bytes)?;
        println!(
            "ebpf: {} {} bytes, {}",
            path.display(),
            bytes.len(),
            if same { "unchanged" } else { "written" }
        );
    }
    shell.write_file(committed.join(BUILT), built.to_text())?;
    Ok(())
}

/// Builds the objects of all architectures; their bytes by file name.
fn build_all(
    shell: &Shell,
    compiler: &Compiler,
    tools: &Tools,
    place: &Place,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut objects = BTreeMap::new();
    for arch in ARCHITECTURES {
        println!("ebpf: building for {arch} in {}", place.root.display());
        for (prefix, object) in build(shell, compiler, tools, place, arch)? {
            objects.insert(format!("{prefix}{arch}.o"), object);
        }
    }
    Ok(objects)
}

/// Builds the same source elsewhere, with nothing that was built here, and fails if a byte differs.
fn compare_with_copy(
    shell: &Shell,
    compiler: &Compiler,
    tools: &Tools,
    here: &Place,
    objects: &BTreeMap<String, Vec<u8>>,
) -> Result<()> {
    let elsewhere = shell.create_temp_dir()?;
    // Not as long as the name here, wherever that is.
    let copy = elsewhere.path().join("a copy of the source");
    shell.create_dir(&copy)?;
    for part in ["Cargo.toml", "tracer-common", "tracer-ebpf"] {
        let from = here.root.join(part);
        cmd!(shell, "cp -a {from} {copy}").quiet().run()?;
    }
    let there = Place {
        root: copy,
        target: elsewhere.path().join("target"),
    };
    let others = build_all(shell, compiler, tools, &there)?;
    let mut differing = Vec::new();
    for (name, bytes) in objects {
        match others.get(name) == Some(bytes) {
            true => println!("ebpf: {name} {} is the same in both", sha256(bytes)),
            false => differing.push(name.as_str()),
        }
    }
    ensure!(
        differing.is_empty(),
        "{}: other bytes in another directory",
        differing.join(", ")
    );
    Ok(())
}

/// Compares what was built with what is committed.
fn check(committed: &Path, objects: &BTreeMap<String, Vec<u8>>, built: &Built) -> Result<()> {
    let path = committed.join(BUILT);
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let recorded = Built::parse(&text)
        .with_context(|| format!("{} is not what this task writes", path.display()))?;
    let mut differing = Vec::new();
    for (name, bytes) in objects {
        let path = committed.join(name);
        let old = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(
            recorded.hashes.get(name) == Some(&sha256(&old)),
            "{} is not the object that {BUILT} describes\nnext: cargo xtask ebpf",
            path.display()
        );
        if old == *bytes {
            println!("ebpf: {name} is the same");
        } else {
            differing.push(name.as_str());
        }
    }
    if differing.is_empty() {
        return Ok(());
    }
    let differing = differing.join(", ");
    if recorded.by == built.by {
        bail!(
            "{differing}: the committed object is not what the source gives\nnext: cargo xtask ebpf"
        );
    }
    println!(
        "ebpf: {differing} differs, other compiler; this proves nothing.\n\
         committed objects are by:\n{}this build is by:\n{}",
        recorded.by, built.by
    );
    Ok(())
}

/// Builds the objects for one architecture and returns their bytes, without debug information.
fn build(
    shell: &Shell,
    compiler: &Compiler,
    tools: &Tools,
    place: &Place,
    arch: &str,
) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let _in_package = shell.push_dir(place.root.join("tracer-ebpf"));
    let target = &place.target;
    let flags = flags(compiler, &place.root, arch)?.join("\x1f");
    workspace::bare_cargo(shell)
        .args(["build", "--quiet", "--locked", "--release"])
        .args(["-Z", "build-std=core", "--target", "bpfel-unknown-none"])
        .arg("--target-dir")
        .arg(target)
        .env("RUSTC", &compiler.rustc)
        // The library is built with the compiler's unstable features, on a stable compiler too.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .env("PATH", tools.path()?)
        .run()
        .with_context(|| format!("the programs do not build for {arch}"))?;

    PROGRAMS
        .iter()
        .map(|(program, prefix)| {
            let linked = target.join("bpfel-unknown-none/release").join(program);
            let stripped = target.join(format!("{prefix}{arch}.o"));
            let strip = &tools.strip;
            // Debug information goes; BTF, which the kernel reads, stays.
            cmd!(shell, "{strip} -g -o {stripped} {linked}")
                .quiet()
                .run()?;
            let bytes = fs::read(&stripped)
                .with_context(|| format!("cannot read {}", stripped.display()))?;
            refuse_paths(&bytes, compiler, &place.root)?;
            refuse_mangled_names(&bytes)?;
            Ok((*prefix, bytes))
        })
        .collect()
}

/// Compiler flags: the architecture, BTF, and for every path that the object would hold a name that
/// is the same everywhere.
fn flags(compiler: &Compiler, root: &Path, arch: &str) -> Result<Vec<String>> {
    let mut flags = vec![
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        // Atomic additions that return the old value; kernels have them since 5.12.
        "-Ctarget-cpu=v3".to_owned(),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
    ];
    let mut remap = |from: &Path, to: &str| {
        flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    };
    remap(root, "/gotrace");
    let registry = cargo_home()?.join("registry/src");
    let mut sources: Vec<PathBuf> = fs::read_dir(&registry)
        .with_context(|| format!("cannot read {}", registry.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    sources.sort();
    for source in sources {
        remap(&source, "/crates");
    }
    // A symbolic link on Debian, and both its names get into the object.
    let library = compiler.source();
    remap(&fs::canonicalize(&library)?, "/rust");
    remap(&library, "/rust");
    Ok(flags)
}

/// Fails if an object holds a path of this machine: it would differ elsewhere, and tell tales.
fn refuse_paths(object: &[u8], compiler: &Compiler, root: &Path) -> Result<()> {
    let source = compiler.source();
    let real = fs::canonicalize(&source)?;
    for path in [root, &cargo_home()?, &source, &real] {
        let needle = path.as_os_str().as_encoded_bytes();
        ensure!(
            !object.windows(needle.len()).any(|window| window == needle),
            "the object holds the path {}, which should have been remapped",
            path.display()
        );
    }
    Ok(())
}

/// Fails if an object holds a mangled name of Rust: its hash depends on where the workspace lies,
/// since the programs' package has a dependency outside its own workspace.
fn refuse_mangled_names(object: &[u8]) -> Result<()> {
    let mangled = object
        .split(|byte| *byte == 0)
        .find(|name| name.starts_with(b"_R") || name.starts_with(b"_ZN"));
    if let Some(name) = mangled {
        bail!(
            "the object holds the mangled name {}, which differs between machines\n\
             next: inline that function, or name it with no_mangle",
            String::from_utf8_lossy(name)
        );
    }
    Ok(())
}

fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = env::var_os("CARGO_HOME").filter(|home| !home.is_empty()) {
        return Ok(std::path::absolute(home)?);
    }
    let home = env::home_dir().context("neither CARGO_HOME nor HOME is set")?;
    Ok(home.join(".cargo"))
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What built the objects, and their hashes.
#[derive(Debug, PartialEq, Eq)]
struct Built {
    /// The versions of compiler, linker and strip, a line each.
    by: String,
    /// SHA-256 in hexadecimal digits by file name.
    hashes: BTreeMap<String, String>,
}

const BUILT_HEAD: &str =
    "Written by `cargo xtask ebpf`. The objects beside this file were built by:\n";
const BUILT_HASHES: &str = "SHA-256:\n";

impl Built {
    fn to_text(&self) -> String {
        let mut text = format!("{BUILT_HEAD}{}{BUILT_HASHES}", self.by);
        for (name, hash) in &self.hashes {
            text.push_str(&format!("{hash}  {name}\n"));
        }
        text
    }

    fn parse(text: &str) -> Option<Built> {
        let (by, hashes) = text.strip_prefix(BUILT_HEAD)?.split_once(BUILT_HASHES)?;
        Some(Built {
            by: by.to_owned(),
            hashes: hashes
                .lines()
                .map(|line| line.split_once("  "))
                .map(|pair| pair.map(|(hash, name)| (name.to_owned(), hash.to_owned())))
                .collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Built, sha256};

    #[test]
    fn built_is_read_as_it_was_written() {
        let built = Built {
            by: "rustc 1\nbpf-linker 2\n".to_owned(),
            hashes: [("x86_64.o".to_owned(), sha256(b"abc"))].into(),
        };
        assert_eq!(Built::parse(&built.to_text()), Some(built));
        assert_eq!(Built::parse("something else"), None);
    }

    #[test]
    fn sha256_is_written_in_hexadecimal_digits() {
        assert_eq!(
            sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
