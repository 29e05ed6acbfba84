//! The one machine that `cargo xtask test` boots as well.

use std::slice;

use anyhow::{Context, Result};

use super::parts::Parts;
use super::{Name, packages, table};
use crate::go::{DEFAULT_VERSION, Toolchain};
use crate::portable::{self, Arch};

/// The oldest kernel, on the architecture that is not this machine's own.
const MACHINE: Name = Name {
    arch: Arch::Aarch64,
    series: packages::SERIES[0],
};
const TESTS: &[&str] = &["main_job", "exact"];
/// Seconds that it may take.
const TIMEOUT: u64 = 400;

/// Downloads what it is made of.
pub(crate) fn install() -> Result<()> {
    packages::kernel(MACHINE.arch, MACHINE.series)?;
    packages::busybox(MACHINE.arch)?;
    packages::emulator(MACHINE.arch)?;
    portable::install(MACHINE.arch)
}

/// Builds what runs there.
pub(crate) fn build() -> Result<Parts> {
    let toolchain = Toolchain::install(DEFAULT_VERSION)?;
    Parts::build(MACHINE.arch, &toolchain, TESTS)
}

/// Boots it; fails if a test failed.
pub(crate) fn boot(parts: &Parts) -> Result<()> {
    let said = MACHINE.run(parts, TIMEOUT)?;
    let said = said.context("Debian has no such kernel any more")?;
    let ran = MACHINE.understand(&said, TESTS)?;
    println!("\n{}", table::table(slice::from_ref(&ran)));
    ran.check()
}
