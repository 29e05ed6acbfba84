//! `gotrace.diff/1`: what is different between two sides, or which of several is unlike the others.

use serde::Serialize;
use tracer_model::diff::{Difference, Outlier, Profile};

use super::Target;

/// The document.
#[derive(Debug, Serialize)]
pub(crate) struct Document {
    pub(crate) schema: &'static str,
    pub(crate) sides: Vec<Side>,
    /// Of two sides: what the second has more of. Of more: empty.
    pub(crate) grown: Vec<Difference>,
    /// Of two sides: what the first has more of; `usual` is the second's number then.
    pub(crate) shrunk: Vec<Difference>,
    /// Of more than two sides: those that are unlike the others, the most unlike first.
    pub(crate) outliers: Vec<Outlier>,
}

/// What is compared.
#[derive(Debug, Serialize)]
pub(crate) struct Side {
    /// As it was named.
    pub(crate) name: String,
    pub(crate) target: Target,
    pub(crate) time: String,
    #[serde(flatten)]
    pub(crate) profile: Profile,
    /// Whether it is known who is stuck.
    pub(crate) searched: bool,
}

impl Document {
    pub(crate) const SCHEMA: &'static str = "gotrace.diff/1";

    /// Differences that count against somebody.
    pub(crate) fn signs(&self) -> impl Iterator<Item = &Difference> {
        let outliers = self.outliers.iter();
        let outliers = outliers.flat_map(|outlier| &outlier.differences);
        self.grown.iter().chain(outliers)
    }
}
