//! What the program counters of one process mean.

use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;
use tracer_model::ids::{Addr, Pc};
use tracer_model::symbol::{Frame, Symbolizer};

use crate::binary::{GoBinary, Vaddr};

/// Turns the program counters of one process into frames and remembers them. Clones share what they
/// remember.
#[derive(Clone, Debug)]
pub struct Symbols {
    binary: Arc<GoBinary>,
    bias: u64,
    known: Arc<Mutex<FxHashMap<Pc, Arc<[Frame]>>>>,
}

impl Symbols {
    /// Symbols of a process that runs `binary` at a load bias.
    pub fn new(binary: Arc<GoBinary>, bias: u64) -> Symbols {
        Symbols {
            binary,
            bias,
            known: Arc::default(),
        }
    }

    /// Name of the function whose first instruction is at `addr`.
    pub fn function_at(&self, addr: Addr) -> Option<Arc<str>> {
        let vaddr = Vaddr(addr.0.wrapping_sub(self.bias));
        let function = self.binary.pclntab().function(vaddr)?;
        (function.entry == vaddr).then(|| function.name.into())
    }
}

impl Symbolizer for Symbols {
    fn frames(&self, pc: Pc) -> Arc<[Frame]> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(frames) = known.get(&pc) {
            return Arc::clone(frames);
        }
        let vaddr = Vaddr(pc.0.wrapping_sub(self.bias));
        let frames: Arc<[Frame]> = self.binary.pclntab().frames(vaddr).into();
        // There is no end of addresses that mean nothing.
        if !frames.is_empty() {
            known.insert(pc, Arc::clone(&frames));
        }
        frames
    }
}
