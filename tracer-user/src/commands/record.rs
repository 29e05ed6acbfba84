//! `gotrace record -o FILE`.

use tracer_record::Recipients;
use tracer_record::sink::Limits;

use super::Verdict;
use super::run;
use super::screen::Voice;
use crate::cli::{Listen, RecordArgs};
use crate::failure::Failure;
use crate::record::{Keep, Plan};

/// Traces as `run` does and keeps what is told.
pub(super) fn record(args: RecordArgs) -> anyhow::Result<Verdict> {
    let recipients = args.encrypt_to.as_deref().map(|file| {
        Recipients::read(file).map_err(|error| {
            Failure::new(format!("cannot encrypt to {}", file.display()))
                .because(error)
                .next("give a file with one recipient (age1…) a line, as `age-keygen -y` prints it")
        })
    });
    let plan = Plan {
        path: args.output,
        keep: match args.trace.last.last() {
            Some(last) => Keep::Last(last),
            None => Keep::Up(Limits {
                bytes: args.max_size,
                age: args
                    .max_age
                    .map(|age| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)),
            }),
        },
        recipients: recipients.transpose()?,
    };
    let mut trace = args.trace;
    // It serves nobody unless it is asked to.
    trace.serve.listen = trace.serve.listen.or(Some(Listen::Off));
    run::trace(trace, Some(plan), Voice::Quiet)
}
