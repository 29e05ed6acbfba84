//! The order of goroutines in a list.

use std::cmp::Reverse;

use crate::snapshot::Goroutine;

/// By what goroutines are ordered; equals by goid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortBy {
    /// Smallest goid first.
    #[default]
    Goid,
    /// Longest wait first; unknown ones last.
    Waiting,
    /// By state, then wait reason.
    State,
}

impl SortBy {
    /// Sorts `indices` into `goroutines`.
    pub fn sort(self, goroutines: &[Goroutine], indices: &mut [usize]) {
        let at = |index: &usize| goroutines.get(*index);
        let goid = |index: &usize| at(index).map(|goroutine| goroutine.goid);
        match self {
            SortBy::Goid => indices.sort_unstable_by_key(goid),
            SortBy::Waiting => indices.sort_unstable_by_key(|index| {
                let since = at(index)
                    .and_then(|goroutine| goroutine.wait.as_ref())
                    .and_then(|wait| wait.since.get());
                // The earliest is the longest; `Reverse(None)` is behind every `Reverse(Some)`.
                (Reverse(since.map(Reverse)), goid(index))
            }),
            SortBy::State => indices.sort_unstable_by_key(|index| {
                let goroutine = at(index);
                let reason = goroutine
                    .and_then(|goroutine| goroutine.wait.as_ref())
                    .map(|wait| wait.reason.text());
                (
                    goroutine.map(|goroutine| goroutine.state),
                    reason,
                    goid(index),
                )
            }),
        }
    }
}
