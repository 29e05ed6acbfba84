//! The goroutines that could be stuck: those whose wait only another goroutine can end.

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use tracer_model::ids::{Addr, Goid};
use tracer_model::snapshot::{Goroutine, Snapshot};
use tracer_model::wait::{WaitKind, WaitObject, WaitReason};

use super::bytes::u64_at;
use super::header::Header;
use super::heap::{Heap, Object};
use super::lives::{Kept, Lives};
use super::memory::{Bulk, MemoryError, TargetMemory};
use super::sudog::Sudog;
use super::waits::is_semaphore;
use super::{GoProcess, ProcessError, semaphores};

/// Goroutines that are looked at, and sudogs that are read, together.
const GROUP: usize = 1024;
/// A select has no more cases than this.
const MAX_CASES: usize = 1 << 16;
/// Waiters in one notifyList that are looked at.
const MAX_WAITERS: usize = 1 << 12;

/// A goroutine whose wait only another one can end.
pub(super) struct Candidate<'l> {
    pub(super) goid: Goid,
    /// As it was read first.
    pub(super) live: &'l Kept,
    /// The objects of the heap, one of which must be reached, each with the address that is waited on;
    /// empty for a wait that nothing ends.
    pub(super) targets: SmallVec<[(Object, u64); 1]>,
    /// Those that are global variables or parts of one: they are reached if code may use them.
    pub(super) statics: Box<[u64]>,
}

impl Candidate<'_> {
    /// Address of its g.
    pub(super) fn gaddr(&self) -> u64 {
        self.live.gaddr()
    }

    /// Its header as it was read first.
    pub(super) fn header(&self) -> Header {
        self.live.live().header
    }
}

/// Addresses that a goroutine waits on, ascending, each once.
type Objects = SmallVec<[u64; 1]>;

/// A goroutine that the snapshot and its header agree about.
struct Waiting<'s, 'l> {
    goroutine: &'s Goroutine,
    live: &'l Kept,
    reason: WaitReason,
    /// By the snapshot.
    objects: Objects,
}

/// The goroutines whose wait only another one can end, and which wait for what the snapshot says.
pub(super) fn find<'l, M: TargetMemory>(
    process: &GoProcess<M>,
    snapshot: &Snapshot,
    lives: &'l Lives,
    heap: &Heap,
) -> Result<Vec<Candidate<'l>>, ProcessError> {
    let mut candidates = Vec::new();
    let mut table = None;
    for group in snapshot.goroutines.chunks(GROUP) {
        let waiting: Vec<Waiting> = (group.iter())
            .filter_map(|goroutine| waiting(process, goroutine, lives))
            .collect();
        let now = waited_on(process, &waiting, &mut table)?;
        let timers = with_timer(process, &waiting)?;
        for (waiting, now) in waiting.into_iter().zip(now) {
            candidates.extend(candidate(process, heap, waiting, &now, &timers));
        }
    }
    Ok(candidates)
}

/// A goroutine of which it is known what it waits on, by what it waits on `now`.
fn candidate<'l, M: TargetMemory>(
    process: &GoProcess<M>,
    heap: &Heap,
    waiting: Waiting<'_, 'l>,
    now: &Objects,
    timers: &FxHashSet<u64>,
) -> Option<Candidate<'l>> {
    let endless = matches!(
        waiting.reason,
        WaitReason::ChanReceiveNil | WaitReason::ChanSendNil | WaitReason::SelectNoCases
    );
    let objects = waiting.objects;
    // What is not known, or is not the same as in the snapshot, or may end by itself.
    if objects != *now
        || objects.is_empty() != endless
        || objects.iter().any(|object| timers.contains(object))
    {
        return None;
    }
    // What is neither in the heap nor a global can be had by anyone.
    let (mut targets, mut statics) = (SmallVec::new(), Vec::new());
    let known = objects.into_iter().all(|address| {
        let object = heap.object(address);
        targets.extend(object.map(|object| (object, address)));
        let global = object.is_none() && process.is_variable(address);
        statics.extend(global.then_some(address));
        object.is_some() || global
    });
    known.then(|| Candidate {
        goid: waiting.goroutine.goid,
        live: waiting.live,
        targets,
        statics: statics.into(),
    })
}

/// What a goroutine waits for, if only another one can end that.
fn waiting<'s, 'l, M: TargetMemory>(
    process: &GoProcess<M>,
    goroutine: &'s Goroutine,
    lives: &'l Lives,
) -> Option<Waiting<'s, 'l>> {
    let wait = goroutine.wait.as_ref()?;
    let live = lives.get(goroutine.gaddr.0)?;
    let header = live.live().header;
    let agrees = header.parked()
        && header.goid == goroutine.goid.0
        && process.binary().wait_reasons().get(header.wait_reason) == wait.reason;
    let can_be_stuck =
        !goroutine.system && !goroutine.moving && wait.reason.kind().ends_only_by_goroutine();
    (agrees && can_be_stuck).then(|| {
        let mut objects: Objects = (wait.objects.iter())
            .map(|object| match object {
                WaitObject::Chan { chan, .. } => chan.0,
                WaitObject::Semaphore(addr)
                | WaitObject::Cond(addr)
                | WaitObject::Netpoll(addr) => addr.0,
            })
            .collect();
        in_order(&mut objects);
        Waiting {
            goroutine,
            live,
            reason: wait.reason,
            objects,
        }
    })
}

fn in_order(objects: &mut Objects) {
    objects.sort_unstable();
    objects.dedup();
}

/// What each goroutine waits on now, by its sudogs or by the semaphore table, which is read if it is
/// needed and was not yet.
fn waited_on<M: TargetMemory>(
    process: &GoProcess<M>,
    waiting: &[Waiting],
    table: &mut Option<FxHashMap<u64, u64>>,
) -> Result<Vec<Objects>, ProcessError> {
    let mut objects = vec![Objects::new(); waiting.len()];
    let starts = waiting.iter().map(|waiting| waiting.live.waiting());
    let gaddr = |i: usize| waiting[i].goroutine.gaddr.0;
    each_sudog(process, starts, gaddr, |i, sudog| {
        objects[i].push(match sudog.chan {
            0 => sudog.elem,
            chan => chan,
        });
    })?;
    for (waiting, objects) in waiting.iter().zip(&mut objects) {
        let gaddr = waiting.goroutine.gaddr.0;
        if waiting.live.waiting() == 0 && waiting.reason.kind() == WaitKind::Cond {
            for &list in &waiting.objects {
                if waits_in(process, list, gaddr)? {
                    objects.push(list);
                }
            }
        }
        if waiting.live.waiting() == 0 && is_semaphore(waiting.reason.kind()) {
            let table = match &*table {
                Some(table) => table,
                None => table.insert(semaphores::waiters(process)?),
            };
            objects.extend(table.get(&gaddr).copied());
        }
        in_order(objects);
    }
    Ok(objects)
}

/// Whether the goroutine with this g waits in a notifyList: up to Go 1.25 nothing in the g says.
fn waits_in<M: TargetMemory>(
    process: &GoProcess<M>,
    list: u64,
    gaddr: u64,
) -> Result<bool, MemoryError> {
    let layout = process.layout();
    let memory = process.memory();
    let head = list.wrapping_add(u64::from(layout.notify_list.head));
    let mut next = match memory.read_u64(Addr(head)) {
        Ok(head) => head,
        Err(MemoryError::Unreadable { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut bytes = vec![0; layout.sudog.size as usize];
    for _ in 0..MAX_WAITERS {
        match memory.read(Addr(next), &mut bytes) {
            Ok(()) => {}
            Err(MemoryError::Unreadable { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
        let sudog = Sudog::parse(&layout.sudog, next, &bytes);
        if sudog.g == gaddr {
            return Ok(true);
        }
        next = sudog.next;
    }
    Ok(false)
}

/// Visits the sudogs of goroutines: of each the one that `starts` has for it (0 for none), and those that
/// follow it in a select. What is not readable, or not the goroutine's own by its g, is left out.
pub(super) fn each_sudog<M: TargetMemory>(
    process: &GoProcess<M>,
    starts: impl Iterator<Item = u64>,
    gaddr: impl Fn(usize) -> u64,
    mut visit: impl FnMut(usize, Sudog),
) -> Result<(), MemoryError> {
    let layout = &process.layout().sudog;
    let mut bulk = Bulk::default();
    let mut starts = starts.enumerate().filter(|&(_, sudog)| sudog != 0);
    loop {
        // Which goroutine, and its next sudog.
        let mut group: Vec<(usize, u64)> = starts.by_ref().take(GROUP).collect();
        if group.is_empty() {
            return Ok(());
        }
        for _ in 0..MAX_CASES {
            if group.is_empty() {
                break;
            }
            let items: Vec<_> = (group.iter())
                .map(|&(_, sudog)| (sudog, layout.size as usize))
                .collect();
            bulk.read(process.memory(), &items)?;
            let mut next = Vec::new();
            for (position, &(i, addr)) in group.iter().enumerate() {
                let Some(bytes) = bulk.get(position) else {
                    continue;
                };
                let sudog = Sudog::parse(layout, addr, bytes);
                if sudog.g == gaddr(i) {
                    // Elsewhere it links the waiters of one semaphore.
                    if sudog.is_select && sudog.waitlink != 0 {
                        next.push((i, sudog.waitlink));
                    }
                    visit(i, sudog);
                }
            }
            group = next;
        }
    }
}

/// The channels among those waited on that a timer may send to (Go 1.23 and later), as long as nobody
/// who refers to it sets it anew.
fn with_timer<M: TargetMemory>(
    process: &GoProcess<M>,
    waiting: &[Waiting],
) -> Result<FxHashSet<u64>, MemoryError> {
    let Some(timer) = process.layout().hchan.timer else {
        return Ok(FxHashSet::default());
    };
    let mut channels: Vec<u64> = (waiting.iter())
        .filter_map(|waiting| waiting.goroutine.wait.as_ref())
        .flat_map(|wait| &wait.objects)
        .filter_map(|object| match object {
            WaitObject::Chan { chan, .. } => Some(chan.0),
            _ => None,
        })
        .collect();
    channels.sort_unstable();
    channels.dedup();
    let mut armed = FxHashSet::default();
    let mut bulk = Bulk::default();
    for group in channels.chunks(GROUP) {
        let items: Vec<_> = (group.iter())
            .map(|chan| (chan.saturating_add(u64::from(timer)), 8))
            .collect();
        bulk.read(process.memory(), &items)?;
        for (i, &chan) in group.iter().enumerate() {
            let timer = bulk.get(i).map(|bytes| u64_at(bytes, 0));
            if match timer {
                Some(0) => false,
                Some(timer) => !process.is_stopped(timer)?,
                None => true,
            } {
                armed.insert(chan);
            }
        }
    }
    Ok(armed)
}
