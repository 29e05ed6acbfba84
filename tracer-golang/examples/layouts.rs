//! Adds the layouts of Go binaries with DWARF to the table that gotrace carries:
//! `cargo run -p tracer-golang --example layouts -- data/layouts.json FILE…`
//! (a missing or empty table is begun anew).

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
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: layouts TABLE FILE…")?;
    let mut table = match std::fs::read_to_string(&path) {
        Ok(json) if !json.trim().is_empty() => LayoutTable::from_json(&json)?,
        _ => LayoutTable::default(),
    };
    for file in arguments {
        GoBinary::open(Path::new(&file))
            .map_err(|error| error.to_string())
            .and_then(|binary| table.add(&binary).map_err(|error| error.to_string()))
            .map_err(|error| format!("{file}: {error}"))?;
    }
    std::fs::write(&path, table.to_json())?;
    println!("{}", table.versions().collect::<Vec<_>>().join(" "));
    Ok(())
}
