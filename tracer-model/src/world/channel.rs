//! What is known about one channel.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::event::Fill;
use crate::ids::{ChanAddr, ChanId, Goid, Ktime, Pc};
use crate::snapshot::{self, ChannelTimer, Value, Waiter};
use crate::wait::Direction;

use super::join::{Known, Stamp};

/// How many code sites a channel counts one by one, each direction.
const SITES: usize = 8;

/// How often each code site asked for an operation: the first eight sites one by one, all further
/// ones together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sites {
    counts: SmallVec<[(Pc, u64); 1]>,
    other: u64,
}

impl Sites {
    /// The sites, each with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Pc, u64)> + '_ {
        self.counts.iter().copied()
    }

    /// Operations of further or unknown sites.
    pub const fn other(&self) -> u64 {
        self.other
    }

    fn count(&mut self, site: Option<Pc>) {
        let Some(site) = site else {
            self.other += 1;
            return;
        };
        if let Some((_, count)) = self.counts.iter_mut().find(|(pc, _)| *pc == site) {
            *count += 1;
        } else if self.counts.len() < SITES {
            self.counts.push((site, 1));
        } else {
            self.other += 1;
        }
    }
}

/// What was counted of one side of a channel since the tracer attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// Operations begun, those in a select not included.
    pub operations: u64,
    /// How often this side was a case of a select.
    pub select_cases: u64,
    /// How often a goroutine parked in a plain operation on this side.
    pub parks: u64,
    /// How often a goroutine was made runnable that was parked in a plain operation on this side.
    pub wakeups: u64,
    /// Who made one runnable last.
    pub waker: Option<Goid>,
    /// Operations, those in a select included, that completed at once with a goroutine that waited on
    /// the other side.
    pub direct: u64,
    /// Selects that this case of theirs ended, at once or after waiting.
    pub selected: u64,
    /// Nanoseconds that goroutines spent parked in plain operations, once the wait has ended. What
    /// a select waits for is not attributed to one of its channels.
    pub blocked_nanos: u64,
    /// Where the operations were asked for.
    pub sites: Sites,
}

/// How a channel came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// When.
    pub at: Ktime,
    /// By whom; `Goid(0)` is the runtime.
    pub by: Goid,
    /// Where, if known.
    pub site: Option<Pc>,
}

/// What a read of memory showed of a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Contents {
    /// Kernel time before the read.
    pub at: Ktime,
    /// Size of an element in bytes.
    pub elem_size: u16,
    /// The timer that sends to it.
    pub timer: Option<ChannelTimer>,
    /// The oldest buffered values, in the order in which they will be received.
    pub values: Vec<Value>,
    /// Goroutines that waited to send then, in order, with what they held out.
    pub send_waiting: Vec<Waiter>,
    /// Goroutines that waited to receive then, in order.
    pub recv_waiting: Vec<Waiter>,
    /// It changed under every read: the fields may not belong together.
    pub moving: bool,
}

/// A channel.
#[derive(Clone, Debug)]
pub struct Channel {
    id: ChanId,
    addr: ChanAddr,
    elem_type: Option<Arc<str>>,
    cap: Option<u64>,
    len: Option<Known<u64>>,
    max_len: u64,
    closed: Option<Ktime>,
    closed_seen: bool,
    closes: u64,
    send: Side,
    receive: Side,
    contents: Option<Contents>,
    made: Option<Made>,
    first: Ktime,
    last: Ktime,
}

impl Channel {
    pub(super) fn new(id: ChanId, addr: ChanAddr, at: Ktime) -> Channel {
        Channel {
            id,
            addr,
            elem_type: None,
            cap: None,
            len: None,
            max_len: 0,
            closed: None,
            closed_seen: false,
            closes: 0,
            send: Side::default(),
            receive: Side::default(),
            contents: None,
            made: None,
            first: at,
            last: at,
        }
    }

    /// Its number, never reused.
    pub const fn id(&self) -> ChanId {
        self.id
    }

    /// Its hchan, whose address another channel can have later.
    pub const fn addr(&self) -> ChanAddr {
        self.addr
    }

    /// Type of its elements as Go spells it, if known.
    pub fn elem_type(&self) -> Option<&str> {
        self.elem_type.as_deref()
    }

    /// Capacity, if known.
    pub const fn cap(&self) -> Option<u64> {
        self.cap
    }

    /// Buffered elements as last seen, and when: as an operation began, or as read.
    pub const fn len(&self) -> Option<Known<u64>> {
        self.len
    }

    /// Most buffered elements seen.
    pub const fn max_len(&self) -> u64 {
        self.max_len
    }

    /// Since when it is known to be closed.
    pub const fn closed(&self) -> Option<Ktime> {
        self.closed
    }

    /// Closes begun: more than one is a panic in the target.
    pub const fn closes(&self) -> u64 {
        self.closes
    }

    /// What was counted of one side.
    pub const fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::Send => &self.send,
            Direction::Receive => &self.receive,
        }
    }

    /// What memory showed last, if it was read. Who waits *now* is in [`super::Queues`].
    pub const fn contents(&self) -> Option<&Contents> {
        self.contents.as_ref()
    }

    /// How it came to be, if that was seen.
    pub const fn made(&self) -> Option<Made> {
        self.made
    }

    /// When it was first heard of.
    pub const fn first_activity(&self) -> Ktime {
        self.first
    }

    /// When it was last heard of.
    pub const fn last_activity(&self) -> Ktime {
        self.last
    }

    pub(super) fn side_mut(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Send => &mut self.send,
            Direction::Receive => &mut self.receive,
        }
    }

    /// Whether all that ever happened to it was seen.
    pub(super) fn is_known_whole(&self, lost_at: Option<Ktime>) -> bool {
        self.made
            .is_some_and(|made| lost_at.is_none_or(|lost| lost <= made.at))
    }

    pub(super) fn make(&mut self, made: Made) {
        self.touch(made.at);
        self.made = Some(made);
    }

    pub(super) fn count_close(&mut self) {
        self.closes += 1;
    }

    pub(super) fn count_operation(&mut self, direction: Direction, site: Option<Pc>) {
        let side = self.side_mut(direction);
        side.operations += 1;
        side.sites.count(site);
    }

    /// Whether a channel of this capacity can be this one. Records saturate it at 32 bits.
    pub(super) fn has_cap(&self, cap: u64) -> bool {
        let saturate = |cap: u64| cap.min(u64::from(u32::MAX));
        self.cap
            .is_none_or(|known| saturate(known) == saturate(cap))
    }

    /// Whether what was read can be this channel.
    pub(super) fn matches(&self, read: &snapshot::Channel) -> bool {
        let same_type = read.elem_type.is_empty()
            || self
                .elem_type
                .as_deref()
                .is_none_or(|known| *known == *read.elem_type);
        let reopened = self.closed_seen && !read.closed && !read.moving;
        self.has_cap(read.cap) && same_type && !reopened
    }

    pub(super) fn touch(&mut self, at: Ktime) {
        self.first = self.first.min(at);
        self.last = self.last.max(at);
    }

    pub(super) fn fill(&mut self, at: Ktime, fill: Fill) {
        self.cap = self.cap.or(Some(u64::from(fill.cap)));
        let len = u64::from(fill.len);
        self.max_len = self.max_len.max(len);
        Known::learn(&mut self.len, len, Stamp::event(at));
    }

    pub(super) fn close(&mut self, at: Ktime) {
        self.closed = Some(self.closed.map_or(at, |known| known.min(at)));
    }

    /// Takes over what memory showed.
    pub(super) fn observe(
        &mut self,
        at: Ktime,
        read: &snapshot::Channel,
        elem_type: Option<Arc<str>>,
    ) {
        let snapshot::Channel {
            at: _,
            addr: _,
            elem_type: _,
            elem_size,
            len,
            cap,
            closed,
            values,
            send_waiting,
            recv_waiting,
            users: _,
            timer,
            made_at: _,
            moving,
        } = read;
        self.touch(at);
        self.elem_type = elem_type.or(self.elem_type.take());
        self.cap = Some(*cap);
        self.max_len = self.max_len.max(*len);
        Known::learn(&mut self.len, *len, Stamp::memory(at));
        if *closed {
            self.close(at);
            self.closed_seen |= !*moving;
        }
        if self.contents.as_ref().is_none_or(|known| known.at <= at) {
            self.contents = Some(Contents {
                at,
                elem_size: *elem_size,
                timer: *timer,
                values: values.clone(),
                send_waiting: send_waiting.clone(),
                recv_waiting: recv_waiting.clone(),
                moving: *moving,
            });
        }
    }
}
