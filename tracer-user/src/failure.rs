//! An error as the user meets it: what failed, why, and what to do next.

use std::fmt;

/// An error that ends the command with exit code 2.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    cause: Option<String>,
    next: Option<String>,
}

impl Failure {
    /// `what` names the process, path or option, e.g. `cannot trace process 17`.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            cause: None,
            next: None,
        }
    }

    /// Why it failed.
    pub(crate) fn because(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// What the user can do about it.
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// What failed and why.
    pub(crate) fn problem(&self) -> String {
        match &self.cause {
            Some(cause) => format!("{}: {cause}", self.what),
            None => self.what.clone(),
        }
    }

    /// What the user can do about it; empty if nobody knows.
    pub(crate) fn advice(&self) -> &str {
        self.next.as_deref().unwrap_or_default()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem())?;
        if let Some(next) = &self.next {
            write!(f, "\nnext: {next}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}
