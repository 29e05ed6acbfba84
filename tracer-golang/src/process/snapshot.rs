//! One read of a process: goroutines, then the channels that they wait on, then what only both
//! together say.

use rustc_hash::{FxHashMap, FxHashSet};
use tracer_model::ids::{Addr, ChanAddr, Goid, Ktime, Pc};
use tracer_model::snapshot::{Channel, Goroutine, Snapshot, State};
use tracer_model::wait::{Direction, Wait, WaitKind, WaitObject, WaitReason};

use super::goroutines::{self, GoroutineRead};
use super::header::Header;
use super::memory::{Bulk, TargetMemory};
use super::sudog::Sudog;
use super::waits::{direction, is_semaphore};
use super::{ChannelScope, GoProcess, ProcessError, ReadOptions, channels, hidden};
use crate::binary::{GoBinary, Vaddr};

/// How often goroutines in a select are read, and the channels of their cases with them, until each
/// case is found in a queue.
const SELECT_ATTEMPTS: usize = 3;

impl<M: TargetMemory> GoProcess<M> {
    /// Reads goroutines, the channels that they wait on, and whatever else `options` ask for.
    ///
    /// # Errors
    /// If the process is gone, may not be read any more, or its list of goroutines is unreadable.
    /// What else cannot be read is an error in the snapshot.
    pub fn snapshot(
        &mut self,
        options: &ReadOptions,
        now: &dyn Fn() -> Ktime,
    ) -> Result<Snapshot, ProcessError> {
        self.memory.check_alive()?;
        let started = now();
        let addresses = goroutines::addresses(self)?;
        let members = (0..).zip(addresses).collect();

        let mut goroutine_reader = goroutines::Reader::new(
            &self.memory,
            &self.binary,
            self.bias,
            &mut self.pcs,
            options,
            now,
        );
        let mut channel_reader = channels::Reader {
            memory: &self.memory,
            layout: self.binary.layout(),
            types: &mut self.types,
            symbols: &self.symbols,
            options,
            now,
            bulk: Bulk::default(),
        };
        let mut reads = goroutine_reader.read(members)?;
        let reasons = self.binary.wait_reasons();
        let is_select = |read: &GoroutineRead| {
            read.header.parked() && reasons.get(read.header.wait_reason).kind() == WaitKind::Select
        };

        let mut channels: FxHashMap<ChanAddr, Channel> = FxHashMap::default();
        let mut directions = FxHashMap::default();
        let (mut reread, mut errors) = (0, Vec::new());
        // Which goroutines' channels to read: all at first.
        let mut of: Vec<usize> = (0..reads.len()).collect();
        let mut extra: Vec<u64> = options.extra_channels.iter().map(|chan| chan.0).collect();
        for attempt in 1..=SELECT_ATTEMPTS {
            let mut expected: FxHashMap<u64, Vec<u64>> = FxHashMap::default();
            for sudog in of
                .iter()
                .flat_map(|&read| &goroutine_reader.found.sudogs[reads[read].sudogs.clone()])
                .filter(|sudog| sudog.chan != 0)
            {
                expected.entry(sudog.chan).or_default().push(sudog.addr);
            }
            extra.extend(expected.keys().copied());
            let found = channel_reader.read(std::mem::take(&mut extra), &expected)?;
            reread += found.reread;
            errors.extend(found.errors);
            directions.extend(found.directions);
            channels.extend(found.channels.into_iter().map(|chan| (chan.addr, chan)));

            // A case in no queue: someone is about to wake the goroutine.
            let unresolved = |read: &GoroutineRead| {
                !read.moving
                    && is_select(read)
                    && goroutine_reader.found.sudogs[read.sudogs.clone()]
                        .iter()
                        .any(|sudog| !directions.contains_key(&sudog.addr))
            };
            of = (0..reads.len())
                .filter(|&i| unresolved(&reads[i]))
                .collect();
            if of.is_empty() {
                break;
            }
            if attempt == SELECT_ATTEMPTS {
                of.iter().for_each(|&i| reads[i].moving = true);
                break;
            }
            let members = of.iter().map(|&i| (reads[i].index, reads[i].gaddr.0));
            let members: Vec<_> = members.collect();
            reread += members.len() as u64;
            let anew = goroutine_reader.read(members)?;
            // Those that ended meanwhile are not in `anew`.
            let stale: Vec<u32> = of.iter().map(|&i| reads[i].index).collect();
            reads.retain(|read| !stale.contains(&read.index));
            of = (reads.len()..reads.len() + anew.len()).collect();
            reads.extend(anew);
        }
        reads.sort_unstable_by_key(|read| read.index);

        let found = goroutine_reader.found;
        errors.extend(found.errors);
        reread += found.reread;
        if options.channels > ChannelScope::Waited {
            reread += self.other_channels(&reads, options, now, &mut channels)?;
        }
        let (hidden, descriptors) = hidden::objects(self, &mut reads)?;
        let mut names = FxHashMap::default();
        let goroutines: Vec<Goroutine> = reads
            .into_iter()
            .map(|read| {
                let sudogs = &found.sudogs[read.sudogs.clone()];
                let header = &read.header;
                let reason = self.binary.wait_reasons().get(header.wait_reason);
                let role = *names
                    .entry(header.startpc)
                    .or_insert_with(|| Role::of(&self.binary, self.bias, header.startpc));
                let wait = header.parked().then(|| Wait {
                    reason,
                    objects: match sudogs {
                        [] => hidden.get(&read.gaddr.0).copied().into_iter().collect(),
                        sudogs => objects(reason, sudogs, &directions),
                    },
                    since: (header.wait_since != 0).then_some(Ktime(header.wait_since)),
                });
                Goroutine {
                    at: read.at,
                    goid: Goid(header.goid),
                    gaddr: read.gaddr,
                    // A status that does not exist was refused.
                    state: header.state().unwrap_or(State::Idle),
                    system: role.is_system(header, reason),
                    wait,
                    parent: (header.parent != 0).then_some(Goid(header.parent)),
                    // No `go` statement made the main goroutine.
                    created_at: Pc::of_return(header.gopc).filter(|_| header.goid != 1),
                    start: (header.startpc != 0).then_some(Pc(header.startpc)),
                    stack: read.stack,
                    labels: read.labels.map_or_else(Vec::new, |labels| labels.to_vec()),
                    moving: read.moving,
                }
            })
            .collect();
        let mut channels: Vec<Channel> = channels.into_values().collect();
        channels.sort_unstable_by_key(|channel| channel.addr);
        self.memory.check_alive()?;
        let moving = goroutines.iter().filter(|g| g.moving).count()
            + channels.iter().filter(|c| c.moving).count();
        Ok(Snapshot {
            started,
            finished: now(),
            goroutines,
            channels,
            descriptors,
            stacks: found.stacks.into_vec(),
            reread,
            moving: moving as u64,
            errors,
            reachability: None,
        })
    }
}

impl<M: TargetMemory> GoProcess<M> {
    /// Finds channels that nobody waits on and who holds which. Returns how many were read twice.
    fn other_channels(
        &mut self,
        reads: &[GoroutineRead],
        options: &ReadOptions,
        now: &dyn Fn() -> Ktime,
        channels: &mut FxHashMap<ChanAddr, Channel>,
    ) -> Result<u64, ProcessError> {
        let users = self.find_channels(reads, options.channels)?;
        let others = users.keys().filter(|chan| !channels.contains_key(*chan));
        let others = others.map(|chan| chan.0).collect();
        let mut reader = channels::Reader {
            memory: &self.memory,
            layout: self.binary.layout(),
            types: &mut self.types,
            symbols: &self.symbols,
            options,
            now,
            bulk: Bulk::default(),
        };
        // What is no channel any more was freed since it was found: no error.
        let found = reader.read(others, &FxHashMap::default())?;
        channels.extend(found.channels.into_iter().map(|chan| (chan.addr, chan)));
        for (chan, users) in users {
            let Some(channel) = channels.get_mut(&chan) else {
                continue;
            };
            let waiting: FxHashSet<Goid> = channel
                .send_waiting
                .iter()
                .chain(&channel.recv_waiting)
                .map(|waiter| waiter.goid)
                .collect();
            channel.users = users;
            channel.users.retain(|user| !waiting.contains(&user.goid));
        }
        Ok(found.reread)
    }
}

/// What a goroutine waits on, by its own sudogs.
fn objects(
    reason: WaitReason,
    sudogs: &[Sudog],
    directions: &FxHashMap<u64, Direction>,
) -> Box<[WaitObject]> {
    let object = |sudog: &Sudog| {
        if sudog.chan != 0 {
            return Some(WaitObject::Chan {
                chan: ChanAddr(sudog.chan),
                direction: direction(reason).or_else(|| directions.get(&sudog.addr).copied())?,
            });
        }
        match reason.kind() {
            // Go 1.26 and later.
            WaitKind::Cond => Some(WaitObject::Cond(Addr(sudog.elem))),
            kind if is_semaphore(kind) => Some(WaitObject::Semaphore(Addr(sudog.elem))),
            _ => None,
        }
    };
    sudogs.iter().filter_map(object).collect()
}

/// What a goroutine is for, by its start function: the rule of `runtime.isSystemGoroutine`.
#[derive(Clone, Copy)]
enum Role {
    User,
    System,
    /// Runs finalizers: the runtime's own unless it is doing so.
    Finalizers,
    /// Runs cleanups (Go 1.25 and later): likewise.
    Cleanups,
}

impl Role {
    fn of(binary: &GoBinary, bias: u64, startpc: u64) -> Role {
        let vaddr = Vaddr(startpc.wrapping_sub(bias));
        match binary.pclntab().function(vaddr).map(|found| found.name) {
            Some("runtime.main" | "runtime.corostart" | "runtime.handleAsyncEvent") => Role::User,
            Some("runtime.runfinq" | "runtime.runFinalizers") => Role::Finalizers,
            Some("runtime.runCleanups") => Role::Cleanups,
            Some(name) if name.starts_with("runtime.") => Role::System,
            _ => Role::User,
        }
    }

    fn is_system(self, header: &Header, reason: WaitReason) -> bool {
        match self {
            Role::User => false,
            Role::System => true,
            // The runtime keeps a flag for this; waiting for work is when it is not set.
            Role::Finalizers => header.parked() && reason == WaitReason::FinalizerWait,
            Role::Cleanups => !header.running_cleanups,
        }
    }
}
