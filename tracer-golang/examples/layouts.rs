//! Adds the layouts of Go binaries with DWARF to the table that gotrace carries:
//! `cargo run -p tracer-golang --example layouts -- data/layouts.json FILE…`
//! (a missing or empty table is begun anew). With `--check` in front it changes nothing and says where
//! they differ.

use std::path::Path;
use std::process::ExitCode;

use tracer_golang::binary::{GoBinary, LayoutTable};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).peekable();
    let check = arguments.next_if_eq("--check").is_some();
    let path = arguments
        .next()
        .ok_or("usage: layouts [--check] TABLE FILE…")?;
    let mut table = match std::fs::read_to_string(&path) {
        Ok(json) if !json.trim().is_empty() => LayoutTable::from_json(&json)?,
        _ => LayoutTable::default(),
    };
    let mut differences = Vec::new();
    for file in arguments {
        let failed = |error: String| format!("{file}: {error}");
        let binary = GoBinary::open(Path::new(&file)).map_err(|error| failed(error.to_string()))?;
        match check {
            true => table
                .differences(&binary)
                .map(|found| differences.extend(found)),
            false => table.add(&binary),
        }
        .map_err(|error| failed(error.to_string()))?;
    }
    if check {
        for difference in &differences {
            println!("{difference}");
        }
        return match differences.len() {
            0 => Ok(()),
            count => Err(format!("{count} differences between the toolchains and {path}").into()),
        };
    }
    std::fs::write(&path, table.to_json())?;
    println!("{}", table.versions().collect::<Vec<_>>().join(" "));
    Ok(())
}
