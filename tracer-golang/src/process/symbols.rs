//! What the program counters of one process mean.

use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;
use tracer_model::ids::{Addr, Pc};
use tracer_model::symbol::{Frame, Landmark, Symbolizer};

use super::landmarks::landmark;
use super::plugins::Plugins;
use crate::binary::{GoBinary, Vaddr};

/// Turns the program counters of one process into frames and remembers them. Clones share what they
/// remember.
#[derive(Clone, Debug)]
pub struct Symbols {
    binary: Arc<GoBinary>,
    bias: u64,
    plugins: Plugins,
    known: Arc<Mutex<FxHashMap<Pc, Arc<[Frame]>>>>,
}

impl Symbols {
    /// Symbols of a process that runs `binary` at a load bias.
    pub fn new(binary: Arc<GoBinary>, bias: u64) -> Symbols {
        Symbols {
            binary,
            bias,
            plugins: Plugins::default(),
            known: Arc::default(),
        }
    }

    /// The same for a process that has loaded plugins.
    pub(super) fn with_plugins(self, plugins: Plugins) -> Symbols {
        Symbols { plugins, ..self }
    }

    /// Name of the function whose first instruction is at `addr`.
    pub fn function_at(&self, addr: Addr) -> Option<Arc<str>> {
        let vaddr = Vaddr(addr.0.wrapping_sub(self.bias));
        let (function, at) = match self.binary.pclntab().function(vaddr) {
            Some(function) => (function, vaddr),
            None => self.plugins.function(addr.0)?,
        };
        (function.entry == at).then(|| function.name.into())
    }
}

impl Symbolizer for Symbols {
    fn frames(&self, pc: Pc) -> Arc<[Frame]> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(frames) = known.get(&pc) {
            return Arc::clone(frames);
        }
        let vaddr = Vaddr(pc.0.wrapping_sub(self.bias));
        let mut frames: Arc<[Frame]> = self.binary.pclntab().frames(vaddr).into();
        if frames.is_empty() {
            frames = self.plugins.frames(pc.0).into();
        }
        // There is no end of addresses that mean nothing.
        if !frames.is_empty() {
            known.insert(pc, Arc::clone(&frames));
        }
        frames
    }
    fn landmark(&self, pc: Pc) -> Option<Landmark> {
        let frames = self.frames(pc);
        frames.iter().find_map(|frame| landmark(&frame.function))
    }
}
