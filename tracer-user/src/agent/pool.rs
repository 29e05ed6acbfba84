//! Processes, and the few threads that look at new ones and read those that are followed, each in its turn.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracer_golang::process::ReadOptions;

use super::Settings;
use super::binaries::{Binaries, Reason, Unread};
use super::budget::Budget;
use super::cluster::Cluster;
use super::follow::{self, Came, Followed, Refusal};
use super::health::Health;
use super::told::Sums;
use super::tracer::Order;
use super::voice::Voice;
use crate::cli::Level;
use crate::document::WallClock;
use crate::document::agent::{Line, PROCESSES, Processes, Refused};
use crate::kubernetes::Choice;
use crate::otel::{self, NodeOutlet};
use crate::target;
use crate::trace::cpu_clock::CpuClock;
use crate::trace::kernel::watch::Happened;
use crate::trace::observer::Reader;

/// From when a program is executed until it is looked at: many are over by then, and cost nothing.
const SETTLE: Duration = Duration::from_millis(200);
/// How long a program may take until its runtime is there, from when it was first looked at.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// Between the first two looks at one whose runtime is not; each pause is twice as long as the one before.
const RETRY: Duration = Duration::from_millis(50);
/// Until one is read again of which nothing is certain since its last read.
const SOON: Duration = Duration::from_millis(100);
/// Until one is looked at again that was not selected: labels and annotations of its pod may be others by then.
const SELECT_AGAIN: Duration = Duration::from_secs(60);
/// Processes that are followed at most.
const MOST_FOLLOWED: usize = 1024;
/// Processes that are refused, of which that is remembered.
const MOST_REFUSED: usize = 4096;
/// How long to wait where nothing is planned: whoever plans something wakes who waits.
const NOTHING: Duration = Duration::from_secs(3600);

/// Something to do for a process. The number tells whether it is still to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Instant,
    number: u64,
    pid: u32,
}

/// A process that is yet to be looked at.
#[derive(Clone, Copy, Debug)]
struct Pending {
    number: u64,
    /// When it was looked at first.
    since: Option<Instant>,
    looks: u32,
}

/// A process that is followed.
struct Entry {
    number: u64,
    followed: Arc<Followed>,
    /// With a thread while that reads.
    reader: Option<Box<Reader>>,
    /// When it was read last, its memory was gone.
    gone: bool,
    /// When it is to be read next.
    next: Instant,
    /// It is to be read again soon, as what was known of it is not certain since.
    again: bool,
}

/// What is to be done, and for whom.
struct Table {
    looks: BinaryHeap<Reverse<Due>>,
    reads: BinaryHeap<Reverse<Due>>,
    pending: HashMap<u32, Pending>,
    followed: HashMap<u32, Entry>,
    refused: BTreeMap<u32, Refused>,
    budget: Budget,
    numbers: u64,
    ended: bool,
}

impl Table {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Plans a look at a process, in place of whatever was planned for it.
    fn plan_look(&mut self, pid: u32, at: Instant, before: Option<Pending>) {
        let number = self.number();
        let pending = Pending {
            number,
            since: before.and_then(|before| before.since),
            looks: before.map_or(0, |before| before.looks),
        };
        self.pending.insert(pid, pending);
        self.looks.push(Reverse(Due { at, number, pid }));
    }

    fn plan_read(&mut self, pid: u32, at: Instant) {
        if let Some(entry) = self.followed.get_mut(&pid) {
            entry.next = at;
            let number = entry.number;
            self.reads.push(Reverse(Due { at, number, pid }));
        }
    }

    /// Forgets all of a process; returns what was followed.
    fn forget(&mut self, pid: u32) -> Option<Arc<Followed>> {
        self.pending.remove(&pid);
        self.refused.remove(&pid);
        self.followed.remove(&pid).map(|entry| entry.followed)
    }

    /// What is to be done now, or for how long there is nothing.
    fn next(&mut self, now: Instant) -> Result<Work, Duration> {
        let mut wait = NOTHING;
        while let Some(&Reverse(due)) = self.looks.peek() {
            let pending = self.pending.get(&due.pid);
            let Some(pending) = pending.filter(|pending| pending.number == due.number) else {
                self.looks.pop();
                continue;
            };
            if due.at > now {
                wait = due.at - now;
                break;
            }
            let work = Work::Look(due.pid, *pending);
            self.looks.pop();
            return Ok(work);
        }
        while let Some(&Reverse(due)) = self.reads.peek() {
            let entry = self.followed.get_mut(&due.pid);
            let is_due = |entry: &&mut Entry| entry.number == due.number && entry.next == due.at;
            let Some(entry) = entry.filter(is_due) else {
                self.reads.pop();
                continue;
            };
            let poor = self.budget.wait(now);
            let pause = due.at.saturating_duration_since(now).max(poor);
            if !pause.is_zero() {
                return Err(wait.min(pause));
            }
            self.reads.pop();
            if let Some(reader) = entry.reader.take() {
                let followed = Arc::clone(&entry.followed);
                return Ok(Work::Read(due.pid, due.number, followed, reader));
            }
        }
        Err(wait)
    }
}

enum Work {
    Look(u32, Pending),
    Read(u32, u64, Arc<Followed>, Box<Reader>),
}

/// Everything that is followed.
pub(crate) struct Pool {
    pub(crate) health: Health,
    pub(crate) binaries: Binaries,
    settings: Settings,
    voice: Arc<Voice>,
    /// To the thread that has the probes.
    orders: Sender<Order>,
    /// What events told.
    sums: Mutex<Sums>,
    table: Mutex<Table>,
    /// Something new is to be done.
    changed: Condvar,
}

/// What the kernel and /proc tell.
impl Pool {
    pub(super) fn new(settings: Settings, voice: Arc<Voice>, orders: Sender<Order>) -> Pool {
        let table = Table {
            looks: BinaryHeap::new(),
            reads: BinaryHeap::new(),
            pending: HashMap::new(),
            followed: HashMap::new(),
            refused: BTreeMap::new(),
            budget: Budget::new(settings.cpu_share, Instant::now()),
            numbers: 0,
            ended: false,
        };
        Pool {
            health: Health::default(),
            binaries: Binaries::default(),
            settings,
            voice,
            orders,
            sums: Mutex::default(),
            table: Mutex::new(table),
            changed: Condvar::new(),
        }
    }

    /// These are all processes that there are.
    pub(super) fn walked(&self, listed: &[u32]) {
        self.health.walks.add(1);
        let there: HashSet<u32> = listed.iter().copied().collect();
        let now = Instant::now();
        let gone = {
            let mut table = self.table();
            for &pid in &there {
                let known = table.pending.contains_key(&pid)
                    || table.followed.contains_key(&pid)
                    || table.refused.contains_key(&pid);
                if !known {
                    table.plan_look(pid, now, None);
                }
            }
            let known = table.pending.keys().chain(table.followed.keys());
            let known = known.chain(table.refused.keys()).copied();
            let gone: Vec<u32> = known.filter(|pid| !there.contains(pid)).collect();
            gone.into_iter()
                .filter_map(|pid| table.forget(pid))
                .collect::<Vec<_>>()
        };
        self.changed.notify_all();
        for followed in gone {
            self.say_gone(&followed, "exit");
        }
    }

    /// This happened, in order.
    pub(super) fn happened(&self, happened: &[Happened]) {
        let now = Instant::now();
        let mut gone = Vec::new();
        {
            let mut table = self.table();
            for what in happened {
                let (pid, why) = match *what {
                    Happened::Exec(pid) => (pid, "exec"),
                    Happened::Exit(pid) => (pid, "exit"),
                };
                gone.extend(table.forget(pid).map(|followed| (followed, why)));
                if let Happened::Exec(pid) = *what {
                    table.plan_look(pid, now + SETTLE, None);
                }
            }
        }
        self.changed.notify_all();
        for (followed, why) in gone {
            self.say_gone(&followed, why);
        }
    }

    /// So much happened that was not told.
    pub(super) fn lost(&self, events: u64) {
        self.health.unseen.add(events);
        self.voice.say(Line::Lost { events });
    }

    fn say_gone(&self, followed: &Arc<Followed>, why: &'static str) {
        self.order(Order::Leave(Arc::clone(followed)));
        let process = &followed.card.process();
        self.voice.say(Line::Gone { process, why });
    }

    /// Tells the thread that has the probes. It outlives all that is done here, but for an end by panic, which is
    /// passed on.
    fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }

    /// Lets a process be read soon, as what is known of it is not certain any more.
    pub(super) fn read_soon(&self, followed: &Arc<Followed>) {
        let pid = followed.card.identity.pid;
        let mut table = self.table();
        let entry = table.followed.get_mut(&pid);
        let Some(entry) = entry.filter(|entry| Arc::ptr_eq(&entry.followed, followed)) else {
            return;
        };
        if entry.reader.is_none() {
            entry.again = true;
            return;
        }
        let soon = Instant::now() + SOON;
        if entry.next > soon {
            table.plan_read(pid, soon);
            drop(table);
            self.changed.notify_one();
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What its threads do.
impl Pool {
    /// Looks and reads until the end.
    pub(super) fn work(&self) {
        while let Some(work) = self.take() {
            let began = CpuClock::THREAD.nanos().unwrap_or(0);
            match work {
                Work::Look(pid, pending) => self.look(pid, pending),
                Work::Read(pid, number, followed, reader) => {
                    self.read(pid, number, &followed, reader);
                }
            }
            let ended = CpuClock::THREAD.nanos().unwrap_or(began);
            let took = Duration::from_nanos(ended.saturating_sub(began));
            self.health.spent(took);
            self.table().budget.spend(took);
        }
    }

    /// Ends all threads that work.
    pub(super) fn end(&self) {
        self.table().ended = true;
        self.changed.notify_all();
        self.order(Order::End);
    }

    /// Waits for something to do; `None` at the end.
    fn take(&self) -> Option<Work> {
        let mut table = self.table();
        loop {
            if table.ended {
                return None;
            }
            match table.next(Instant::now()) {
                Ok(work) => return Some(work),
                Err(wait) => {
                    let waited = self.changed.wait_timeout(table, wait);
                    table = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    /// Looks at a process that may be one of Go.
    fn look(&self, pid: u32, mut pending: Pending) {
        let since = *pending.since.get_or_insert_with(Instant::now);
        pending.looks += 1;
        match self.judge(pid) {
            Ok((followed, reader)) => self.found(pid, pending, followed, reader),
            Err(Refusal::NotYet(_)) if since.elapsed() < START_PATIENCE => {
                self.look_again(pid, pending, pause(pending));
            }
            Err(Refusal::NotSelected { why, soon }) => {
                tracing::debug!("process {pid} is not followed: {why}");
                if pending.looks == 1 {
                    self.health.not_selected.add(1);
                }
                // What is waited for is not that it starts.
                pending.since = None;
                let pause = if soon { pause(pending) } else { SELECT_AGAIN };
                self.look_again(pid, pending, pause);
            }
            Err(Refusal::NotYet(why)) => self.refuse(pid, pending, Reason::SelfCheck, &why),
            Err(Refusal::For(Unread::Refused { reason, why })) => {
                self.refuse(pid, pending, reason, &why);
            }
            Err(Refusal::For(unread)) => {
                match unread {
                    Unread::NotGo => self.health.not_go.add(1),
                    Unread::NotSelected => self.health.not_selected.add(1),
                    _ => self.health.gone.add(1),
                }
                self.settle(pid, pending);
            }
        }
    }

    fn look_again(&self, pid: u32, pending: Pending, pause: Duration) {
        let mut table = self.table();
        // Else it was executed anew meanwhile, or has ended.
        if is_current(&table, pid, pending) {
            table.plan_look(pid, Instant::now() + pause, Some(pending));
        }
        drop(table);
        self.changed.notify_one();
    }

    fn judge(&self, pid: u32) -> Result<(Arc<Followed>, Reader), Refusal> {
        if pid == std::process::id() {
            return Err(Refusal::For(Unread::NotGo));
        }
        // Before its program is read: what is not wanted costs little however often it is looked at.
        if !self.is_selected(pid) {
            return Err(Refusal::For(Unread::NotSelected));
        }
        if let Some(cluster) = &self.settings.cluster {
            follow::check(pid, cluster)?;
        }
        let binary = self.binaries.of(pid).map_err(Refusal::For)?;
        follow::follow(pid, &binary, &self.settings, &self.voice)
    }

    fn found(&self, pid: u32, pending: Pending, followed: Arc<Followed>, reader: Reader) {
        let mut table = self.table();
        if !is_current(&table, pid, pending) {
            return;
        }
        if table.followed.len() >= MOST_FOLLOWED {
            drop(table);
            let why = format!("{MOST_FOLLOWED} processes are followed already");
            return self.refuse(pid, pending, Reason::TooMany, &why);
        }
        table.pending.remove(&pid);
        let entry = Entry {
            number: pending.number,
            followed: Arc::clone(&followed),
            reader: Some(Box::new(reader)),
            gone: false,
            next: Instant::now(),
            again: false,
        };
        table.followed.insert(pid, entry);
        table.plan_read(pid, Instant::now());
        drop(table);
        self.changed.notify_one();
        self.health.followed.add(1);
        self.voice.say(Line::Found {
            process: &followed.card.process(),
        });
        let asked = followed.asked(self.choice(&followed));
        self.trace(&followed, asked);
    }

    /// Has a process traced as closely as is asked for.
    fn trace(&self, followed: &Arc<Followed>, asked: Level) {
        if asked == followed.tracing().asked {
            return;
        }
        // Held until that is said, so that its end is said later.
        let table = self.table();
        let entry = table.followed.get(&followed.card.identity.pid);
        if entry.is_some_and(|entry| Arc::ptr_eq(&entry.followed, followed)) {
            self.order(Order::Trace(Arc::clone(followed), asked));
        }
    }

    /// What the cluster says of a process that is followed. One whose pod is not known any more ends soon.
    fn choice(&self, followed: &Followed) -> Option<Choice> {
        let cluster = self.settings.cluster.as_ref()?;
        Some(cluster.decide(&followed.card.identity).choice)
    }

    fn is_selected(&self, pid: u32) -> bool {
        let selection = &self.settings.selection;
        if !selection.is_by_name() {
            return true;
        }
        let command = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let file = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        selection.takes(&[&target::file_name(&file), command.trim_end()])
    }

    fn refuse(&self, pid: u32, pending: Pending, reason: Reason, why: &str) {
        let place = follow::place_of(pid);
        {
            let mut table = self.table();
            if !is_current(&table, pid, pending) {
                return;
            }
            table.pending.remove(&pid);
            if table.refused.len() < MOST_REFUSED {
                let refused = Refused {
                    pid,
                    reason: reason.name(),
                    why: why.to_owned(),
                    container_id: place.container,
                    pod_uid: place.pod,
                };
                table.refused.insert(pid, refused);
            }
        }
        self.health.refuse(reason);
        self.voice.say(Line::Refused {
            pid,
            reason: reason.name(),
            why,
        });
    }

    /// Nothing is to be done for a process.
    fn settle(&self, pid: u32, pending: Pending) {
        let mut table = self.table();
        if is_current(&table, pid, pending) {
            table.pending.remove(&pid);
        }
    }

    /// Reads a process that is followed.
    fn read(&self, pid: u32, number: u64, followed: &Arc<Followed>, mut reader: Box<Reader>) {
        let choice = self.choice(followed);
        if choice == Some(Choice::Skip) {
            let gone = {
                let mut table = self.table();
                let entry = table.followed.get(&pid);
                let gone = entry
                    .is_some_and(|entry| entry.number == number)
                    .then(|| table.forget(pid))
                    .flatten();
                if gone.is_some() {
                    table.plan_look(pid, Instant::now() + SELECT_AGAIN, None);
                }
                gone
            };
            if let Some(followed) = gone {
                self.say_gone(&followed, "not_selected");
            }
            return;
        }
        if choice != Some(Choice::Wait) {
            self.trace(followed, followed.asked(choice));
        }
        let came = followed.observed(reader.round());
        match came {
            Came::Read => self.health.reads.add(1),
            Came::Failed => self.health.failed_reads.add(1),
            Came::Gone => {}
        }
        let pause = reader.pause();
        let gone = {
            let mut table = self.table();
            let entry = table.followed.get_mut(&pid);
            // Else it has ended meanwhile.
            let Some(entry) = entry.filter(|entry| entry.number == number) else {
                return;
            };
            let was_gone = std::mem::replace(&mut entry.gone, came == Came::Gone);
            if entry.gone && !was_gone {
                // Memory of who executes another program is gone before that is told, and who ends does so in steps.
                entry.reader = Some(reader);
                table.plan_read(pid, Instant::now() + SETTLE);
                None
            } else if entry.gone {
                let gone = table.forget(pid);
                // It may run another program. If nobody tells of that until then:
                table.plan_look(pid, Instant::now() + SETTLE, None);
                gone
            } else {
                entry.reader = Some(reader);
                let again = std::mem::take(&mut entry.again);
                let pause = if again { pause.min(SOON) } else { pause };
                table.plan_read(pid, Instant::now() + pause);
                None
            }
        };
        self.changed.notify_one();
        if let Some(followed) = gone {
            // That memory is another one is seen before it is told.
            let lives = follow::start_of(pid) == Some(followed.card.identity.start);
            self.say_gone(&followed, if lives { "exec" } else { "exit" });
        }
    }
}

/// Until the next look at a process for which it was too early.
fn pause(pending: Pending) -> Duration {
    RETRY * 2u32.saturating_pow(pending.looks.min(8) - 1)
}

/// Whether a look is still the last one that was planned for a process.
fn is_current(table: &Table, pid: u32, pending: Pending) -> bool {
    let current = table.pending.get(&pid);
    current.is_some_and(|current| current.number == pending.number)
}

/// What is asked of it.
impl Pool {
    /// All that is followed, by pid.
    pub(crate) fn all(&self) -> Vec<Arc<Followed>> {
        let table = self.table();
        let all = table.followed.values();
        let mut all: Vec<Arc<Followed>> = all.map(|entry| Arc::clone(&entry.followed)).collect();
        drop(table);
        all.sort_unstable_by_key(|followed| followed.card.identity.pid);
        all
    }

    /// One process, if it is followed.
    pub(crate) fn of(&self, pid: u32) -> Option<Arc<Followed>> {
        let table = self.table();
        let entry = table.followed.get(&pid)?;
        Some(Arc::clone(&entry.followed))
    }

    /// How many are followed, and how late the read is that should have been first.
    pub(crate) fn followed(&self) -> (usize, Duration) {
        let table = self.table();
        let first = table.reads.peek().map(|Reverse(due)| due.at);
        let late = first.map(|at| Instant::now().saturating_duration_since(at));
        (table.followed.len(), late.unwrap_or_default())
    }

    /// The list of processes.
    pub(crate) fn list(&self) -> Processes {
        let refused = self.table().refused.values().cloned().collect();
        let processes = self.all();
        Processes {
            schema: PROCESSES,
            processes: processes
                .iter()
                .map(|followed| followed.state(self.settings.clock))
                .collect(),
            refused,
        }
    }

    /// The cluster, if the node is one of one.
    pub(crate) fn cluster(&self) -> Option<&Cluster> {
        self.settings.cluster.as_deref()
    }

    /// What became of findings that were sent as OpenTelemetry.
    pub(crate) fn otel(&self) -> Option<&otel::Health> {
        self.settings.otel.as_deref().map(NodeOutlet::health)
    }

    pub(crate) fn clock(&self) -> WallClock {
        self.settings.clock
    }

    /// How memory is read.
    pub(crate) fn options(&self) -> &ReadOptions {
        &self.settings.options
    }

    /// What events told, by program and container.
    pub(crate) fn sums(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lines that found no room on standard output.
    pub(crate) fn unsaid(&self) -> u64 {
        self.voice.unsaid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table {
            looks: BinaryHeap::new(),
            reads: BinaryHeap::new(),
            pending: HashMap::new(),
            followed: HashMap::new(),
            refused: BTreeMap::new(),
            budget: Budget::new(0.02, Instant::now()),
            numbers: 0,
            ended: false,
        }
    }

    /// The process that is to be looked at, or how long to wait.
    fn next(table: &mut Table, now: Instant) -> Result<u32, Duration> {
        table.next(now).map(|work| match work {
            Work::Look(pid, _) | Work::Read(pid, ..) => pid,
        })
    }

    #[test]
    fn what_ends_or_executes_again_is_looked_at_once_or_not_at_all() {
        let now = Instant::now();
        let later = now + SETTLE;
        let mut table = table();
        for pid in [1, 2, 3] {
            table.plan_look(pid, later, None);
        }
        assert_eq!(next(&mut table, now), Err(SETTLE));
        table.forget(1);
        // It executes another program.
        table.plan_look(2, later + SETTLE, None);
        assert_eq!(next(&mut table, later), Ok(3));
        table.pending.remove(&3);
        assert_eq!(next(&mut table, later), Err(SETTLE));
        assert_eq!(next(&mut table, later + SETTLE), Ok(2));
        table.pending.remove(&2);
        assert_eq!(next(&mut table, later + SETTLE), Err(NOTHING));
        assert!(table.looks.is_empty() && table.pending.is_empty());
    }
}
