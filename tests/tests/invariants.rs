//! What ARCHITECTURE.md calls invariants, as far as a look at sources and dependencies can tell.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Crates of the workspace with the names of what they depend on, tests and build included.
fn dependencies() -> Vec<(String, BTreeSet<String>)> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    metadata["packages"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|package| {
            let needs = package["dependencies"].as_array().expect("a list");
            (
                text(&package["name"]),
                needs.iter().map(|needed| text(&needed["name"])).collect(),
            )
        })
        .collect()
}

/// Rust files of a crate with their text, without comments and without their test modules.
fn sources(directory: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut directories = vec![root().join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("the crate has this directory") {
            let path = entry.expect("the directory is readable").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("sources are text");
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                let code: Vec<&str> = code
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"))
                    .collect();
                found.push((path, code.join("\n")));
            }
        }
    }
    assert!(!found.is_empty(), "{directory} has no sources");
    found
}

#[test]
fn only_the_program_knows_the_outside_world() {
    let allowed = |package: &str, needed: &str| match needed {
        "aya" | "aya-log" | "tokio-rustls" | "axum" | "hyper" | "hyper-util" | "tower"
        | "prometheus" | "anstream" | "ratatui" => package == "tracer-user",
        // The tests have a receiver of their own.
        "tokio" | "tonic" | "opentelemetry-proto" => {
            ["tracer-user", "integration-tests"].contains(&package)
        }
        "clap" => ["tracer-user", "xtask"].contains(&package),
        "anyhow" => ![
            "tracer-common",
            "tracer-model",
            "tracer-golang",
            "tracer-record",
            "tracer-export",
        ]
        .contains(&package),
        _ => true,
    };
    for (package, needs) in dependencies() {
        for needed in needs {
            assert!(
                allowed(&package, &needed),
                "{package} must not depend on {needed}"
            );
        }
    }
}

#[test]
fn dependencies_go_one_way() {
    let ours = |needs: BTreeSet<String>| -> BTreeSet<String> {
        needs
            .into_iter()
            .filter(|needed| needed.starts_with("tracer-"))
            .collect()
    };
    for (package, needs) in dependencies() {
        let allowed: &[&str] = match package.as_str() {
            "tracer-common"
            | "tracer-model"
            | "xtask"
            | "integration-tests"
            | "kubernetes-stand-in" => &[],
            // Recordings are read, and exported, on any machine.
            "tracer-record" | "tracer-export" => &["tracer-model"],
            "tracer-golang" => &["tracer-common", "tracer-model"],
            "tracer-user" => &[
                "tracer-common",
                "tracer-model",
                "tracer-golang",
                "tracer-record",
                "tracer-export",
            ],
            other => panic!("{other} is new: what may it depend on?"),
        };
        for needed in ours(needs) {
            assert!(
                allowed.contains(&needed.as_str()),
                "{package} must not depend on {needed}"
            );
        }
    }
}

#[test]
fn one_module_knows_aya() {
    for (path, code) in sources("tracer-user/src") {
        let mentions = ["aya::", "aya_log::", "aya_obj::", "use aya"]
            .iter()
            .any(|word| code.contains(word));
        assert!(
            !mentions
                || path.ends_with("trace/kernel.rs")
                || path
                    .parent()
                    .is_some_and(|folder| folder.ends_with("trace/kernel")),
            "{} knows aya",
            path.display()
        );
    }
}

/// Words of code that does more than to compute.
const IMPURE: [&str; 11] = [
    "Instant",
    "SystemTime",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::env",
    "Mutex<",
    "RwLock<",
    "println!",
];

#[track_caller]
fn is_pure(directory: &str) {
    for (path, code) in sources(directory) {
        for word in IMPURE {
            assert!(!code.contains(word), "{} has {word}", path.display());
        }
    }
}

#[test]
fn the_model_is_pure() {
    is_pure("tracer-model/src");
    // The compiler keeps this one.
    for (path, code) in sources("tracer-model/src") {
        assert!(!path.ends_with("lib.rs") || code.contains("#![forbid(unsafe_code)]"));
    }
}

/// Its terminal is elsewhere.
#[test]
fn the_console_is_pure() {
    is_pure("tracer-user/src/top");
}

/// An export writes to whatever it is given.
#[test]
fn exports_know_no_files() {
    let impure = [
        "Instant",
        "SystemTime",
        "std::fs",
        "std::net",
        "std::process",
        "std::thread",
        "std::env",
        "println!",
    ];
    for (path, code) in sources("tracer-export/src") {
        for word in impure {
            assert!(!code.contains(word), "{} has {word}", path.display());
        }
        // The compiler keeps this one.
        assert!(!path.ends_with("lib.rs") || code.contains("#![forbid(unsafe_code)]"));
    }
}

/// A string literal that names a function or variable of the Go runtime. `runtime.main` and the
/// like as the user's text are not among them: those name what is shown, not what is looked up.
#[test]
fn only_tracer_golang_names_symbols_of_the_runtime() {
    let symbols = [
        "runtime.chansend",
        "runtime.chanrecv",
        "runtime.closechan",
        "runtime.selectgo",
        "runtime.gopark",
        "runtime.ready",
        "runtime.newproc",
        "runtime.gdestroy",
        "runtime.goexit",
        "runtime.allgs",
        "runtime.allglen",
        "runtime.casgstatus",
        "runtime.buildVersion",
        "runtime.firstmoduledata",
    ];
    for directory in [
        "tracer-common/src",
        "tracer-model/src",
        "tracer-user/src",
        "tracer-ebpf/src",
    ] {
        for (path, code) in sources(directory) {
            for symbol in symbols {
                assert!(!code.contains(symbol), "{} names {symbol}", path.display());
            }
        }
    }
}

#[test]
fn no_probe_on_returns() {
    for directory in ["tracer-user/src", "tracer-ebpf/src"] {
        for (path, code) in sources(directory) {
            assert!(
                !code.contains("uretprobe"),
                "{}: a uretprobe corrupts stacks that move",
                path.display()
            );
        }
    }
}

#[test]
fn the_project_speaks_for_itself() {
    let output = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output()
        .expect("git runs");
    let files = String::from_utf8(output.stdout).expect("names are text");
    assert!(!files.is_empty(), "git lists no files");
    for file in files.split_terminator('\0') {
        let Ok(text) = fs::read_to_string(root().join(file)) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            assert!(
                !line.ends_with([' ', '\t'])
                    || [".snap", ".trycmd"].iter().any(|kind| file.ends_with(kind)),
                "{file}:{}: a blank at the end of the line",
                number + 1
            );
        }
    }
}
