//! What can be typed of recordings: making, telling and comparing them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tracer_model::diff::{Signal, Thresholds};
use tracer_model::ids::{ChanAddr, Goid};

use super::{Format, RemoteArgs, RunArgs, chan_addr};
use crate::document::events::Chosen;
use crate::listing::duration;
use crate::record::Last;
use crate::record::replay::{When, when};
use crate::record::threshold::Threshold;
use crate::record::trigger::Conditions;

/// `--help` of `record`.
const RECORD: &str = "A recording grows until it is ended. With --max-size or --max-age the path becomes a directory \
    of files of which the oldest are deleted (docs/format.md). Whatever ends gotrace, what was written stays readable.\n\n\
    Examples:\n  \
    gotrace record --pid 4711 -o incident.gotrace\n  \
    gotrace record --pid 4711 --level full --max-age 1h --max-size 2G -o /var/lib/gotrace/api\n  \
    gotrace replay incident.gotrace --at -5s";

#[derive(Debug, Args)]
#[command(after_help = RECORD)]
pub(crate) struct RecordArgs {
    /// The file to write (or the directory, with a limit or --ring); it must not exist
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Keep no more than this, e.g. 500M or 10G: the oldest part is deleted
    #[arg(long, value_name = "SIZE", value_parser = size, conflicts_with = "ring")]
    pub(crate) max_size: Option<u64>,
    /// Keep nothing that is older than this, e.g. 1h
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "ring")]
    pub(crate) max_age: Option<Duration>,
    /// Encrypt for the age recipients (age1…) in this file, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) encrypt_to: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) trace: RunArgs,
}

/// `--help` of `replay`.
const REPLAY: &str = "A time is 2026-11-26T12:00:00Z, +12s (from the beginning) or -5s (from the end).\n\n\
    Examples:\n  \
    gotrace replay incident.gotrace                          what `gotrace run` said\n  \
    gotrace replay incident.gotrace --at -5s                 how everything was five seconds before the end\n  \
    gotrace replay incident.gotrace --from-time -30s --events --goroutine 17";

#[derive(Debug, Args)]
#[command(after_help = REPLAY)]
pub(crate) struct ReplayArgs {
    /// A file or directory made by `gotrace record`
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Show how everything was at this time
    #[arg(long, value_name = "TIME", value_parser = when, allow_hyphen_values = true, conflicts_with_all = ["from_time", "to_time", "events"])]
    pub(crate) at: Option<When>,
    /// Begin at this time: counts are from here on
    #[arg(long, value_name = "TIME", value_parser = when, allow_hyphen_values = true)]
    pub(crate) from_time: Option<When>,
    /// End at this time
    #[arg(long, value_name = "TIME", value_parser = when, allow_hyphen_values = true)]
    pub(crate) to_time: Option<When>,
    /// List every event in place of what `gotrace run` said
    #[arg(long)]
    pub(crate) events: bool,
    #[command(flatten)]
    pub(crate) events_of: EventsOf,
    /// The file with the age keys for a recording that is encrypted
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    /// Text for people or JSON
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Whose events are listed: all, if nothing is named.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct EventsOf {
    /// Only events by or for this goroutine (more than once for several)
    #[arg(long = "goroutine", value_name = "GOID")]
    goroutines: Vec<u64>,
    /// Only events on this channel
    #[arg(long = "channel", value_name = "ADDR", value_parser = chan_addr)]
    channels: Vec<ChanAddr>,
}

impl EventsOf {
    pub(crate) fn chosen(&self) -> Chosen {
        Chosen {
            goroutines: self.goroutines.iter().copied().map(Goid).collect(),
            channels: self.channels.clone(),
        }
    }
}

/// The last seconds alone.
#[derive(Debug, Default, Args)]
#[group(skip)]
pub(crate) struct LastArgs {
    /// Keep the last seconds in memory, e.g. 60s, and write them into a file of their own when a deadlock
    /// or leak is proven, on SIGUSR1, or when one of --on-… says so
    #[arg(long, value_name = "TIME", value_parser = duration)]
    ring: Option<Duration>,
    /// The directory for these files (of `record` that is --output)
    #[arg(long, value_name = "DIR", requires = "ring")]
    pub(crate) ring_to: Option<PathBuf>,
    /// How much of what comes after the reason is in the file as well [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "ring")]
    after: Option<Duration>,
    /// Write them when there are so many goroutines
    #[arg(long, value_name = "N", requires = "ring")]
    on_goroutines: Option<usize>,
    /// Write them when there are so many goroutines more a second
    #[arg(long, value_name = "N", requires = "ring")]
    on_growth: Option<f64>,
    /// Write them when a channel stays full for so long
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "ring")]
    on_full: Option<Duration>,
    /// Write them when a number of the summary is beyond a limit, e.g. 'rates.sends>50000' or
    /// 'goroutines.by_wait.mutex>100' (more than once for several; docs/json.md names the numbers)
    #[arg(long, value_name = "NAME>N", requires = "ring")]
    on_metric: Vec<Threshold>,
}

/// How much of what comes after a reason is kept if nobody says.
const AFTER: Duration = Duration::from_secs(10);

impl LastArgs {
    /// What is asked for, if the last seconds alone are to be kept.
    pub(crate) fn last(&self) -> Option<Last> {
        Some(Last {
            window: self.ring?,
            after: self.after.unwrap_or(AFTER),
            conditions: Conditions {
                goroutines: self.on_goroutines,
                growth: self.on_growth,
                full: self.on_full,
                metrics: self.on_metric.clone(),
            },
        })
    }
}

/// `--help` of `diff`.
const DIFF: &str = "A side is a pid, a file made by `gotrace snapshot` or `gotrace record`, a moment of a recording \
    (FILE@+10s, FILE@-5s, FILE@2026-11-26T12:00:00Z), or the URL of another gotrace. Compared is by place in the code, \
    never by address or id.\n\n\
    Exit codes: 1 if the second side (or, of more than two, any) has what --fail-on names, else 0; 2 error.\n\n\
    Examples:\n  \
    gotrace diff before.gosnap after.gosnap\n  \
    gotrace diff 4711 4712 4713                  which replica is unlike the others, and by what\n  \
    gotrace diff http://a:9477 http://b:9477 http://c:9477\n  \
    gotrace diff incident.gotrace@+10s incident.gotrace@-0s --fail-on goroutines";

#[derive(Debug, Args)]
#[command(after_help = DIFF)]
pub(crate) struct DiffArgs {
    /// What to compare: pids, files, FILE@TIME, URLs of other gotraces
    #[arg(value_name = "SIDE", num_args = 2.., required = true)]
    pub(crate) sides: Vec<String>,
    #[command(flatten)]
    pub(crate) counts: CountsArgs,
    /// The file with the age keys for files that are encrypted
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
    /// Text for people or one JSON document
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Which differences count.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct CountsArgs {
    /// Which differences make it fail [default: finding, goroutines and growth]
    #[arg(long, value_enum, value_name = "SIGN", value_delimiter = ',')]
    fail_on: Vec<Sign>,
    /// Goroutines, channels and the like count from so many more on
    #[arg(long, value_name = "N", default_value_t = 10)]
    least: u64,
    /// and if they are so many times as many
    #[arg(long, value_name = "X", default_value_t = 2.0)]
    factor: f64,
    /// Shares (of blocked goroutines, of full buffers) count from so many percent points more on
    #[arg(long, value_name = "PERCENT", default_value_t = 20.0)]
    share: f64,
}

/// A sign that something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sign {
    /// Goroutines are stuck that were not, or many more of them
    Finding,
    /// Many more goroutines of a kind
    Goroutines,
    /// Goroutines of a kind became many more in the same time (of `cluster diff --for`)
    Growth,
    /// Many more channels of a kind, or values or goroutines in them
    Channels,
    /// A larger share of the goroutines is blocked
    Blocked,
    /// Stacks are of more different depths
    Depth,
    /// Stacks are deeper in the mean
    Stack,
    /// Buffers are fuller
    Fill,
    /// More goroutines are created a second
    Rate,
    /// Nothing fails
    Never,
}

impl CountsArgs {
    pub(crate) const fn thresholds(&self) -> Thresholds {
        Thresholds {
            least: self.least,
            factor: self.factor,
            share: self.share / 100.0,
        }
    }

    pub(crate) fn fails_on(&self, signal: Signal) -> bool {
        let sign = match signal {
            Signal::Finding => Sign::Finding,
            Signal::Goroutines => Sign::Goroutines,
            Signal::Growth => Sign::Growth,
            Signal::Channels => Sign::Channels,
            Signal::Blocked => Sign::Blocked,
            Signal::Depth => Sign::Depth,
            Signal::Stack => Sign::Stack,
            Signal::Fill => Sign::Fill,
            Signal::Rate => Sign::Rate,
        };
        match &*self.fail_on {
            [] => [Sign::Finding, Sign::Goroutines, Sign::Growth].contains(&sign),
            chosen => chosen.contains(&sign),
        }
    }
}

/// Bytes, from a number with a unit of 1024.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..).unwrap_or_default() {
        "" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => 64,
    };
    let bytes = digits.parse::<u64>().ok();
    let bytes = bytes.and_then(|number| number.checked_mul(1u64.checked_shl(shift)?));
    match bytes {
        Some(bytes) if bytes >= LEAST_BYTES => Ok(bytes),
        _ => Err("expected a size of at least 64K, such as 500M or 10G".to_owned()),
    }
}

/// A recording with less room than this is none.
const LEAST_BYTES: u64 = 64 << 10;
