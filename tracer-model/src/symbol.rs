//! What program counters mean, without knowing how that is found out.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::Pc;

/// One logical frame: a function, or a function inlined into it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Frame {
    /// The full name as the Go linker knows it, e.g. `main.(*pool).run.func1`.
    pub function: Arc<str>,
    /// Source file as compiled in.
    pub file: Arc<str>,
    /// Line in it, from 1; 0 if not known.
    pub line: u32,
    /// Whether this frame was inlined into the one after it.
    pub inlined: bool,
}

/// Turns a [`Pc`] into frames: a live binary does, and so does the dictionary of a recording.
pub trait Symbolizer {
    /// The frames at `pc`, innermost first: inlined ones, then the function itself. Empty if `pc`
    /// is in no known function.
    fn frames(&self, pc: Pc) -> Arc<[Frame]>;

    /// What the function at `pc` is known for, if it is one of those of Go's library that tell what a
    /// goroutine is for.
    fn landmark(&self, _pc: Pc) -> Option<Landmark> {
        None
    }
}

/// What some functions of Go's library are known for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Landmark {
    /// Reads an HTTP client's connection; while a response's body is open it waits for its end.
    ResponseReader,
    /// Writes an HTTP client's connection; it lives as long as the reader.
    RequestWriter,
    /// Waits for a context, or for its parent, to be cancelled.
    ContextWatcher,
    /// Accepts connections.
    Acceptor,
    /// Hands signals on to those who asked for them.
    SignalLoop,
}

impl Frame {
    /// Whether the function is of the runtime or of what the standard library builds blocking
    /// operations from, so that a person who asks where a goroutine waits means its caller.
    pub fn is_plumbing(&self) -> bool {
        ["runtime.", "sync.", "internal/", "time.Sleep"]
            .iter()
            .any(|prefix| self.function.starts_with(prefix))
    }
}

/// The first of `stack` (innermost first) that is in code of the user, inlined or not.
pub fn user_site(stack: &[Pc], symbolizer: &dyn Symbolizer) -> Option<Pc> {
    stack.iter().copied().find(|&pc| {
        let frames = symbolizer.frames(pc);
        frames.iter().any(|frame| !frame.is_plumbing())
    })
}

/// The innermost frame of `stack` (innermost first) that is in code of the user: where it waits.
pub fn user_frame(stack: &[Pc], symbolizer: &dyn Symbolizer) -> Option<Frame> {
    stack.iter().find_map(|&pc| {
        let frames = symbolizer.frames(pc);
        frames.iter().find(|frame| !frame.is_plumbing()).cloned()
    })
}
