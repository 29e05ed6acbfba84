//! Which goroutines and channels of a snapshot are listed, and how: the same for the command line and
//! the API.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::time::Duration;

use clap::ValueEnum;
use jiff::SignedDuration;
use tracer_model::ids::Goid;
use tracer_model::query::{Criterion, Filter, GroupBy, Index, SortBy};
use tracer_model::snapshot::{Channel, Snapshot};
use tracer_model::symbol::Symbolizer;

/// How a list is grouped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Grouping {
    None,
    By(GroupBy),
}

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    /// Smallest id first
    Goid,
    /// Longest wait first
    Waiting,
    /// By state, then wait reason
    State,
}

impl From<Sort> for SortBy {
    fn from(sort: Sort) -> SortBy {
        match sort {
            Sort::Goid => SortBy::Goid,
            Sort::Waiting => SortBy::Waiting,
            Sort::State => SortBy::State,
        }
    }
}

/// The order of a list of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ChannelSort {
    /// Most buffered values first, then most goroutines waiting
    Fill,
    /// Most goroutines waiting first
    Waiting,
    /// By address
    Address,
}

/// Parses a criterion as Delve writes it: a name and an argument, with a space or an equals sign
/// between them.
///
/// # Errors
/// What was expected instead.
pub(crate) fn criterion(text: &str) -> Result<Criterion, String> {
    let (name, argument) = match text.split_once([' ', '=']) {
        Some((name, argument)) => (name, Some(argument.trim())),
        None => (text, None),
    };
    let nanos = |time: &str| u64::try_from(duration(time).ok()?.as_nanos()).ok();
    Criterion::parse(name, argument, nanos).map_err(|error| error.to_string())
}

/// Parses what to group by.
///
/// # Errors
/// What was expected instead.
pub(crate) fn group_by(text: &str) -> Result<Grouping, String> {
    Ok(Grouping::By(
        match text.split_once([' ', '=']).unwrap_or((text, "")) {
            ("none", "") => return Ok(Grouping::None),
            ("stack", "") => GroupBy::Stack,
            ("state", "") => GroupBy::State,
            ("reason", "") => GroupBy::Reason,
            ("curloc", "") => GroupBy::Current,
            ("userloc", "") => GroupBy::User,
            ("goloc", "") => GroupBy::Go,
            ("startloc", "") => GroupBy::Start,
            ("chan", "") => GroupBy::Chan,
            ("wait", "") => GroupBy::Wait,
            ("label", key) if !key.is_empty() => GroupBy::Label(key.to_owned()),
            _ => {
                return Err("expected stack, state, reason, `label K`, curloc, userloc, goloc, startloc, chan, wait or none".to_owned());
            }
        },
    ))
}

/// Parses a time such as `500ms`, `30s` or `5m`.
///
/// # Errors
/// What was expected instead.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let parsed: SignedDuration = text
        .parse()
        .map_err(|_| "expected a time such as 500ms, 30s or 5m".to_owned())?;
    match Duration::try_from(parsed) {
        Ok(time) if time >= Duration::from_millis(10) => Ok(time),
        _ => Err("a time of at least 10ms is needed".to_owned()),
    }
}

/// Indices of the goroutines that a filter keeps, in the snapshot's order.
pub(crate) fn choose(snapshot: &Snapshot, filter: &Filter, symbols: &dyn Symbolizer) -> Vec<usize> {
    let index = Index::new(snapshot);
    let mut chosen = Vec::new();
    filter.bind(&index, symbols).choose(&mut chosen);
    chosen
}

/// Leaves the channels that goroutines wait on or hold that a filter keeps. All of them, if it asks for
/// nothing.
pub(crate) fn choose_channels(snapshot: &mut Snapshot, filter: &Filter, symbols: &dyn Symbolizer) {
    if filter.with.is_empty() && filter.without.is_empty() {
        return;
    }
    let chosen = choose(snapshot, filter, symbols);
    let goids: HashSet<Goid> = chosen
        .iter()
        .filter_map(|index| snapshot.goroutines.get(*index))
        .map(|goroutine| goroutine.goid)
        .collect();
    let concerns = |channel: &Channel| {
        let waiters = channel.send_waiting.iter().chain(&channel.recv_waiting);
        waiters
            .map(|waiter| waiter.goid)
            .chain(channel.users.iter().map(|user| user.goid))
            .any(|goid| goids.contains(&goid))
    };
    snapshot.channels.retain(concerns);
}

/// Sorts channels.
pub(crate) fn sort_channels(channels: &mut [Channel], sort: ChannelSort) {
    channels.sort_by_key(|channel| {
        let waiting = channel.send_waiting.len() + channel.recv_waiting.len();
        let (len, waiting) = (Reverse(channel.len), Reverse(waiting));
        match sort {
            ChannelSort::Fill => (len, waiting, channel.addr),
            ChannelSort::Waiting => (Reverse(0), waiting, channel.addr),
            ChannelSort::Address => (Reverse(0), Reverse(0), channel.addr),
        }
    });
}
