//! Parts of an output that many goroutines share, such as a stack, rendered once.

use std::hash::Hash;
use std::rc::Rc;

use rustc_hash::FxHashMap;

/// All parts together are no larger than this, bytes, however many distinct ones there are.
const MOST_BYTES: usize = 16 << 20;

/// What was rendered, by what it was rendered from.
#[derive(Debug)]
pub(crate) struct Rendered<K, T: ?Sized> {
    known: FxHashMap<K, Rc<T>>,
    bytes: usize,
}

impl<K: Eq + Hash, T: ?Sized> Rendered<K, T> {
    pub(crate) fn new() -> Self {
        Self {
            known: FxHashMap::default(),
            bytes: 0,
        }
    }

    /// The part for `key`, rendered if it is not known (any more).
    pub(crate) fn get(&mut self, key: K, render: impl FnOnce() -> Rc<T>) -> Rc<T> {
        if let Some(part) = self.known.get(&key) {
            return Rc::clone(part);
        }
        let part = render();
        let bytes = size_of_val(&*part);
        if self.bytes + bytes > MOST_BYTES {
            self.known.clear();
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.known.insert(key, Rc::clone(&part));
        part
    }
}
