//! Stacks as the protocol's frames.

use tracer_model::ids::Pc;
use tracer_model::snapshot::{Goroutine, Snapshot, State};
use tracer_model::symbol::{Frame, Symbolizer};

use super::config::Config;
use super::protocol::{Client, Source, StackFrame};
use crate::text::safe;

/// A goroutine's frames, innermost first, inlined ones as frames of their own; where it was created last,
/// as Delve shows it. One that has no stack has a line that says why.
pub(crate) fn frames(
    snapshot: &Snapshot,
    goroutine: &Goroutine,
    symbols: &dyn Symbolizer,
    config: &Config,
    client: &Client,
) -> Vec<StackFrame> {
    let stack = snapshot.stack(goroutine);
    let mut frames = Vec::new();
    for &pc in stack {
        let found = symbols.frames(pc);
        frames.extend(found.iter().map(|it| frame(it, pc, config, client)));
        if found.is_empty() {
            frames.push(label(format!("{pc} is in no known function"), Some(pc)));
        }
    }
    if stack.is_empty() {
        frames.push(label(no_stack(goroutine).to_owned(), None));
    } else if stack.len() >= config.options.max_frames {
        let cut = "further frames were not read (`stackTraceDepth`)";
        frames.push(label(cut.to_owned(), None));
    }
    let created = goroutine.created_at.get().and_then(|pc| {
        let created = symbols.frames(pc).first().cloned()?;
        Some((created, pc))
    });
    if let Some((created, pc)) = created {
        let by =
            (goroutine.parent.get()).map_or(String::new(), |goid| format!(" in goroutine {goid}"));
        frames.push(StackFrame {
            name: format!("created by {}{by}", safe(&created.function)),
            presentation_hint: Some("subtle"),
            ..frame(&created, pc, config, client)
        });
    }
    frames
}

const fn no_stack(goroutine: &Goroutine) -> &'static str {
    match (goroutine.moving, goroutine.state) {
        (true, _) => "no stack: it moved while it was read",
        (_, State::Running) => "no stack: it runs, and gotrace does not stop it",
        _ => "no stack: it could not be read",
    }
}

fn label(name: String, pc: Option<Pc>) -> StackFrame {
    StackFrame {
        id: 0,
        name,
        source: None,
        line: 0,
        column: 0,
        instruction_pointer_reference: pc.map(|pc| pc.to_string()),
        presentation_hint: Some("label"),
    }
}

fn frame(frame: &Frame, pc: Pc, config: &Config, client: &Client) -> StackFrame {
    let inlined = if frame.inlined { " (inlined)" } else { "" };
    let name = frame.file.rsplit('/').next().unwrap_or_default();
    StackFrame {
        id: 0,
        name: format!("{}{inlined}", safe(&frame.function)),
        source: (!frame.file.is_empty()).then(|| Source {
            name: safe(name).into_owned(),
            path: config.path(&frame.file),
        }),
        line: match client.lines_start_at_1 {
            true => frame.line,
            false => frame.line.saturating_sub(1),
        },
        column: u32::from(client.columns_start_at_1),
        instruction_pointer_reference: Some(pc.to_string()),
        presentation_hint: frame.is_plumbing().then_some("subtle"),
    }
}
