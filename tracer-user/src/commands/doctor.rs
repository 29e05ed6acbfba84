//! `gotrace doctor`.

use std::io::Write as _;

use super::Verdict;
use super::oneshot::print_json;
use crate::cli::{DoctorArgs, Format};
use crate::doctor::facts::Facts;
use crate::doctor::{Document, host, target};
use crate::text;

/// Tells what this host can do, and with a process.
pub(super) fn doctor(args: &DoctorArgs) -> anyhow::Result<Verdict> {
    let checks = host::checks(&Facts::gather());
    let (target, target_checks) = args.pid.map(target::checks).unwrap_or_default();
    let document = Document::new(checks, target, target_checks);
    if args.json || args.format == Format::Json {
        print_json(&document)?;
    } else {
        write!(
            anstream::stdout().lock(),
            "{}",
            text::doctor::render(&document)
        )?;
    }
    Ok(match document.can_run {
        true => Verdict::Clean,
        false => Verdict::Findings,
    })
}
