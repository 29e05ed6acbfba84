//! What can be done with one process: whether it is Go, whether its layout is known, which hooks have a safe place.

use tracer_golang::binary::HookSite;

use super::Check;
use crate::cli::Level;
use crate::document;
use crate::target::Target;
use crate::trace::probes::{self, Sites};

/// Every check of a process, and what is known of it. Nothing is attached.
pub(crate) fn checks(pid: u32) -> (Option<document::Target>, Vec<Check>) {
    let target = match Target::of_pid(pid) {
        Ok(target) => target,
        Err(failure) => {
            let check = Check::missing("process", failure.problem(), failure.advice());
            return (None, vec![check]);
        }
    };
    let info = &target.info;
    let mut facts = vec![info.go_version.clone(), info.arch.clone()];
    facts.extend(info.stripped.then(|| "stripped".to_owned()));
    facts.extend(info.pie.then(|| "position independent".to_owned()));
    let mut checks = vec![
        Check::ok(
            "process",
            format!("{pid}, {}: {}", info.exe.display(), facts.join(", ")),
        ),
        layout(info),
        match target.process() {
            Ok(_) => Check::ok("memory", "tried: the runtime is where it is expected"),
            Err(failure) => Check::missing("memory", failure.problem(), failure.advice()),
        },
    ];
    match probes::sites(&target.binary, Level::Syscalls) {
        Ok(sites) => checks.extend(hooks(&sites)),
        Err(failure) => checks.push(Check::missing(
            "probes",
            failure.problem(),
            failure.advice(),
        )),
    }
    (Some(target.info.clone()), checks)
}

fn layout(info: &document::Target) -> Check {
    match info.layout_assumed {
        false => Check::ok("layouts", format!("from {}", info.layout)),
        true => Check::warning(
            "layouts",
            format!("assumed, from {}: this version is not known", info.layout),
            "the process must pass every check; a newer gotrace may know it",
        ),
    }
}

fn hooks(sites: &Sites) -> Vec<Check> {
    let placed: Vec<String> = sites.found.iter().map(place).collect();
    let found = format!(
        "{} have a safe place, on instructions that the kernel emulates: {}",
        sites.found.len(),
        placed.join(", ")
    );
    let mut checks = vec![Check::ok("probes", found)];
    checks.extend(sites.left_out.iter().map(|(hook, error)| {
        Check::warning(
            "probes",
            format!("none for {}: {error}", hook.program()),
            "what the others say stays true without it",
        )
    }));
    checks
}

fn place(site: &HookSite) -> String {
    format!(
        "{} {}+{:#x}",
        site.hook.program(),
        site.function,
        site.offset_in_function
    )
}
