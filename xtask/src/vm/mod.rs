//! Other kernels, and arm64: a virtual machine under software emulation that boots a kernel of Debian's with nothing
//! but gotrace, Go programs and tests in its memory.

mod guest;
mod machine;
mod packages;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::go::{DEFAULT_VERSION, Toolchain};
use crate::portable::Arch;
use crate::workspace;
use guest::Guest;
use machine::Machine;

/// The programs that the tests in the virtual machine trace.
const PROGRAMS: &[&str] = &["demo", "ledger"];
/// Files of integration tests which run there.
const TESTS: &[&str] = &["main_job", "exact"];
const PAGE: &str = "docs/support.md";
const BEGIN: &str = "<!-- written by cargo xtask vm -->\n";
const END: &str = "<!-- end of vm -->";

/// Which machines are booted.
#[derive(Args)]
pub(crate) struct Options {
    /// Only this architecture.
    #[arg(long, value_enum)]
    arch: Option<Arch>,
    /// Only kernels of this series, e.g. `6.1`.
    #[arg(long, value_name = "SERIES")]
    kernel: Option<String>,
    /// Only this file of integration tests.
    #[arg(long, value_name = "FILE")]
    test: Option<String>,
    /// Seconds that one machine may take.
    #[arg(long, default_value_t = 900)]
    timeout: u64,
    /// Write the table into docs/support.md.
    #[arg(long)]
    write: bool,
}

/// What came of one machine.
struct Cell {
    arch: Arch,
    /// What `uname -r` said there.
    kernel: String,
    /// Names of tests and what came of them.
    tests: Vec<(String, bool)>,
    seconds: f64,
}

/// Boots each machine; fails if a test failed in one.
pub(crate) fn run(options: &Options) -> Result<()> {
    let toolchain = Toolchain::install(DEFAULT_VERSION)?;
    let tests: Vec<&str> = match &options.test {
        Some(only) => vec![only],
        None => TESTS.to_vec(),
    };
    let mut cells = Vec::new();
    for arch in [Arch::X86_64, Arch::Aarch64] {
        if options.arch.is_some_and(|only| only != arch) {
            continue;
        }
        let guest = Guest::build(arch, &toolchain, PROGRAMS, &tests)?;
        for series in packages::SERIES {
            if options
                .kernel
                .as_deref()
                .is_some_and(|only| only != *series)
            {
                continue;
            }
            let Some(kernel) = packages::kernel(arch, series)? else {
                println!("vm: Debian has no kernel {series} for {}", arch.name());
                continue;
            };
            let machine = Machine::new(arch, &kernel, &guest)?;
            println!("vm: booting {} on {}", kernel.display(), arch.name());
            let begin = Instant::now();
            let said = machine.run(options.timeout)?;
            let cell = Cell::read(arch, &said, begin.elapsed().as_secs_f64())?;
            println!("{}", cell.row());
            cells.push(cell);
        }
    }
    ensure!(!cells.is_empty(), "no machine was booted");
    let mut table = table_head();
    for cell in &cells {
        writeln!(table, "{}", cell.row())?;
    }
    println!("\n{table}");
    if options.write {
        write_page(&workspace::root().join(PAGE), &table)?;
    }
    let failed = cells
        .iter()
        .flat_map(|cell| &cell.tests)
        .filter(|(_, passed)| !passed);
    let failed: Vec<&str> = failed.map(|(name, _)| name.as_str()).collect();
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

impl Cell {
    /// Finds in what a machine said what came of each test.
    ///
    /// # Errors
    /// It said nothing of its kernel, or a file of tests did not come to its end.
    fn read(arch: Arch, said: &[String], seconds: f64) -> Result<Cell> {
        let of_machine = |word: &str| {
            let words = said
                .iter()
                .filter_map(|line| line.strip_prefix(guest::SAYS));
            words
                .filter_map(|line| line.strip_prefix(word))
                .map(str::trim)
                .collect::<Vec<_>>()
        };
        let kernel = of_machine("kernel").first().copied();
        let kernel = kernel
            .context("the machine did not come to its init")?
            .to_owned();
        let tests: Vec<(String, bool)> = said
            .iter()
            .filter_map(|line| line.strip_prefix("test ")?.split_once(" ... "))
            .map(|(name, outcome)| (name.to_owned(), outcome == "ok"))
            .collect();
        let codes = of_machine("exit");
        ensure!(!codes.is_empty(), "no file of tests came to its end");
        let failed = tests.iter().any(|(_, passed)| !passed);
        for code in codes {
            ensure!(
                failed || code.ends_with(" 0"),
                "a file of tests ended badly: {code}"
            );
        }
        ensure!(!tests.is_empty(), "no test ran");
        Ok(Cell {
            arch,
            kernel,
            tests,
            seconds,
        })
    }

    fn row(&self) -> String {
        let passed = self.tests.iter().filter(|(_, passed)| *passed).count();
        format!(
            "| {} {} | {} | {} | {:.0} |",
            self.kernel,
            self.arch.short(),
            passed,
            self.tests.len() - passed,
            self.seconds
        )
    }
}

fn table_head() -> String {
    "| kernel | tests passed | failed | seconds, boot included |\n| --- | ---: | ---: | ---: |\n"
        .to_owned()
}

fn write_page(path: &Path, table: &str) -> Result<()> {
    let page = fs::read_to_string(path)?;
    let missing = || format!("{} has no place for the table of kernels", path.display());
    let (before, rest) = page.split_once(BEGIN).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    Ok(fs::write(
        path,
        format!("{before}{BEGIN}\n{table}\n{END}{after}"),
    )?)
}
