//! `gotrace.flow/1`: the ways of messages, who wakes whom, and the locks that are waited for.

use schemars::JsonSchema;
use serde::Serialize;
use tracer_model::ids::Pc;
use tracer_model::symbol::Symbolizer;
use tracer_model::wait::WaitObject;
use tracer_model::world::{self, HopTimes, World};

use super::{Site, Target, seconds};

/// The schema of the document.
pub(crate) const SCHEMA: &str = "gotrace.flow/1";

/// How many of each are told.
const TOP: usize = 20;

/// The document.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FlowDocument")]
pub(crate) struct Document<'a> {
    #[schemars(extend("const" = SCHEMA))]
    pub(crate) schema: &'static str,
    pub(crate) target: &'a Target,
    #[serde(flatten)]
    pub(crate) flow: &'a Flow,
}

/// What went from goroutine to goroutine since attach.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Flow {
    pub(crate) messages: Messages,
    /// Over which hops messages took longest in all, longest first.
    pub(crate) hops: Vec<Hop>,
    /// The ways of several hops that took most time in all.
    pub(crate) paths: Vec<Path>,
    /// Who wakes whom most often.
    pub(crate) wakes: Vec<Wake>,
    /// What is waited for longest in all.
    pub(crate) locks: Vec<Lock>,
}

/// How many messages were followed, and how operations ended that neither parked nor met a waiting
/// goroutine.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Messages {
    /// From a sender to a receiver that are both known.
    pub(crate) delivered: u64,
    /// Received from whom is not known.
    pub(crate) unknown: u64,
    /// Taken for sent, and never received.
    pub(crate) stale: u64,
    pub(crate) buffered_sends: u64,
    pub(crate) buffered_receives: u64,
    pub(crate) failed_sends: u64,
    pub(crate) failed_receives: u64,
    pub(crate) closed_receives: u64,
}

/// A channel, by where it was made, and where it was sent to and received from.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Hop {
    pub(crate) made_at: Option<Site>,
    pub(crate) sent_at: Option<Site>,
    pub(crate) received_at: Option<Site>,
    pub(crate) messages: u64,
    /// Of one message, on average: what its sender did since what it received before.
    pub(crate) work_seconds: f64,
    /// Its sender waited for room or a receiver.
    pub(crate) blocked_seconds: f64,
    /// It lay in the buffer.
    pub(crate) queued_seconds: f64,
    /// Its receiver, woken for it, waited to run.
    pub(crate) scheduling_seconds: f64,
    /// The longest time from a send's begin to its receive.
    pub(crate) longest_seconds: f64,
}

/// A way over several channels.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Path {
    /// Messages that ended there.
    pub(crate) ended: u64,
    /// From the first send to the end, on average.
    pub(crate) mean_seconds: f64,
    pub(crate) hops: Vec<PathHop>,
}

/// A hop of a way.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct PathHop {
    /// The share of the way's time between the begin of this send and its receiver's run.
    pub(crate) transit_share: f64,
    /// The share of the work before it.
    pub(crate) work_share: f64,
    #[serde(flatten)]
    pub(crate) hop: Hop,
}

/// A kind of wake-up.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Wake {
    /// The waker's function; `null` if it is not known or the runtime itself woke.
    pub(crate) waker: Option<String>,
    pub(crate) wait_reason: String,
    /// The woken goroutine's function, if known.
    pub(crate) woken: Option<String>,
    pub(crate) count: u64,
}

/// A lock, or what else has a semaphore or a notify list.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Lock {
    /// Of the semaphore's word or the notify list.
    pub(crate) address: String,
    /// Attempts that did not get it at once.
    pub(crate) attempts: u64,
    /// Waits that ended.
    pub(crate) waits: u64,
    pub(crate) blocked_seconds: f64,
    pub(crate) longest_seconds: f64,
}

impl Flow {
    /// What the world knows.
    pub(crate) fn new(world: &World, symbols: &dyn Symbolizer) -> Flow {
        let flows = world.flows();
        let outcomes = flows.outcomes();
        let function = |start: Option<Pc>| Some(Site::of(start?, symbols)?.function);
        Flow {
            messages: Messages {
                delivered: flows.delivered(),
                unknown: flows.unknown(),
                stale: flows.stale(),
                buffered_sends: outcomes.buffered_sends,
                buffered_receives: outcomes.buffered_receives,
                failed_sends: outcomes.failed_sends,
                failed_receives: outcomes.failed_receives,
                closed_receives: outcomes.closed_receives,
            },
            hops: flows
                .hops(TOP)
                .into_iter()
                .map(|(hop, times)| Hop::new(hop, times, symbols))
                .collect(),
            paths: flows
                .paths(TOP)
                .into_iter()
                .map(|path| Path::new(&path, symbols))
                .collect(),
            wakes: world
                .wakes()
                .top(TOP)
                .into_iter()
                .map(|(wake, count)| Wake {
                    waker: function(wake.waker),
                    wait_reason: wake.reason.to_string(),
                    woken: function(wake.woken),
                    count,
                })
                .collect(),
            locks: world
                .locks()
                .top(TOP)
                .into_iter()
                .filter_map(|(object, lock)| {
                    let (WaitObject::Semaphore(address) | WaitObject::Cond(address)) = object
                    else {
                        return None;
                    };
                    Some(Lock {
                        address: address.to_string(),
                        attempts: lock.attempts,
                        waits: lock.waits,
                        blocked_seconds: seconds(lock.blocked_nanos),
                        longest_seconds: seconds(lock.longest_nanos),
                    })
                })
                .collect(),
        }
    }
}

impl Hop {
    fn new(hop: world::Hop, times: HopTimes, symbols: &dyn Symbolizer) -> Hop {
        let site = |pc: Option<Pc>| Site::of(pc?, symbols);
        let mean = |nanos: u64| seconds(nanos) / times.count.max(1) as f64;
        Hop {
            made_at: site(hop.made),
            sent_at: site(hop.sent),
            received_at: site(hop.received),
            messages: times.count,
            work_seconds: mean(times.work_nanos),
            blocked_seconds: mean(times.blocked_nanos),
            queued_seconds: mean(times.queued_nanos),
            scheduling_seconds: mean(times.scheduling_nanos),
            longest_seconds: seconds(times.longest_nanos),
        }
    }

    /// From the send's begin until the receiver has the message and runs, on average.
    pub(crate) const fn transit_seconds(&self) -> f64 {
        self.blocked_seconds + self.queued_seconds + self.scheduling_seconds
    }
}

impl Path {
    fn new(path: &world::Path, symbols: &dyn Symbolizer) -> Path {
        let mean_seconds = seconds(path.mean_nanos());
        let share = |seconds: f64| {
            if mean_seconds > 0.0 {
                seconds / mean_seconds
            } else {
                0.0
            }
        };
        Path {
            ended: path.ended,
            mean_seconds,
            hops: path
                .hops
                .iter()
                .map(|&(hop, times)| {
                    let hop = Hop::new(hop, times, symbols);
                    PathHop {
                        transit_share: share(hop.transit_seconds()),
                        work_share: share(hop.work_seconds),
                        hop,
                    }
                })
                .collect(),
        }
    }
}
