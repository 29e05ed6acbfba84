//! The headers of all goroutines, as a pass over the target reads them.

use tracer_model::snapshot::State;

use super::header::Header;
use super::memory::{Bulk, TargetMemory};
use super::{GoProcess, ProcessError, goroutines};

/// Headers that are read together.
const GROUP: usize = 1024;

/// A goroutine as its header was read.
#[derive(Clone, Copy)]
pub(super) struct Live {
    pub(super) gaddr: u64,
    pub(super) header: Header,
}

/// All goroutines as their headers were read, by address of their g.
pub(super) struct Lives(Vec<Live>);

impl Lives {
    /// Reads them. The g's that are not readable are told.
    pub(super) fn read<M: TargetMemory>(
        process: &GoProcess<M>,
        mut unreadable: impl FnMut(u64),
    ) -> Result<Lives, ProcessError> {
        let layout = &process.layout().g;
        let mut addresses = goroutines::addresses(process)?;
        addresses.sort_unstable();
        let mut bulk = Bulk::default();
        let mut lives = Vec::with_capacity(addresses.len());
        for group in addresses.chunks(GROUP) {
            let items: Vec<_> = group.iter().map(|&g| (g, layout.size as usize)).collect();
            bulk.read(process.memory(), &items)?;
            for (i, &gaddr) in group.iter().enumerate() {
                match bulk.get(i) {
                    Some(bytes) => lives.push(Live {
                        gaddr,
                        header: Header::parse(layout, bytes),
                    }),
                    None => unreadable(gaddr),
                }
            }
        }
        Ok(Lives(lives))
    }

    /// Every one, those that are dead included.
    pub(super) fn all(&self) -> &[Live] {
        &self.0
    }

    /// Those that are not dead.
    pub(super) fn living(&self) -> impl Iterator<Item = &Live> {
        let lives = |live: &&Live| live.header.state() != Some(State::Dead);
        self.0.iter().filter(lives)
    }

    /// The header of the g at an address, dead or not.
    pub(super) fn header(&self, gaddr: u64) -> Option<&Header> {
        let at = self
            .0
            .binary_search_by_key(&gaddr, |live| live.gaddr)
            .ok()?;
        Some(&self.0[at].header)
    }
}
