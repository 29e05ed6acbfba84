//! Prometheus metrics. Labels are bounded: states, reasons, kinds, hooks and, for channels, element
//! types (the first [`TYPES`] by use, the rest as `other`); never a goid or an address.

use std::cmp::Reverse;
use std::collections::HashMap;

use prometheus::{
    Encoder as _, Gauge, GaugeVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use tracer_model::snapshot::{Channel, State};

use crate::document::run::Attached;
use crate::document::seconds;
use crate::trace::story::View;

/// How many element types have a label of their own.
const TYPES: usize = 20;

/// Renders one scrape.
///
/// # Errors
/// A metric could not be registered or encoded: a defect of gotrace.
pub(super) fn render(view: &View, attached: &Attached) -> prometheus::Result<String> {
    let process = attached
        .target
        .exe
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let labels = HashMap::from([("process".to_owned(), process)]);
    let scrape = Scrape {
        registry: Registry::new_custom(None, Some(labels))?,
    };
    scrape.info(attached)?;
    scrape.goroutines(view)?;
    scrape.events(view)?;
    scrape.channels(view)?;
    scrape.findings(view)?;
    scrape.health(view)?;
    scrape.governor(view)?;
    let mut bytes = Vec::new();
    TextEncoder::new().encode(&scrape.registry.gather(), &mut bytes)?;
    String::from_utf8(bytes).map_err(|error| prometheus::Error::Msg(error.to_string()))
}

struct Scrape {
    registry: Registry,
}

impl Scrape {
    fn info(&self, attached: &Attached) -> prometheus::Result<()> {
        let build = self.gauges(
            "gotrace_build_info",
            "Version of gotrace; always 1.",
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let target = self.gauges(
            "gotrace_target_info",
            "The traced process; always 1.",
            &["go_version", "arch", "level"],
        )?;
        target
            .with_label_values(&[
                attached.target.go_version.as_str(),
                attached.target.arch.as_str(),
                &*attached.level,
            ])
            .set(1);
        Ok(())
    }

    fn goroutines(&self, view: &View) -> prometheus::Result<()> {
        let by_state = self.gauges(
            "gotrace_goroutines",
            "Goroutines by the runtime's state, the runtime's own apart.",
            &["state", "system"],
        )?;
        for state in State::ALL.into_iter().filter(|state| *state != State::Dead) {
            for system in ["false", "true"] {
                by_state.with_label_values(&[state.name(), system]).set(0);
            }
        }
        let by_reason = self.gauges(
            "gotrace_goroutines_waiting",
            "Waiting goroutines by the runtime's wait reason, the runtime's own left out.",
            &["reason"],
        )?;
        for goroutine in &view.snapshot.goroutines {
            let system = if goroutine.system { "true" } else { "false" };
            by_state
                .with_label_values(&[goroutine.state.name(), system])
                .inc();
            if let (false, Some(wait)) = (goroutine.system, &goroutine.wait) {
                by_reason
                    .with_label_values(&[wait.reason.to_string().as_str()])
                    .inc();
            }
        }
        let unknown = self.gauges(
            "gotrace_goroutines_unknown",
            "Goroutines whose state is not known: since a loss, or where parks are not traced.",
            &[],
        )?;
        unknown
            .with_label_values::<&str>(&[])
            .set(to_i64(view.unknown as u64));
        Ok(())
    }

    fn events(&self, view: &View) -> prometheus::Result<()> {
        let totals = &view.totals;
        let operations = self.counters(
            "gotrace_channel_operations_total",
            "Channel operations begun since attach, where the level traces them.",
            &["operation"],
        )?;
        for (operation, count) in [
            ("send", totals.sends),
            ("receive", totals.receives),
            ("close", totals.closes),
            ("select", totals.selects),
        ] {
            operations.with_label_values(&[operation]).inc_by(count);
        }
        let parks = self.counters(
            "gotrace_parks_total",
            "Times that a goroutine parked, by wait reason.",
            &["reason"],
        )?;
        for (reason, count) in &totals.parks {
            parks.with_label_values(&[reason.as_str()]).inc_by(*count);
        }
        self.counter(
            "gotrace_wakeups_total",
            "Goroutines made runnable by another one or by the runtime.",
            totals.wakeups,
        )?;
        let wakeups = self.counters(
            "gotrace_wakeups_by_reason_total",
            "Goroutines made runnable, by the reason of the wait that this ended.",
            &["reason"],
        )?;
        for (reason, count) in &totals.wakeups_from {
            wakeups.with_label_values(&[reason.as_str()]).inc_by(*count);
        }
        let direct = self.counters(
            "gotrace_channel_handoffs_total",
            "Channel operations that completed at once with a goroutine waiting on the other side.",
            &["operation"],
        )?;
        for (operation, count) in [
            ("send", totals.direct_sends),
            ("receive", totals.direct_receives),
        ] {
            direct.with_label_values(&[operation]).inc_by(count);
        }
        self.counter(
            "gotrace_channels_made_total",
            "Channels made since attach, where the level traces that.",
            totals.made,
        )?;
        self.counter(
            "gotrace_goroutine_runs_total",
            "Times that a goroutine started to run, where the level traces that.",
            totals.runs,
        )?;
        self.counter(
            "gotrace_goroutines_created_total",
            "Goroutines created since attach.",
            totals.created,
        )?;
        self.counter(
            "gotrace_goroutines_exited_total",
            "Goroutines that ended since attach.",
            totals.exited,
        )
    }

    fn channels(&self, view: &View) -> prometheus::Result<()> {
        const NAMES: [(&str, &str); 4] = [
            (
                "gotrace_channels",
                "Channels that goroutines wait on, by element type.",
            ),
            (
                "gotrace_channel_length",
                "Elements buffered in these channels.",
            ),
            (
                "gotrace_channel_capacity",
                "Capacity of these channels in elements.",
            ),
            (
                "gotrace_channels_full",
                "Buffered channels among these that are full.",
            ),
        ];
        let mut by_type: HashMap<&str, Vec<&Channel>> = HashMap::new();
        for channel in &view.snapshot.channels {
            by_type.entry(&channel.elem_type).or_default().push(channel);
        }
        let mut types: Vec<_> = by_type.into_iter().collect();
        types.sort_by_key(|(name, channels)| (Reverse(channels.len()), *name));
        let gauges = NAMES.map(|(name, help)| self.gauges(name, help, &["type"]));
        let waiting = self.gauges(
            "gotrace_channel_waiting",
            "Goroutines in the wait queues of these channels.",
            &["type", "direction"],
        )?;
        let [number, length, capacity, full] = gauges;
        let (number, length, capacity, full) = (number?, length?, capacity?, full?);
        for (index, (name, channels)) in types.into_iter().enumerate() {
            let label = if index < TYPES { name } else { "other" };
            for channel in channels {
                number.with_label_values(&[label]).inc();
                length.with_label_values(&[label]).add(to_i64(channel.len));
                capacity
                    .with_label_values(&[label])
                    .add(to_i64(channel.cap));
                if channel.cap > 0 && channel.len == channel.cap {
                    full.with_label_values(&[label]).inc();
                }
                let send = waiting.with_label_values(&[label, "send"]);
                send.add(to_i64(channel.send_waiting.len() as u64));
                let receive = waiting.with_label_values(&[label, "receive"]);
                receive.add(to_i64(channel.recv_waiting.len() as u64));
            }
        }
        Ok(())
    }

    fn findings(&self, view: &View) -> prometheus::Result<()> {
        let findings = self.gauges(
            "gotrace_findings",
            "Current findings.",
            &["kind", "verdict"],
        )?;
        for finding in &view.findings {
            findings
                .with_label_values(&[finding.kind.name(), finding.verdict.name()])
                .inc();
        }
        let goroutines = self.gauges(
            "gotrace_findings_goroutines",
            "Goroutines in current findings.",
            &["kind", "verdict"],
        )?;
        for finding in &view.findings {
            goroutines
                .with_label_values(&[finding.kind.name(), finding.verdict.name()])
                .add(to_i64(finding.goroutines.len() as u64));
        }
        Ok(())
    }

    fn health(&self, view: &View) -> prometheus::Result<()> {
        self.counter(
            "gotrace_events_total",
            "Events read from the kernel side.",
            view.totals.events,
        )?;
        self.counter(
            "gotrace_events_lost_total",
            "Events that were lost.",
            view.loss.records,
        )?;
        self.counter(
            "gotrace_events_late_total",
            "Events that came too late to be put in order.",
            view.loss.late,
        )?;
        self.counter(
            "gotrace_event_faults_total",
            "Events whose probe could not read all that it wanted.",
            view.loss.faults,
        )?;
        let hits = self.counters("gotrace_probe_hits_total", "Hits of each probe.", &["hook"])?;
        for (hook, count) in &view.hits {
            hits.with_label_values(&[&**hook]).inc_by(*count);
        }
        let snapshot = &view.snapshot;
        self.gauge(
            "gotrace_snapshot_duration_seconds",
            "Time that the last read of the target's memory took.",
            seconds(snapshot.finished.since(snapshot.started)),
        )?;
        self.gauge(
            "gotrace_snapshot_age_seconds",
            "Time since that read was finished.",
            seconds(view.at.since(snapshot.finished)),
        )?;
        let quality = self.gauges(
            "gotrace_snapshot_entities",
            "Goroutines and channels of the last read by how it went.",
            &["outcome"],
        )?;
        for (outcome, count) in [
            ("reread", snapshot.reread),
            ("moving", snapshot.moving),
            ("unreadable", snapshot.errors.len() as u64),
        ] {
            quality.with_label_values(&[outcome]).set(to_i64(count));
        }
        let anomalies = self.counters(
            "gotrace_anomalies_total",
            "Transitions that the model holds impossible.",
            &["kind"],
        )?;
        for (kind, count) in &view.totals.anomalies {
            anomalies.with_label_values(&[*kind]).inc_by(*count);
        }
        Ok(())
    }

    fn governor(&self, view: &View) -> prometheus::Result<()> {
        let Some(governor) = &view.governor else {
            return Ok(());
        };
        let level = self.gauges(
            "gotrace_governor_level",
            "What the governor lets trace; 1 for the present level, sampled if in windows alone.",
            &["level", "sampled"],
        )?;
        let sampled = if governor.windows { "true" } else { "false" };
        level.with_label_values(&[&*governor.level, sampled]).set(1);
        for (name, help, value) in [
            (
                "gotrace_governor_budget_ratio",
                "Share of the target's CPU time that the probes may take.",
                governor.budget,
            ),
            (
                "gotrace_governor_tax_ratio",
                "Share of the target's CPU time that the probes took since attach: hits times the calibrated cost of one.",
                governor.tax,
            ),
            (
                "gotrace_governor_debt_seconds",
                "What the probes took beyond the budget and is not paid off yet.",
                governor.debt_seconds,
            ),
            (
                "gotrace_governor_hit_cost_seconds",
                "Cost of one hit, as calibrated on this host.",
                governor.seconds_per_hit,
            ),
        ] {
            self.gauge(name, help, value)?;
        }
        let traced = self.float_gauges(
            "gotrace_governor_traced_seconds",
            "Time for which each hook was traced since attach: the event counters count no more than that.",
            &["hook"],
        )?;
        for (hook, seconds) in &governor.traced_seconds {
            traced.with_label_values(&[&**hook]).set(*seconds);
        }
        let estimates = self.float_gauges(
            "gotrace_governor_estimated_hits_per_second",
            "Estimate, from windows, of how often a hook is hit under probes, which can slow the target; low and high are its 95 % interval.",
            &["hook", "bound"],
        )?;
        for estimate in &governor.estimates {
            let set = |bound: &str, value: f64| {
                estimates
                    .with_label_values(&[&*estimate.hook, bound])
                    .set(value);
            };
            set("estimate", estimate.per_second);
            if let (Some(low), Some(high)) = (estimate.low, estimate.high) {
                set("low", low);
                set("high", high);
            }
        }
        Ok(())
    }

    fn float_gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<GaugeVec> {
        let gauges = GaugeVec::new(Opts::new(name, help), labels)?;
        self.registry.register(Box::new(gauges.clone()))?;
        Ok(gauges)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        let gauges = IntGaugeVec::new(Opts::new(name, help), labels)?;
        self.registry.register(Box::new(gauges.clone()))?;
        Ok(gauges)
    }

    fn gauge(&self, name: &str, help: &str, value: f64) -> prometheus::Result<()> {
        let gauge = Gauge::new(name, help)?;
        gauge.set(value);
        self.registry.register(Box::new(gauge))
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
        self.registry.register(Box::new(counters.clone()))?;
        Ok(counters)
    }

    fn counter(&self, name: &str, help: &str, value: u64) -> prometheus::Result<()> {
        let counter = IntCounter::new(name, help)?;
        counter.inc_by(value);
        self.registry.register(Box::new(counter))
    }
}

fn to_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
