//! What can be typed of the doctor.

use clap::Args;

use super::Format;

/// `--help` of `doctor`.
const DOCTOR: &str = "It looks and tries: BPF programs are loaded, a probe is placed on gotrace's own code; nothing stays \
    behind. In a process nothing is placed.\n\n\
    Exit codes: 0 if `gotrace run` can work, 1 if not; 2 error.\n\n\
    Examples:\n  \
    sudo gotrace doctor\n  \
    sudo gotrace doctor --pid 4711               is it Go, is its layout known, where would probes sit\n  \
    sudo gotrace doctor --format json | jq '.host[] | select(.status != \"ok\")'";

#[derive(Debug, Args)]
#[command(after_help = DOCTOR)]
pub(crate) struct DoctorArgs {
    /// Look at this process as well
    #[arg(short, long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// Text for people or one JSON document
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
}
