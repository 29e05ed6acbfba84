//! One read of a process: goroutines, then the channels that they wait on, then what only both
//! together say.

use rustc_hash::{FxHashMap, FxHashSet};
use tracer_model::ids::{ChanAddr, Goid, Ktime};
use tracer_model::snapshot::{Channel, Goroutine, Snapshot};
use tracer_model::wait::{Direction, Objects, WaitObject};

use super::channels::Expected;
use super::goroutines::{self, Batch, Open};
use super::hidden::Hidden;
use super::memory::{Bulk, TargetMemory};
use super::sudog::Sudog;
use super::{ChannelScope, GoProcess, ProcessError, ReadOptions, channels, hidden};

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
        let Batch {
            mut reads,
            mut open,
            waits,
        } = goroutine_reader.read(members)?;

        let mut channels: FxHashMap<ChanAddr, Channel> = FxHashMap::default();
        let mut directions = FxHashMap::default();
        let (mut reread, mut errors) = (0, Vec::new());
        let asked: Vec<u64> = options.extra_channels.iter().map(|chan| chan.0).collect();
        // Which goroutines' channels to read: all at first.
        let (mut from, mut batch_waits) = (0, waits);
        for attempt in 1..=SELECT_ATTEMPTS {
            let wanted: FxHashSet<u64> = match options.channels > ChannelScope::None && attempt == 1
            {
                true => batch_waits.iter().map(|(chan, _)| *chan).collect(),
                // Nothing else tells the sides of a select's cases.
                false => chans(&open[from..]).collect(),
            };
            batch_waits.retain(|(chan, _)| wanted.contains(chan));
            let expected = Expected::new(std::mem::take(&mut batch_waits));
            let mut list: Vec<u64> = wanted.into_iter().collect();
            if attempt == 1 {
                list.extend(&asked);
            }
            let found = channel_reader.read(list, &expected)?;
            reread += found.reread;
            errors.extend(found.errors);
            directions.extend(found.directions);
            channels.extend(found.channels.into_iter().map(|chan| (chan.addr, chan)));

            // A case in no queue: someone is about to wake the goroutine.
            let unresolved = |open: &&mut Open| {
                let mut cases = open.cases.iter();
                cases.any(|sudog| !directions.contains_key(&sudog.addr))
            };
            let restless = open[from..].iter_mut().filter(unresolved);
            if attempt == SELECT_ATTEMPTS {
                restless.for_each(|open| open.moving = true);
                break;
            }
            let members: Vec<_> = restless.map(|open| (open.index, open.gaddr)).collect();
            if members.is_empty() {
                break;
            }
            reread += members.len() as u64;
            // Those that ended meanwhile are not in what is read anew.
            let stale: FxHashSet<u32> = members.iter().map(|(index, _)| *index).collect();
            let anew = goroutine_reader.read(members)?;
            reads.retain(|read| !stale.contains(&read.index));
            open.retain(|open| !stale.contains(&open.index));
            reads.extend(anew.reads);
            from = open.len();
            open.extend(anew.open);
            batch_waits = anew.waits;
        }
        reads.sort_unstable_by_key(|read| read.index);

        let found = goroutine_reader.found;
        errors.extend(found.errors);
        reread += found.reread;
        if options.channels > ChannelScope::Waited {
            reread += self.other_channels(options, now, &mut channels)?;
        }
        let Hidden {
            objects,
            descriptors,
            wakes,
        } = hidden::objects(self, &mut open)?;
        for open in open {
            let Ok(at) = reads.binary_search_by_key(&open.index, |read| read.index) else {
                continue;
            };
            let goroutine = &mut reads[at].goroutine;
            goroutine.moving |= open.moving;
            goroutine.sleeps_until = wakes.get(&open.gaddr).copied().into();
            if let Some(wait) = &mut goroutine.wait {
                wait.objects = match &*open.cases {
                    [] => objects.get(&open.gaddr).copied().into_iter().collect(),
                    cases => sides(cases, &directions),
                };
            }
        }
        let goroutines: Vec<Goroutine> = reads.into_iter().map(|read| read.goroutine).collect();
        let mut channels: Vec<Channel> = channels.into_values().collect();
        if options.channels == ChannelScope::None {
            channels.retain(|channel| asked.contains(&channel.addr.0));
        }
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
            corrupt: Vec::new(),
            reachability: None,
        })
    }
}

impl<M: TargetMemory> GoProcess<M> {
    /// Finds channels that nobody waits on and who holds which. Returns how many were read twice.
    fn other_channels(
        &mut self,
        options: &ReadOptions,
        now: &dyn Fn() -> Ktime,
        channels: &mut FxHashMap<ChanAddr, Channel>,
    ) -> Result<u64, ProcessError> {
        let users = self.find_channels(options.channels)?;
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
        let found = reader.read(others, &Expected::default())?;
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

/// The channels that selects wait on.
fn chans(open: &[Open]) -> impl Iterator<Item = u64> {
    open.iter()
        .flat_map(|open| &open.cases)
        .map(|sudog| sudog.chan)
        .filter(|&chan| chan != 0)
}

/// The cases of a select, as far as their sides are known.
fn sides(cases: &[Sudog], directions: &FxHashMap<u64, Direction>) -> Objects {
    let object = |sudog: &Sudog| {
        Some(WaitObject::Chan {
            chan: ChanAddr(sudog.chan),
            direction: directions.get(&sudog.addr).copied()?,
        })
    };
    cases.iter().filter_map(object).collect()
}
