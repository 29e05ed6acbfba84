//! Probes in processes: one thread has the one loaded BPF object and its one ring, and hands what comes from there to
//! the story of the process that it is of.
//!
//! A process that is traced has a slot of the kernel side's tables to itself: its offsets, its counters, its sequence
//! numbers. So what is lost is known of each, whoever filled the ring. When it leaves, its probes go, the ring is read
//! until nothing of it can be in there, what it lost is counted, and the slot is another one's.
//!
//! The object is loaded when the first process is to be traced, and stays. Where that fails, all are observed.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use tracer_golang::process::{WaitDecoder, ktime_now};
use tracer_model::event::Event;
use tracer_model::ids::Ktime;

use super::follow::{Followed, Tracing};
use super::pool::Pool;
use super::share::{Share, Step, Use};
use super::told::Told;
use super::voice::Voice;
use crate::cli::Level;
use crate::document::agent::Line;
use crate::document::run::Loss;
use crate::failure::Failure;
use crate::trace::calibrate;
use crate::trace::decode::Head;
use crate::trace::governed::Governed;
use crate::trace::governor::{Governor, Plan};
use crate::trace::intake::{Intake, SLACK};
use crate::trace::kernel::{Attachment, Kernel, KernelError, Ring, Settings};
use crate::trace::pipeline::named;
use crate::trace::preflight::Host;
use crate::trace::probes::{Placing, sites};
use crate::trace::story::{Story, Tick};

/// Processes that are traced with probes at a time, at most.
pub(crate) const SLOTS: u32 = 256;
/// Size of the ring that all share.
const RING_BYTES: u32 = 8 << 20;
/// The smallest record: so many are in the ring at most.
const LEAST_RECORD: usize = size_of::<tracer_common::PlainRecord>();
/// How often the ring is drained when nothing wakes the thread: a window's end is met by so much.
const DRAIN: Duration = Duration::from_millis(20);
/// Records that one drain takes at most, before anything else gets its turn.
const DRAIN_RECORDS: usize = 1 << 16;
/// Between two looks at what the probes of a process cost, unless they are there for a window.
const JUDGE: Duration = Duration::from_millis(250);
/// Between two looks at what all cost together, and two counts for whoever asks.
const COUNT: Duration = Duration::from_secs(1);
/// Events that wait for a story that somebody else has, at most: then they are waited with.
const MOST_HELD: usize = 1 << 17;
/// Between two reads of memory, at least, that windows ask for: each leaves nothing certain behind.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// What the pool says.
pub(super) enum Order {
    /// This process is to be traced so closely.
    Trace(Arc<Followed>, Level),
    /// This one is not followed any more.
    Leave(Arc<Followed>),
    /// Come to an end.
    End,
}

/// What the probes may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budgets {
    /// Share of a process' CPU time.
    pub(super) process: f64,
    /// Share of the CPU time of all CPUs.
    pub(super) node: f64,
}

/// The kernel side.
struct Loaded {
    kernel: Kernel,
    ring: Ring,
    /// Tells of wake-ups by the kernel side alone, not of each record.
    wakeups: OwnedFd,
    /// The cost of one hit.
    hit_seconds: f64,
}

/// A process with a slot.
struct Traced {
    followed: Arc<Followed>,
    asked: Level,
    intake: Intake,
    governed: Governed,
    attachment: Option<Attachment>,
    /// Records came since the last look at its losses.
    arrived: bool,
    /// Something was lost, which is to be told before anything else.
    lost: Option<Event>,
    /// When its story was last told that nothing is to come.
    heard: Ktime,
    judged: Instant,
    read_asked: Instant,
    /// What was taken and lost when it was counted last.
    spent: f64,
    told: Told,
    /// What was lost of it when it was traced before.
    before: Loss,
}

/// The thread's state.
pub(super) struct Tracer {
    orders: Receiver<Order>,
    pool: Arc<Pool>,
    voice: Arc<Voice>,
    budgets: Budgets,
    /// `None`: nobody needed it so far; else it is there, or why it is not.
    loaded: Option<Result<Loaded, String>>,
    /// By slot.
    traced: Vec<Option<Traced>>,
    /// Those that wait for a slot.
    waiting: VecDeque<(Arc<Followed>, Level)>,
    share: Share,
    counted: Instant,
}

impl Tracer {
    pub(super) fn new(
        budgets: Budgets,
        orders: Receiver<Order>,
        pool: Arc<Pool>,
        voice: Arc<Voice>,
    ) -> Tracer {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Tracer {
            orders,
            pool,
            voice,
            budgets,
            loaded: None,
            traced: Vec::new(),
            waiting: VecDeque::new(),
            share: Share::new(budgets.node, cpus),
            counted: Instant::now(),
        }
    }

    /// Traces until it is told to end; then all probes are gone.
    pub(super) fn run(mut self) {
        while self.obey() {
            self.wait();
            self.drain();
            self.govern();
            if self.counted.elapsed() >= COUNT {
                self.count();
            }
        }
        self.end();
    }

    /// Removes all probes and takes in what they said.
    fn end(&mut self) {
        if let Some(Ok(loaded)) = &mut self.loaded {
            let attachments = self.traced.iter_mut().flatten();
            let attachments = attachments.filter_map(|traced| traced.attachment.take());
            loaded.kernel.detach_all(attachments.collect());
        }
        self.drain_all();
        for slot in 0..self.traced.len() {
            self.take_rest(slot);
            self.leave(slot);
        }
    }

    /// Does what it was told to, and waits for that while it has nothing else to do. Tells whether it goes on.
    fn obey(&mut self) -> bool {
        loop {
            let order = match self.is_idle() {
                true => self.orders.recv().map_err(|_| TryRecvError::Disconnected),
                false => self.orders.try_recv(),
            };
            match order {
                Ok(Order::Trace(followed, level)) => self.trace(followed, level),
                Ok(Order::Leave(followed)) => self.left(&followed),
                Ok(Order::End) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
            // Probes take a while to be placed, and nobody else reads the ring.
            self.drain();
        }
    }

    fn is_idle(&self) -> bool {
        self.traced.iter().all(Option::is_none)
    }

    /// Waits for a wake-up by the kernel side or the next drain.
    fn wait(&self) {
        let Some(Ok(loaded)) = &self.loaded else {
            return;
        };
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::try_from(DRAIN.as_nanos()).unwrap_or(i64::MAX),
        };
        let mut woken = [MaybeUninit::uninit()];
        // An interrupted wait is a short one.
        let _ = epoll::wait(&loaded.wakeups, &mut woken, Some(&timeout));
    }

    fn slot_of(&self, followed: &Arc<Followed>) -> Option<usize> {
        self.traced.iter().position(|traced| {
            let traced = traced.as_ref();
            traced.is_some_and(|traced| Arc::ptr_eq(&traced.followed, followed))
        })
    }

    /// Has a process traced as closely as was asked for.
    fn trace(&mut self, followed: Arc<Followed>, asked: Level) {
        self.waiting
            .retain(|(waiting, _)| !Arc::ptr_eq(waiting, &followed));
        if let Some(slot) = self.slot_of(&followed) {
            let same = |traced: &Traced| traced.asked == asked;
            if self.traced[slot].as_ref().is_some_and(same) {
                return;
            }
            self.leave(slot);
        }
        if asked == Level::Observe {
            self.say(&followed, observed(asked, None));
        } else if let Err(why) = self.begin(&followed, asked) {
            self.pool.health.unprobed.add(1);
            self.say(&followed, observed(asked, Some(why)));
        }
        self.next_in_line();
    }

    /// A process is not followed any more.
    fn left(&mut self, followed: &Arc<Followed>) {
        self.waiting
            .retain(|(waiting, _)| !Arc::ptr_eq(waiting, followed));
        if let Some(slot) = self.slot_of(followed) {
            self.leave(slot);
            self.next_in_line();
        }
    }

    /// Gives free slots to those that wait for one.
    fn next_in_line(&mut self) {
        while self.free_slot().is_some() {
            let Some((followed, asked)) = self.waiting.pop_front() else {
                return;
            };
            if let Err(why) = self.begin(&followed, asked) {
                self.say(&followed, observed(asked, Some(why)));
            }
        }
    }

    fn free_slot(&self) -> Option<usize> {
        let free = self.traced.iter().position(Option::is_none);
        free.or_else(|| (self.traced.len() < SLOTS as usize).then_some(self.traced.len()))
    }

    /// Begins to trace a process; else it is told why not.
    fn begin(&mut self, followed: &Arc<Followed>, asked: Level) -> Result<(), String> {
        let Some(slot) = self.free_slot() else {
            self.waiting.push_back((Arc::clone(followed), asked));
            return Err(format!("{SLOTS} processes are traced with probes already"));
        };
        let loaded = self.loaded.get_or_insert_with(load);
        let loaded = loaded.as_mut().map_err(|why| why.clone())?;
        let number = u32::try_from(slot).map_err(|error| error.to_string())?;
        let target = &followed.target;
        let sites = sites(&target.binary, asked).map_err(|failure| failure.problem())?;
        let ended = || "it has ended, or runs another program".to_owned();
        let file = self.pool.binaries.open(target.pid, &target.binary);
        let file = file.ok_or_else(ended)?;
        target.binary.release();
        let placing = Placing::new(number, target, &sites.found, false)
            .map_err(|failure| failure.problem())?
            .in_file(file);
        loaded
            .kernel
            .clear(number)
            .map_err(|error| error.to_string())?;
        let governed = Governed::begin(
            placing,
            &loaded.kernel,
            asked,
            self.budgets.process,
            loaded.hit_seconds,
        );
        let now = Instant::now();
        let traced = Traced {
            followed: Arc::clone(followed),
            asked,
            intake: Intake::new(WaitDecoder::new(Arc::clone(&target.binary))),
            governed: governed.ok_or_else(ended)?,
            attachment: None,
            arrived: false,
            lost: None,
            heard: ktime_now(),
            judged: now,
            read_asked: now,
            spent: 0.0,
            told: followed.told(),
            before: followed.loss(),
        };
        if slot == self.traced.len() {
            self.traced.push(None);
        }
        self.traced[slot] = Some(traced);
        let left_out = sites.left_out.iter();
        let left_out: Vec<&str> = left_out.map(|(hook, _)| hook.program()).collect();
        let why = (!left_out.is_empty()).then(|| {
            let hooks = left_out.join(", ");
            format!("no safe place in this program for: {hooks}")
        });
        self.turn(slot, Governor::first(asked), Some(why));
        Ok(())
    }

    /// Places other probes in a process: the old ones go, what they said is taken in, the story is told of the gap,
    /// the new ones come. `why`: to be said, unless this is the next window or pause.
    fn turn(&mut self, slot: usize, plan: Plan, why: Option<Option<String>>) {
        self.detach(slot);
        let (Some(Ok(loaded)), Some(Some(traced))) = (&mut self.loaded, self.traced.get_mut(slot))
        else {
            return;
        };
        let (kernel, governed) = (&mut loaded.kernel, &mut traced.governed);
        let hooks = governed.hooks(plan);
        let placed = match hooks.is_empty() {
            true => Ok(None),
            false => governed.placing().place_silent(kernel, &hooks).map(Some),
        };
        // Before the first record of the new probes, after the last one of the old.
        traced
            .followed
            .story()
            .retraced(ktime_now(), plan.sees_parks());
        let placed = placed.and_then(|attachment| {
            traced.attachment = attachment;
            let placing = governed.placing();
            match hooks.is_empty() {
                true => Ok(()),
                false => kernel.configure(placing.slot(), placing.config()),
            }
        });
        governed.changed(plan, kernel);
        let followed = Arc::clone(&traced.followed);
        let asked = traced.asked;
        // What is known so far is not certain until memory is read.
        if why.is_some() || (hooks.is_empty() && traced.read_asked.elapsed() > READ_AGAIN) {
            traced.read_asked = Instant::now();
            self.pool.read_soon(&followed);
        }
        match (placed, why) {
            (Err(error), _) => {
                // A process that has just ended is no news.
                tracing::debug!("process {}: {error}", followed.card.identity.pid);
                self.leave(slot);
                self.pool.health.unprobed.add(1);
                self.say(&followed, observed(asked, Some(error.to_string())));
            }
            (Ok(()), Some(why)) => self.say(
                &followed,
                Tracing {
                    asked,
                    level: level(plan),
                    why,
                },
            ),
            (Ok(()), None) => {}
        }
    }

    /// Removes the probes of a process and takes in what they said.
    fn detach(&mut self, slot: usize) {
        let (Some(Ok(loaded)), Some(Some(traced))) = (&mut self.loaded, self.traced.get_mut(slot))
        else {
            return;
        };
        let Some(attachment) = traced.attachment.take() else {
            return;
        };
        loaded.kernel.detach(attachment);
        self.drain_all();
        self.take_rest(slot);
    }

    /// Takes in all that the ring holds. What others write meanwhile comes after that.
    fn drain_all(&mut self) {
        for _ in 0..=RING_BYTES as usize / LEAST_RECORD / DRAIN_RECORDS {
            if self.drain() {
                break;
            }
        }
    }

    /// Tells the story of a process what its probes said, which are removed.
    fn take_rest(&mut self, slot: usize) {
        if let Some(Some(traced)) = self.traced.get_mut(slot) {
            let mut story = traced.followed.story();
            if let Some(lost) = traced.lost.take() {
                story.event(&lost);
            }
            traced.intake.rest(|event| story.event(event));
        }
    }

    /// Ends tracing a process with probes: they go, what was lost is known, the slot is free.
    fn leave(&mut self, slot: usize) {
        self.detach(slot);
        let Some(mut traced) = self.traced.get_mut(slot).and_then(Option::take) else {
            return;
        };
        self.share.forget(number(slot));
        if let Some(Ok(loaded)) = &self.loaded {
            traced.governed.settle(&loaded.kernel);
            let counters = loaded.kernel.counters(number(slot));
            let counters = counters
                .inspect_err(|error| tracing::warn!("what was lost is not known: {error}"))
                .ok();
            let followed = Arc::clone(&traced.followed);
            let mut story = followed.story();
            let finished = ktime_now();
            traced
                .intake
                .finish(counters.as_deref(), |event| story.event(event));
            story.heard_until(finished);
            story.retraced(finished, false);
            count(&mut traced, &story, &loaded.kernel, &self.pool);
            let spent = traced.governed.account().spent;
            self.pool.health.probed(spent - traced.spent);
        }
        self.pool.read_soon(&traced.followed);
    }

    /// Takes in what the ring holds. Tells whether it was found empty.
    fn drain(&mut self) -> bool {
        let before = ktime_now();
        let Some(Ok(loaded)) = &mut self.loaded else {
            return true;
        };
        let (mut taken, mut strays) = (0, 0);
        let slots = &mut self.traced;
        let emptied = loaded.ring.drain(DRAIN_RECORDS, |record| {
            let head = Head::read(record);
            let slot = head.as_ref().map(|head| head.slot as usize);
            let traced = slot.and_then(|slot| slots.get_mut(slot)?.as_mut());
            match (head, traced) {
                (Some(head), Some(traced)) => {
                    traced.intake.headed(head, record);
                    traced.arrived = true;
                    taken += 1;
                }
                _ => strays += 1,
            }
        });
        self.pool.health.events.add(taken);
        if strays > 0 {
            tracing::warn!("{strays} events are of no process that is traced");
            self.pool.health.lost_events.add(strays);
        }
        for traced in slots.iter_mut().flatten() {
            traced.take(&loaded.kernel, before, emptied);
        }
        emptied
    }

    /// Changes what is traced where a governor says so.
    fn govern(&mut self) {
        for slot in 0..self.traced.len() {
            let (Some(Ok(loaded)), Some(Some(traced))) = (&self.loaded, self.traced.get_mut(slot))
            else {
                continue;
            };
            if !traced.governed.plan().windows && traced.judged.elapsed() < JUDGE {
                continue;
            }
            traced.judged = Instant::now();
            let Some(decision) = traced.governed.judge(&loaded.kernel) else {
                continue;
            };
            let as_asked = Governor::first(traced.asked) == decision.plan;
            let why = decision.change.map(|change| {
                let reason = change.reason(self.budgets.process);
                let skipped: Vec<&str> = decision
                    .plan
                    .skipped
                    .iter()
                    .map(|hook| hook.program())
                    .collect();
                match (decision.plan.windows, skipped.is_empty()) {
                    (true, _) => Some(format!("{reason}; in short windows alone")),
                    (false, false) => Some(format!("{reason}; without {}", skipped.join(", "))),
                    (false, true) => (!as_asked).then_some(reason),
                }
            });
            self.turn(slot, decision.plan, why);
        }
    }

    /// Counts what all did, and sees to it that they take no more of the node than they may together.
    fn count(&mut self) {
        let lasted = self.counted.elapsed().as_secs_f64();
        self.counted = Instant::now();
        let Some(Ok(loaded)) = &self.loaded else {
            return;
        };
        let mut uses = Vec::new();
        for (slot, traced) in self.traced.iter_mut().enumerate() {
            let Some(traced) = traced else {
                continue;
            };
            let followed = Arc::clone(&traced.followed);
            // Else it is counted the next time.
            if let Some(story) = followed.story_if_free() {
                count(traced, &story, &loaded.kernel, &self.pool);
            }
            let spent = traced.governed.account().spent;
            uses.push(Use {
                slot: number(slot),
                ceiling: traced.governed.ceiling(),
                cost: (spent - traced.spent) / 1e9 / lasted,
            });
            self.pool.health.probed(spent - traced.spent);
            traced.spent = spent;
        }
        if let Some(step) = self.share.judge(&uses, self.counted) {
            self.step(step);
        }
    }

    /// Traces a process less closely since all take too much, or lets it be traced more closely again.
    fn step(&mut self, step: Step) {
        let slot = step.slot as usize;
        let Some(Some(traced)) = self.traced.get_mut(slot) else {
            return;
        };
        let lower = traced.governed.limit(step.ceiling);
        if !step.down {
            // Its own governor takes it up.
            return;
        }
        self.pool.health.lowered.add(1);
        let (tax, budget) = (100.0 * step.tax, 100.0 * self.share.budget());
        let why = format!(
            "the probes in all processes took {tax:.2} % of the node's CPU time, more than {budget} %; at most {}",
            step.ceiling.name()
        );
        match lower {
            Some(plan) => self.turn(slot, plan, Some(Some(why))),
            None => {
                let followed = Arc::clone(&traced.followed);
                let tracing = Tracing {
                    why: Some(why),
                    ..followed.tracing()
                };
                followed.traced(tracing);
            }
        }
    }

    /// Notes how closely a process is traced, and says so if that is news.
    fn say(&self, followed: &Arc<Followed>, tracing: Tracing) {
        let before = followed.tracing();
        let is_news = before.level != tracing.level
            || before.asked != tracing.asked
            || before.why.is_some() != tracing.why.is_some();
        followed.traced(tracing);
        if is_news {
            self.voice.say(Line::Level {
                process: &followed.card.process(),
                before: before.level.name(),
            });
        }
    }
}

impl Traced {
    /// Tells the story what is certain by now, unless somebody else has it: then it is told later.
    fn take(&mut self, kernel: &Kernel, before: Ktime, emptied: bool) {
        // That something is lost is to be known before anything that came later is applied.
        if std::mem::take(&mut self.arrived) {
            match kernel.lost(self.governed.placing().slot()) {
                Ok(refused) => {
                    let lost = self.intake.refused(refused, ktime_now());
                    self.lost = self.lost.take().or(lost);
                }
                Err(error) => tracing::warn!("{error}"),
            }
        } else if self.intake.held() == 0 && before.since(self.heard) < nanos(JUDGE) {
            return;
        }
        let story = match self.intake.held() > MOST_HELD {
            true => Some(self.followed.story()),
            false => self.followed.story_if_free(),
        };
        let Some(mut story) = story else {
            return;
        };
        if let Some(lost) = self.lost.take() {
            story.event(&lost);
        }
        let read_until = if emptied {
            before
        } else {
            self.intake.newest()
        };
        self.intake.take(read_until, |event| story.event(event));
        // The ring was found empty of anything younger: nothing can precede what is held back.
        if emptied && self.intake.is_over(before) {
            self.intake.rest(|event| story.event(event));
            story.heard_until(Ktime(before.0.saturating_sub(SLACK)));
            self.heard = before;
        }
    }
}

/// Counts what a process did, for whoever asks.
fn count(traced: &mut Traced, story: &Story, kernel: &Kernel, pool: &Pool) {
    let loss = traced.intake.loss().plus(&traced.before);
    let told = Told::of(story.totals(), &loss);
    let lost = told.lost.saturating_sub(traced.told.lost);
    pool.health.lost_events.add(lost);
    let card = &traced.followed.card;
    let whose = (card.names(), card.process.clone());
    pool.sums().grow(whose, &told, &traced.told);
    traced.told = told;
    let hits = kernel
        .hits(traced.governed.placing().slot())
        .inspect_err(|error| tracing::warn!("{error}"));
    traced.followed.counted(Tick {
        at: ktime_now(),
        loss,
        hits: hits.map(named).unwrap_or_default(),
        hit_seconds: traced.governed.hit_seconds(),
        governor: Some(traced.governed.document()),
    });
}

/// A process that is observed, though perhaps more was asked for.
const fn observed(asked: Level, why: Option<String>) -> Tracing {
    Tracing {
        asked,
        level: Level::Observe,
        why,
    }
}

/// What a plan traces, in a word.
const fn level(plan: Plan) -> Level {
    match plan.windows {
        true => Level::Wake,
        false => plan.level,
    }
}

fn number(slot: usize) -> u32 {
    u32::try_from(slot).unwrap_or(u32::MAX)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Hears the wake-ups of a ring. A plain wait would end at once while there is any record.
fn wakeups(ring: &Ring) -> rustix::io::Result<OwnedFd> {
    let wakeups = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&wakeups, ring, epoll::EventData::new_u64(0), flags)?;
    Ok(wakeups)
}

/// Loads the kernel side and finds out what a hit costs here.
fn load() -> Result<Loaded, String> {
    let failed = |failure: Failure| {
        tracing::warn!("all processes are observed: {failure}");
        failure.problem()
    };
    Host::look().check_probes().map_err(failed)?;
    let not_loaded = |error: KernelError| {
        failed(Failure::new("the kernel side of gotrace cannot be used").because(error))
    };
    let mut kernel = Kernel::load(Settings {
        ring_bytes: RING_BYTES,
        slots: SLOTS,
        log: false,
        wake_always: false,
        single_links: false,
    })
    .map_err(not_loaded)?;
    let ring = kernel
        .take_ring()
        .ok_or_else(|| "its ring is gone".to_owned())?;
    let wakeups = wakeups(&ring).map_err(|error| error.to_string())?;
    Ok(Loaded {
        kernel,
        ring,
        wakeups,
        hit_seconds: calibrate::hit_seconds(),
    })
}
