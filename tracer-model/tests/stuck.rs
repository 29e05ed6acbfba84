//! Verdicts against a simulated world that knows who can ever run again.
//!
//! Goroutines with references on their stacks, in registers, in heap objects, in globals and in
//! channels run random programs. A mark looks at this memory the way gotrace does, one read after the
//! other while the world goes on, and the detector judges what it saw. Whoever it says is proven stuck
//! must be so: nothing that can act may reach what the goroutine waits on at that moment, and it must
//! not run again in whatever comes.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use fastrand::Rng;
use tracer_model::detect::{Detector, Finding, Verdict};
use tracer_model::ids::{Addr, ChanAddr, GAddr, Goid, Ktime, Pc};
use tracer_model::snapshot::{
    Goroutine, Holder, Reachability, Snapshot, StackId, State, WaitTarget,
};
use tracer_model::symbol::{Frame, Symbolizer};
use tracer_model::wait::{Direction, Wait, WaitObject, WaitReason};

/// How many worlds are made.
const WORLDS: u64 = 100_000;
/// Passes over each.
const PASSES: usize = 25;
/// Steps before the first pass, at most.
const YOUTH: usize = 160;
/// Steps after each pass in which whoever was proven must not run.
const FUTURE: usize = 20;
/// Slots of an object, of a stack, and globals.
const SLOTS: usize = 3;

/// Index of an object in the heap; a channel is one.
type Ref = usize;

type Slots = [Option<Ref>; SLOTS];

#[derive(Clone, Debug)]
struct Object {
    slots: Slots,
    channel: Option<Channel>,
}

#[derive(Clone, Debug, Default)]
struct Channel {
    cap: usize,
    closed: bool,
    buffer: VecDeque<Option<Ref>>,
    senders: Vec<(usize, Option<Ref>)>,
    receivers: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Doing {
    /// Off the processors: its registers are saved on its stack.
    Runnable,
    Running,
    Sleeping,
    Waiting(Vec<(Ref, Direction)>),
    Dead,
}

#[derive(Clone, Debug)]
struct Program {
    doing: Doing,
    stack: Slots,
    /// In memory only while it does not run.
    register: Option<Ref>,
    /// How often it stopped running.
    spells: u32,
    /// How often it ran.
    ran: u32,
}

/// The target.
#[derive(Clone, Debug)]
struct World {
    rng: Rng,
    objects: Vec<Object>,
    goroutines: Vec<Program>,
    globals: Slots,
}

impl World {
    fn new(seed: u64) -> World {
        let mut world = World {
            rng: Rng::with_seed(seed),
            objects: Vec::new(),
            goroutines: Vec::new(),
            globals: [None; SLOTS],
        };
        for _ in 0..world.rng.usize(2..5) {
            world.spawn([None; SLOTS]);
        }
        world
    }

    fn spawn(&mut self, stack: Slots) {
        self.goroutines.push(Program {
            doing: Doing::Runnable,
            stack,
            register: None,
            spells: 0,
            ran: 0,
        });
    }

    /// Something happens.
    fn step(&mut self) {
        let who = self.rng.usize(..self.goroutines.len());
        match self.goroutines[who].doing {
            Doing::Runnable | Doing::Running => self.run(who),
            // Timers fire now and then.
            Doing::Sleeping if self.rng.u8(..4) == 0 => {
                self.goroutines[who].doing = Doing::Runnable;
            }
            _ => {}
        }
    }

    /// Whoever runs is preempted.
    fn rest(&mut self) {
        for who in 0..self.goroutines.len() {
            if self.goroutines[who].doing == Doing::Running {
                self.stop(who, Doing::Runnable);
            }
        }
    }

    fn stop(&mut self, who: usize, doing: Doing) {
        self.goroutines[who].spells += 1;
        self.goroutines[who].doing = doing;
    }

    fn run(&mut self, who: usize) {
        self.goroutines[who].doing = Doing::Running;
        self.goroutines[who].ran += 1;
        let slot = self.rng.usize(..SLOTS);
        let other = self.rng.usize(..SLOTS);
        let held = self.goroutines[who].register;
        match self.rng.u8(..20) {
            // From the stack to the register, and back, which forgets what was there.
            0..3 => self.goroutines[who].register = self.goroutines[who].stack[slot],
            3..6 => self.goroutines[who].stack[slot] = held,
            // To and from an object that a slot refers to.
            6..8 => {
                if let Some(object) = self.goroutines[who].stack[slot] {
                    self.objects[object].slots[other] = held;
                }
            }
            8..10 => {
                if let Some(object) = self.goroutines[who].stack[slot] {
                    self.goroutines[who].register = self.objects[object].slots[other].take();
                }
            }
            10 => self.globals[other] = held,
            11 => self.goroutines[who].register = self.globals[other].take(),
            12..14 => {
                let channel = (self.rng.u8(..3) > 0).then(|| Channel {
                    cap: self.rng.usize(..2),
                    ..Channel::default()
                });
                self.objects.push(Object {
                    slots: [None; SLOTS],
                    channel,
                });
                self.goroutines[who].register = Some(self.objects.len() - 1);
            }
            14 if self.goroutines.len() < 12 => {
                let mut stack = [None; SLOTS];
                stack[other] = self.goroutines[who].stack[other];
                stack[slot] = held;
                self.spawn(stack);
            }
            14 | 15 => self.stop(who, Doing::Sleeping),
            16..19 => self.communicate(who),
            _ if who > 0 && self.rng.u8(..4) == 0 => {
                self.stop(who, Doing::Dead);
                self.goroutines[who].stack = [None; SLOTS];
                self.goroutines[who].register = None;
            }
            _ => self.stop(who, Doing::Runnable),
        }
        // Preempted, or about to do more.
        if self.goroutines[who].doing == Doing::Running && self.rng.bool() {
            self.stop(who, Doing::Runnable);
        }
    }

    fn channel(&mut self, chan: Ref) -> &mut Channel {
        self.objects[chan].channel.as_mut().expect("it is one")
    }

    /// One operation on a channel of its stack, or a select on two.
    fn communicate(&mut self, who: usize) {
        let mut known: Vec<Ref> = self.goroutines[who]
            .stack
            .iter()
            .flatten()
            .copied()
            .collect();
        known.retain(|&object| self.objects[object].channel.is_some());
        known.dedup();
        if known.is_empty() {
            return;
        }
        self.rng.shuffle(&mut known);
        if self.rng.u8(..12) == 0 {
            self.close(known[0]);
            return;
        }
        let many = if self.rng.u8(..3) == 0 { 2 } else { 1 };
        let cases: Vec<(Ref, Direction)> = known
            .into_iter()
            .take(many)
            .map(|chan| match self.rng.bool() {
                true => (chan, Direction::Send),
                false => (chan, Direction::Receive),
            })
            .collect();
        for &(chan, direction) in &cases {
            if self.complete(who, chan, direction) {
                return;
            }
        }
        let value = self.goroutines[who].register;
        for &(chan, direction) in &cases {
            match direction {
                Direction::Send => self.channel(chan).senders.push((who, value)),
                Direction::Receive => self.channel(chan).receivers.push(who),
            }
        }
        self.stop(who, Doing::Waiting(cases));
    }

    /// Does it if it need not wait.
    fn complete(&mut self, who: usize, chan: Ref, direction: Direction) -> bool {
        let value = self.goroutines[who].register;
        let channel = self.channel(chan);
        match direction {
            // A panic in Go; here the goroutine goes on.
            Direction::Send if channel.closed => true,
            Direction::Send if !channel.receivers.is_empty() => {
                let receiver = channel.receivers[0];
                self.wake(receiver, Some(value));
                true
            }
            Direction::Send if channel.buffer.len() < channel.cap => {
                channel.buffer.push_back(value);
                true
            }
            Direction::Send => false,
            Direction::Receive => {
                let waiting = channel.senders.first().copied();
                let received = match (channel.buffer.pop_front(), waiting) {
                    (Some(buffered), None) => Some(buffered),
                    (Some(buffered), Some((sender, value))) => {
                        self.channel(chan).buffer.push_back(value);
                        self.wake(sender, None);
                        Some(buffered)
                    }
                    (None, Some((sender, value))) => {
                        self.wake(sender, None);
                        Some(value)
                    }
                    (None, None) => channel.closed.then_some(None),
                };
                if let Some(received) = received {
                    self.goroutines[who].register = received;
                }
                received.is_some()
            }
        }
    }

    fn close(&mut self, chan: Ref) {
        let channel = self.channel(chan);
        channel.closed = true;
        let senders = channel.senders.iter().map(|&(who, _)| who);
        let waiting: Vec<usize> = senders.chain(channel.receivers.iter().copied()).collect();
        for who in waiting {
            self.wake(who, Some(None));
        }
    }

    /// Takes it out of all queues; what it received is in its register.
    fn wake(&mut self, who: usize, received: Option<Option<Ref>>) {
        let Doing::Waiting(cases) = &self.goroutines[who].doing else {
            return;
        };
        for (chan, _) in cases.clone() {
            let channel = self.channel(chan);
            channel.senders.retain(|&(sender, _)| sender != who);
            channel.receivers.retain(|&receiver| receiver != who);
        }
        if let Some(received) = received {
            self.goroutines[who].register = received;
        }
        self.goroutines[who].doing = Doing::Runnable;
    }

    /// The references in an object, its buffer included. Waiting senders are the runtime's business.
    fn contents(&self, object: Ref) -> Vec<Ref> {
        let object = &self.objects[object];
        let buffered = object.channel.iter().flat_map(|channel| &channel.buffer);
        object
            .slots
            .iter()
            .chain(buffered)
            .flatten()
            .copied()
            .collect()
    }

    /// What a goroutine refers to; all of it where `registers` can be seen.
    fn held(&self, who: usize, registers: bool) -> Vec<Ref> {
        let goroutine = &self.goroutines[who];
        let saved = registers || goroutine.doing != Doing::Running;
        let register = goroutine.register.filter(|_| saved);
        goroutine
            .stack
            .iter()
            .flatten()
            .copied()
            .chain(register)
            .collect()
    }

    /// The truth: who can never run again, whatever the programs do.
    fn stuck(&self) -> BTreeSet<usize> {
        let mut stuck: BTreeSet<usize> = (0..self.goroutines.len())
            .filter(|&who| matches!(self.goroutines[who].doing, Doing::Waiting(_)))
            .collect();
        let mut reached = BTreeSet::new();
        let mut pending: Vec<Ref> = self.globals.iter().flatten().copied().collect();
        for who in 0..self.goroutines.len() {
            if !stuck.contains(&who) {
                pending.extend(self.held(who, true));
            }
        }
        loop {
            while let Some(object) = pending.pop() {
                if reached.insert(object) {
                    pending.extend(self.contents(object));
                }
            }
            let revived: Vec<usize> = stuck
                .iter()
                .copied()
                .filter(|&who| self.targets(who).iter().any(|chan| reached.contains(chan)))
                .collect();
            if revived.is_empty() {
                return stuck;
            }
            for who in revived {
                stuck.remove(&who);
                pending.extend(self.held(who, true));
            }
        }
    }

    fn targets(&self, who: usize) -> Vec<Ref> {
        match &self.goroutines[who].doing {
            Doing::Waiting(cases) => cases.iter().map(|&(chan, _)| chan).collect(),
            _ => Vec::new(),
        }
    }
}

/// Reads a world that goes on meanwhile.
struct Reader<'w> {
    world: &'w mut World,
    /// Of 256 reads, before how many something happens.
    haste: u8,
    reads: u64,
}

/// A goroutine's header as read.
type Header = (Doing, u32);

impl Reader<'_> {
    fn read(&mut self) -> &World {
        self.reads += 1;
        while self.world.rng.u8(..) < self.haste {
            self.world.step();
        }
        self.world
    }

    fn headers(&mut self) -> Vec<Header> {
        let mut headers = Vec::new();
        while headers.len() < self.world.goroutines.len() {
            let who = headers.len();
            let goroutine = &self.read().goroutines[who];
            headers.push((goroutine.doing.clone(), goroutine.spells));
        }
        headers
    }

    /// One pass: a snapshot with its mark, as `tracer-golang` makes it.
    fn pass(&mut self) -> Snapshot {
        let began = self.reads;
        let first = self.headers();
        let allocated = self.world.objects.len();
        let mut candidates: BTreeSet<usize> = (0..first.len())
            .filter(|&who| matches!(first[who].0, Doing::Waiting(_)))
            .collect();
        let mut reached = BTreeSet::new();
        let mut caught = BTreeSet::new();
        self.mark(&first, &mut candidates, &mut reached, &mut caught);
        caught.clear();
        // Once more for what changed; what is new counts as reached, who moved is no candidate.
        let later = self.headers();
        candidates.retain(|&who| first[who] == later[who]);
        for new in allocated..self.world.objects.len() {
            self.follow(vec![new], &mut reached);
        }
        self.mark(&later, &mut candidates, &mut reached, &mut caught);
        let holders = self.holders(&candidates);
        let last = self.headers();
        let rested = |who: usize| {
            let before = first.get(who);
            before == last.get(who) && before.is_some_and(|(doing, _)| *doing != Doing::Running)
        };
        let goid = |who: usize| Goid(who as u64 + 1);
        let (running, ran) = (0..last.len())
            .filter(|&who| !rested(who) && last[who].0 != Doing::Dead)
            .partition::<Vec<usize>, _>(|who| caught.contains(who) || *who >= first.len());
        let reachability = Reachability {
            started: Ktime(began),
            finished: Ktime(self.reads),
            unreached: candidates.iter().copied().map(goid).collect(),
            holders,
            unused: None,
            running: running.into_iter().map(goid).collect(),
            ran: ran.into_iter().map(goid).collect(),
            errors: Vec::new(),
        };
        self.reads += 1;
        snapshot(&first, began, reachability)
    }

    fn mark(
        &mut self,
        headers: &[Header],
        candidates: &mut BTreeSet<usize>,
        reached: &mut BTreeSet<Ref>,
        caught: &mut BTreeSet<usize>,
    ) {
        let globals = self.read().globals;
        self.follow(globals.into_iter().flatten().collect(), reached);
        for (who, header) in headers.iter().enumerate() {
            if !candidates.contains(&who) {
                let goroutine = &self.read().goroutines[who];
                let now = (goroutine.doing.clone(), goroutine.spells);
                if now != *header || now.0 == Doing::Running {
                    caught.insert(who);
                }
                let held = self.world.held(who, false);
                self.follow(held, reached);
            }
        }
        loop {
            let revived: Vec<usize> = candidates
                .iter()
                .copied()
                .filter(|&who| match &headers[who].0 {
                    Doing::Waiting(cases) => cases.iter().any(|(chan, _)| reached.contains(chan)),
                    _ => true,
                })
                .collect();
            if revived.is_empty() {
                return;
            }
            for who in revived {
                candidates.remove(&who);
                let held = self.read().held(who, false);
                self.follow(held, reached);
            }
        }
    }

    fn follow(&mut self, mut pending: Vec<Ref>, reached: &mut BTreeSet<Ref>) {
        while let Some(object) = pending.pop() {
            if reached.insert(object) {
                pending.extend(self.read().contents(object));
            }
        }
    }

    fn holders(&mut self, unreached: &BTreeSet<usize>) -> Vec<Holder> {
        let targets: BTreeSet<Ref> = unreached
            .iter()
            .flat_map(|&who| self.world.targets(who))
            .collect();
        let mut holders = Vec::new();
        for &who in unreached {
            let held = self.read().held(who, false);
            let mut reached = BTreeSet::new();
            self.follow(held, &mut reached);
            for &object in reached.intersection(&targets) {
                holders.push(Holder {
                    object: WaitTarget(address(object)),
                    goid: Goid(who as u64 + 1),
                    path: vec![Addr(0x1000 + who as u64), address(object)],
                    frame: None,
                });
            }
        }
        holders
    }
}

fn address(object: Ref) -> Addr {
    Addr(0xc000_0000 + 0x100 * object as u64)
}

/// What the headers say.
fn snapshot(headers: &[Header], began: u64, reachability: Reachability) -> Snapshot {
    let mut snapshot = Snapshot {
        started: Ktime(began),
        finished: reachability.finished,
        ..Snapshot::default()
    };
    for (who, (doing, _)) in headers.iter().enumerate() {
        let (state, wait) = match doing {
            Doing::Dead => continue,
            Doing::Runnable => (State::Runnable, None),
            Doing::Running => (State::Running, None),
            Doing::Sleeping => (State::Waiting, Some((WaitReason::Sleep, Vec::new()))),
            Doing::Waiting(cases) => {
                let reason = match cases.as_slice() {
                    [(_, Direction::Send)] => WaitReason::ChanSend,
                    [(_, Direction::Receive)] => WaitReason::ChanReceive,
                    _ => WaitReason::Select,
                };
                let objects = cases.iter().map(|&(chan, direction)| WaitObject::Chan {
                    chan: ChanAddr(address(chan).0),
                    direction,
                });
                (State::Waiting, Some((reason, objects.collect())))
            }
        };
        // Where it is tells nothing of how often it was there.
        snapshot.stacks.push([Pc(100 + who as u64)].into());
        snapshot.goroutines.push(Goroutine {
            at: Ktime(began),
            goid: Goid(who as u64 + 1),
            gaddr: GAddr(0x1000 + who as u64),
            state,
            wait: wait.map(|(reason, objects)| Wait {
                reason,
                objects: objects.into(),
                since: None.into(),
            }),
            sleeps_until: None.into(),
            system: false,
            parent: None.into(),
            created_at: None.into(),
            start: None.into(),
            stack: Some(StackId(snapshot.stacks.len() as u32 - 1)),
            stops: None,
            stack_bytes: None.into(),
            labels: Vec::new().into(),
            moving: false,
        });
    }
    snapshot.reachability = Some(reachability);
    snapshot
}

struct Names;

impl Symbolizer for Names {
    fn frames(&self, _: Pc) -> Arc<[Frame]> {
        Arc::from([Frame {
            function: "main.work".into(),
            file: "main.go".into(),
            line: 1,
            inlined: false,
        }])
    }
}

/// What became of some worlds.
#[derive(Debug, Default)]
struct Account {
    /// Goroutines that were proven stuck in a pass, wrongly.
    wrong: Vec<(u64, usize)>,
    proven: u64,
    likely: u64,
    /// Of these, those that could still run.
    likely_wrong: u64,
    /// Goroutines that were stuck at the end of the last pass, of these proven.
    stuck: u64,
    found: u64,
}

/// Judges one world. `blind` is a mark that does not tell who ran meanwhile.
fn judge(seed: u64, blind: bool, account: &mut Account) {
    let mut world = World::new(seed);
    for _ in 0..world.rng.usize(..YOUTH) {
        world.step();
    }
    let mut detector = Detector::new();
    let mut reads = 1000;
    for pass in 0..PASSES {
        // Some hold still, some hurry.
        let haste = [0, 0, 0, 0, 4, 40][world.rng.usize(..6)];
        if world.rng.bool() {
            world.rest();
        }
        let mut reader = Reader {
            world: &mut world,
            haste,
            reads,
        };
        let mut snapshot = reader.pass();
        reads = reader.reads;
        if blind && let Some(mark) = &mut snapshot.reachability {
            mark.running.clear();
            mark.ran.clear();
        }
        let findings = detector.pass(&snapshot, None, &Names);
        let truth = world.stuck();
        let likely = said(&findings, Verdict::Likely);
        account.likely += likely.len() as u64;
        account.likely_wrong += likely.difference(&truth).count() as u64;
        let proven = said(&findings, Verdict::Proven);
        account.proven += proven.len() as u64;
        let wrong = proven.iter().filter(|who| !truth.contains(who));
        account.wrong.extend(wrong.map(|&who| (seed, who)));
        if pass + 1 == PASSES {
            account.stuck += truth.len() as u64;
            account.found += truth.intersection(&proven).count() as u64;
        }

        let before: Vec<u32> = proven
            .iter()
            .map(|&who| world.goroutines[who].ran)
            .collect();
        for _ in 0..FUTURE {
            world.step();
        }
        let after = proven.iter().map(|&who| world.goroutines[who].ran);
        let ran = proven.iter().zip(before.iter().zip(after));
        account.wrong.extend(
            ran.filter(|(_, (before, after))| *before != after)
                .map(|(&who, _)| (seed, who)),
        );
    }
}

/// The goroutines of which that is said.
fn said(findings: &[Finding], verdict: Verdict) -> BTreeSet<usize> {
    findings
        .iter()
        .filter(|finding| finding.verdict == verdict)
        .flat_map(|finding| &finding.goroutines)
        .map(|goid| goid.0 as usize - 1)
        .collect()
}

impl Account {
    fn add(&mut self, other: Account) {
        self.wrong.extend(other.wrong);
        self.proven += other.proven;
        self.likely += other.likely;
        self.likely_wrong += other.likely_wrong;
        self.stuck += other.stuck;
        self.found += other.found;
    }
}

#[test]
fn whoever_is_proven_stuck_never_runs_again() {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let share = |thread: u64| {
        let mut account = Account::default();
        for seed in (thread..WORLDS).step_by(threads as usize) {
            judge(seed, false, &mut account);
        }
        account
    };
    let mut account = Account::default();
    std::thread::scope(|scope| {
        let shares: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || share(thread)))
            .collect();
        for share in shares {
            account.add(share.join().expect("no world panics"));
        }
    });
    println!("{account:#?}");
    assert_eq!(account.wrong, [], "{account:?}");
    assert!(
        10_000 * account.likely_wrong < account.likely,
        "{account:?}"
    );
    // Worlds in which nothing is ever found would prove nothing.
    assert!(account.stuck > WORLDS, "{account:?}");
    assert!(4 * account.found > 3 * account.stuck, "{account:?}");
}

#[test]
fn the_worlds_deceive_a_mark_that_does_not_tell_who_ran() {
    let mut account = Account::default();
    let deceived = (0..WORLDS).any(|seed| {
        judge(seed, true, &mut account);
        !account.wrong.is_empty()
    });
    assert!(deceived, "nobody was accused wrongly: {account:?}");
}
