//! What a request for a list asks for: the options of the list commands, by the same names.

use clap::ValueEnum;
use tracer_model::query::Filter;

use crate::listing::{self, Grouping};

/// A request's query: `with` and `without` as often as one likes, `sort`, `limit`, `group`, each as
/// on the command line.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) filter: Filter,
    pub(super) limit: Option<usize>,
    pub(super) group: Option<Grouping>,
    sort: Option<String>,
}

impl Query {
    /// Parses what follows the question mark.
    ///
    /// # Errors
    /// Names the parameter and what was expected.
    pub(super) fn parse(text: &str) -> Result<Query, String> {
        let mut query = Query::default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            let wrong = |error: String| format!("{name}: {error}");
            match &*name {
                "with" => query
                    .filter
                    .with
                    .push(listing::criterion(&value).map_err(wrong)?),
                "without" => query
                    .filter
                    .without
                    .push(listing::criterion(&value).map_err(wrong)?),
                "limit" => {
                    let limit = value.parse();
                    let limit = limit.map_err(|_| wrong("expected a number".to_owned()))?;
                    query.limit = Some(limit);
                }
                "group" => query.group = Some(listing::group_by(&value).map_err(wrong)?),
                "sort" => query.sort = Some(value.into_owned()),
                _ => {
                    return Err(format!(
                        "no parameter `{name}`: there are with, without, sort, limit and group"
                    ));
                }
            }
        }
        Ok(query)
    }

    /// The order asked for, if any.
    ///
    /// # Errors
    /// What was expected instead.
    pub(super) fn sort<S: ValueEnum>(&self) -> Result<Option<S>, String> {
        let Some(text) = &self.sort else {
            return Ok(None);
        };
        let names = S::value_variants()
            .iter()
            .filter_map(|sort| Some(sort.to_possible_value()?.get_name().to_owned()));
        let names: Vec<String> = names.collect();
        S::from_str(text, false)
            .map(Some)
            .map_err(|_| format!("sort: expected one of {}", names.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::{ChannelSort, Sort};

    #[test]
    fn a_query_says_what_the_command_line_says() {
        for (text, ok) in [
            ("", true),
            (
                "with=user&with=state+waiting&without=userloc%20main%5C.",
                true,
            ),
            ("with=state%3Dwaiting&limit=3&group=label+tenant", true),
            ("with=colour", false),
            ("limit=many", false),
            ("group=hue", false),
            ("depth=3", false),
        ] {
            assert_eq!(Query::parse(text).is_ok(), ok, "{text}");
        }
        let query = Query::parse("with=user&with=state+waiting&without=running").expect("valid");
        assert_eq!(
            (query.filter.with.len(), query.filter.without.len()),
            (2, 1)
        );
        let sorted = Query::parse("sort=waiting").expect("valid");
        assert_eq!(sorted.sort(), Ok(Some(Sort::Waiting)));
        assert_eq!(sorted.sort(), Ok(Some(ChannelSort::Waiting)));
        let by_fill = Query::parse("sort=fill").expect("valid");
        assert!(
            by_fill
                .sort::<Sort>()
                .is_err_and(|error| error.contains("goid, waiting"))
        );
    }
}
