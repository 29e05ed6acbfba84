//! What is handed out: static programs as archives and Debian packages, an image, the chart, notes, a bill of materials
//! and the checksums of all that.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use sha2::{Digest, Sha256};
use xshell::{Shell, cmd};

use crate::portable::{self, Arch};
use crate::{deny, kubernetes, manifests, workspace};

mod deb;
pub(crate) mod image;
mod notes;
mod sbom;

/// Of the workspace, and so of all its crates.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
const ARCHITECTURES: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];

/// For which machines.
#[derive(Args)]
pub(crate) struct Options {
    /// Only for this architecture (more than once for several).
    #[arg(long)]
    pub(crate) arch: Vec<Arch>,
}

impl Options {
    fn architectures(&self) -> &[Arch] {
        match self.arch.is_empty() {
            true => &ARCHITECTURES,
            false => &self.arch,
        }
    }
}

/// Makes all of it, in `dist` of the target directory.
///
/// # Errors
/// Something does not build, is not admitted, or there is no tool for it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let shell = workspace::shell()?;
    let dist = workspace::target().join("dist");
    shell.remove_path(&dist)?;
    shell.create_dir(&dist)?;
    deny::check(&shell)?;
    manifests::run(&manifests::Options { check: true })?;
    let date = date(&shell)?;

    let changelog = fs::read_to_string(workspace::root().join("CHANGELOG.md"))?;
    fs::write(dist.join("NOTES.md"), notes::of(&changelog, VERSION)?)?;
    let help = Help::write(&shell)?;
    for &arch in options.architectures() {
        let program = program(&shell, arch)?;
        archive(&shell, arch, &program, &help, date, &dist)?;
        deb::build(&shell, arch, &program, &help, date, &dist)?;
        let bill = format!("gotrace-{VERSION}-linux-{}.cdx.json", arch.short());
        sbom::write(&shell, arch, date, &dist.join(bill))?;
    }
    image::build(&shell, options.architectures(), date, &dist)?;
    let (helm, chart) = (kubernetes::helm()?, manifests::CHART);
    cmd!(shell, "{helm} package {chart} --destination {dist}")
        .env("SOURCE_DATE_EPOCH", date.to_string())
        .quiet()
        .ignore_stdout()
        .ignore_stderr()
        .run()?;
    // Not to be taken for the archive of the program.
    let chart = dist.join(format!("gotrace-{VERSION}.tgz"));
    fs::rename(&chart, dist.join(format!("gotrace-chart-{VERSION}.tgz")))?;
    checksums(&dist)
}

/// When the last commit was made, in seconds since 1970: what is made twice of the same sources has the same bytes.
pub(crate) fn date(shell: &Shell) -> Result<u64> {
    let date = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(date) => date,
        Err(_) => cmd!(shell, "git log -1 --format=%ct")
            .quiet()
            .read()
            .context("there is no commit whose date could be taken\nnext: set SOURCE_DATE_EPOCH")?,
    };
    date.trim()
        .parse()
        .with_context(|| format!("{date} is no number of seconds"))
}

/// The program, static and without what only a debugger needs.
pub(crate) fn program(shell: &Shell, arch: Arch) -> Result<PathBuf> {
    let built = portable::gotrace(arch)?;
    let directory = workspace::target().join("static/shipped");
    shell.create_dir(&directory)?;
    let shipped = directory.join(format!("gotrace-{}", arch.short()));
    portable::strip(arch, &built, &shipped)?;
    let kind = cmd!(shell, "readelf --program-headers --wide {shipped}")
        .quiet()
        .read()?;
    ensure!(
        !kind.contains("INTERP"),
        "{} needs a dynamic linker",
        shipped.display()
    );
    Ok(shipped)
}

/// Manual pages and completions, which are the same on every machine.
pub(crate) struct Help {
    /// A directory with pages of section 1.
    man: PathBuf,
    /// Shells with the file that completes for each.
    completions: Vec<(&'static str, PathBuf)>,
}

impl Help {
    /// Lets this machine's program write it.
    fn write(shell: &Shell) -> Result<Help> {
        let gotrace = program(shell, Arch::HOST)?;
        let directory = workspace::target().join("static/help");
        let man = directory.join("man");
        shell.remove_path(&directory)?;
        shell.create_dir(&man)?;
        cmd!(shell, "{gotrace} man --dir {man}").quiet().run()?;
        let mut completions = Vec::new();
        for (name, file) in [
            ("bash", "gotrace.bash"),
            ("zsh", "_gotrace"),
            ("fish", "gotrace.fish"),
        ] {
            let script = cmd!(shell, "{gotrace} completions {name}").quiet().read()?;
            let file = directory.join(file);
            fs::write(&file, script)?;
            completions.push((name, file));
        }
        Ok(Help { man, completions })
    }
}

/// Writes the archive for any Linux of an architecture.
fn archive(
    shell: &Shell,
    arch: Arch,
    program: &Path,
    help: &Help,
    date: u64,
    dist: &Path,
) -> Result<()> {
    let name = format!("gotrace-{VERSION}-linux-{}", arch.short());
    let staged = shell.create_temp_dir()?;
    let root = staged.path().join(&name);
    shell.create_dir(root.join("completions"))?;
    shell.copy_file(program, root.join("gotrace"))?;
    for file in ["README.md", "CHANGELOG.md", "LICENSE"] {
        shell.copy_file(file, root.join(file))?;
    }
    for (_, file) in &help.completions {
        shell.copy_file(file, root.join("completions"))?;
    }
    let man = &help.man;
    // -L: what the chart only points to is part of it.
    cmd!(shell, "cp -rL docs deploy {man} {root}")
        .quiet()
        .run()?;
    let (file, date) = (dist.join(format!("{name}.tar.gz")), format!("@{date}"));
    let staged = staged.path();
    cmd!(
        shell,
        "tar --create --directory {staged} --sort name --mtime {date} --owner 0 --group 0
         --numeric-owner --mode u+rw,go+r-w --use-compress-program 'gzip --no-name -9'
         --file {file} {name}"
    )
    .quiet()
    .run()?;
    Ok(())
}

/// Writes the checksums of all files, as sha256sum reads them, and says what there is.
fn checksums(dist: &Path) -> Result<()> {
    let mut sums = String::new();
    let mut files: Vec<PathBuf> = fs::read_dir(dist)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort_unstable();
    for file in files.iter().filter(|path| path.is_file()) {
        let bytes = fs::read(file)?;
        let name = file.file_name().context("a file has a name")?;
        let name = name.to_string_lossy();
        sums += &format!("{}  {name}\n", hex(&bytes));
        println!("release: {:>11} bytes  {name}", bytes.len());
    }
    fs::write(dist.join("SHA256SUMS"), sums)?;
    println!("release: {}", dist.display());
    Ok(())
}

/// The SHA-256 of bytes, in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
