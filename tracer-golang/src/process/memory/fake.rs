//! Memory made up for a test.

use std::collections::BTreeMap;

use tracer_model::ids::Addr;

use super::{MemoryError, Request, TargetMemory};

/// A map of address ranges, all else unreadable. For tests.
#[derive(Clone, Debug, Default)]
pub struct FakeMemory {
    ranges: BTreeMap<u64, Vec<u8>>,
}

impl FakeMemory {
    /// Maps `bytes` at `addr`. Ranges must not overlap: a read is served from one of them.
    pub fn map(&mut self, addr: Addr, bytes: Vec<u8>) {
        self.ranges.insert(addr.0, bytes);
    }

    /// Writes a word into a mapped range.
    ///
    /// # Panics
    /// If the word is not in one mapped range.
    pub fn poke_u64(&mut self, addr: Addr, value: u64) {
        let (start, bytes) = self
            .ranges
            .range_mut(..=addr.0)
            .next_back()
            .expect("a range at or below the address");
        let at = usize::try_from(addr.0 - start).expect("an offset that fits");
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
}

impl TargetMemory for FakeMemory {
    fn read(&self, addr: Addr, into: &mut [u8]) -> Result<(), MemoryError> {
        let unreadable = MemoryError::Unreadable {
            addr,
            len: into.len(),
        };
        let (start, bytes) = self
            .ranges
            .range(..=addr.0)
            .next_back()
            .ok_or_else(|| unreadable.clone())?;
        let found = usize::try_from(addr.0 - start)
            .ok()
            .and_then(|at| bytes.get(at..at.checked_add(into.len())?))
            .ok_or(unreadable)?;
        into.copy_from_slice(found);
        Ok(())
    }

    fn read_many(
        &self,
        requests: &mut [Request<'_>],
    ) -> Result<Vec<Result<(), MemoryError>>, MemoryError> {
        Ok(requests
            .iter_mut()
            .map(|request| self.read(request.addr, request.into))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serves_what_is_mapped_and_nothing_else() {
        let mut memory = FakeMemory::default();
        memory.map(Addr(0x1000), vec![0; 16]);
        memory.poke_u64(Addr(0x1008), 7);
        assert_eq!(memory.read_u64(Addr(0x1008)), Ok(7));
        for addr in [0xfff, 0x1009, 0x2000] {
            assert!(memory.read_u64(Addr(addr)).is_err(), "{addr:#x}");
        }
    }
}
