//! One process that is followed: who it is, what its memory said, what was found.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use tracer_golang::binary::GoBinary;
use tracer_golang::process::{GoProcess, ProcessError, Symbols, ktime_now};
use tracer_model::detect::Trends;
use tracer_model::ids::Ktime;

use super::Settings;
use super::binaries::{Reason, Unread};
use super::cluster::Cluster;
use super::container::{Place, Runtime};
use super::names::{Identity, Names, PodNames};
use super::told::Told;
use super::voice::Voice;
use crate::cli::Level;
use crate::document::WallClock;
use crate::document::agent::{Line, Process, State};
use crate::document::run::Loss;
use crate::kubernetes::{Choice, Decision};
use crate::target::{Target, file_name};
use crate::trace::measure::Measured;
use crate::trace::observer::{Observation, Pace, Reader};
use crate::trace::story::{Output, Story, Telling, Tick, View};

/// Between two searches for what is reachable, unless another one would soon make a verdict surer: they read the
/// whole heap, and what is stuck stays so.
const READS_A_MARK: u32 = 4;

/// Who a process is.
pub(crate) struct Card {
    pub(crate) identity: Identity,
    runtime: Option<Runtime>,
    /// The name of its program's file.
    pub(crate) process: String,
    since: String,
    names: Names,
    tracing: Mutex<Tracing>,
}

/// How closely a process is traced.
#[derive(Clone, Debug)]
pub(super) struct Tracing {
    /// As it was asked for.
    pub(super) asked: Level,
    /// As it is.
    pub(super) level: Level,
    /// Why it is not as it was asked for, or why `auto` is what it is.
    pub(super) why: Option<String>,
}

impl Card {
    /// What its pod is called, as far as it is known by now.
    pub(crate) fn names(&self) -> PodNames {
        (self.names)(&self.identity).unwrap_or_default()
    }

    /// For documents.
    pub(crate) fn process(&self) -> Process {
        let tracing = self.tracing().clone();
        Process {
            pid: self.identity.pid,
            start_ticks: self.identity.start,
            process: self.process.clone(),
            since: self.since.clone(),
            level: tracing.level.name(),
            asked: (tracing.asked != Level::Observe).then(|| tracing.asked.name()),
            why: tracing.why,
            runtime: self.runtime,
            container_id: self.identity.container.clone(),
            pod_uid: self.identity.pod_uid.clone(),
            names: self.names(),
        }
    }
}

impl Card {
    /// How closely it is traced. Locked for moments.
    fn tracing(&self) -> MutexGuard<'_, Tracing> {
        self.tracing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the reads of a process went.
#[derive(Clone, Debug, Default)]
struct Reads {
    count: u64,
    last: Option<Ktime>,
    failed: Option<String>,
}

/// A process that is followed.
pub(crate) struct Followed {
    pub(crate) card: Arc<Card>,
    pub(crate) target: Target,
    pub(crate) symbols: Symbols,
    /// Held for as long as a read is joined to what is known, not while memory is read.
    story: Mutex<Story>,
    reads: Mutex<Reads>,
    /// What the kernel side counted of it, as of late.
    counted: Mutex<Tick>,
    /// What the operator chose for its name.
    chosen: Option<Level>,
}

/// Why a process is not followed, at least not now.
pub(super) enum Refusal {
    /// It never will be.
    For(Unread),
    /// Its runtime may not be there yet.
    NotYet(String),
    /// It is not selected as things are, which can change; the reason, and whether that may be soon.
    NotSelected { why: String, soon: bool },
}

/// Which container and pod a process is in, as far as its control group says.
pub(super) fn place_of(pid: u32) -> Place {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    Place::of(&groups)
}

/// Who a process is, and by whom its container is run; `None` if it has ended.
fn identify(pid: u32) -> Option<(Identity, Option<Runtime>)> {
    let start = start_of(pid)?;
    let place = place_of(pid);
    let identity = Identity {
        pid,
        start,
        container: place.container,
        pod_uid: place.pod,
    };
    Some((identity, place.runtime))
}

/// Whether a cluster wants a process to be followed.
pub(super) fn check(pid: u32, cluster: &Cluster) -> Result<(), Refusal> {
    let (identity, _) = identify(pid).ok_or(Refusal::For(Unread::Gone))?;
    if identity.pod_uid.is_none() {
        // It is not moved into one later.
        return Err(Refusal::For(Unread::NotSelected));
    }
    let Decision { choice, reason } = cluster.decide(&identity);
    match choice {
        Choice::Trace(_) => {
            tracing::debug!("process {pid} is selected: {reason}");
            Ok(())
        }
        Choice::Skip | Choice::Wait => Err(Refusal::NotSelected {
            why: reason,
            soon: choice == Choice::Wait,
        }),
    }
}

/// When a process was started, in clock ticks since boot; `None` if it has ended.
pub(super) fn start_of(pid: u32) -> Option<u64> {
    let process = procfs::process::Process::new(i32::try_from(pid).ok()?).ok()?;
    let stat = process.stat().ok()?;
    // Of a zombie all but its exit code is gone.
    (!matches!(stat.state, 'Z' | 'X' | 'x')).then_some(stat.starttime)
}

/// Begins to follow a process.
pub(super) fn follow(
    pid: u32,
    binary: &Arc<GoBinary>,
    settings: &Settings,
    voice: &Arc<Voice>,
) -> Result<(Arc<Followed>, Reader), Refusal> {
    let gone = || Refusal::For(Unread::Gone);
    let (identity, runtime) = identify(pid).ok_or_else(gone)?;
    let cluster = settings.cluster.clone();
    let target = Target::of_known(pid, Arc::clone(binary)).map_err(|_| gone())?;
    let process = GoProcess::attach(pid, Arc::clone(binary)).map_err(refusal)?;
    let card = Arc::new(Card {
        identity,
        runtime,
        process: file_name(&target.info.exe),
        since: settings.clock.rfc3339(ktime_now()),
        names: Arc::clone(&settings.names),
        tracing: Mutex::new(Tracing {
            asked: Level::Observe,
            level: Level::Observe,
            why: None,
        }),
    });
    let command = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let chosen = settings.levels.of(&[&card.process, command.trim_end()]);
    let symbols = process.symbols();
    let pace = Pace {
        interval: settings.interval,
        eager: 0,
        between_marks: settings.interval * READS_A_MARK,
    };
    let reader = Reader::new(process, settings.options.clone(), pace);
    let (voice, spoken) = (Arc::clone(voice), Arc::clone(&card));
    let (otel, about) = (settings.otel.clone(), target.info.clone());
    let story = Story::new(
        Telling {
            symbols: Arc::new(symbols.clone()),
            clock: settings.clock,
            listener: Box::new(move |output| match output {
                Output::Finding(finding) => {
                    if let Some(cluster) = &cluster {
                        cluster.report(&spoken.identity, &finding);
                    }
                    let process = &spoken.process();
                    if let Some(otel) = &otel {
                        otel.finding(process, &about, &finding);
                    }
                    voice.say(Line::Finding {
                        process,
                        finding: &finding,
                    });
                }
                Output::Resolved(id) => {
                    let process = &spoken.process();
                    if let Some(otel) = &otel {
                        otel.resolved(process, &about, &id);
                    }
                    voice.say(Line::Resolved { process, id: &id });
                }
                // Summaries and reports are not asked for.
                Output::Summary(_)
                | Output::Governor { .. }
                | Output::Warning(_)
                | Output::Report(_) => {}
            }),
            feed: None,
            recorder: None,
            farewell: None,
            trends: Some(Trends::new(settings.trend_window)),
        },
        false,
    );
    let followed = Followed {
        card,
        target,
        symbols,
        story: Mutex::new(story),
        reads: Mutex::default(),
        counted: Mutex::default(),
        chosen,
    };
    Ok((Arc::new(followed), reader))
}

fn refusal(error: ProcessError) -> Refusal {
    if error.is_gone() {
        Refusal::For(Unread::Gone)
    } else if error.is_denied() {
        Refusal::For(Unread::Refused {
            reason: Reason::Denied,
            why: error.to_string().into(),
        })
    } else {
        Refusal::NotYet(error.to_string())
    }
}

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    Read,
    Failed,
    Gone,
}

impl Followed {
    /// Takes in what a read saw.
    pub(super) fn observed(&self, observation: Observation) -> Came {
        let mut reads = self.reads();
        match observation {
            Observation::Snapshot(snapshot) => {
                reads.count += 1;
                reads.last = Some(snapshot.finished);
                reads.failed = None;
                drop(reads);
                self.story().observed(snapshot);
                Came::Read
            }
            Observation::Failed(why) => {
                reads.failed = Some(why);
                Came::Failed
            }
            Observation::Gone => Came::Gone,
        }
    }

    /// What is known of it, in numbers.
    pub(crate) fn measured(&self) -> Measured {
        self.story().measured(self.tick())
    }

    /// What is known of it.
    pub(crate) fn view(&self, channels: bool) -> View {
        self.story().view(self.tick(), channels)
    }

    /// For documents.
    pub(crate) fn state(&self, clock: WallClock) -> State {
        let Reads {
            count,
            last,
            failed,
        } = self.reads().clone();
        let (measured, findings) = {
            let story = self.story();
            (story.measured(self.tick()), story.findings().count())
        };
        State {
            process: self.card.process(),
            target: self.target.info.clone(),
            read: last.map(|last| clock.rfc3339(last)),
            reads: count,
            failed,
            goroutines: measured.goroutines.users(),
            system_goroutines: measured.goroutines.systems(),
            findings,
        }
    }

    /// The level that is asked for, by the operator or else by its pod, as far as its cluster has told.
    pub(super) fn asked(&self, choice: Option<Choice>) -> Level {
        let annotated = match choice {
            Some(Choice::Trace(level)) => level,
            Some(Choice::Skip | Choice::Wait) | None => None,
        };
        self.chosen.or(annotated).unwrap_or(Level::Observe)
    }

    /// The level that it is traced at, and whether it is a lower one than was asked for.
    pub(crate) fn level(&self) -> (Level, bool) {
        let Tracing { asked, level, .. } = self.tracing();
        let least = match asked {
            // As much as the budget allows, but not nothing.
            Level::Auto => Level::Wake,
            asked => asked,
        };
        (level, level < least)
    }

    /// How closely it is traced.
    pub(super) fn tracing(&self) -> Tracing {
        self.card.tracing().clone()
    }

    /// Notes how closely it is traced.
    pub(super) fn traced(&self, tracing: Tracing) {
        *self.card.tracing() = tracing;
    }

    /// Notes what the kernel side counted.
    pub(super) fn counted(&self, tick: Tick) {
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = tick;
    }

    /// What events told of it so far, as far as it was counted.
    pub(super) fn told(&self) -> Told {
        Told::of(self.story().totals(), &self.loss())
    }

    /// What was lost of its events, as far as it was counted.
    pub(super) fn loss(&self) -> Loss {
        self.tick().loss
    }

    /// What was counted, as of now.
    fn tick(&self) -> Tick {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        Tick {
            at: ktime_now(),
            ..counted.clone()
        }
    }

    pub(super) fn story(&self) -> MutexGuard<'_, Story> {
        self.story.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, unless somebody has it.
    pub(super) fn story_if_free(&self) -> Option<MutexGuard<'_, Story>> {
        match self.story.try_lock() {
            Ok(story) => Some(story),
            Err(TryLockError::Poisoned(story)) => Some(story.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn reads(&self) -> MutexGuard<'_, Reads> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
