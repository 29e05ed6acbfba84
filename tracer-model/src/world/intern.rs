//! One copy of what many goroutines and channels share.

use std::hash::Hash;
use std::sync::Arc;

use rustc_hash::FxHashSet;

/// Shared slices and strings, each kept once.
#[derive(Debug)]
pub(super) struct Interner<T: ?Sized>(FxHashSet<Arc<T>>);

impl<T: ?Sized + Eq + Hash> Default for Interner<T> {
    fn default() -> Self {
        Interner(FxHashSet::default())
    }
}

impl<T: ?Sized + Eq + Hash> Interner<T> {
    /// The one copy of `value`.
    pub(super) fn intern(&mut self, value: &T) -> Arc<T>
    where
        Arc<T>: for<'a> From<&'a T>,
    {
        match self.0.get(value) {
            Some(shared) => Arc::clone(shared),
            None => {
                let shared: Arc<T> = Arc::from(value);
                self.0.insert(Arc::clone(&shared));
                shared
            }
        }
    }

    /// Drops what nobody else holds any more.
    pub(super) fn sweep(&mut self) {
        self.0.retain(|shared| Arc::strong_count(shared) > 1);
    }
}
