//! What a request for a list asks for: the options of the list commands, by the same names.

use clap::ValueEnum;
use tracer_model::query::Filter;

use crate::listing::{self, Grouping};

/// A request's query: `with` and `without` as often as one likes, `sort`, `limit`, `group`, each as
/// on the command line, `offset`: how many of the list are left out at its beginning, and `members`: how
/// many ids of each group are listed.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) filter: Filter,
    pub(super) group: Option<Grouping>,
    limit: Option<usize>,
    offset: usize,
    members: Option<usize>,
    sort: Option<String>,
}

/// Refuses parameters where there are none.
///
/// # Errors
/// Names the first one.
pub(super) fn none(text: Option<&str>) -> Result<(), String> {
    match form_urlencoded::parse(text.unwrap_or_default().as_bytes()).next() {
        Some((name, _)) => Err(format!("no parameter `{name}`: there are none here")),
        None => Ok(()),
    }
}

/// Parses a number of entries.
///
/// # Errors
/// What was expected instead.
pub(super) fn number(value: &str) -> Result<usize, String> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse::<u32>().ok().filter(|_| digits);
    let number = number.and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| format!("expected a number from 0 to {}", u32::MAX))
}

/// Parses a parameter that may stand there once.
///
/// # Errors
/// It is not valid, or stood there before.
pub(super) fn once<T>(place: &mut Option<T>, parsed: Result<T, String>) -> Result<(), String> {
    match place.replace(parsed?) {
        Some(_) => Err("given more than once".to_owned()),
        None => Ok(()),
    }
}

impl Query {
    /// Parses what follows the question mark.
    ///
    /// # Errors
    /// Names the parameter and what was expected.
    pub(super) fn parse(text: Option<&str>) -> Result<Query, String> {
        let mut query = Query::default();
        let mut offset = None;
        for (name, value) in form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
            let Query {
                filter,
                group,
                limit,
                offset: _,
                members,
                sort,
            } = &mut query;
            let parsed = match &*name {
                "with" => listing::criterion(&value).map(|it| filter.with.push(it)),
                "without" => listing::criterion(&value).map(|it| filter.without.push(it)),
                "limit" => once(limit, number(&value)),
                "offset" => once(&mut offset, number(&value)),
                "members" => once(members, number(&value)),
                "group" => once(group, listing::group_by(&value)),
                "sort" => once(sort, Ok(value.into_owned())),
                _ => Err(
                    "no such parameter: there are with, without, sort, limit, offset, group and members"
                        .to_owned(),
                ),
            };
            parsed.map_err(|error| format!("{name}: {error}"))?;
        }
        query.offset = offset.unwrap_or(0);
        Ok(query)
    }

    /// The part of a list that was asked for.
    pub(super) fn window<'a, T>(&self, list: &'a [T]) -> &'a [T] {
        let rest = list.get(self.offset..).unwrap_or_default();
        rest.get(..self.limit.unwrap_or(usize::MAX)).unwrap_or(rest)
    }

    /// How many ids of each group are listed at most.
    pub(super) fn members(&self) -> usize {
        self.members.unwrap_or(usize::MAX)
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
            ("offset=4&limit=0", true),
            ("offset=-4", false),
            ("offset=4294967295", true),
            ("offset=4294967296", false),
            ("limit=+4", false),
            ("limit=4&limit=5", false),
            ("sort=goid&sort=goid", false),
            ("group=wait&members=3", true),
            ("group=none&members=3", true),
            ("members=3&members=4", false),
            ("group=wait&members=-3", false),
        ] {
            assert_eq!(Query::parse(Some(text)).is_ok(), ok, "{text}");
        }
        let query =
            Query::parse(Some("with=user&with=state+waiting&without=running")).expect("valid");
        assert_eq!(
            (query.filter.with.len(), query.filter.without.len()),
            (2, 1)
        );
        let sorted = Query::parse(Some("sort=waiting")).expect("valid");
        assert_eq!(sorted.sort(), Ok(Some(Sort::Waiting)));
        assert_eq!(sorted.sort(), Ok(Some(ChannelSort::Waiting)));
        let by_fill = Query::parse(Some("sort=fill")).expect("valid");
        assert!(
            by_fill
                .sort::<Sort>()
                .is_err_and(|error| error.contains("goid, waiting"))
        );
    }

    #[test]
    fn a_window_is_a_part_of_the_list() {
        let list = [1, 2, 3, 4];
        for (text, expected) in [
            ("", &list[..]),
            ("limit=3", &[1, 2, 3]),
            ("offset=1&limit=2", &[2, 3]),
            ("offset=3&limit=9", &[4]),
            ("offset=4", &[]),
            ("offset=9&limit=1", &[]),
            ("limit=0", &[]),
        ] {
            let query = Query::parse(Some(text)).expect("valid");
            assert_eq!(query.window(&list), expected, "{text}");
        }
    }
}
