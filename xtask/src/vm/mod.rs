//! Other kernels, and arm64: a virtual machine under software emulation that boots a kernel of Debian's with nothing
//! but gotrace, Go programs and tests in its memory. This machine runs the same, as a measure.

mod ci;
mod guest;
mod machine;
mod own;
mod packages;
mod parts;
mod said;
mod table;

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use xshell::cmd;

use crate::go::{DEFAULT_VERSION, Toolchain};
use crate::portable::Arch;
use crate::{privilege, workspace};
pub(crate) use ci::{boot, build, install};
use guest::Guest;
use machine::Machine;
pub(crate) use parts::Parts;
use said::{Cell, SAYS};

/// Files of integration tests which run there, and what they are about.
const TESTS: &[(&str, &str)] = &[
    ("main_job", "a service that hangs"),
    ("exact", "every event, counted"),
    ("agent", "`gotrace agent`, programs that start later"),
];
const PAGE: &str = "docs/support.md";
/// The series that is this machine's own kernel.
const OWN: &str = "own";

/// Which machines are booted.
#[derive(Args)]
pub(crate) struct Options {
    /// Only this architecture.
    #[arg(long, value_enum)]
    pub(crate) arch: Option<Arch>,
    /// Only kernels of this series, e.g. `6.1`, or `own`: this machine as it is (as root).
    #[arg(long, value_name = "SERIES")]
    pub(crate) kernel: Option<String>,
    /// Only this file of integration tests.
    #[arg(long, value_name = "FILE", conflicts_with = "write")]
    pub(crate) test: Option<String>,
    /// Run no tests, only ask `gotrace doctor` what the kernel has; what tests said before is forgotten.
    #[arg(long, conflicts_with = "test")]
    pub(crate) features: bool,
    /// Seconds that one machine may take.
    #[arg(long, default_value_t = 900)]
    pub(crate) timeout: u64,
    /// Write the table into docs/support.md: of these machines, and of others what they said last.
    #[arg(long)]
    pub(crate) write: bool,
}

/// What came of one machine.
struct Ran {
    arch: Arch,
    emulated: bool,
    cell: Cell,
    seconds: f64,
    date: String,
}

/// A machine, by what is asked for.
#[derive(Clone, Copy)]
struct Name {
    arch: Arch,
    series: &'static str,
}

/// Boots each machine; fails if a test failed in one.
pub(crate) fn run(options: &Options) -> Result<()> {
    let tests: Vec<&str> = match &options.test {
        Some(only) => vec![only],
        None if options.features => Vec::new(),
        None => TESTS.iter().map(|(file, _)| *file).collect(),
    };
    let wanted: Vec<Name> = Name::all().filter(|name| name.is_wanted(options)).collect();
    let mut ran = Vec::new();
    for arch in [Arch::X86_64, Arch::Aarch64] {
        let mut of_it = wanted.iter().filter(|name| name.arch == arch).peekable();
        if of_it.peek().is_none() {
            continue;
        }
        let toolchain = Toolchain::install(DEFAULT_VERSION)?;
        let parts = Parts::build(arch, &toolchain, &tests)?;
        for name in of_it {
            let Some(said) = name.run(&parts, options.timeout)? else {
                continue;
            };
            ran.push(name.understand(&said, &tests)?);
            if options.test.is_none() {
                let log = name.log();
                fs::create_dir_all(log.parent().context("it is in a directory")?)?;
                fs::write(log, said.join("\n"))?;
            }
        }
    }
    ensure!(!ran.is_empty(), "no machine was booted");
    println!("\n{}", table::table(&ran));
    if options.write {
        let mut all = Vec::new();
        for name in Name::all() {
            match fs::read_to_string(name.log()) {
                Ok(text) => {
                    let said: Vec<String> = text.lines().map(str::to_owned).collect();
                    let ran = said::files(&said);
                    all.push(name.understand(&said, &ran)?);
                }
                Err(_) => println!("vm: {} on {} never ran", name.series, name.arch.short()),
            }
        }
        table::write(&workspace::root().join(PAGE), &table::table(&all))?;
    }
    ran.iter().try_for_each(Ran::check)
}

impl Ran {
    /// An error that names the tests that failed there.
    fn check(&self) -> Result<()> {
        let files = self.cell.files.iter();
        let failed: Vec<&str> = files
            .flat_map(|file| file.failed.iter().map(String::as_str))
            .collect();
        let kernel = &self.cell.kernel;
        ensure!(failed.is_empty(), "{kernel}: failed: {}", failed.join(", "));
        Ok(())
    }
}

impl Name {
    /// All that there are, this machine first.
    fn all() -> impl Iterator<Item = Name> {
        let own = Name {
            arch: Arch::HOST,
            series: OWN,
        };
        let emulated = [Arch::X86_64, Arch::Aarch64].into_iter().flat_map(|arch| {
            packages::SERIES
                .iter()
                .map(move |series| Name { arch, series })
        });
        [own].into_iter().chain(emulated)
    }

    fn is_wanted(self, options: &Options) -> bool {
        options.arch.is_none_or(|only| only == self.arch)
            && options
                .kernel
                .as_ref()
                .is_none_or(|only| only == self.series)
    }

    fn is_own(self) -> bool {
        self.series == OWN
    }

    /// What the machine says, how long that took and the day; nothing if there is no such kernel.
    fn run(self, parts: &Parts, seconds: u64) -> Result<Option<Vec<String>>> {
        let begin = Instant::now();
        let Some(mut said) = self.boot(parts, seconds)? else {
            return Ok(None);
        };
        said.push(format!("{SAYS}took {}", begin.elapsed().as_secs_f64()));
        said.push(format!("{SAYS}date {}", date()?));
        Ok(Some(said))
    }

    fn boot(self, parts: &Parts, seconds: u64) -> Result<Option<Vec<String>>> {
        if self.is_own() {
            privilege::require_root(&workspace::shell()?, "vm --kernel own")?;
            println!("vm: this machine");
            return own::run(parts, seconds).map(Some);
        }
        let Some(kernel) = packages::kernel(self.arch, self.series)? else {
            println!(
                "vm: Debian has no kernel {} for {}",
                self.series,
                self.arch.name()
            );
            return Ok(None);
        };
        let guest = Guest::pack(parts)?;
        println!("vm: booting {} on {}", kernel.display(), self.arch.name());
        let machine = Machine::new(self.arch, &kernel, &guest)?;
        machine.run(seconds).map(Some)
    }

    /// Where what it said is kept.
    fn log(self) -> PathBuf {
        let file = format!("{}-{}.log", self.series, self.arch.short());
        workspace::target().join("vm").join(file)
    }

    fn understand(self, said: &[String], tests: &[&str]) -> Result<Ran> {
        let own = |word: &str| {
            let mut words = said.iter().filter_map(|line| line.strip_prefix(SAYS));
            words.find_map(|line| line.strip_prefix(word)?.strip_prefix(' '))
        };
        Ok(Ran {
            arch: self.arch,
            emulated: !self.is_own(),
            cell: Cell::read(said, tests)
                .with_context(|| format!("{} on {}", self.series, self.arch.short()))?,
            seconds: own("took").context("it took no time")?.parse()?,
            date: own("date").context("it has no date")?.to_owned(),
        })
    }
}

fn date() -> Result<String> {
    let shell = workspace::shell()?;
    Ok(cmd!(shell, "date -u +%Y-%m-%d").quiet().read()?)
}
