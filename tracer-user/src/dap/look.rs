//! What a session asks of whatever it is attached to.

use tracer_model::detect::Finding;
use tracer_model::ids::Goid;
use tracer_model::snapshot::Snapshot;
use tracer_model::symbol::Symbolizer;

use super::config::Config;
use crate::document::WallClock;

/// Opens what a launch configuration names.
pub(crate) trait Attacher {
    /// # Errors
    /// It cannot be opened or read, and why.
    fn attach(&self, config: &Config) -> anyhow::Result<Box<dyn Target>>;
}

/// A program, live or recorded. None of this stops it.
pub(crate) trait Target {
    /// Its process id and the name of its executable.
    fn process(&self) -> (u32, String);

    /// Whether it is a process of this machine.
    fn is_live(&self) -> bool;

    /// Whether it was a process that has ended.
    fn has_ended(&self) -> bool;

    /// Its goroutines as they are now, without channels.
    ///
    /// # Errors
    /// It cannot be read any more.
    fn glance(&mut self) -> anyhow::Result<Snapshot>;

    /// All of it as it is now, values and findings included.
    ///
    /// # Errors
    /// It cannot be read any more.
    fn look(&mut self) -> anyhow::Result<Look>;

    /// One goroutine's wait explained, as text for people.
    ///
    /// # Errors
    /// There is no such goroutine, or nobody knows.
    fn why(&mut self, goid: Goid) -> anyhow::Result<String>;

    /// One line that says what was read and how.
    fn heading(&self, snapshot: &Snapshot) -> String;

    fn symbols(&self) -> &dyn Symbolizer;

    fn clock(&self) -> WallClock;
}

/// What one look saw.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) snapshot: Snapshot,
    /// Who is stuck and what else is wrong, the surest first; the reason why it is not known otherwise.
    pub(crate) findings: Result<Vec<Finding>, String>,
    /// Goroutines whose state is not known for sure, ascending.
    pub(crate) unsure: Vec<Goid>,
}
