//! Stacks for flame graphs, one a line: frames from the outermost to the innermost, a blank, a number.

use std::io::{self, Write};

use tracer_model::symbol::Symbolizer;

use crate::profile::{Profile, Stack};

/// Writes the last measure of a profile, the highest number first. Labels are left out.
///
/// # Errors
/// It cannot be written.
pub fn write(profile: &Profile, symbols: &dyn Symbolizer, out: &mut dyn Write) -> io::Result<()> {
    let mut lines = indexmap::IndexMap::<String, i64>::new();
    for (key, numbers) in &profile.samples {
        let number = numbers.last().copied().unwrap_or(0);
        let sum = lines.entry(line(&key.stack, symbols)).or_default();
        *sum = sum.saturating_add(number);
    }
    lines.sort_unstable_by(|a, number, b, other| (other, a).cmp(&(number, b)));
    for (line, number) in &lines {
        writeln!(out, "{line} {number}")?;
    }
    out.flush()
}

fn line(stack: &Stack, symbols: &dyn Symbolizer) -> String {
    let mut frames = Vec::new();
    match stack {
        Stack::Frames(pcs) => {
            for &pc in pcs.iter() {
                let found = symbols.frames(pc);
                if found.is_empty() {
                    frames.push(pc.to_string());
                }
                frames.extend(found.iter().map(|frame| name(&frame.function)));
            }
        }
        Stack::Unknown { why, start } => {
            frames.push(format!("[{}]", name(why)));
            let start = start.map(|start| symbols.frames(start));
            let function = start.as_ref().and_then(|frames| frames.last());
            frames.extend(function.map(|frame| name(&frame.function)));
        }
    }
    frames.reverse();
    frames.join(";")
}

/// A name without what the format takes for its own. Instances of generic functions have semicolons in theirs.
fn name(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            ';' => ',',
            character if character.is_control() => '\u{fffd}',
            character => character,
        })
        .collect()
}
