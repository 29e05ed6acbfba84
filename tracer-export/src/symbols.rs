//! Names of places in the code, looked up once each.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use tracer_model::ids::Pc;
use tracer_model::symbol::{Frame, user_site};

use crate::Symbols;
use crate::timeline::Place;

/// Places and what they are called. Grows with distinct places in the code.
pub(crate) struct Places {
    symbols: Symbols,
    names: FxHashMap<Pc, Arc<str>>,
}

impl Places {
    pub(crate) fn new(symbols: Symbols) -> Places {
        Places {
            symbols,
            names: FxHashMap::default(),
        }
    }

    /// The innermost frame there.
    pub(crate) fn frame(&self, pc: Pc) -> Option<Frame> {
        self.symbols.frames(pc).first().cloned()
    }

    /// The innermost place of a wait that is in code of the user.
    pub(crate) fn site(&self, place: Place<'_>) -> Option<Pc> {
        match place {
            Place::Stack(stack) => user_site(stack, &*self.symbols),
            Place::Site(site) => Some(site),
            Place::NotKnown => None,
        }
    }

    /// `main.worker main.go:17`, or the address if nothing is known of it.
    pub(crate) fn name(&mut self, pc: Pc) -> Arc<str> {
        if let Some(name) = self.names.get(&pc) {
            return Arc::clone(name);
        }
        // What a recording does not know yet it may tell later.
        let Some(frame) = self.frame(pc) else {
            return pc.to_string().into();
        };
        let file = frame.file.rsplit('/').next().unwrap_or(&frame.file);
        let name: Arc<str> = format!("{} {file}:{}", frame.function, frame.line).into();
        self.names.insert(pc, Arc::clone(&name));
        name
    }
}
