//! A number of a summary that is worth keeping the last seconds for.

use std::str::FromStr;

use serde_json::Value;

use crate::document::run::Summary;

/// Any number of a summary, by its place in the document, and what it must be above or below.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Threshold {
    /// Names of fields, outermost first.
    path: Vec<String>,
    is_above: bool,
    limit: f64,
}

impl FromStr for Threshold {
    type Err = String;

    /// From `FIELD.FIELD>NUMBER` or `FIELD.FIELD<NUMBER`.
    fn from_str(text: &str) -> Result<Threshold, String> {
        let expected =
            || "expected a number of a summary and its limit, such as goroutines.total>1000";
        let at = text.find(['<', '>']).ok_or_else(expected)?;
        let (path, limit) = text.split_at(at);
        let is_above = limit.starts_with('>');
        let limit = limit.get(1..).unwrap_or_default().trim().parse::<f64>();
        let threshold = Threshold {
            path: path.trim().split('.').map(str::to_owned).collect(),
            is_above,
            limit: limit
                .ok()
                .filter(|it| it.is_finite())
                .ok_or_else(expected)?,
        };
        if threshold.is_possible() {
            Ok(threshold)
        } else {
            Err(format!(
                "a summary has no number `{}` (docs/json.md, gotrace.run/1)",
                path.trim()
            ))
        }
    }
}

impl Threshold {
    /// Whether a summary has it now. What is not known, or not there, is neither above nor below.
    pub(crate) fn is_met(&self, summary: &Value) -> bool {
        let mut fields = self.path.iter();
        let found = fields.try_fold(summary, |value, field| value.get(field));
        let number = found.and_then(Value::as_f64);
        number.is_some_and(|number| {
            if self.is_above {
                number > self.limit
            } else {
                number < self.limit
            }
        })
    }

    /// Whether a summary can have such a number: it has one when nothing has happened, or has names there
    /// that come with what happens.
    fn is_possible(&self) -> bool {
        let nothing = serde_json::to_value(Summary::default()).unwrap_or_default();
        let (Some((last, path)), mut place) = (self.path.split_last(), &nothing) else {
            return false;
        };
        for field in path {
            match place.get(field) {
                Some(inner) => place = inner,
                None => return false,
            }
        }
        match place {
            Value::Object(fields) if fields.is_empty() => !last.is_empty(),
            place => place
                .get(last)
                .is_some_and(|value| value.is_number() || value.is_null()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_names_a_number_of_a_summary() {
        for (text, ok) in [
            ("goroutines.total>1000", true),
            ("goroutines.by_state.running > 8", true),
            ("rates.sends<1.5", true),
            ("memory_age_seconds>10", true),
            ("goroutines>1000", false),
            ("goroutines.totals>1000", false),
            ("loss.records>", false),
            ("loss.records>many", false),
            ("loss.records>inf", false),
            ("loss.records", false),
            ("time>3", false),
            ("", false),
            (">3", false),
        ] {
            assert_eq!(text.parse::<Threshold>().is_ok(), ok, "{text}");
        }
    }

    #[test]
    fn what_is_not_there_is_neither_above_nor_below() {
        let mut summary = Summary::default();
        summary.goroutines.total = 11;
        summary.goroutines.by_state.insert("running", 3);
        let summary = serde_json::to_value(summary).expect("a document");
        for (text, met) in [
            ("goroutines.total>10", true),
            ("goroutines.total>11", false),
            ("goroutines.total<12", true),
            ("goroutines.by_state.running>2", true),
            ("goroutines.by_state.syscall>0", false),
            ("goroutines.by_state.syscall<9", false),
            ("memory_age_seconds<9", false),
        ] {
            let threshold: Threshold = text.parse().expect("valid");
            assert_eq!(threshold.is_met(&summary), met, "{text}");
        }
    }
}
