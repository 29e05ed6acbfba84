//! A snapshot prepared for questions: what is asked of every goroutine lies side by side, and places
//! are numbered.

use rustc_hash::FxHashMap;

use crate::ids::Pc;
use crate::snapshot::{Goroutine, Snapshot, StackId, State};

/// Number of what a goroutine has none of.
pub(super) const NONE: u32 = u32::MAX;

/// What filters read of a snapshot's goroutines, by their position in [`Snapshot::goroutines`]: a few
/// bytes of each in place of the cache lines that it lies on. Made once, it serves any number of filters.
#[derive(Clone, Debug)]
pub struct Index<'s> {
    pub(super) snapshot: &'s Snapshot,
    pub(super) states: Box<[State]>,
    /// Index into [`Snapshot::stacks`].
    pub(super) stacks: Box<[u32]>,
    /// The `go` statement.
    pub(super) created: Places,
    /// Entry of the goroutine's function.
    pub(super) start: Places,
}

/// A place of each goroutine.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// Index into `distinct`.
    pub(super) ids: Box<[u32]>,
    pub(super) distinct: Vec<Pc>,
}

impl<'s> Index<'s> {
    /// Looks once at every goroutine.
    pub fn new(snapshot: &'s Snapshot) -> Index<'s> {
        let goroutines = &snapshot.goroutines;
        let stack = |goroutine: &Goroutine| goroutine.stack.map_or(NONE, |StackId(id)| id);
        Index {
            snapshot,
            states: goroutines.iter().map(|goroutine| goroutine.state).collect(),
            stacks: goroutines.iter().map(stack).collect(),
            created: Places::new(goroutines, |goroutine| goroutine.created_at.get()),
            start: Places::new(goroutines, |goroutine| goroutine.start.get()),
        }
    }
}

impl Places {
    fn new(goroutines: &[Goroutine], place: impl Fn(&Goroutine) -> Option<Pc>) -> Places {
        let mut distinct = Vec::new();
        let mut known = FxHashMap::default();
        let mut id = |pc| {
            *known.entry(pc).or_insert_with(|| {
                distinct.push(pc);
                u32::try_from(distinct.len() - 1).unwrap_or(NONE)
            })
        };
        let ids = goroutines.iter();
        let ids = ids.map(|goroutine| place(goroutine).map_or(NONE, &mut id));
        Places {
            ids: ids.collect(),
            distinct,
        }
    }
}
