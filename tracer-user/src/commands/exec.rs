//! `gotrace leaks -- CMD`: runs a command, looks into its memory until it ends, and says what is leaked.
//!
//! The command is never stopped, so there is no moment to look that is exactly its last. It is looked at
//! once an interval, and the last look that was complete counts: a goroutine that can never run again is
//! still there in every later one. A look that the command's end interrupts does not count.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;
use tracer_golang::process::GoProcess;
use tracer_model::detect::Detector;

use super::Verdict;
use super::findings::{Look, print_leaks};
use super::run::Signals;
use super::source::Source;
use crate::cli::LeaksArgs;
use crate::document::leaks;
use crate::failure::Failure;
use crate::spawn::{self, Held, Streams};
use crate::target::Target;
use crate::trace::preflight::Host;

/// How long the command may take until its runtime is there and can be read.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts to read it until then.
const START_INTERVAL: Duration = Duration::from_millis(2);
/// How long the command may take to end when it is asked to.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// Why looking ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Command,
    Duration,
    Interrupted,
}

impl Ended {
    const fn name(self) -> &'static str {
        match self {
            Ended::Command => "command ended",
            Ended::Duration => "duration",
            Ended::Interrupted => "interrupted",
        }
    }
}

/// The command; it does not outlive gotrace, which started it for the purpose.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // It has ended already, except when gotrace failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What was seen so far.
struct Watch {
    source: Source,
    detector: Detector,
    looks: u64,
    /// The last complete look, and when it ended.
    last: Option<(Look, Instant)>,
    /// Why the latest look failed, if it did.
    failed: Option<Failure>,
}

/// Runs the command to its end.
pub(super) fn leaks(args: &LeaksArgs, command: &[String]) -> anyhow::Result<Verdict> {
    let moment = &args.source.moment;
    for (given, flag) in [
        (moment.at.is_some(), "--at"),
        (moment.identity.is_some(), "--identity"),
    ] {
        if given {
            let failure = Failure::new(format!("{flag} is about a recording, not a command"));
            let next = format!("leave {flag} out, or give a recording with --from");
            return Err(failure.next(next).into());
        }
    }
    let (runtime, mut signals) = Signals::listen()?;
    Host::look().check_memory()?;
    let program = spawn::find_program(command.first().map_or("", String::as_str))?;
    let held = Held::start(command, Streams::ToStderr)?;
    let target = Target::of_program(held.pid(), &program)?;
    let began = Instant::now();
    let mut child = Started(held.release()?);
    let until = args.duration.map(|duration| began + duration);

    let mut watch = None;
    let (ended, status) = loop {
        if let Some(status) = child.0.try_wait()? {
            break (Ended::Command, status);
        }
        let look_began = Instant::now();
        let pause = match &mut watch {
            None => {
                watch = open(&target, began)?;
                START_INTERVAL
            }
            Some(watch) => {
                watch.look();
                // At irregular moments, as `trace::observer` does.
                let pause = args.interval.max(look_began.elapsed());
                pause.mul_f64(1.0 + fastrand::f64() / 8.0)
            }
        };
        let ended = if until.is_some_and(|until| Instant::now() >= until) {
            Some(Ended::Duration)
        } else {
            wait(&runtime, &mut signals, pause, until)
        };
        if let Some(ended) = ended {
            if let Some(watch) = &mut watch {
                watch.look();
            }
            break (ended, end(&runtime, &mut child.0)?);
        }
    };
    let ran = began.elapsed();
    report(args, command, &target, watch, ended, status, (began, ran))
}

/// Opens the command's memory as soon as its runtime is there; `None` if it is not there yet.
fn open(target: &Target, began: Instant) -> Result<Option<Watch>, Failure> {
    match GoProcess::attach(target.pid, Arc::clone(&target.binary)) {
        Ok(process) => Ok(Some(Watch {
            source: Source::of_started(target.clone(), process),
            detector: Detector::new(),
            looks: 0,
            last: None,
            failed: None,
        })),
        Err(error) if !error.is_gone() && began.elapsed() > START_PATIENCE => {
            Err(target.unreadable(&error))
        }
        Err(_) => Ok(None),
    }
}

impl Watch {
    fn look(&mut self) {
        match Look::take(&mut self.source, &mut self.detector) {
            Ok(look) => {
                self.looks += 1;
                self.last = Some((look, Instant::now()));
                self.failed = None;
            }
            // At its beginning and at its end a process cannot be read for a moment.
            Err(failure) => self.failed = Some(failure),
        }
    }
}

/// Waits until it is time for the next look, or says why there is to be no more.
fn wait(
    runtime: &Runtime,
    signals: &mut Signals,
    pause: Duration,
    until: Option<Instant>,
) -> Option<Ended> {
    let next = Instant::now() + pause;
    let next = until.map_or(next, |until| next.min(until));
    runtime.block_on(async {
        tokio::select! {
            () = tokio::time::sleep_until(next.into()) => None,
            () = signals.next() => Some(Ended::Interrupted),
        }
    })
}

/// Asks the command to end, and sees to it.
fn end(runtime: &Runtime, child: &mut Child) -> anyhow::Result<ExitStatus> {
    if let Some(pid) = Pid::from_raw(child.id().cast_signed())
        && child.try_wait()?.is_none()
    {
        // It may end by itself at this very moment: then there is nobody to ask.
        let _ = kill_process(pid, Signal::TERM);
    }
    let deadline = Instant::now() + END_PATIENCE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > deadline {
            child.kill()?;
            return Ok(child.wait()?);
        }
        runtime.block_on(async { tokio::time::sleep(START_INTERVAL).await });
    }
}

fn report(
    args: &LeaksArgs,
    command: &[String],
    target: &Target,
    watch: Option<Watch>,
    ended: Ended,
    status: ExitStatus,
    (began, ran): (Instant, Duration),
) -> anyhow::Result<Verdict> {
    let seen_until = watch
        .as_ref()
        .and_then(|watch| Some(watch.last.as_ref()?.1));
    let command = leaks::Command {
        command: command.to_vec(),
        ended: ended.name(),
        exit_code: status.code(),
        signal: status.signal(),
        seconds: ran.as_secs_f64(),
        looks: watch.as_ref().map_or(0, |watch| watch.looks),
        unseen_seconds: seen_until
            .map(|seen| ran.saturating_sub(seen.duration_since(began)).as_secs_f64()),
    };
    let Some(Watch {
        source,
        last,
        failed,
        ..
    }) = watch
    else {
        return Err(too_short(target, &command).into());
    };
    let Some((look, _)) = last else {
        // Not one look in all that time: something else than its end is in the way.
        return Err(match failed {
            Some(failure) if ran > START_PATIENCE => failure.into(),
            _ => too_short(target, &command).into(),
        });
    };
    print_leaks(&look, &source, args.report, Some(&command))?;
    Ok(if look.has(args.report.fail_on.into()) {
        Verdict::Findings
    } else if ended != Ended::Command {
        Verdict::Clean
    } else {
        Verdict::Command(code(status))
    })
}

fn too_short(target: &Target, command: &leaks::Command) -> Failure {
    let how = match (command.exit_code, command.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    };
    Failure::new(format!("cannot look at {}", target.info.exe.display()))
        .because(format!(
            "it ended after {:.3} s ({how}), before one look was complete",
            command.seconds
        ))
        .next("let it live longer (a test's TestMain can wait before it returns), or give a shorter --interval")
}

/// The exit code as a shell has it.
fn code(status: ExitStatus) -> u8 {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, signal) => 128 + signal.unwrap_or_default(),
    };
    u8::try_from(code).unwrap_or(u8::MAX)
}
