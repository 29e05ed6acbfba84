//! `gotrace top`: owns the terminal, and asks for what the console wants to know.
//!
//! Nobody who looks waits for an answer: what takes time is asked for by threads of their own, one for looks at
//! what the trace knows, one for reads and searches of memory. Each is asked again only after a pause that grows with
//! the time that it took.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anstream::{AutoStream, ColorChoice};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tracer_golang::process::{ChannelScope, ReadOptions};
use tracer_model::ids::{ChanAddr, Goid};
use tracer_model::snapshot::Channel;
use tracer_model::symbol::Symbolizer;

use super::Verdict;
use super::frames;
use super::oneshot::value_options;
use super::run::{self, Signals};
use super::source::Source;
use super::why;
use crate::cli::{SourceArgs, TopArgs, ValuesArgs};
use crate::failure::Failure;
use crate::log;
use crate::serve::Traced;
use crate::top::look::Look;
use crate::top::{Ask, Event, State, Theme, draw};
use crate::trace::pipeline::{Ended, Input};
use crate::trace::story::{Output, Story};

/// How often keys are looked for and the log is read.
const TICK: Duration = Duration::from_millis(200);
/// How many times as long as it took nobody is asked again.
const REST: u32 = 4;

/// How the console shows a trace.
pub(super) struct Options {
    values: ValuesArgs,
}

/// Shows a process, a file or what another gotrace sees.
pub(super) fn top(args: &TopArgs) -> anyhow::Result<Verdict> {
    if let (Some(frames), Some(source)) = (args.bench_frames, args.source.told()) {
        let mut source = Source::open(&source)?;
        let look = Arc::new(look_of(&mut source, None)?);
        let mut state = State::new(Theme::new(true), source.info().clone(), "measured");
        state.update(Event::Look(Arc::clone(&look)));
        frames::measure(state, &look, frames)?;
        return Ok(Verdict::Clean);
    }
    if !(std::io::stdout().is_terminal() && std::io::stdin().is_terminal()) {
        return Err(Failure::new("`gotrace top` needs a terminal")
            .because("standard input or output is none")
            .next("use `gotrace run`, or `gotrace goroutines` and the like")
            .into());
    }
    let values = args.values.clone();
    match args.source.told() {
        Some(source) => told(&source, values, args),
        None => run::show(args.trace(), Options { values }),
    }
}

/// Shows a trace until somebody has seen enough, and ends it. Whatever happens, the terminal is as before.
pub(super) async fn follow(
    options: Options,
    traced: &Traced,
    mut outputs: UnboundedReceiver<Arc<Output>>,
    signals: &mut Signals,
) -> anyhow::Result<Verdict> {
    let state = State::new(
        theme(),
        traced.target.info.clone(),
        format!("level {}", traced.attached.level),
    );
    let memory = SourceArgs {
        pid: Some(traced.target.pid),
        ..SourceArgs::default()
    };
    let (say, answers) = unbounded_channel();
    let (looker, looking) = looks_of_trace(traced, say.clone())?;
    let reader = reader(memory, options.values, say.clone())?;
    let mut console = Console::open(state, say, answers)?;
    let mut look = Pace::default();
    let mut report = None;
    loop {
        let happened = tokio::select! {
            happened = console.next() => happened?,
            output = outputs.recv(), if report.is_none() => match output {
                Some(output) => {
                    if let Output::Report(report_of) = &*output {
                        report = Some(Verdict::of_report(report_of));
                    }
                    if matches!(&*output, Output::Summary(_)) && !console.state.is_paused() && look.may_ask() {
                        // It is gone only if it panicked, and then there are no looks any more.
                        let _ = looker.send(Quick::Look);
                    }
                    Some(Event::Said(output))
                }
                None => {
                    return Err(Failure::new("tracing ended without a report").into());
                }
            },
            () = signals.next() => break,
        };
        if let Some(Event::Look(_)) = &happened {
            look.answered();
        }
        let asks = console.take(happened);
        if asks.contains(&Ask::Quit) {
            break;
        }
        for ask in asks {
            match ask {
                Ask::Goroutine(goid) => drop(looker.send(Quick::Goroutine(goid))),
                ask => console.read(&reader, ask),
            }
        }
    }
    drop(console);
    drop(looker);
    let verdict = match report {
        Some(verdict) => verdict,
        None => {
            // A closed channel means that the pipeline is ending by itself.
            let _ = traced.inputs.send(Input::Stop(Ended::Interrupted));
            loop {
                match outputs.recv().await.as_deref() {
                    Some(Output::Report(report)) => break Verdict::of_report(report),
                    Some(_) => {}
                    None => return Err(Failure::new("tracing ended without a report").into()),
                }
            }
        }
    };
    if let Err(panic) = looking.join() {
        std::panic::resume_unwind(panic);
    }
    Ok(verdict)
}

/// Shows what a file or another gotrace tells.
fn told(args: &SourceArgs, values: ValuesArgs, top: &TopArgs) -> anyhow::Result<Verdict> {
    let (runtime, mut signals) = Signals::listen()?;
    let mut source = Source::open(args)?;
    let (first, moment) = (Arc::new(look_of(&mut source, None)?), source.moment());
    let of = match (&args.url, moment) {
        (Some(url), _) => format!("snapshots by {url}"),
        (None, moment) => format!("as of {}", moment.unwrap_or_default()),
    };
    let state = State::new(theme(), source.info().clone(), of);
    drop(source);
    let (say, answers) = unbounded_channel();
    // The receiver is ours.
    let _ = say.send(Event::Look(Arc::clone(&first)));
    let reader = reader(args.clone(), values, say.clone())?;
    if args.url.is_some() {
        snapshots(args.clone(), top.interval, first, say.clone())?;
    }
    let mut console = Console::open(state, say, answers)?;
    runtime.block_on(async {
        loop {
            let happened = tokio::select! {
                happened = console.next() => happened?,
                () = signals.next() => break,
            };
            let asks = console.take(happened);
            if asks.contains(&Ask::Quit) {
                break;
            }
            for ask in asks {
                console.read(&reader, ask);
            }
        }
        Ok(Verdict::Clean)
    })
}

/// Colours as any other output has them.
fn theme() -> Theme {
    Theme::new(AutoStream::choice(&std::io::stdout()) != ColorChoice::Never)
}

/// When somebody may be asked again.
#[derive(Default)]
struct Pace {
    asked: Option<Instant>,
    next: Option<Instant>,
}

impl Pace {
    /// Whether to ask now; if so, it counts as asked.
    fn may_ask(&mut self) -> bool {
        let may = self.asked.is_none() && self.next.is_none_or(|next| Instant::now() >= next);
        if may {
            self.asked = Some(Instant::now());
        }
        may
    }

    fn answered(&mut self) {
        if let Some(asked) = self.asked.take() {
            self.next = Some(Instant::now() + asked.elapsed() * REST);
        }
    }
}

/// The terminal and what is shown on it.
struct Console {
    // In this order: nobody reads keys any more, the terminal is as before, what was logged is written.
    _keys: Keys,
    terminal: Screen,
    keeping: log::Keeping,
    state: State,
    answers: UnboundedReceiver<Event>,
    channel: Pace,
    changed: bool,
}

/// The terminal while it is the console's.
struct Screen(DefaultTerminal);

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

impl Console {
    /// Takes the terminal over.
    fn open(
        state: State,
        say: UnboundedSender<Event>,
        answers: UnboundedReceiver<Event>,
    ) -> anyhow::Result<Console> {
        let keeping = log::keep();
        // A panic, too, leaves the terminal as it was.
        let terminal = Screen(ratatui::try_init()?);
        Ok(Console {
            _keys: Keys::listen(say)?,
            terminal,
            keeping,
            state,
            answers,
            channel: Pace::default(),
            changed: true,
        })
    }

    /// Draws what has changed, and waits for what happens next; `None` if that is the time alone.
    async fn next(&mut self) -> anyhow::Result<Option<Event>> {
        if self.changed {
            self.changed = false;
            let state = &mut self.state;
            self.terminal.0.draw(|frame| draw(frame, state))?;
        }
        tokio::select! {
            // One sender lives as long as the keys are read.
            Some(event) = self.answers.recv() => Ok(Some(event)),
            () = tokio::time::sleep(TICK) => Ok(None),
        }
    }

    /// Takes in what happened. Returns what the console wants to know.
    fn take(&mut self, happened: Option<Event>) -> Vec<Ask> {
        if let Some(note) = self.keeping.latest() {
            self.changed = true;
            self.state.update(Event::Note(note));
        }
        let Some(event) = happened else {
            return Vec::new();
        };
        self.changed = true;
        if matches!(event, Event::Channel(..)) {
            self.channel.answered();
        }
        self.state.update(event)
    }

    /// Asks for a read or search of memory, unless one of a channel is under way.
    fn read(&mut self, reader: &mpsc::Sender<Ask>, ask: Ask) {
        if matches!(ask, Ask::Channel(_)) && !self.channel.may_ask() {
            return;
        }
        // It is gone only if it panicked, which was said.
        let _ = reader.send(ask);
    }
}

/// The thread that reads keys; it ends with this.
struct Keys {
    end: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Keys {
    fn listen(say: UnboundedSender<Event>) -> std::io::Result<Keys> {
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let thread = thread::Builder::new()
            .name("gotrace-keys".to_owned())
            .spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    let event = match event::poll(TICK) {
                        Ok(true) => event::read(),
                        Ok(false) => continue,
                        Err(error) => Err(error),
                    };
                    let said = match event {
                        Ok(event::Event::Key(key)) => say.send(Event::Key(key)),
                        Ok(event::Event::Resize(..)) => say.send(Event::Resized),
                        Ok(_) => Ok(()),
                        // The terminal is gone, of which a signal tells.
                        Err(_) => return,
                    };
                    if said.is_err() {
                        return;
                    }
                }
            })?;
        Ok(Keys { end, thread })
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let patience = Instant::now() + 4 * TICK;
        // Of a terminal that is gone crossterm reads for ever: then the thread ends with the process.
        while !self.thread.is_finished() && Instant::now() < patience {
            thread::sleep(TICK / 8);
        }
    }
}

/// What the trace knows, and is asked in passing.
enum Quick {
    Look,
    Goroutine(Goid),
}

/// The thread that asks the trace, until nobody asks it.
fn looks_of_trace(
    traced: &Traced,
    say: UnboundedSender<Event>,
) -> std::io::Result<(mpsc::Sender<Quick>, JoinHandle<()>)> {
    let (ask, asked) = mpsc::channel();
    let inputs = traced.inputs.clone();
    let symbols: Arc<dyn Symbolizer + Send + Sync> = Arc::new(traced.symbols.clone());
    let thread = thread::Builder::new()
        .name("gotrace-looks".to_owned())
        .spawn(move || {
            let mut before: Option<Arc<Look>> = None;
            for quick in asked {
                let event = match quick {
                    Quick::Look => {
                        let question = |reply| Input::View {
                            channels: true,
                            reply,
                        };
                        let Some(view) = answer(&inputs, question) else {
                            return;
                        };
                        let look = Look::new(
                            view.snapshot,
                            view.findings,
                            view.unsure,
                            Arc::clone(&symbols),
                            before.as_deref(),
                        );
                        Event::Look(Arc::clone(before.insert(Arc::new(look))))
                    }
                    Quick::Goroutine(goid) => {
                        let question = |reply| Input::Goroutine(goid, reply);
                        let Some(counts) = answer(&inputs, question) else {
                            return;
                        };
                        Event::Goroutine(goid, counts.map(Box::new))
                    }
                };
                if say.send(event).is_err() {
                    return;
                }
            }
        })?;
    Ok((ask, thread))
}

/// Asks the pipeline; `None` if it has ended.
fn answer<T>(
    inputs: &mpsc::Sender<Input>,
    question: impl FnOnce(oneshot::Sender<T>) -> Input,
) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    inputs.send(question(reply)).ok()?;
    answer.blocking_recv().ok()
}

/// The thread that reads and searches memory. Nobody waits for its end: a search can take long.
fn reader(
    args: SourceArgs,
    values: ValuesArgs,
    say: UnboundedSender<Event>,
) -> std::io::Result<mpsc::Sender<Ask>> {
    let (ask, asked) = mpsc::channel();
    thread::Builder::new()
        .name("gotrace-reads".to_owned())
        .spawn(move || {
            let mut source = None;
            for ask in asked {
                let event = match ask {
                    Ask::Channel(addr) => {
                        let channel = opened(&mut source, &args)
                            .and_then(|source| Ok(read_channel(source, addr, &values)?));
                        Event::Channel(addr, channel.map_err(one_line))
                    }
                    Ask::Why(goid) => {
                        let told = opened(&mut source, &args)
                            .and_then(|source| Ok(why::told(source, goid)?));
                        Event::Why(goid, told.map_err(one_line))
                    }
                    Ask::Goroutine(goid) => {
                        let counts = opened(&mut source, &args)
                            .ok()
                            .and_then(|source| source.story()?.goroutine(goid));
                        Event::Goroutine(goid, counts.map(Box::new))
                    }
                    Ask::Quit => return,
                };
                // Another gotrace takes a new snapshot for each question.
                if args.url.is_some() {
                    source = None;
                }
                if say.send(event).is_err() {
                    return;
                }
            }
        })?;
    Ok(ask)
}

fn opened<'a>(source: &'a mut Option<Source>, args: &SourceArgs) -> anyhow::Result<&'a mut Source> {
    match source {
        Some(source) => Ok(source),
        None => Ok(source.insert(Source::open_searched(args)?)),
    }
}

/// A failure as a console shows it.
fn one_line(error: anyhow::Error) -> String {
    format!("{error:#}").replace('\n', "; ")
}

/// Reads one channel with its values and who holds it.
fn read_channel(
    source: &mut Source,
    addr: ChanAddr,
    values: &ValuesArgs,
) -> Result<Box<Channel>, Failure> {
    let options = value_options(values, ChannelScope::Stacks, &[addr]);
    let mut channels = source.snapshot(&options)?.channels;
    let found = channels.iter().position(|channel| channel.addr == addr);
    match found {
        Some(at) => Ok(Box::new(channels.swap_remove(at))),
        None => Err(Failure::new(format!(
            "there is no channel at {addr} any more"
        ))),
    }
}

/// One look at what a file or another gotrace tells.
fn look_of(source: &mut Source, before: Option<&Look>) -> Result<Look, Failure> {
    let snapshot = source.snapshot(&ReadOptions::default())?;
    let findings = source.story().map(Story::current_findings);
    Ok(Look::new(
        snapshot,
        findings.unwrap_or_default(),
        source.unsure(),
        source.shared_symbols(),
        before,
    ))
}

/// Asks another gotrace again and again, until nobody wants to know.
fn snapshots(
    args: SourceArgs,
    interval: Duration,
    first: Arc<Look>,
    say: UnboundedSender<Event>,
) -> std::io::Result<()> {
    thread::Builder::new()
        .name("gotrace-looks".to_owned())
        .spawn(move || {
            let mut before = first;
            let mut took = Duration::ZERO;
            loop {
                thread::sleep(interval.max(took * REST));
                let began = Instant::now();
                let look = Source::open(&args)
                    .and_then(|mut source| Ok(look_of(&mut source, Some(&before))?));
                took = began.elapsed();
                let event = match look {
                    Ok(look) => {
                        before = Arc::new(look);
                        Event::Look(Arc::clone(&before))
                    }
                    Err(error) => Event::Note(one_line(error)),
                };
                if say.send(event).is_err() {
                    return;
                }
            }
        })?;
    Ok(())
}
