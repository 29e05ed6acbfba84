//! The metrics of `gotrace agent`: those of all processes that it follows, and its own.
//!
//! Processes of the same program in the same container of the same pod are summed up: a label for each pid would
//! be as many series as processes were ever started.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use clap::ValueEnum as _;
use prometheus::proto::MetricFamily;
use tracer_model::world::Census;

use super::catalogue as all;
use super::catalogue::of_agent as own;
use super::families::{Families, cut};
use super::{by_reason, channel_types, states, top};
use crate::agent::Pool;
use crate::agent::names::PodNames;
use crate::agent::told::{Told, Whose};
use crate::cli::Level;
use crate::otel::Signal;
use crate::trace::measure::{Channels, Measured};

/// Sets of labels of their own; the processes of the rest, those with the fewest goroutines, are `other`.
pub(crate) const MOST_GROUPS: usize = 200;
/// Element types of a group that have a label of their own.
const MOST_TYPES: usize = 5;
/// Some process may be traced at the highest level; what events tell is there of those that were traced alone.
const LEVEL: &str = Level::Syscalls.name();

/// The labels of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Labels {
    names: PodNames,
    process: String,
}

impl Labels {
    fn pairs(&self) -> Vec<(&'static str, String)> {
        let PodNames {
            namespace,
            pod,
            container,
            workload,
        } = &self.names;
        vec![
            ("namespace", namespace.clone()),
            ("pod", pod.clone()),
            ("container", container.clone()),
            ("workload", workload.clone()),
            ("process", self.process.clone()),
        ]
    }
}

/// What the processes of a group come to.
#[derive(Debug, Default)]
struct Sum {
    processes: u64,
    goroutines: Census,
    waiting: BTreeMap<&'static str, u64>,
    /// By element type.
    channels: HashMap<String, Channels>,
    /// Findings, and the goroutines in them.
    findings: BTreeMap<(&'static str, &'static str), (u64, u64)>,
    /// What events told, if one of them was traced with probes.
    told: Option<Told>,
}

impl Sum {
    fn add(&mut self, measured: &Measured) {
        self.processes += 1;
        self.goroutines.merge(&measured.goroutines);
        for (reason, count) in by_reason(&measured.waiting) {
            *self.waiting.entry(reason).or_default() += count;
        }
        for (name, channels) in &measured.channels {
            self.add_channels(cut(name), *channels);
        }
        for ((kind, verdict), counts) in &measured.findings {
            self.add_findings((kind.name(), verdict.name()), *counts);
        }
    }

    fn merge(&mut self, other: Sum) {
        self.processes += other.processes;
        self.goroutines.merge(&other.goroutines);
        for (reason, count) in other.waiting {
            *self.waiting.entry(reason).or_default() += count;
        }
        for (name, channels) in &other.channels {
            self.add_channels(name, *channels);
        }
        for (labels, counts) in other.findings {
            self.add_findings(labels, counts);
        }
        if let Some(told) = &other.told {
            self.told.get_or_insert_default().add(told);
        }
    }

    fn add_channels(&mut self, name: &str, channels: Channels) {
        match self.channels.get_mut(name) {
            Some(sum) => *sum = sum.plus(channels),
            None => {
                self.channels.insert(name.to_owned(), channels);
            }
        }
    }

    fn add_findings(&mut self, labels: (&'static str, &'static str), counts: (u64, u64)) {
        let sums = self.findings.entry(labels).or_default();
        *sums = (sums.0 + counts.0, sums.1 + counts.1);
    }
}

/// All metrics of a moment.
pub(crate) fn families(pool: &Pool) -> Vec<MetricFamily> {
    let mut groups: HashMap<Labels, Sum> = HashMap::new();
    let mut levels: BTreeMap<Level, u64> = BTreeMap::new();
    let mut below = 0;
    for followed in pool.all() {
        let (level, is_below) = followed.level();
        *levels.entry(level).or_default() += 1;
        below += u64::from(is_below);
        let labels = Labels {
            names: followed.card.names(),
            process: followed.card.process.clone(),
        };
        groups.entry(labels).or_default().add(&followed.measured());
    }
    {
        let mut sums = pool.sums();
        let labels = |(names, process): &Whose| Labels {
            names: names.clone(),
            process: process.clone(),
        };
        sums.keep(|whose| groups.contains_key(&labels(whose)));
        for (whose, told) in sums.iter() {
            let sum = groups.entry(labels(whose)).or_default();
            sum.told.get_or_insert_default().add(told);
        }
    }
    let mut families = Families::new(Vec::new(), LEVEL);
    agent(&mut families, pool);
    for level in Level::value_variants() {
        if *level != Level::Auto {
            let count = levels.get(level).copied().unwrap_or_default();
            families.count(&own::LEVELS, &[level.name()], count);
        }
    }
    families.count(&own::BELOW, &[], below);
    processes(&mut families, groups);
    families.finish()
}

fn processes(to: &mut Families<'_>, groups: HashMap<Labels, Sum>) {
    let mut groups: Vec<(Labels, Sum)> = groups.into_iter().collect();
    groups.sort_unstable_by(|(labels, sum), (others, other)| {
        let most = |sum: &Sum| Reverse(sum.goroutines.users());
        (most(sum), labels).cmp(&(most(other), others))
    });
    let rest = groups.split_off(groups.len().min(MOST_GROUPS));
    let rest = rest
        .into_iter()
        .map(|(_, sum)| sum)
        .reduce(|mut sum, other| {
            sum.merge(other);
            sum
        });
    if let Some(rest) = rest {
        let labels = Labels {
            process: top::OTHER.to_owned(),
            ..Labels::default()
        };
        groups.push((labels, rest));
    }
    for (labels, sum) in groups {
        to.turn_to(labels.pairs());
        to.count(&own::PROCESSES, &[], sum.processes);
        states(to, &sum.goroutines);
        for (reason, count) in &sum.waiting {
            to.count(&all::GOROUTINES_WAITING, &[reason], *count);
        }
        let channels: Vec<(String, Channels)> = sum.channels.into_iter().collect();
        channel_types(to, &channels, MOST_TYPES);
        // What nobody has is not there: with a 0 for everything there would be 54 series a process.
        for ((kind, verdict), (findings, goroutines)) in &sum.findings {
            to.count(&all::FINDINGS, &[kind, verdict], *findings);
            to.count(&all::FINDINGS_GOROUTINES, &[kind, verdict], *goroutines);
        }
        if let Some(told) = &sum.told {
            events(to, told);
        }
    }
}

fn events(to: &mut Families<'_>, told: &Told) {
    to.count(&all::EVENTS, &[], told.events);
    to.count(&all::LOST, &[], told.lost);
    to.count(&all::LATE, &[], told.late);
    to.count(&all::FAULTS, &[], told.faults);
    to.count(&all::CREATED, &[], told.created);
    to.count(&all::EXITED, &[], told.exited);
    for (reason, count) in by_reason(&told.parks) {
        to.count(&all::PARKS, &[reason], count);
    }
    for (reason, count) in by_reason(&told.wakeups) {
        to.count(&all::WAKEUPS, &[reason], count);
    }
    for (operation, count) in [
        ("send", told.sends),
        ("receive", told.receives),
        ("close", told.closes),
        ("select", told.selects),
    ] {
        to.count(&all::OPERATIONS, &[operation], count);
    }
}

fn agent(to: &mut Families<'_>, pool: &Pool) {
    to.count(&all::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1);
    let (followed, late) = pool.followed();
    to.count(&own::FOLLOWED, &[], followed as u64);
    let health = &pool.health;
    let mut refused = 0;
    for (reason, count) in health.refused() {
        to.count(&own::REFUSED, &[reason.name()], count);
        refused += count;
    }
    for (outcome, count) in [
        ("followed", health.followed.get()),
        ("not_go", health.not_go.get()),
        ("not_selected", health.not_selected.get()),
        ("refused", refused),
        ("gone", health.gone.get()),
    ] {
        to.count(&own::LOOKED_AT, &[outcome], count);
    }
    to.count(&own::BINARIES, &[], pool.binaries.held() as u64);
    to.count(&own::WALKS, &[], health.walks.get());
    to.count(&own::UNSEEN, &[], health.unseen.get());
    to.count(&own::READS, &[], health.reads.get());
    to.count(&own::FAILED_READS, &[], health.failed_reads.get());
    to.add(&own::READ_TIME, &[], health.read_time().as_secs_f64());
    to.add(&own::LATE, &[], late.as_secs_f64());
    to.count(&own::UNSAID, &[], pool.unsaid());
    to.count(&own::UNPROBED, &[], health.unprobed.get());
    to.count(&own::LOWERED, &[], health.lowered.get());
    to.count(&own::PROBE_EVENTS, &[], health.events.get());
    to.count(&own::PROBE_LOST, &[], health.lost_events.get());
    to.add(&own::PROBE_TIME, &[], health.probe_time().as_secs_f64());
    if let Some(cluster) = pool.cluster() {
        let health = cluster.health();
        to.count(&own::KUBERNETES, &[], health.connected.into());
        to.add(
            &own::KUBERNETES_SINCE,
            &[],
            health.since.as_duration().as_secs_f64(),
        );
        to.count(&own::PODS, &[], health.pods as u64);
        to.count(&own::PODS_LEFT_OUT, &[], health.left_out);
        to.count(&own::POD_EVENTS, &["sent"], health.events_sent);
        to.count(&own::POD_EVENTS, &["dropped"], health.events_dropped);
    }
    if let Some(health) = pool.otel() {
        super::exported(to, &[Signal::Logs], health);
    }
    super::own(to);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tracer_model::detect::{FindingKind, Verdict};

    use super::*;

    fn measured(channels: usize) -> Measured {
        let one = Channels {
            number: 1,
            ..Channels::default()
        };
        Measured {
            channels: (0..channels)
                .map(|number| (format!("t{number}"), one))
                .collect(),
            findings: [((FindingKind::ALL[0], Verdict::Proven), (1, 2))]
                .into_iter()
                .collect(),
            ..Measured::default()
        }
    }

    fn values(families: &[MetricFamily], name: &str) -> Vec<(BTreeMap<String, String>, f64)> {
        let family = families.iter().find(|family| family.name() == name);
        let metrics = family.expect("it is there").get_metric().iter();
        metrics
            .map(|metric| {
                let labels = metric.get_label().iter();
                let labels = labels.map(|pair| (pair.name().to_owned(), pair.value().to_owned()));
                (labels.collect(), metric.get_gauge().get_value())
            })
            .collect()
    }

    #[test]
    fn groups_are_bounded_and_sums_are_whole() {
        let mut groups: HashMap<Labels, Sum> = HashMap::new();
        for number in 0..MOST_GROUPS + 50 {
            let labels = Labels {
                process: format!("program{number}"),
                ..Labels::default()
            };
            let sum = groups.entry(labels).or_default();
            sum.add(&measured(20));
            sum.add(&measured(20));
        }
        let mut families = Families::new(Vec::new(), LEVEL);
        processes(&mut families, groups);
        let families = families.finish();
        let all = 2.0 * (MOST_GROUPS + 50) as f64;
        for (name, sum, series) in [
            ("gotrace_processes", all, MOST_GROUPS + 1),
            (
                "gotrace_channels",
                20.0 * all,
                (MOST_GROUPS + 1) * (MOST_TYPES + 1),
            ),
            ("gotrace_findings", all, MOST_GROUPS + 1),
            ("gotrace_findings_goroutines", 2.0 * all, MOST_GROUPS + 1),
        ] {
            let values = values(&families, name);
            assert_eq!(
                values.iter().map(|(_, value)| value).sum::<f64>(),
                sum,
                "{name}"
            );
            assert_eq!(values.len(), series, "{name}");
            let different: BTreeSet<_> = values.iter().map(|(labels, _)| labels).collect();
            assert_eq!(different.len(), series, "{name}");
            let other = values
                .iter()
                .find(|(labels, _)| labels["process"] == "other");
            assert!(
                other.is_some_and(|(labels, _)| labels["pod"].is_empty()),
                "{name}"
            );
        }
    }

    #[test]
    fn the_manual_names_every_metric_of_its_own() {
        let manual = include_str!("../../../docs/agent.md");
        for definition in own::ALL {
            let line = format!("| `{}` |", definition.name);
            let told = manual.lines().find(|told| told.starts_with(&line));
            let told = told.unwrap_or_else(|| panic!("no {line}"));
            assert!(told.contains(definition.help), "{told}");
        }
    }
}
