//! The semaphore table: who waits on which semaphore. Up to Go 1.25 this is the only place that
//! says so; later a goroutine's own sudog does.
//!
//! `runtime.semtable` has [`SemTable::ROOTS`] roots. Each is a treap of sudogs, one for each address
//! waited on (children: `prev` and `next`), and from each of those hangs a list of the further
//! waiters (`waitlink`). See `runtime/sema.go`.

use rustc_hash::{FxHashMap, FxHashSet};

use super::GoProcess;
use super::bytes::u64_at;
use super::memory::{Bulk, MemoryError, TargetMemory};
use super::sudog::Sudog;
use crate::layout::SemTable;

/// Waiters at most; more are not believed.
const MAX_WAITERS: usize = 1 << 22;

/// Which address the goroutine with this g waits on. It is read without a lock: a goroutine that
/// comes or goes meanwhile may be missing.
pub(super) fn waiters<M: TargetMemory>(
    process: &GoProcess<M>,
) -> Result<FxHashMap<u64, u64>, MemoryError> {
    let layout = process.layout();
    let mut waiters = FxHashMap::default();
    let Some(table) = process.binary().variables().semtable else {
        return Ok(waiters);
    };
    let stride = u64::from(layout.sem_table.size / SemTable::ROOTS);
    let table = process.address(table).0;
    let mut bulk = Bulk::default();
    let roots: Vec<_> = (0..u64::from(SemTable::ROOTS))
        .map(|root| {
            let root = table.wrapping_add(root * stride);
            (root, layout.sema_root.size as usize)
        })
        .collect();
    bulk.read(process.memory(), &roots)?;
    let mut next: Vec<u64> = (0..roots.len())
        .filter_map(|root| Some(u64_at(bulk.get(root)?, layout.sema_root.treap)))
        .collect();

    let mut seen = FxHashSet::default();
    while !next.is_empty() && seen.len() < MAX_WAITERS {
        next.retain(|&addr| addr != 0 && seen.insert(addr));
        let items: Vec<_> = next
            .drain(..)
            .map(|addr| (addr, layout.sudog.size as usize))
            .collect();
        bulk.read(process.memory(), &items)?;
        for (i, (addr, _)) in items.into_iter().enumerate() {
            let Some(bytes) = bulk.get(i) else { continue };
            let sudog = Sudog::parse(&layout.sudog, addr, bytes);
            if sudog.g != 0 && sudog.elem != 0 && sudog.chan == 0 {
                waiters.insert(sudog.g, sudog.elem);
            }
            next.extend([sudog.prev, sudog.next, sudog.waitlink]);
        }
    }
    Ok(waiters)
}
