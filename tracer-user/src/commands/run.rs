//! `gotrace run`: attach, show, report, leave nothing behind.

use std::io::{IsTerminal as _, Write as _};
use std::process::Child;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracer_golang::process::{GoProcess, ReadOptions, Symbols, WaitDecoder, ktime_now};
use tracer_model::detect::Trends;
use tracer_model::symbol::Symbolizer;

use super::Verdict;
use super::screen::{Screen, Voice};
use super::top;
use crate::cli::{Level, RunArgs, RunTarget};
use crate::document::run::{Attached, LeftOut, ProbeInfo};
use crate::document::{WallClock, seconds};
use crate::failure::Failure;
use crate::malloc;
use crate::otel::{self, Exporter};
use crate::record::{self, Keep, Plan, Progress, Recording};
use crate::serve::{self, Door, Traced};
use crate::spawn::{self, Held, Streams};
use crate::target::{self, Target};
use crate::text;
use crate::trace::feed::Feed;
use crate::trace::governed::Governed;
use crate::trace::kernel::{Attachment, Kernel, Settings};
use crate::trace::observer::{self, Pace, Reader};
use crate::trace::pipeline::{Ended, Input, Pipeline, Source, Wiring};
use crate::trace::preflight::Host;
use crate::trace::probes::{Placing, Sites};
use crate::trace::story::{Farewell, Output, Story, Telling};
use crate::trace::{calibrate, probes};

/// How much of the target's CPU time the probes may take if nobody says.
const DEFAULT_BUDGET: f64 = 0.01;
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(1);
/// How long a started program may take until its runtime is there.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// Runs until the target ends, the duration is over or a signal comes.
pub(super) fn run(args: RunArgs) -> anyhow::Result<Verdict> {
    let plan = match (args.last.last(), &args.last.ring_to) {
        (Some(last), Some(directory)) => Some(Plan {
            path: directory.clone(),
            keep: Keep::Last(last),
            recipients: None,
        }),
        (Some(_), None) => {
            return Err(Failure::new("there is no place for the last seconds")
                .next("give a directory with --ring-to, or use `gotrace record --ring`")
                .into());
        }
        (None, _) => None,
    };
    trace(args, plan, Voice::Full)
}

/// The same, recorded if there is a plan for that.
pub(super) fn trace(args: RunArgs, plan: Option<Plan>, voice: Voice) -> anyhow::Result<Verdict> {
    begin(args, plan, voice, None)
}

/// The same, shown by a console.
pub(super) fn show(args: RunArgs, console: top::Options) -> anyhow::Result<Verdict> {
    begin(args, None, Voice::Warnings, Some(console))
}

fn begin(
    args: RunArgs,
    plan: Option<Plan>,
    voice: Voice,
    console: Option<top::Options>,
) -> anyhow::Result<Verdict> {
    malloc::give_large_pieces_back();
    // Before anything is attached: from here on, whatever asks for the end gets a report.
    let (runtime, signals) = Signals::listen()?;
    if args.budget.is_some() && args.level != Level::Auto {
        return Err(
            Failure::new(format!("`--level {}` has no budget", args.level.name()))
                .because("its probes are always there, whatever they cost")
                .next("leave one of --budget and --level out, or use `--level auto`")
                .into(),
        );
    }
    let otel = {
        let _inside = runtime.enter();
        otel::Config::from_environment()?
    };
    let door = Door::open(&args.serve)?;
    let host = Host::look();
    let streams = match console {
        Some(_) => Streams::Nowhere,
        None => Streams::ToStderr,
    };
    let (target, held) = open(&args.target, streams)?;
    host.check_memory()?;
    let Sites {
        found: mut sites,
        left_out,
    } = probes::sites(&target.binary, args.level)?;
    target.binary.release();
    if args.bench_worst {
        probes::move_to_entry(&mut sites);
    }
    let mut source = match args.level {
        Level::Observe => None,
        Level::Auto | Level::Wake | Level::Park | Level::Full | Level::Syscalls => {
            host.check_probes()?;
            let settings = Settings {
                ring_bytes: args.ring_bytes(),
                slots: 1,
                log: args.kernel_log,
                wake_always: args.bench_worst,
                single_links: args.single_links,
            };
            Some(Kernel::load(settings).map_err(no_kernel)?)
        }
    };
    let log = match (&mut source, args.kernel_log) {
        (Some(kernel), true) => Some(kernel.logger().map_err(no_kernel)?),
        _ => None,
    };
    let placing = Placing::new(probes::SLOT, &target, &sites, args.bench_empty)?;
    let attachment = match (&mut source, args.level) {
        (None, _) | (_, Level::Auto) => None,
        (Some(kernel), _) => Some(attach(kernel, &target, &placing)?),
    };
    let hit_seconds = match args.level {
        Level::Auto => calibrate::hit_seconds(),
        _ => seconds(probes::HIT_COST_NANOS),
    };
    let child = held.map(Held::release).transpose()?;
    let process = if child.is_some() {
        started(&target)?
    } else {
        Some(target.process()?)
    };

    let attached = Attached {
        target: target.info.clone(),
        level: args.level.name().into(),
        probes: sites
            .iter()
            .map(|site| ProbeInfo {
                hook: site.hook.program().into(),
                function: site.function.clone(),
                address: site.vaddr.to_string(),
                offset: site.offset_in_function,
                instruction: site.instruction.clone(),
            })
            .collect(),
        left_out: left_out
            .iter()
            .map(|(hook, reason)| LeftOut {
                hook: hook.program().into(),
                reason: reason.to_string(),
            })
            .collect(),
        expected_seconds_per_hit: hit_seconds,
        listening: door
            .as_ref()
            .and_then(Door::address)
            .map(|address| address.to_string()),
        tls: door.as_ref().is_some_and(Door::has_tls),
    };
    let source = source.and_then(|kernel| Source::new(kernel, attachment, log));
    let governed = match (&source, args.level) {
        (Some(source), Level::Auto) => {
            let budget = args.budget.unwrap_or(DEFAULT_BUDGET);
            Governed::begin(placing, source.kernel(), Level::Auto, budget, hit_seconds)
        }
        _ => None,
    };
    let session = Session {
        args,
        target,
        attached,
        door,
        child,
        signals,
        plan,
        voice,
        console,
        otel,
    };
    session.follow(&runtime, process, source, governed)
}

/// What asks for the end from outside.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Takes the signals over from their default, which is to end the process at once; they are heard inside
    /// of the runtime.
    pub(super) fn listen() -> std::io::Result<(Runtime, Signals)> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let signals = {
            let _inside = runtime.enter();
            Signals {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
                hang_up: signal(SignalKind::hangup())?,
            }
        };
        Ok((runtime, signals))
    }

    /// Waits for one of them, also for one that came before.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

/// Says now and then how the recording goes, where somebody looks on.
async fn progress_line(progress: Option<Arc<Progress>>) -> std::convert::Infallible {
    let Some(progress) = progress.filter(|_| std::io::stderr().is_terminal()) else {
        return std::future::pending().await;
    };
    let began = Instant::now();
    loop {
        tokio::time::sleep(PROGRESS).await;
        let line = text::run::progress(began.elapsed(), progress.events(), progress.bytes());
        // It is there to be seen; where it cannot, nothing is lost.
        let _ = write!(std::io::stderr(), "\r{line} ");
    }
}

/// Everything that lives as long as the trace.
struct Session {
    args: RunArgs,
    target: Target,
    attached: Attached,
    door: Option<Door>,
    child: Option<Child>,
    signals: Signals,
    /// How it is to be recorded.
    plan: Option<Plan>,
    voice: Voice,
    /// What shows it in place of the screen.
    console: Option<top::Options>,
    /// Where OpenTelemetry is to be sent.
    otel: Option<otel::Config>,
}

impl Session {
    /// Starts the threads, shows what they say, and ends them.
    fn follow(
        mut self,
        runtime: &Runtime,
        process: Option<GoProcess>,
        source: Option<Source>,
        governed: Option<Governed>,
    ) -> anyhow::Result<Verdict> {
        let clock = WallClock::new(ktime_now());
        let symbols = match &process {
            Some(process) => process.symbols(),
            None => Symbols::new(Arc::clone(&self.target.binary), 0),
        };
        let (inputs, pipeline_inputs) = mpsc::channel();
        let (say, outputs) = tokio::sync::mpsc::unbounded_channel();
        let (ask_observer, observer_asked) = mpsc::channel();
        let shared: Arc<dyn Symbolizer + Send + Sync> = Arc::new(symbols.clone());
        let (recorder, recording) = match self.plan.take() {
            Some(plan) => {
                let begun = record::begin(plan, &self.attached, clock, shared.clone())?;
                (Some(begun.0), Some(begun.1))
            }
            None => (None, None),
        };
        let exporter = match &self.otel {
            Some(config) => {
                let trace = otel::Trace {
                    attached: self.attached.clone(),
                    symbols: Arc::clone(&shared),
                    clock,
                    pipeline: inputs.clone(),
                };
                Some(Exporter::start(config, trace)?)
            }
            None => None,
        };
        let outlet = exporter.as_ref().map(Exporter::outlet);
        let last = outlet.clone();
        let limits = outlet.as_ref().and_then(otel::Outlet::limits);
        let feed = Feed::new();
        let spoken = feed.clone();
        let mut story = Story::new(
            Telling {
                symbols: shared,
                clock,
                listener: Box::new(move |output| {
                    if let Some(outlet) = &outlet {
                        outlet.hear(&output);
                    }
                    let output = Arc::new(output);
                    spoken.output(&output);
                    // The receiver is gone only if the screen failed; then the end is near anyway.
                    drop(say.send(output));
                }),
                farewell: last.map(|outlet| -> Farewell {
                    Box::new(move |measured, tasks| outlet.last(measured, tasks))
                }),
                feed: Some(feed.clone()),
                recorder,
                trends: Some(Trends::new(self.args.trend_nanos())),
            },
            probes::parks_are_seen(self.args.level),
        );
        if let Some(limits) = limits {
            story.follow_tasks(limits);
        }
        let pipeline = Pipeline::new(
            &self.target,
            WaitDecoder::new(Arc::clone(&self.target.binary)),
            self.args.interval,
            source,
            governed,
            story,
            Wiring {
                inputs: pipeline_inputs,
                observer: ask_observer.clone(),
            },
        )?;
        let mut screen = Screen::new(self.args.format, self.voice);
        screen.attached(&self.attached)?;
        let pipeline = thread::Builder::new()
            .name("gotrace-events".to_owned())
            .spawn(move || pipeline.run())?;
        let (to_pipeline, interval) = (inputs.clone(), self.args.interval);
        let options = ReadOptions {
            values: self.args.serve.values,
            redact: !self.args.serve.expose_values,
            ..ReadOptions::default()
        };
        let observer = thread::Builder::new()
            .name("gotrace-memory".to_owned())
            .spawn({
                let options = options.clone();
                move || {
                    if let Some(process) = process {
                        let reader = Reader::new(process, options, Pace::of_one(interval));
                        observer::observe(reader, &to_pipeline, &observer_asked);
                    }
                }
            })?;
        let quiet = recording.as_ref().filter(|_| self.voice != Voice::Full);
        let progress = quiet.map(Recording::progress);
        let traced = Traced {
            target: self.target.clone(),
            options,
            attached: self.attached.clone(),
            inputs: inputs.clone(),
            symbols,
            clock,
            feed,
        };
        let shown = runtime.block_on(async {
            if let Some(options) = self.console.take() {
                return top::follow(options, &traced, outputs, &mut self.signals).await;
            }
            let health = exporter.as_ref().map(Exporter::health);
            tokio::select! {
                shown = self.show(&mut screen, traced, outputs, health) => shown,
                never = progress_line(progress) => match never {},
            }
        });
        // Whatever happened to the screen, the probes are to go.
        drop(ask_observer);
        // A closed channel means that the pipeline has ended already.
        let _ = inputs.send(Input::Stop(Ended::Interrupted));
        let joined = (pipeline.join(), observer.join());
        if let Some(exporter) = exporter {
            exporter.finish();
        }
        if let Some(child) = &mut self.child
            && child.try_wait()?.is_none()
        {
            screen.note(&format!(
                "the started program runs on as pid {}",
                child.id()
            ))?;
        }
        if let Some(recording) = recording {
            let written = recording.finish()?;
            // Standard output is the trace's. Whoever records for a purpose of his own says how it went.
            if self.voice != Voice::Warnings {
                eprintln!("{}", text::safe_lines(&written));
            } else if std::io::stderr().is_terminal() {
                eprintln!();
            }
        }
        match joined {
            (Ok(()), Ok(())) => shown,
            (Err(panic), _) | (_, Err(panic)) => std::panic::resume_unwind(panic),
        }
    }

    /// Shows the outputs until the report has come.
    async fn show(
        &mut self,
        screen: &mut Screen,
        traced: Traced,
        mut outputs: tokio::sync::mpsc::UnboundedReceiver<Arc<Output>>,
        otel: Option<Arc<otel::Health>>,
    ) -> anyhow::Result<Verdict> {
        let inputs = traced.inputs.clone();
        // Until the report is shown.
        let _server = match self.door.take() {
            Some(door) => Some(serve::start(door, traced, otel)?),
            None => None,
        };
        let duration = async {
            match self.args.duration {
                Some(duration) => tokio::time::sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(duration);
        let mut asked = false;
        let mut asked_to_keep = signal(SignalKind::user_defined1())?;
        let ask = |ended| {
            // A closed channel means that the pipeline is already ending by itself.
            let _ = inputs.send(Input::Stop(ended));
        };
        loop {
            tokio::select! {
                output = outputs.recv() => match output {
                    Some(output) => {
                        screen.show(&output)?;
                        if let Output::Report(report) = &*output {
                            return Ok(Verdict::of_report(report));
                        }
                    }
                    None => return Err(Failure::new("tracing ended without a report").into()),
                },
                () = &mut duration, if !asked => {
                    asked = true;
                    ask(Ended::Duration);
                }
                () = self.signals.next() => ask(Ended::Interrupted),
                Some(()) = asked_to_keep.recv() => {
                    // A closed channel means that the pipeline is already ending by itself.
                    let _ = inputs.send(Input::Keep(None));
                }
            }
        }
    }
}

fn open(target: &RunTarget, streams: Streams) -> Result<(Target, Option<Held>), Failure> {
    match (target.pid, &target.name, target.command.first()) {
        (Some(pid), ..) => Ok((Target::of_pid(pid)?, None)),
        (_, Some(name), _) => Ok((Target::of_pid(target::pid_by_name(name)?)?, None)),
        (.., Some(program)) => {
            let program = spawn::find_program(program)?;
            let held = Held::start(&target.command, streams)?;
            Ok((Target::of_program(held.pid(), &program)?, Some(held)))
        }
        (None, None, None) => {
            Err(Failure::new("nothing to trace").next("give --pid, --name or `-- CMD`"))
        }
    }
}

fn attach(kernel: &mut Kernel, target: &Target, placing: &Placing) -> Result<Attachment, Failure> {
    placing.place(kernel).map_err(|error| {
        let gone = !std::path::Path::new(&format!("/proc/{}", target.pid)).exists();
        let failure =
            Failure::new(format!("cannot attach to process {}", target.pid)).because(error);
        if gone {
            Failure::new(format!(
                "process {} ended while gotrace attached",
                target.pid
            ))
            .next("start it again and give its new pid, or start it with `gotrace run -- CMD`")
        } else {
            failure.next(
                "use `--level observe`, which places no probe, or see `gotrace run -vv` for more",
            )
        }
    })
}

/// Opens a process that was just started, whose runtime may not be there yet. `None` if it has ended
/// already: then there are events alone.
fn started(target: &Target) -> Result<Option<GoProcess>, Failure> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        match GoProcess::attach(target.pid, target.binary.clone()) {
            Ok(process) => return Ok(Some(process)),
            Err(error) if error.is_gone() => return Ok(None),
            Err(error) if Instant::now() > deadline => {
                return Err(target.unreadable(&error));
            }
            Err(_) => thread::sleep(Duration::from_millis(2)),
        }
    }
}

fn no_kernel(error: crate::trace::kernel::KernelError) -> Failure {
    Failure::new("cannot start the kernel side")
        .because(error)
        .next("use `--level observe`, which needs none, or see `gotrace run -vv` for more")
}
