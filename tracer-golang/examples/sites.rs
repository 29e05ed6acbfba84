//! Prints where gotrace would place its probes in a Go binary, and why there, or why not:
//! `cargo xtask sites FILE [--json]`.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use tracer_common::{FrameState, Hook};
use tracer_golang::binary::{GoBinary, HookSite, SiteError};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (json, files): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|argument| *argument == "--json");
    let [file] = files.as_slice() else {
        eprintln!("usage: sites FILE [--json]");
        return ExitCode::from(2);
    };
    let binary = match GoBinary::open(Path::new(file)) {
        Ok(binary) => binary,
        Err(error) => {
            eprintln!("{file}: {error}");
            return ExitCode::from(2);
        }
    };
    let sites = Hook::ALL.map(|hook| (hook, binary.hook_site(hook)));
    match json.is_empty() {
        true => print!("{}", text(file, &binary, &sites)),
        false => println!("{:#}", document(file, &binary, &sites)),
    }
    // What is absent does not happen in the program.
    let refused =
        |site: &Result<_, SiteError>| !matches!(site, Ok(_) | Err(SiteError::Absent { .. }));
    match sites.iter().any(|(_, site)| refused(site)) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

type Sites = [(Hook, Result<HookSite, SiteError>)];

fn text(file: &str, binary: &GoBinary, sites: &Sites) -> String {
    let mut out = format!(
        "{file}: {} {}, build id {}{}{}\nlayouts from {}\n",
        binary.go_version(),
        binary.arch(),
        binary.build_id(),
        if binary.is_pie() { ", PIE" } else { "" },
        if binary.is_stripped() {
            ", stripped"
        } else {
            ""
        },
        binary.layout_origin(),
    );
    for (hook, site) in sites {
        let added = match site {
            Ok(site) => write!(
                out,
                "\n{}\n  at       {}+{:#x}, address {}, in the file at {}\n  code     {}\n  \
                 why      {}\n  check    {}\n  reads    {}\n  frame    {}\n  kernel   emulates it: \
                 one trap a hit\n",
                hook.program(),
                site.function,
                site.offset_in_function,
                site.vaddr,
                site.file_offset,
                site.instruction,
                site.why,
                match site.stack_check {
                    0 => "none".to_owned(),
                    end => format!("ends at +{end:#x}"),
                },
                site.registers.join(" "),
                frame(site.frame),
            ),
            Err(error) => write!(out, "\n{}\n  refused  {error}\n", hook.program()),
        };
        added.expect("writing to a string does not fail");
    }
    out
}

fn document(file: &str, binary: &GoBinary, sites: &Sites) -> Value {
    let sites: Vec<Value> = sites
        .iter()
        .map(|(hook, site)| match site {
            Ok(site) => json!({
                "hook": hook.program(),
                "function": site.function,
                "offset": site.offset_in_function,
                "address": site.vaddr.to_string(),
                "file_offset": site.file_offset.to_string(),
                "instruction": site.instruction,
                "why": site.why,
                "stack_check": site.stack_check,
                "registers": site.registers,
                "frame": frame(site.frame),
                "kernel": "emulated",
            }),
            Err(error) => json!({ "hook": hook.program(), "refused": error.to_string() }),
        })
        .collect();
    json!({
        "file": file,
        "go_version": binary.go_version().as_str(),
        "arch": binary.arch().name(),
        "build_id": binary.build_id().to_string(),
        "pie": binary.is_pie(),
        "stripped": binary.is_stripped(),
        "layout": binary.layout_origin().to_string(),
        "sites": sites,
    })
}

const fn frame(state: FrameState) -> &'static str {
    match state {
        FrameState::Unknown => "unknown: the caller is not reported",
        FrameState::AtPush => "the caller's: the return address is on top of the stack",
        FrameState::Built => "its own: the return address is behind the saved frame pointer",
    }
}
