//! Prints what one read of a live Go process says: `goroutines PID [--values N] [--times N]`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tracer_golang::binary::GoBinary;
use tracer_golang::process::{GoProcess, ReadOptions, ktime_now};
use tracer_model::symbol::Symbolizer;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let pid: u32 = arguments.next().ok_or("which process?")?.parse()?;
    let mut options = ReadOptions::default();
    let mut times = 1;
    while let Some(argument) = arguments.next() {
        let number = arguments.next().ok_or("how many?")?.parse()?;
        match argument.as_str() {
            "--values" => options.values = number,
            "--times" => times = number,
            other => return Err(format!("what is {other}?").into()),
        }
    }
    let binary = Arc::new(GoBinary::open(&PathBuf::from(format!("/proc/{pid}/exe")))?);
    let mut process = GoProcess::attach(pid, binary)?;
    let mut snapshot = process.snapshot(&options, &ktime_now)?;
    for _ in 1..times {
        let begun = Instant::now();
        snapshot = process.snapshot(&options, &ktime_now)?;
        eprintln!(
            "{} goroutines in {:?}, {} reread, {} moving",
            snapshot.goroutines.len(),
            begun.elapsed(),
            snapshot.reread,
            snapshot.moving
        );
    }

    let symbols = process.symbols();
    for goroutine in &snapshot.goroutines {
        let reason = goroutine.wait.as_ref().map_or_else(
            || goroutine.state.to_string(),
            |wait| format!("{} {:?}", wait.reason, wait.objects),
        );
        let system = if goroutine.system { " (system)" } else { "" };
        let moving = if goroutine.moving { " (moving)" } else { "" };
        let goid = goroutine.goid;
        println!(
            "goroutine {goid} [{reason}]{system}{moving}{:?}",
            goroutine.labels
        );
        let stack = goroutine
            .stack
            .and_then(|id| snapshot.stacks.get(id.0 as usize));
        let created = goroutine.created_at.get().into_iter();
        for &pc in stack.into_iter().flatten() {
            for frame in symbols.frames(pc).iter() {
                println!("    {} {}:{}", frame.function, frame.file, frame.line);
            }
        }
        for frame in created.flat_map(|pc| symbols.frames(pc).to_vec()) {
            println!("  by {} {}:{}", frame.function, frame.file, frame.line);
        }
    }
    for channel in &snapshot.channels {
        println!("{channel:?}");
    }
    for error in &snapshot.errors {
        println!("error: {error}");
    }
    println!(
        "{} goroutines, {} stacks, {} channels, {} errors in {} us; {} reread, {} moving",
        snapshot.goroutines.len(),
        snapshot.stacks.len(),
        snapshot.channels.len(),
        snapshot.errors.len(),
        snapshot.finished.since(snapshot.started) / 1000,
        snapshot.reread,
        snapshot.moving
    );
    Ok(())
}
