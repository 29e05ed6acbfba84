//! `gotrace doctor`: what this host can and cannot do, and why. [`facts`] looks, [`host`] judges what was seen,
//! [`target`] does both for one process. For an agent in a pod [`node`] looks and [`kubernetes`] judges.

pub(crate) mod facts;
pub(crate) mod host;
pub(crate) mod kubernetes;
pub(crate) mod node;
pub(crate) mod target;

use serde::Serialize;

use crate::document::Target;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// As it should be.
    Ok,
    /// gotrace works, but less well, or not everywhere.
    Warning,
    /// Without it `gotrace run` cannot work; of what is looked at for an agent, `gotrace agent`.
    Missing,
}

impl Status {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Warning => "warning",
            Status::Missing => "missing",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) status: Status,
    /// What was found.
    pub(crate) found: String,
    /// What to do about it, if there is something.
    pub(crate) next: Option<String>,
}

impl Check {
    pub(crate) fn ok(name: &'static str, found: impl Into<String>) -> Check {
        Check {
            name,
            status: Status::Ok,
            found: found.into(),
            next: None,
        }
    }

    pub(crate) fn warning(
        name: &'static str,
        found: impl Into<String>,
        next: impl Into<String>,
    ) -> Check {
        Check {
            status: Status::Warning,
            next: Some(next.into()),
            ..Check::ok(name, found)
        }
    }

    pub(crate) fn missing(
        name: &'static str,
        found: impl Into<String>,
        next: impl Into<String>,
    ) -> Check {
        Check {
            status: Status::Missing,
            ..Check::warning(name, found, next)
        }
    }
}

/// `gotrace.doctor/1`.
#[derive(Debug, Serialize)]
pub(crate) struct Document {
    schema: &'static str,
    /// Whether `gotrace run` can work here, of the target if one is named.
    pub(crate) can_run: bool,
    pub(crate) host: Vec<Check>,
    /// `null` if no target is named, or if it is not one.
    pub(crate) target: Option<Target>,
    pub(crate) target_checks: Vec<Check>,
    /// Whether `gotrace agent` can work here; `null` if that was not asked for.
    pub(crate) can_run_agent: Option<bool>,
    pub(crate) kubernetes: Vec<Check>,
}

impl Document {
    pub(crate) fn new(
        host: Vec<Check>,
        target: Option<Target>,
        target_checks: Vec<Check>,
        kubernetes: Option<Vec<Check>>,
    ) -> Self {
        let none_missing =
            |checks: &[Check]| checks.iter().all(|check| check.status != Status::Missing);
        Document {
            schema: "gotrace.doctor/1",
            can_run: none_missing(&host) && none_missing(&target_checks),
            host,
            target,
            target_checks,
            can_run_agent: kubernetes.as_deref().map(none_missing),
            kubernetes: kubernetes.unwrap_or_default(),
        }
    }

    /// Whether what was asked for can work here.
    pub(crate) fn is_well(&self) -> bool {
        self.can_run_agent.unwrap_or(self.can_run)
    }
}
