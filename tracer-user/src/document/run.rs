//! `gotrace.run/1`: the objects that `gotrace run --format json` prints, one a line.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracer_model::ids::Goid;
use tracer_model::wait::WaitKind;

use super::findings::Entry as Finding;
use super::flow::Flow;
use super::{Site, Target};

/// The schema of every line.
pub(crate) const SCHEMA: &str = "gotrace.run/1";

/// A name of the program's own, or one that a recording brings.
pub(crate) type Name = Cow<'static, str>;

/// One line of the stream.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
#[schemars(rename = "RunLine")]
pub(crate) enum Line<'a> {
    /// The first line: what is traced and how.
    Attached(&'a Attached),
    /// The state of affairs, once an interval.
    Summary(&'a Summary),
    /// A new finding, or one whose verdict changed.
    Finding {
        /// The finding.
        finding: &'a Finding,
    },
    /// A finding that is not true any more.
    Resolved {
        /// Its id.
        id: &'a str,
    },
    /// The governor of `--level auto` changed what is traced.
    Governor {
        /// When.
        time: &'a str,
        /// Why.
        reason: &'a str,
        #[serde(flatten)]
        governor: &'a Governor,
    },
    /// Something that the user should know.
    Warning {
        /// What.
        message: &'a str,
    },
    /// The last line.
    Report(&'a Report),
    /// Of the API's stream alone: what went by while nothing was taken.
    Missed {
        /// `messages` or `events`.
        of: &'a str,
        /// How many.
        count: u64,
    },
    /// Of the API's stream alone: tracing ended, and why, as a report says it.
    Ended {
        /// Why.
        ended: &'a str,
    },
}

/// A [`Line`] with its schema.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RunMessage")]
pub(crate) struct Stamped<'a> {
    #[schemars(extend("const" = SCHEMA))]
    pub(crate) schema: &'static str,
    #[serde(flatten)]
    pub(crate) line: Line<'a>,
}

impl<'a> From<Line<'a>> for Stamped<'a> {
    fn from(line: Line<'a>) -> Self {
        Self {
            schema: SCHEMA,
            line,
        }
    }
}

/// What is traced and how.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Attached {
    pub(crate) target: Target,
    pub(crate) level: Name,
    pub(crate) probes: Vec<ProbeInfo>,
    /// Probes that the level would have as well, but that have no safe place in this program.
    pub(crate) left_out: Vec<LeftOut>,
    /// Estimated time that one hit takes from the target.
    pub(crate) expected_seconds_per_hit: f64,
    /// Address of the HTTP server, if it runs.
    pub(crate) listening: Option<String>,
    /// Whether that speaks HTTPS.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) tls: bool,
}

/// One probe.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ProbeInfo {
    pub(crate) hook: Name,
    pub(crate) function: String,
    pub(crate) address: String,
    pub(crate) offset: u64,
    pub(crate) instruction: String,
}

/// A probe that is not placed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LeftOut {
    pub(crate) hook: Name,
    pub(crate) reason: String,
}

/// Goroutines by state; the runtime's own are counted apart.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "Census")]
pub(crate) struct Goroutines {
    pub(crate) total: usize,
    pub(crate) system: usize,
    pub(crate) by_state: BTreeMap<&'static str, usize>,
    /// Those that wait, by the kind of what they wait on.
    pub(crate) by_wait: BTreeMap<WaitKind, usize>,
    /// Goroutines whose state is not known: since events were lost, or since the last event of a
    /// level at which parks make none.
    pub(crate) unknown: usize,
}

/// Events since attach, each counted once.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Totals {
    pub(crate) events: u64,
    pub(crate) sends: u64,
    pub(crate) receives: u64,
    pub(crate) closes: u64,
    pub(crate) selects: u64,
    pub(crate) parks: BTreeMap<String, u64>,
    pub(crate) wakeups: u64,
    pub(crate) wakeups_by_runtime: u64,
    /// Wake-ups by the reason of the wait that they ended.
    pub(crate) wakeups_from: BTreeMap<String, u64>,
    pub(crate) created: u64,
    pub(crate) exited: u64,
    /// Channels made.
    pub(crate) made: u64,
    /// Operations that completed at once with a goroutine that waited on the other side.
    pub(crate) direct_sends: u64,
    pub(crate) direct_receives: u64,
    /// Of the sends, those of the runtime itself: timers that fire into a channel.
    pub(crate) sends_by_runtime: u64,
    /// Selects that ended with a case that is known.
    pub(crate) selected: u64,
    /// Selects that ended with their default case.
    pub(crate) defaulted: u64,
    /// Attempts to get a lock, a wait group or the like that was not free at first.
    pub(crate) acquires: u64,
    /// System calls entered; of these, those whose end was seen, and the time in these.
    pub(crate) syscalls: u64,
    pub(crate) syscalls_timed: u64,
    pub(crate) syscall_seconds: f64,
    /// Operations that are sure to panic, by cause.
    pub(crate) panics: Panics,
    /// How often a goroutine started to run.
    pub(crate) runs: u64,
    /// Of these, after a wake-up or creation that was seen, and the time from that until it ran.
    pub(crate) scheduled: u64,
    pub(crate) scheduling_seconds: f64,
    /// Transitions that the model holds impossible.
    pub(crate) anomalies: BTreeMap<&'static str, u64>,
}

/// Operations on channels that make their goroutine panic.
#[derive(Clone, Copy, Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Panics {
    pub(crate) close_of_nil: u64,
    pub(crate) close_of_closed: u64,
    /// Sends that waited when the channel was closed.
    pub(crate) send_on_closed: u64,
}

impl Totals {
    /// All parks, whatever the reason.
    pub(crate) fn parked(&self) -> u64 {
        self.parks.values().sum()
    }
}

/// Records that never arrived.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Loss {
    pub(crate) records: u64,
    pub(crate) by_cpu: Vec<u64>,
    /// Events that came too late to be put in order.
    pub(crate) late: u64,
    /// Records whose probe could not read all of the target's memory that it wanted.
    pub(crate) faults: u64,
    /// Records of a kind that is not known.
    pub(crate) unknown: u64,
}

impl Loss {
    /// What was lost since an earlier count.
    pub(crate) fn since(&self, earlier: &Loss) -> Loss {
        let before = |cpu: usize| earlier.by_cpu.get(cpu).copied().unwrap_or(0);
        let by_cpu = self.by_cpu.iter().enumerate();
        Loss {
            records: self.records.saturating_sub(earlier.records),
            by_cpu: by_cpu
                .map(|(cpu, lost)| lost.saturating_sub(before(cpu)))
                .collect(),
            late: self.late.saturating_sub(earlier.late),
            faults: self.faults.saturating_sub(earlier.faults),
            unknown: self.unknown.saturating_sub(earlier.unknown),
        }
    }

    /// Both together.
    pub(crate) fn plus(&self, other: &Loss) -> Loss {
        let cpus = self.by_cpu.len().max(other.by_cpu.len());
        let of = |loss: &Loss, cpu: usize| loss.by_cpu.get(cpu).copied().unwrap_or(0);
        Loss {
            records: self.records + other.records,
            by_cpu: (0..cpus)
                .map(|cpu| of(self, cpu) + of(other, cpu))
                .collect(),
            late: self.late + other.late,
            faults: self.faults + other.faults,
            unknown: self.unknown + other.unknown,
        }
    }
}

/// Per second, over the last interval.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Rates {
    pub(crate) events: f64,
    pub(crate) sends: f64,
    pub(crate) receives: f64,
    pub(crate) closes: f64,
    pub(crate) selects: f64,
    pub(crate) parks: f64,
    pub(crate) wakeups: f64,
    pub(crate) created: f64,
    pub(crate) exited: f64,
    /// Estimated share of one core that the probes take from the target: hits times the cost of one.
    pub(crate) estimated_tax: f64,
}

/// What the governor of `--level auto` does at present.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Governor {
    /// `observe`, `wake`, `park` or `full`; with `windows` that of the windows.
    pub(crate) level: Name,
    /// Whether it is traced in short windows alone, from which rates are estimated.
    pub(crate) windows: bool,
    /// Hooks of the level that are left out since they are hit too often.
    pub(crate) skipped: Vec<Name>,
    /// Share of the target's CPU time that the probes may take.
    pub(crate) budget: f64,
    /// The share that they took: hits times the cost of one, in the last stretch that was judged if
    /// this says a change, else since attach.
    pub(crate) tax: f64,
    /// The cost of one hit, as calibrated on this host.
    pub(crate) seconds_per_hit: f64,
    /// Since attach: what the probes took, what they might have taken, the target's CPU time, and
    /// what they took too much and is not paid off yet.
    pub(crate) spent_seconds: f64,
    pub(crate) allowed_seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) debt_seconds: f64,
    /// For how long each hook was traced: `totals` count no more than that.
    pub(crate) traced_seconds: BTreeMap<Name, f64>,
    /// How many windows the present estimates are from, or may be from.
    pub(crate) windows_made: u64,
    /// Rates that were not counted but estimated from windows.
    pub(crate) estimates: Vec<Estimate>,
}

/// A rate estimated from windows.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Estimate {
    pub(crate) hook: Name,
    /// Always true: it was not counted.
    pub(crate) estimate: bool,
    pub(crate) per_second: f64,
    /// The interval of 95 % (Student's t over the windows); `null` from one window.
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
}

/// The state of affairs.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Summary {
    /// At `--level auto`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) governor: Option<Governor>,
    pub(crate) time: String,
    pub(crate) goroutines: Goroutines,
    pub(crate) totals: Totals,
    pub(crate) rates: Rates,
    pub(crate) fullest: Vec<Channel>,
    pub(crate) longest_waits: Vec<LongWait>,
    pub(crate) loss: Loss,
    /// How old the last read of the target's memory is, and how long it took; `null` before the
    /// first one.
    pub(crate) memory_age_seconds: Option<f64>,
    pub(crate) memory_read_seconds: Option<f64>,
}

/// One channel, with what happened on it since attach.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "ChannelCounts")]
pub(crate) struct Channel {
    pub(crate) id: u32,
    pub(crate) address: String,
    #[serde(rename = "type")]
    pub(crate) elem_type: String,
    /// Buffered elements when last seen; `null` if never.
    pub(crate) len: Option<u64>,
    /// `null` if not known.
    pub(crate) cap: Option<u64>,
    pub(crate) closed: bool,
    /// Where and by whom it was made, if that was seen.
    pub(crate) made_at: Option<Site>,
    pub(crate) made_by: Option<Goid>,
    pub(crate) sends: u64,
    pub(crate) receives: u64,
    pub(crate) closes: u64,
    pub(crate) parks_send: u64,
    pub(crate) parks_receive: u64,
    /// Goroutines made runnable that had parked in a send.
    pub(crate) wakeups_send: u64,
    pub(crate) wakeups_receive: u64,
    /// Operations that completed at once with a goroutine that waited on the other side.
    pub(crate) direct_sends: u64,
    pub(crate) direct_receives: u64,
    /// Selects that its case ended, where that is known.
    pub(crate) selected_sends: u64,
    pub(crate) selected_receives: u64,
    pub(crate) max_len: u64,
    pub(crate) send_waiting: usize,
    pub(crate) recv_waiting: usize,
}

/// A goroutine that waits long for what only another one can bring about.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct LongWait {
    pub(crate) goid: Goid,
    pub(crate) reason: String,
    /// How long, if its beginning is known.
    pub(crate) seconds: Option<f64>,
    /// For how long it was seen to wait.
    pub(crate) seen_seconds: f64,
    pub(crate) site: Option<Site>,
}

/// One goroutine in the report.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "GoroutineCounts")]
pub(crate) struct Goroutine {
    pub(crate) goid: Goid,
    pub(crate) state: &'static str,
    /// The state may have changed unseen since it was last known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unknown: bool,
    pub(crate) wait_reason: Option<String>,
    pub(crate) system: bool,
    pub(crate) parks: u64,
    pub(crate) wakeups: u64,
    pub(crate) wakeups_made: u64,
    pub(crate) blocked_seconds: f64,
    pub(crate) runs: u64,
    /// From its wake-ups and its creation until it ran.
    pub(crate) scheduling_seconds: f64,
    pub(crate) syscalls: u64,
    pub(crate) syscall_seconds: f64,
    /// Who made it runnable last, if that was seen.
    pub(crate) last_waker: Option<Waker>,
}

/// Who made a goroutine runnable.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Waker {
    /// 0 is the runtime itself.
    pub(crate) goid: Goid,
    /// The reason of the wait that it ended.
    pub(crate) wait_reason: String,
    /// The channel that was waited on, if it was one.
    pub(crate) channel: Option<String>,
}

/// The last line.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Report {
    /// At `--level auto`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) governor: Option<Governor>,
    /// `interrupted`, `duration` or `target exited`.
    pub(crate) ended: Name,
    pub(crate) seconds: f64,
    pub(crate) totals: Totals,
    pub(crate) loss: Loss,
    /// Hits of each probe as the kernel side counted them, whether their records arrived or not.
    pub(crate) hits: BTreeMap<Name, u64>,
    pub(crate) goroutines: Vec<Goroutine>,
    pub(crate) channels: Vec<Channel>,
    /// The ways of messages, wake-ups and locks.
    pub(crate) flow: Flow,
    pub(crate) findings: Vec<Finding>,
    pub(crate) probes_removed: usize,
}
