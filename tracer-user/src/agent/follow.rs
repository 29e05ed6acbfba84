//! One process that is followed: who it is, what its memory said, what was found.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracer_golang::binary::GoBinary;
use tracer_golang::process::{GoProcess, ProcessError, Symbols, ktime_now};
use tracer_model::detect::Trends;
use tracer_model::ids::Ktime;

use super::Settings;
use super::binaries::{Reason, Unread};
use super::cluster::Cluster;
use super::container::{Place, Runtime};
use super::names::{Identity, Names, PodNames};
use super::voice::Voice;
use crate::cli::Level;
use crate::document::WallClock;
use crate::document::agent::{Line, Process, State};
use crate::kubernetes::{Choice, Decision};
use crate::target::{Target, file_name};
use crate::trace::measure::Measured;
use crate::trace::observer::{Observation, Pace, Reader};
use crate::trace::story::{Output, Story, Telling, Tick, View};

/// What is traced of a process.
const LEVEL: &str = "observe";
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
}

impl Card {
    /// What its pod is called, as far as it is known by now.
    pub(crate) fn names(&self) -> PodNames {
        (self.names)(&self.identity).unwrap_or_default()
    }

    /// For documents.
    pub(crate) fn process(&self) -> Process {
        Process {
            pid: self.identity.pid,
            start_ticks: self.identity.start,
            process: self.process.clone(),
            since: self.since.clone(),
            level: LEVEL,
            runtime: self.runtime,
            container_id: self.identity.container.clone(),
            pod_uid: self.identity.pod_uid.clone(),
            names: self.names(),
        }
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
        Choice::Trace(None | Some(Level::Observe)) => {
            tracing::debug!("process {pid} is selected: {reason}");
            Ok(())
        }
        Choice::Trace(Some(level)) => {
            let level = level.name();
            tracing::debug!(
                "process {pid} is selected: {reason}; an agent observes, not more ({level})"
            );
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
    });
    let symbols = process.symbols();
    let pace = Pace {
        interval: settings.interval,
        eager: 0,
        between_marks: settings.interval * READS_A_MARK,
    };
    let reader = Reader::new(process, settings.options.clone(), pace);
    let (voice, spoken) = (Arc::clone(voice), Arc::clone(&card));
    let story = Story::new(
        Telling {
            symbols: Arc::new(symbols.clone()),
            clock: settings.clock,
            listener: Box::new(move |output| match output {
                Output::Finding(finding) => {
                    if let Some(cluster) = &cluster {
                        cluster.report(&spoken.identity, &finding);
                    }
                    voice.say(Line::Finding {
                        process: &spoken.process(),
                        finding: &finding,
                    });
                }
                Output::Resolved(id) => voice.say(Line::Resolved {
                    process: &spoken.process(),
                    id: &id,
                }),
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
        self.story().measured(now())
    }

    /// What is known of it.
    pub(crate) fn view(&self, channels: bool) -> View {
        self.story().view(now(), channels)
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
            (story.measured(now()), story.findings().count())
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

    fn story(&self) -> MutexGuard<'_, Story> {
        self.story.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reads(&self) -> MutexGuard<'_, Reads> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing but memory is counted.
fn now() -> Tick {
    Tick {
        at: ktime_now(),
        ..Tick::default()
    }
}
