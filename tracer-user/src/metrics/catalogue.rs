//! Every metric that there is: name, kind, labels, meaning. docs/metrics.md is written from this list, and a
//! metric that is not in it cannot be exported. What only docs/metrics.md and tests need is not in the program.

use crate::cli::Level;
#[cfg(test)]
use {
    crate::agent::binaries::Reason,
    tracer_common::HOOK_COUNT,
    tracer_model::snapshot::State,
    tracer_model::wait::WaitReason,
    tracer_model::world::{AnomalyKind, Histogram},
};

/// Sites and element types that have a label of their own; the rest is summed up as `other`.
pub(super) const TOP: usize = 20;

/// What kind of number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As it is at the moment.
    Gauge,
    /// Of what happened since gotrace attached; only grows.
    Counter,
    /// Durations by size since gotrace attached.
    Histogram,
}

#[cfg(test)]
impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        }
    }

    /// Series for each set of labels.
    const fn series(self) -> usize {
        match self {
            Kind::Gauge | Kind::Counter => 1,
            // The last bucket, the sum and the count.
            Kind::Histogram => Histogram::BOUNDS.len() + 3,
        }
    }
}

macro_rules! labels {
    ($($variant:ident, $name:literal, $bound:expr, $values:literal;)*) => {
        /// What a series can be told apart by.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Label {
            $(#[doc = $values] $variant,)*
        }

        impl Label {
            #[cfg(test)]
            const ALL: &'static [Label] = &[$(Label::$variant),*];

            /// Its name.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Label::$variant => $name,)* }
            }

            /// How many values it has at most beside the labels before it.
            #[cfg(test)]
            const fn bound(self) -> usize {
                match self { $(Label::$variant => $bound,)* }
            }

            #[cfg(test)]
            const fn values(self) -> &'static str {
                match self { $(Label::$variant => $values,)* }
            }
        }
    };
}

labels! {
    Version, "version", 1, "of gotrace";
    GoVersion, "go_version", 1, "that the target was built with";
    Arch, "arch", 1, "`amd64` or `arm64`";
    TargetLevel, "level", 1, "what `--level` was given";
    Level, "level", 5, "`observe`, `wake`, `park`, `full`, `syscalls`";
    State, "state", State::ALL.len(), "the runtime's states of a goroutine";
    System, "system", 2, "`true` for the runtime's own goroutines";
    Reason, "reason", WaitReason::KNOWN.len() + 1, "the runtime's wait reasons; those that this gotrace does not know are `unknown`";
    Operation, "operation", 4, "`send`, `receive`, `close`, `select`";
    Side, "operation", 2, "`send`, `receive`";
    Ending, "ended_by", 2, "`case`, `default`";
    Direction, "direction", 2, "`send`, `receive`";
    Cause, "cause", 3, "`close_of_nil`, `close_of_closed`, `send_on_closed`";
    Fate, "fate", 3, "`delivered` from a sender that is known, `unknown` (from whom), `stale` (never received)";
    Type, "type", TOP + 2, "element types, the 20 of most channels, the rest as `other`; `unknown`";
    Function, "function", TOP + 2, "the 20 places with most, with `location`, the rest as `other`; `unknown`";
    Location, "location", 1, "file and line; empty for `other` and `unknown`";
    FindingKind, "kind", 9, "docs/findings.md";
    Verdict, "verdict", 3, "`suspect`, `likely`, `proven`";
    Hook, "hook", HOOK_COUNT, "gotrace's probes";
    Bound, "bound", 3, "`estimate`, and `low` and `high` of its interval of 95 %";
    Outcome, "outcome", 3, "`reread`, `moving` (still changing after the last attempt), `unreadable`";
    Signal, "signal", 3, "`metrics`, `logs`, `traces`";
    Anomaly, "kind", AnomalyKind::ALL.len(), "what the model holds impossible";
    PodEvent, "outcome", 2, "`sent`, `dropped`";
    Judged, "outcome", 5, "of `gotrace agent` alone: `followed`, `not_go`, `not_selected`, `refused`, `gone`";
    Refusal, "reason", Reason::ALL.len(), "of `gotrace agent` alone: `denied`, `disguised`, `version`, `unrecognised`, `self_check`, `too_many`";
}

/// A metric.
#[derive(Debug)]
pub(crate) struct Definition {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its kind.
    pub(crate) kind: Kind,
    /// What its series are told apart by.
    pub(crate) labels: &'static [Label],
    /// The lowest level at which it means something; below it is left out.
    pub(crate) from: Level,
    /// What it is, in a sentence.
    pub(crate) help: &'static str,
}

impl Definition {
    /// How many series it has at most, whatever the target does.
    #[cfg(test)]
    pub(crate) fn bound(&self) -> usize {
        let sets: usize = self.labels.iter().map(|label| label.bound()).product();
        sets * self.kind.series()
    }

    /// Whether a trace at this level has it.
    pub(crate) fn is_known_at(&self, level: &str) -> bool {
        // `auto` goes up to `full`; a level that a later gotrace recorded may have it.
        let rank = |name: &str| match name {
            "observe" => 0,
            "wake" => 1,
            "park" => 2,
            "full" | "auto" => 3,
            _ => 4,
        };
        rank(level) >= rank(self.from.name())
    }
}

macro_rules! definitions {
    ($($variable:ident = $kind:ident $name:literal [$($label:ident),*] $from:ident $help:literal;)*) => {
        $(pub(in crate::metrics) static $variable: Definition = Definition {
            name: $name,
            kind: Kind::$kind,
            labels: &[$(Label::$label),*],
            from: Level::$from,
            help: $help,
        };)*

        /// Every metric.
        #[cfg(test)]
        pub(crate) static ALL: &[&Definition] = &[$(&$variable),*];
    };
}

definitions! {
    BUILD_INFO = Gauge "gotrace_build_info" [Version] Observe
        "Version of gotrace; always 1.";
    TARGET_INFO = Gauge "gotrace_target_info" [GoVersion, Arch, TargetLevel] Observe
        "The traced process and the level of tracing; always 1.";

    GOROUTINES = Gauge "gotrace_goroutines" [State, System] Observe
        "Goroutines by the runtime's state, the runtime's own apart.";
    GOROUTINES_UNKNOWN = Gauge "gotrace_goroutines_unknown" [] Observe
        "Goroutines whose state is not known: since a loss, or where parks are not traced.";
    GOROUTINES_WAITING = Gauge "gotrace_goroutines_waiting" [Reason] Observe
        "Waiting goroutines by the runtime's wait reason, the runtime's own left out.";
    GOROUTINES_WAITING_AT = Gauge "gotrace_goroutines_waiting_at" [Function, Location] Observe
        "Waiting goroutines by where in the user's code they wait, the runtime's own left out.";
    GOROUTINES_CREATED_AT = Gauge "gotrace_goroutines_created_at" [Function, Location] Observe
        "Living goroutines by the go statement that created them, the runtime's own left out.";
    CREATED = Counter "gotrace_goroutines_created_total" [] Park
        "Goroutines created.";
    EXITED = Counter "gotrace_goroutines_exited_total" [] Park
        "Goroutines that ended.";
    PARKS = Counter "gotrace_parks_total" [Reason] Park
        "Times that a goroutine parked, by wait reason.";
    WAKEUPS = Counter "gotrace_wakeups_total" [Reason] Wake
        "Goroutines made runnable, by the reason of the wait that this ended.";
    WAKEUPS_BY_RUNTIME = Counter "gotrace_wakeups_by_runtime_total" [] Wake
        "Of these, those made runnable by the runtime itself: timers, the network poller.";
    BLOCKED = Histogram "gotrace_blocked_seconds" [Reason] Park
        "Time that goroutines waited, by wait reason, of the waits that were seen from begin to end.";
    RUNS = Counter "gotrace_goroutine_runs_total" [] Full
        "Times that a goroutine started to run.";
    SCHEDULING = Histogram "gotrace_scheduling_latency_seconds" [] Full
        "Time from a goroutine's wake-up or creation until it ran.";

    CHANNELS = Gauge "gotrace_channels" [Type] Observe
        "Channels that goroutines wait on, by element type.";
    CHANNELS_FULL = Gauge "gotrace_channels_full" [Type] Observe
        "Of these, those with a buffer that is full.";
    CHANNEL_ELEMENTS = Gauge "gotrace_channel_elements" [Type] Observe
        "Elements in the buffers of these channels.";
    CHANNEL_CAPACITY = Gauge "gotrace_channel_capacity_elements" [Type] Observe
        "Room for elements in these buffers.";
    CHANNEL_WAITING = Gauge "gotrace_channel_waiting" [Type, Direction] Observe
        "Goroutines in the wait queues of these channels; one that selects is in each of its channels'.";
    OPERATIONS = Counter "gotrace_channel_operations_total" [Operation] Full
        "Channel operations begun; a select of several cases is one, and no send or receive.";
    HANDOFFS = Counter "gotrace_channel_handoffs_total" [Side] Full
        "Channel operations that completed at once with a goroutine waiting on the other side.";
    SELECTS = Counter "gotrace_selects_ended_total" [Ending] Full
        "Selects that ended with a case that is known, or with their default.";
    MADE = Counter "gotrace_channels_made_total" [] Full
        "Channels made.";
    MESSAGES = Counter "gotrace_messages_total" [Fate] Full
        "Messages followed through channels (docs/flow.md).";
    DWELL = Histogram "gotrace_message_dwell_seconds" [] Full
        "Time that messages from a known sender lay in the buffer of a channel.";
    PANICS = Counter "gotrace_channel_panics_total" [Cause] Full
        "Channel operations that are sure to panic, by cause.";
    ACQUIRES = Counter "gotrace_lock_waits_total" [] Full
        "Attempts to get a lock, a wait group or the like that was not free at first.";
    SYSCALLS = Counter "gotrace_syscalls_total" [] Syscalls
        "System calls entered.";
    SYSCALL = Histogram "gotrace_syscall_seconds" [] Syscalls
        "Time in system calls, of those that were seen from begin to end.";

    FINDINGS = Gauge "gotrace_findings" [FindingKind, Verdict] Observe
        "Current findings.";
    FINDINGS_GOROUTINES = Gauge "gotrace_findings_goroutines" [FindingKind, Verdict] Observe
        "Goroutines in current findings.";

    EVENTS = Counter "gotrace_events_total" [] Wake
        "Events read from the kernel side.";
    LOST = Counter "gotrace_events_lost_total" [] Wake
        "Events that were lost since the ring was full.";
    LATE = Counter "gotrace_events_late_total" [] Wake
        "Events that came too late to be put in order.";
    FAULTS = Counter "gotrace_event_faults_total" [] Wake
        "Events whose probe could not read all that it wanted.";
    HITS = Counter "gotrace_probe_hits_total" [Hook] Wake
        "Hits of each probe, as the kernel side counts them, whether their events arrived or not.";
    HIT_COST = Gauge "gotrace_probe_hit_cost_seconds" [] Wake
        "Time that one hit is taken to cost the target: calibrated on this host at level auto, else a figure measured elsewhere.";
    ANOMALIES = Counter "gotrace_anomalies_total" [Anomaly] Wake
        "Transitions that the model holds impossible.";
    READS = Counter "gotrace_snapshots_total" [] Observe
        "Reads of the target's memory.";
    READ_DURATION = Gauge "gotrace_snapshot_duration_seconds" [] Observe
        "Time that the last read of the target's memory took.";
    READ_TIME = Gauge "gotrace_snapshot_timestamp_seconds" [] Observe
        "When that read was finished, since 1970.";
    READ_ENTITIES = Gauge "gotrace_snapshot_entities" [Outcome] Observe
        "Goroutines and channels that the last read found to move, or could not read.";

    LEVEL = Gauge "gotrace_governor_level" [Level] Wake
        "What is traced at level auto: 1 for the present level, 0 for the others.";
    WINDOWS = Gauge "gotrace_governor_windows" [] Wake
        "Whether that is traced in short windows alone, from which rates are estimated.";
    BUDGET = Gauge "gotrace_governor_budget_ratio" [] Wake
        "Share of the target's CPU time that the probes may take.";
    TAX = Gauge "gotrace_governor_tax_ratio" [] Wake
        "Share of the target's CPU time that the probes took since attach: hits times the calibrated cost of one.";
    SPENT = Counter "gotrace_governor_spent_seconds_total" [] Wake
        "CPU time that the probes took.";
    TARGET_CPU = Counter "gotrace_governor_target_cpu_seconds_total" [] Wake
        "CPU time of the target.";
    DEBT = Gauge "gotrace_governor_debt_seconds" [] Wake
        "What the probes took beyond the budget and is not paid off yet.";
    TRACED = Counter "gotrace_governor_traced_seconds_total" [Hook] Wake
        "Time for which each hook was traced: the counters of events count no more than that.";
    ESTIMATES = Gauge "gotrace_governor_estimated_hits_per_second" [Hook, Bound] Wake
        "Estimate, from windows, of how often a hook is hit under probes, which can slow the target.";

    OTEL_EXPORTED = Counter "gotrace_otel_exported_total" [Signal] Observe
        "Data points, log records and spans that a receiver of OpenTelemetry took; there if one is set.";
    OTEL_DROPPED = Counter "gotrace_otel_dropped_total" [Signal] Observe
        "Of these, those that were never sent or not taken: no room, no sampler's leave in that second, or rejected.";
    OTEL_FAILURES = Counter "gotrace_otel_failures_total" [Signal] Observe
        "Exports that failed, those that were tried again included.";

    CPU = Counter "process_cpu_seconds_total" [] Observe
        "CPU time of gotrace itself, user and system.";
    RESIDENT = Gauge "process_resident_memory_bytes" [] Observe
        "Resident memory of gotrace itself.";
}

/// What `gotrace agent` has beside: of itself, and how many processes its series are of.
pub(in crate::metrics) mod of_agent {
    use super::{Definition, Kind, Label, Level};

    definitions! {
        PROCESSES = Gauge "gotrace_processes" [] Observe
            "Processes that the series with these labels are summed over.";
        FOLLOWED = Gauge "gotrace_agent_processes" [] Observe
            "Processes that are followed.";
        LOOKED_AT = Counter "gotrace_agent_processes_looked_at_total" [Judged] Observe
            "Processes that were looked at, by what came of it.";
        REFUSED = Counter "gotrace_agent_processes_refused_total" [Refusal] Observe
            "Of these, those that were refused, by reason.";
        BINARIES = Gauge "gotrace_agent_binaries" [] Observe
            "Different Go programs that are known: those of the processes that are followed, and the last few others.";
        WALKS = Counter "gotrace_agent_walks_total" [] Observe
            "Times that all processes of the node were listed.";
        UNSEEN = Counter "gotrace_agent_events_lost_total" [] Observe
            "Begins and ends of processes that the kernel had no room to tell; each time all are listed again.";
        READS = Counter "gotrace_agent_reads_total" [] Observe
            "Reads of a process' memory.";
        FAILED_READS = Counter "gotrace_agent_reads_failed_total" [] Observe
            "Reads that failed.";
        READ_TIME = Counter "gotrace_agent_read_seconds_total" [] Observe
            "CPU time of looks at processes and reads of them.";
        LATE = Gauge "gotrace_agent_late_seconds" [] Observe
            "How late the read is that should have been first: above 0 where --cpu does not pay for --interval.";
        UNSAID = Counter "gotrace_agent_lines_lost_total" [] Observe
            "Lines that were left out of standard output, which was read too slowly.";
        LEVELS = Gauge "gotrace_agent_processes_at_level" [Level] Observe
            "Processes that are followed, by how closely they are traced.";
        BELOW = Gauge "gotrace_agent_processes_below_level" [] Observe
            "Of these, those that are traced less closely than was asked for.";
        UNPROBED = Counter "gotrace_agent_processes_unprobed_total" [] Observe
            "Times that probes were asked for and not placed: no free slot, host or program do not allow it, or it was over before.";
        LOWERED = Counter "gotrace_agent_levels_lowered_total" [] Observe
            "Times that a process was traced less closely to keep --node-budget.";
        PROBE_EVENTS = Counter "gotrace_agent_probe_events_total" [] Observe
            "Events read from the kernel side, of all processes.";
        PROBE_LOST = Counter "gotrace_agent_probe_events_lost_total" [] Observe
            "Events that were lost since the ring was full, of all processes.";
        PROBE_TIME = Counter "gotrace_agent_probe_seconds_total" [] Observe
            "CPU time that probes took from the processes that they are in: hits times the calibrated cost of one.";
        KUBERNETES = Gauge "gotrace_agent_kubernetes_connected" [] Observe
            "Whether the Kubernetes API is followed; this and what follows is there if it is to be.";
        KUBERNETES_SINCE = Gauge "gotrace_agent_kubernetes_since_timestamp_seconds" [] Observe
            "Since when it is so, since 1970.";
        PODS = Gauge "gotrace_agent_kubernetes_pods" [] Observe
            "Pods of this node that are known.";
        PODS_LEFT_OUT = Gauge "gotrace_agent_kubernetes_pods_left_out" [] Observe
            "Pods that found no room since all were listed.";
        POD_EVENTS = Counter "gotrace_agent_kubernetes_events_total" [PodEvent] Observe
            "Findings that became an event of their pod or changed one, and those that never will.";
    }
}

/// How many series there can be in all.
#[cfg(test)]
pub(crate) fn bound() -> usize {
    ALL.iter().map(|definition| definition.bound()).sum()
}

/// docs/metrics.md.
#[cfg(test)]
fn reference() -> String {
    use std::fmt::Write as _;
    let mut text = String::from(include_str!("reference.md"));
    let line = |text: &mut String, line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    let _ = writeln!(
        text,
        "The buckets of every histogram end at {} seconds.\n",
        Histogram::BOUNDS
            .iter()
            .map(|&bound| crate::document::seconds(bound).to_string())
            .collect::<Vec<_>>()
            .join(", ")
    );
    let _ = writeln!(
        text,
        "There are **{} series at most**, whatever the target does.\n",
        bound()
    );
    line(&mut text, "## Metrics\n");
    line(
        &mut text,
        "| name | kind | labels | from level | series at most | meaning |",
    );
    line(&mut text, "| --- | --- | --- | --- | ---: | --- |");
    for definition in ALL {
        let labels: Vec<String> = definition
            .labels
            .iter()
            .map(|label| format!("`{}`", label.name()))
            .collect();
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} |",
            definition.name,
            definition.kind.name(),
            labels.join(", "),
            definition.from.name(),
            definition.bound(),
            definition.help,
        );
    }
    line(&mut text, "\n## Labels\n");
    line(&mut text, "| label | values |");
    line(&mut text, "| --- | --- |");
    for label in Label::ALL {
        let _ = writeln!(text, "| `{}` | {} |", label.name(), label.values());
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// To write it anew: `GOTRACE_WRITE_DOCS=1 cargo test -p tracer-user reference`.
    #[test]
    fn the_reference_is_not_stale() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
        if std::env::var_os("GOTRACE_WRITE_DOCS").is_some() {
            std::fs::write(&path, reference()).expect("docs can be written");
        }
        let written = std::fs::read_to_string(&path).expect("docs/metrics.md is there");
        assert!(
            written == reference(),
            "docs/metrics.md is stale: GOTRACE_WRITE_DOCS=1 cargo test -p tracer-user reference"
        );
    }

    #[test]
    fn names_follow_the_custom() {
        let mut names = BTreeSet::new();
        for definition in ALL {
            let name = definition.name;
            assert!(names.insert(name), "{name} is there twice");
            let counts = name.ends_with("_total");
            assert_eq!(counts, definition.kind == Kind::Counter, "{name}");
            assert!(
                definition.kind != Kind::Histogram || name.ends_with("_seconds"),
                "{name}"
            );
            assert!(definition.help.ends_with('.'), "{name}");
            for unit in ["milli", "micro", "nano", "_ms", "_ns", "percent"] {
                assert!(!name.contains(unit), "{name} has no base unit");
            }
            for label in definition.labels {
                assert!(
                    !["goid", "address", "le", "process"].contains(&label.name()),
                    "{name}"
                );
            }
        }
    }

    /// What rules and the dashboard ask for is there.
    #[test]
    fn rules_and_dashboard_know_no_other_metric() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
        for file in [
            "prometheus/rules.yml",
            "prometheus/rules_test.yml",
            "grafana/dashboard.json",
        ] {
            let text = std::fs::read_to_string(root.join(file)).expect("it is there");
            let words = text
                .split(|char: char| !(char.is_ascii_alphanumeric() || char == '_' || char == ':'));
            let mut met = 0;
            for word in words.filter(|word| word.starts_with("gotrace_")) {
                let base = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|suffix| word.strip_suffix(suffix))
                    .unwrap_or(word);
                let known = ALL
                    .iter()
                    .any(|definition| definition.name == word || definition.name == base);
                assert!(known, "{file} asks for {word}");
                met += 1;
            }
            assert!(met > 10, "{file} asks for {met} metrics");
        }
    }
}
