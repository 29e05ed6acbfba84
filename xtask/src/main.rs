//! `cargo xtask TASK`: what a developer of gotrace does, as programs instead of instructions.
//!
//! A task installs what it needs and is missing, says so, and does nothing the second time.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod agent_soak;
mod apt;
mod arm64;
mod bench;
mod chaos;
mod compiler;
mod corpus;
mod cross;
mod debian;
mod demo;
mod deny;
mod ebpf;
mod fixtures;
mod fuzz;
mod go;
mod kubernetes;
mod layouts;
mod manifests;
mod matrix;
mod portable;
mod privilege;
mod prometheus;
mod pypi;
mod readers;
mod real;
mod release;
mod schemathesis;
mod servers;
mod sites;
mod soak;
mod test;
mod tmux;
mod vm;
mod vscode;
mod web;
mod workspace;

/// Developer tasks of gotrace.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the other tasks need beside Rust: a Go toolchain, Prometheus, schemathesis, readers of exports,
    /// VS Code's test client, tmux, helm and kubectl, Chromium and what builds and tests the page, programs to trace.
    Setup(go::Versions),
    /// Build the Go programs that the tests trace.
    Fixtures(go::Versions),
    /// Build the BPF objects that gotrace embeds.
    Ebpf(ebpf::Options),
    /// Build the web page that gotrace embeds.
    Web(web::Options),
    /// Build `gotrace` for arm64, static; compare what it says of a recording with what this machine's says.
    Arm64(arm64::Options),
    /// Render the plain Kubernetes manifests from the chart.
    Manifests(manifests::Options),
    /// Add the layouts of Go versions to the table that gotrace carries, or compare them with it.
    Layouts(layouts::Options),
    /// Print where gotrace's probes would sit in a Go binary, and why that is safe or refused.
    Sites(sites::Options),
    /// Feed hostile bytes to whatever reads binaries and memory.
    Fuzz(fuzz::Options),
    /// Run gotrace on what each Go version builds in each way (as root).
    Matrix(matrix::Options),
    /// Let gotrace come and go in every way on a busy program (as root).
    Chaos(chaos::Options),
    /// Compare a report of millions of operations with the program's own books (as root).
    Soak(soak::Options),
    /// Measure `gotrace agent` among many processes, and what is left of those that ended (as root).
    AgentSoak(agent_soak::Options),
    /// Judge known bugs, and what only looks like one, with gotrace (as root).
    Corpus(corpus::Options),
    /// Run tests on other kernels, and on arm64, in virtual machines under software emulation.
    Vm(vm::Options),
    /// Watch servers that others built, idle and under load, for a long time (as root).
    Servers(servers::Options),
    /// Make what is handed out: archives, Debian packages, an image, the chart, checksums; into `dist` of the target
    /// directory.
    Release(release::Options),
    /// Make the container image alone, without a container engine.
    Image(release::image::Options),
    /// Start a small Go service with a full channel, a leak and a deadlock, and trace it.
    Demo(demo::Options),
    /// Run every check and every test (as root).
    Test(test::Options),
    /// Measure what gotrace costs and how fast it is (as root); writes docs/benchmarks.md.
    Bench(bench::Options),
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The chain alone: a backtrace says nothing to who runs a task.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Setup(versions) => {
            for version in &versions.versions {
                go::Toolchain::install(version)?;
            }
            prometheus::install()?;
            real::install()?;
            readers::install()?;
            schemathesis::install()?;
            vscode::install()?;
            tmux::install()?;
            kubernetes::install()?;
            web::install()?;
            println!("setup: all there");
            Ok(())
        }
        Task::Fixtures(versions) => {
            for version in &versions.versions {
                let built = fixtures::build(&go::Toolchain::install(version)?)?;
                println!("fixtures: {}", built.display());
            }
            Ok(())
        }
        Task::Ebpf(options) => ebpf::run(&options),
        Task::Web(options) => web::run(&options),
        Task::Arm64(options) => arm64::run(&options),
        Task::Manifests(options) => manifests::run(&options),
        Task::Layouts(options) => layouts::run(&options),
        Task::Sites(options) => sites::print(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Matrix(options) => matrix::run(&options),
        Task::Chaos(options) => chaos::run(&options),
        Task::Soak(options) => soak::run(&options),
        Task::AgentSoak(options) => agent_soak::run(&options),
        Task::Corpus(options) => corpus::run(&options),
        Task::Vm(options) => vm::run(&options),
        Task::Servers(options) => servers::run(&options),
        Task::Release(options) => release::run(&options),
        Task::Image(options) => release::image::run(&options),
        Task::Demo(options) => demo::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Bench(options) => bench::run(&options),
    }
}
