//! What is found, and since when: by the mark, by trends, and by what events alone tell.

use tracer_model::detect::{Changes, Finding, FindingKind, FindingLog, Tracked, Trends, panics};
use tracer_model::ids::Ktime;
use tracer_model::snapshot::Snapshot;
use tracer_model::symbol::Symbolizer;
use tracer_model::world::World;

/// All findings of a trace. Each source's come and go by its own time.
pub(super) struct Finder {
    /// By the search for what is reachable.
    marked: FindingLog,
    /// By what events alone tell.
    told: FindingLog,
    /// `None` where the looks before are not known: what they found stays.
    trends: Option<Trends>,
    trending: FindingLog,
}

impl Finder {
    /// Nothing is found yet. Trends are over a window of so many nanoseconds.
    pub(super) fn new(trend_window: u64) -> Finder {
        Finder {
            marked: FindingLog::new(),
            told: FindingLog::new(),
            trends: Some(Trends::new(trend_window)),
            trending: FindingLog::new(),
        }
    }

    /// This was found before, in the midst of a trace.
    pub(super) fn resume(found: &[Tracked]) -> Finder {
        let of = |wanted: Source| -> FindingLog {
            let found = found.iter();
            found
                .filter(|tracked| Source::of(tracked.finding.kind) == wanted)
                .cloned()
                .collect()
        };
        Finder {
            marked: of(Source::Mark),
            told: of(Source::Events),
            trends: None,
            trending: of(Source::Trends),
        }
    }

    /// Takes in what a search found.
    pub(super) fn searched(&mut self, found: Vec<Finding>, at: Ktime) -> Changes {
        self.marked.update(found, at)
    }

    /// Takes in what events told until now.
    pub(super) fn heard(&mut self, world: &World, at: Ktime) -> Changes {
        self.told.update(panics(world), at)
    }

    /// Takes in a look.
    pub(super) fn looked(
        &mut self,
        snapshot: &Snapshot,
        world: &World,
        symbols: &dyn Symbolizer,
    ) -> Changes {
        let trends = self.trends.as_mut();
        match trends.and_then(|trends| trends.look(snapshot, Some(world), symbols)) {
            Some(found) => self.trending.update(found, snapshot.finished),
            None => Changes::default(),
        }
    }

    /// What the last search found.
    pub(super) fn of_search(&self) -> impl Iterator<Item = &Tracked> {
        self.marked.iter()
    }

    /// What is found at present.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Tracked> {
        let logs = [&self.marked, &self.told, &self.trending];
        logs.into_iter().flat_map(FindingLog::iter)
    }
}

/// Where a finding is from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Mark,
    Events,
    Trends,
}

impl Source {
    const fn of(kind: FindingKind) -> Source {
        match kind {
            FindingKind::Deadlock
            | FindingKind::Leak
            | FindingKind::Stall
            | FindingKind::Corrupt => Source::Mark,
            FindingKind::Panic => Source::Events,
            _ => Source::Trends,
        }
    }
}
