//! The main job as a show: a Go service that hangs, and gotrace looking at it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::go::{DEFAULT_VERSION, Toolchain};
use crate::{fixtures, privilege, workspace};

/// How the demo runs.
#[derive(Args)]
pub(crate) struct Options {
    /// How long to trace, e.g. `12s`; `forever` is until Ctrl-C.
    #[arg(long, default_value = "12s")]
    duration: String,
    /// Passed on to `gotrace run`, in place of `--level full`.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Sets up, builds, starts the service and traces it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let shell = workspace::shell()?;
    privilege::require_root(&shell, "demo")?;
    let programs = fixtures::build(&Toolchain::install(DEFAULT_VERSION)?)?;
    let gotrace = workspace::build_gotrace(&shell)?;

    let demo = Service::start(&programs.join("demo"))?;
    let pid = demo.0.id().to_string();
    let mut arguments = vec!["run", "--pid", &pid];
    if options.duration != "forever" {
        arguments.extend(["--duration", &options.duration]);
    }
    if options.arguments.is_empty() {
        // A small service can afford to show everything.
        arguments.extend(["--level", "full"]);
    }
    arguments.extend(options.arguments.iter().map(String::as_str));

    println!();
    println!("A Go service that hangs in places, and is process {pid}:");
    println!("    $ {} &", relative(&programs.join("demo")));
    println!("What do its goroutines and channels do?");
    println!("    $ {} {}", relative(&gotrace), arguments.join(" "));
    println!();

    let status = Command::new(&gotrace)
        .args(&arguments)
        .status()
        .with_context(|| format!("cannot start {}", gotrace.display()))?;
    match status.code() {
        // Findings are what the demo is about.
        Some(1) => Ok(()),
        Some(0) => bail!("gotrace found neither the deadlock nor the leak of the demo"),
        _ => bail!("gotrace ended with {status}"),
    }
}

/// The traced service; it ends with this value.
struct Service(Child);

impl Service {
    /// Starts the service and waits until it says that its faults are there.
    fn start(program: &Path) -> Result<Service> {
        let child = Command::new(program)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut service = Service(child);
        let output = service.0.stdout.as_mut().context("its output is a pipe")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        if !line.starts_with("READY ") {
            bail!("{} said {line:?} instead of READY", program.display());
        }
        Ok(service)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A path as one would type it in the root of the workspace.
fn relative(path: &Path) -> String {
    path.strip_prefix(workspace::root())
        .unwrap_or(path)
        .display()
        .to_string()
}
