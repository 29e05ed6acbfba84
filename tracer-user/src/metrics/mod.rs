//! What is measured of a target and of gotrace itself, as metrics: for Prometheus, which scrapes them, and for
//! OpenTelemetry, to which they are sent. One list of them (`catalogue`), one way to make them.

pub(crate) mod agent;
pub(crate) mod catalogue;
mod families;
mod top;

use prometheus::proto::MetricFamily;
use tracer_model::detect::{FindingKind, Verdict};
use tracer_model::snapshot::State;
use tracer_model::symbol::Symbolizer;
use tracer_model::wait::WaitReason;
use tracer_model::world::{AnomalyKind, Census};

use crate::cli::Level;
use crate::document::run::{Attached, Governor};
use crate::document::{WallClock, seconds};
use crate::otel::{Health, Signal};
use crate::trace::measure::{Channels, Measured};

use catalogue as all;
use catalogue::TOP;
use families::Families;

/// All metrics of a moment.
pub(crate) fn families(
    measured: &Measured,
    attached: &Attached,
    symbols: &dyn Symbolizer,
    clock: WallClock,
    otel: Option<&Health>,
) -> Vec<MetricFamily> {
    let process = attached.target.exe.file_name().unwrap_or_default();
    let common = vec![("process", process.to_string_lossy().into_owned())];
    let mut families = Families::new(common, &attached.level);
    let to = &mut families;
    info(to, attached);
    goroutines(to, measured, symbols);
    channels(to, measured);
    messages(to, measured);
    findings(to, measured);
    events(to, measured);
    reads(to, measured, clock);
    if let Some(governor) = &measured.governor {
        governed(to, governor);
    }
    if let Some(health) = otel {
        exported(to, &Signal::ALL, health);
    }
    own(to);
    families.finish()
}

fn info(to: &mut Families<'_>, attached: &Attached) {
    let target = &attached.target;
    to.count(&all::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1);
    let labels = [&*target.go_version, &*target.arch, &*attached.level];
    to.count(&all::TARGET_INFO, &labels, 1);
}

/// A reason as a label: those that are not known would be as many as a runtime cares to have.
const fn reason_label(reason: WaitReason) -> &'static str {
    match reason {
        WaitReason::Unknown(_) => "unknown",
        // An empty label is none.
        WaitReason::None => "none",
        known => known.text(),
    }
}

/// Sums up what has the same reason as a label.
fn by_reason<'a>(
    counts: impl IntoIterator<Item = (&'a WaitReason, &'a u64)>,
) -> Vec<(&'static str, u64)> {
    top::summed(
        counts
            .into_iter()
            .map(|(reason, count)| (reason_label(*reason), *count)),
    )
}

fn states(to: &mut Families<'_>, census: &Census) {
    for state in State::ALL.into_iter().filter(|state| *state != State::Dead) {
        to.count(
            &all::GOROUTINES,
            &[state.name(), "false"],
            census.user(state),
        );
        to.count(
            &all::GOROUTINES,
            &[state.name(), "true"],
            census.system(state),
        );
    }
    to.count(&all::GOROUTINES_UNKNOWN, &[], census.unknown);
}

fn goroutines(to: &mut Families<'_>, measured: &Measured, symbols: &dyn Symbolizer) {
    states(to, &measured.goroutines);
    for (reason, count) in by_reason(&measured.waiting) {
        to.count(&all::GOROUTINES_WAITING, &[reason], count);
    }
    let waiting = top::stacks(measured, symbols);
    for (place, count) in &waiting {
        to.count(&all::GOROUTINES_WAITING_AT, &place.labels(), *count);
    }
    for (place, count) in &top::statements(&measured.created_at, symbols) {
        to.count(&all::GOROUTINES_CREATED_AT, &place.labels(), *count);
    }
    let totals = &measured.totals;
    to.count(&all::CREATED, &[], totals.created);
    to.count(&all::EXITED, &[], totals.exited);
    for (reason, count) in by_reason(&totals.parks) {
        to.count(&all::PARKS, &[reason], count);
    }
    for (reason, count) in by_reason(&totals.wakeups_from) {
        to.count(&all::WAKEUPS, &[reason], count);
    }
    to.count(&all::WAKEUPS_BY_RUNTIME, &[], totals.wakeups_by_runtime);
    for (reason, histogram) in top::merged(&totals.blocked, |reason| reason_label(*reason)) {
        to.histogram(&all::BLOCKED, &[reason], &histogram);
    }
    to.count(&all::RUNS, &[], totals.runs);
    to.histogram(&all::SCHEDULING, &[], &totals.scheduling);
    to.count(&all::SYSCALLS, &[], totals.syscalls);
    to.histogram(&all::SYSCALL, &[], &totals.syscall);
    to.count(&all::ACQUIRES, &[], totals.acquires);
}

/// Channels by element type: the `most` types of most channels, and the rest.
fn channel_types(to: &mut Families<'_>, channels: &[(String, Channels)], most: usize) {
    for (name, channels) in top::types(channels, most) {
        let Channels {
            number,
            full,
            elements,
            capacity,
            sending,
            receiving,
        } = channels;
        to.count(&all::CHANNELS, &[&name], number);
        to.count(&all::CHANNELS_FULL, &[&name], full);
        to.count(&all::CHANNEL_ELEMENTS, &[&name], elements);
        to.count(&all::CHANNEL_CAPACITY, &[&name], capacity);
        to.count(&all::CHANNEL_WAITING, &[&name, "send"], sending);
        to.count(&all::CHANNEL_WAITING, &[&name, "receive"], receiving);
    }
}

fn channels(to: &mut Families<'_>, measured: &Measured) {
    channel_types(to, &measured.channels, TOP);
    let totals = &measured.totals;
    for (operation, count) in [
        ("send", totals.sends),
        ("receive", totals.receives),
        ("close", totals.closes),
        ("select", totals.selects),
    ] {
        to.count(&all::OPERATIONS, &[operation], count);
    }
    to.count(&all::HANDOFFS, &["send"], totals.direct_sends);
    to.count(&all::HANDOFFS, &["receive"], totals.direct_receives);
    to.count(&all::SELECTS, &["case"], totals.selected);
    to.count(&all::SELECTS, &["default"], totals.defaulted);
    to.count(&all::MADE, &[], totals.made);
    for (cause, count) in [
        ("close_of_nil", totals.panics.close_of_nil),
        ("close_of_closed", totals.panics.close_of_closed),
        ("send_on_closed", totals.panics.send_on_closed),
    ] {
        to.count(&all::PANICS, &[cause], count);
    }
}

fn messages(to: &mut Families<'_>, measured: &Measured) {
    for (fate, count) in [
        ("delivered", measured.delivered),
        ("unknown", measured.unknown_messages),
        ("stale", measured.stale_messages),
    ] {
        to.count(&all::MESSAGES, &[fate], count);
    }
    to.histogram(&all::DWELL, &[], &measured.dwell);
}

fn findings(to: &mut Families<'_>, measured: &Measured) {
    // What can be alarmed about is 0, not absent, while all is well.
    for kind in FindingKind::ALL {
        for verdict in Verdict::ALL {
            let (findings, goroutines) = measured
                .findings
                .get(&(kind, verdict))
                .copied()
                .unwrap_or_default();
            let labels = [kind.name(), verdict.name()];
            to.count(&all::FINDINGS, &labels, findings);
            to.count(&all::FINDINGS_GOROUTINES, &labels, goroutines);
        }
    }
}

fn events(to: &mut Families<'_>, measured: &Measured) {
    to.count(&all::EVENTS, &[], measured.totals.events);
    to.count(&all::LOST, &[], measured.loss.records);
    to.count(&all::LATE, &[], measured.loss.late);
    to.count(&all::FAULTS, &[], measured.loss.faults);
    for (hook, count) in &measured.hits {
        to.count(&all::HITS, &[hook], *count);
    }
    to.add(&all::HIT_COST, &[], measured.hit_seconds);
    let anomalies = &measured.totals.anomalies;
    for &kind in AnomalyKind::ALL {
        to.count(&all::ANOMALIES, &[kind.name()], anomalies.count(kind));
    }
}

fn reads(to: &mut Families<'_>, measured: &Measured, clock: WallClock) {
    let reads = measured.reads;
    to.count(&all::READS, &[], reads.count);
    let Some((started, finished)) = measured.last_read else {
        return;
    };
    to.add(&all::READ_DURATION, &[], seconds(finished.since(started)));
    to.add(&all::READ_TIME, &[], clock.unix_seconds(finished));
    for (outcome, count) in [
        ("reread", reads.reread),
        ("moving", reads.moving),
        ("unreadable", reads.unreadable),
    ] {
        to.count(&all::READ_ENTITIES, &[outcome], count);
    }
}

fn governed(to: &mut Families<'_>, governor: &Governor) {
    for level in [
        Level::Observe,
        Level::Wake,
        Level::Park,
        Level::Full,
        Level::Syscalls,
    ] {
        let present = governor.level == level.name();
        to.count(&all::LEVEL, &[level.name()], u64::from(present));
    }
    to.count(&all::WINDOWS, &[], u64::from(governor.windows));
    to.add(&all::BUDGET, &[], governor.budget);
    to.add(&all::TAX, &[], governor.tax);
    to.add(&all::SPENT, &[], governor.spent_seconds);
    to.add(&all::TARGET_CPU, &[], governor.cpu_seconds);
    to.add(&all::DEBT, &[], governor.debt_seconds);
    for (hook, seconds) in &governor.traced_seconds {
        to.add(&all::TRACED, &[hook], *seconds);
    }
    for estimate in &governor.estimates {
        to.add(
            &all::ESTIMATES,
            &[&estimate.hook, "estimate"],
            estimate.per_second,
        );
        if let (Some(low), Some(high)) = (estimate.low, estimate.high) {
            to.add(&all::ESTIMATES, &[&estimate.hook, "low"], low);
            to.add(&all::ESTIMATES, &[&estimate.hook, "high"], high);
        }
    }
}

fn exported(to: &mut Families<'_>, signals: &[Signal], health: &Health) {
    for &signal in signals {
        let [exported, dropped, failures] = health.counts(signal);
        to.count(&all::OTEL_EXPORTED, &[signal.name()], exported);
        to.count(&all::OTEL_DROPPED, &[signal.name()], dropped);
        to.count(&all::OTEL_FAILURES, &[signal.name()], failures);
    }
}

/// What gotrace itself takes. Where the kernel does not say, there is no such series.
fn own(to: &mut Families<'_>) {
    let stat = procfs::process::Process::myself().and_then(|own| own.stat());
    match stat {
        Ok(stat) => {
            let ticks = (stat.utime + stat.stime) as f64;
            to.add(&all::CPU, &[], ticks / procfs::ticks_per_second() as f64);
            to.count(&all::RESIDENT, &[], stat.rss * procfs::page_size());
        }
        Err(error) => tracing::debug!("what gotrace itself takes is not known: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use prometheus::proto::MetricType;
    use prometheus::{Encoder as _, TextEncoder};
    use tracer_common::HOOK_COUNT;
    use tracer_model::ids::{Ktime, Pc};
    use tracer_model::symbol::Frame;
    use tracer_model::world::Histogram;

    use super::*;
    use crate::document::Target;
    use crate::document::run::Estimate;

    /// Every address is a function of its own, with a name that is long where it begins.
    struct Endless;

    impl Symbolizer for Endless {
        fn frames(&self, pc: Pc) -> Arc<[Frame]> {
            let long = "very/long/path/".repeat(20);
            [Frame {
                function: format!("{long}main.f{}", pc.0).into(),
                file: format!("{}/main.go", pc.0).into(),
                line: u32::try_from(pc.0).unwrap_or(0),
                inlined: false,
            }]
            .into()
        }
    }

    fn attached() -> Attached {
        Attached {
            target: Target {
                pid: 1,
                exe: "/srv/shop".into(),
                replaced: false,
                build_id: String::new(),
                go_version: "go1.27.3".to_owned(),
                arch: "amd64".to_owned(),
                main: None,
                stripped: false,
                pie: false,
                layout: String::new(),
                layout_assumed: false,
            },
            level: "syscalls".into(),
            probes: Vec::new(),
            left_out: Vec::new(),
            expected_seconds_per_hit: 0.0,
            listening: None,
            tls: false,
        }
    }

    /// A target that has everything, and more of it than anybody wants to see.
    fn everything() -> Measured {
        let mut measured = Measured {
            last_read: Some((Ktime(1), Ktime(2))),
            ..Measured::default()
        };
        let mut blocked = Histogram::default();
        blocked.add(1);
        let reasons = WaitReason::KNOWN.iter().copied();
        for reason in reasons.chain((0..=u8::MAX).map(WaitReason::Unknown)) {
            measured.waiting.insert(reason, 1);
            measured.totals.parks.insert(reason, 1);
            measured.totals.wakeups_from.insert(reason, 1);
            measured.totals.blocked.insert(reason, blocked.clone());
        }
        measured.unknown_stacks = 3;
        for number in 0..10_000 {
            let pc = Pc(number);
            measured.stacks.push(([pc].into(), 1 + number));
            measured.created_at.insert(Some(pc), 1 + number);
            let channels = Channels {
                number: 1,
                ..Channels::default()
            };
            let name = format!("{}{number}", "struct { ".repeat(number as usize % 40));
            measured.channels.push((name, channels));
        }
        measured.created_at.insert(None, 5);
        measured.channels.push((String::new(), Channels::default()));
        let hooks: Vec<_> = (0..HOOK_COUNT).map(|hook| format!("hook{hook}")).collect();
        measured.hits = hooks.iter().map(|hook| (hook.clone().into(), 1)).collect();
        measured.governor = Some(Governor {
            level: "full".into(),
            windows: true,
            skipped: Vec::new(),
            budget: 0.01,
            tax: 0.02,
            seconds_per_hit: 1e-6,
            spent_seconds: 1.0,
            allowed_seconds: 0.5,
            cpu_seconds: 50.0,
            debt_seconds: 0.5,
            traced_seconds: hooks
                .iter()
                .map(|hook| (hook.clone().into(), 1.0))
                .collect(),
            windows_made: 2,
            estimates: hooks
                .iter()
                .map(|hook| Estimate {
                    hook: hook.clone().into(),
                    estimate: true,
                    per_second: 2.0,
                    low: Some(1.0),
                    high: Some(3.0),
                })
                .collect(),
        });
        measured
    }

    #[test]
    fn series_are_bounded_and_each_is_there_once() {
        let clock = WallClock::new(Ktime(0));
        let families = families(
            &everything(),
            &attached(),
            &Endless,
            clock,
            Some(&Health::default()),
        );
        let mut sum = 0;
        for family in &families {
            let definition = all::ALL
                .iter()
                .find(|definition| definition.name == family.name())
                .expect("all come from the catalogue");
            let each = match family.get_field_type() {
                MetricType::HISTOGRAM => {
                    family.get_metric()[0].get_histogram().get_bucket().len() + 3
                }
                _ => 1,
            };
            let series = family.get_metric().len() * each;
            assert!(
                series <= definition.bound(),
                "{} has {series}",
                definition.name
            );
            sum += series;
            let labels: BTreeSet<Vec<(&str, &str)>> = family
                .get_metric()
                .iter()
                .map(|metric| {
                    metric
                        .get_label()
                        .iter()
                        .map(|pair| (pair.name(), pair.value()))
                        .collect()
                })
                .collect();
            assert_eq!(
                labels.len(),
                family.get_metric().len(),
                "{}",
                definition.name
            );
        }
        assert_eq!(families.len(), all::ALL.len(), "all of them are there");
        assert!(sum <= all::bound());
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&families, &mut text)
            .expect("it is well-formed");
        assert!(text.len() < 1 << 20, "{} bytes", text.len());
    }

    /// The series of a family by its own labels.
    fn values(families: &[MetricFamily], name: &str) -> BTreeMap<Vec<String>, f64> {
        let family = families.iter().find(|family| family.name() == name);
        let metrics = family.map_or(&[][..], MetricFamily::get_metric);
        let labels = |metric: &prometheus::proto::Metric| {
            let own = metric
                .get_label()
                .iter()
                .filter(|pair| pair.name() != "process");
            own.map(|pair| pair.value().to_owned()).collect()
        };
        metrics
            .iter()
            .map(|metric| (labels(metric), metric.get_gauge().get_value()))
            .collect()
    }

    #[test]
    fn the_most_have_names_and_sums_are_whole() {
        let measured = everything();
        let families = families(
            &measured,
            &attached(),
            &Endless,
            WallClock::new(Ktime(0)),
            None,
        );
        let waiting = values(&families, "gotrace_goroutines_waiting_at");
        let sum: u64 = measured.stacks.iter().map(|(_, count)| count).sum();
        assert_eq!(waiting.values().sum::<f64>(), (sum + 3) as f64);
        assert_eq!(waiting[&vec!["unknown".to_owned(), String::new()]], 3.0);
        assert!(waiting.contains_key(&vec!["other".to_owned(), String::new()]));
        let largest: Vec<&f64> = waiting
            .values()
            .filter(|value| **value == 10_000.0)
            .collect();
        assert_eq!(largest.len(), 1, "{waiting:?}");
        let channels = values(&families, "gotrace_channels");
        assert_eq!(channels.values().sum::<f64>(), 10_000.0);
    }

    #[test]
    fn what_a_level_does_not_trace_is_left_out() {
        let mut attached = attached();
        let names = |attached: &Attached| -> BTreeSet<String> {
            families(
                &everything(),
                attached,
                &Endless,
                WallClock::new(Ktime(0)),
                None,
            )
            .iter()
            .map(|family| family.name().to_owned())
            .collect()
        };
        for (level, has, has_not) in [
            ("observe", "gotrace_goroutines", "gotrace_wakeups_total"),
            ("wake", "gotrace_wakeups_total", "gotrace_parks_total"),
            (
                "park",
                "gotrace_blocked_seconds",
                "gotrace_channels_made_total",
            ),
            (
                "full",
                "gotrace_channels_made_total",
                "gotrace_syscalls_total",
            ),
            (
                "auto",
                "gotrace_channels_made_total",
                "gotrace_syscalls_total",
            ),
        ] {
            attached.level = level.into();
            let names = names(&attached);
            assert!(names.contains(has), "{level}");
            assert!(!names.contains(has_not), "{level}");
        }
    }
}
