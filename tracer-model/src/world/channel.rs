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
    pub values: Box<[Value]>,
    /// Goroutines that waited to send then, in order, with what they held out.
    pub send_waiting: Box<[Waiter]>,
    /// Goroutines that waited to receive then, in order.
    pub recv_waiting: Box<[Waiter]>,
    /// It changed under every read: the fields may not belong together.
    pub moving: bool,
}

/// What the events told of a channel.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// As records have it: saturated at 32 bits.
    cap: Option<u32>,
    max_len: u32,
    len: Option<Known<u64>>,
    closed: Option<Ktime>,
    closes: u64,
    send: Side,
    receive: Side,
    made: Option<Made>,
    /// Time of the oldest and of the newest event.
    span: Option<(Ktime, Ktime)>,
}

impl Told {
    pub(super) fn side_mut(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Send => &mut self.send,
            Direction::Receive => &mut self.receive,
        }
    }

    pub(super) const fn made(&self) -> Option<Made> {
        self.made
    }

    pub(super) fn touch(&mut self, at: Ktime) {
        let (first, last) = self.span.unwrap_or((at, at));
        self.span = Some((first.min(at), last.max(at)));
    }

    pub(super) fn fill(&mut self, at: Ktime, fill: Fill) {
        self.cap = self.cap.or(Some(fill.cap));
        self.max_len = self.max_len.max(fill.len);
        Known::learn(&mut self.len, fill.len.into(), Stamp::event(at));
    }

    pub(super) fn count_operation(&mut self, direction: Direction, site: Option<Pc>) {
        let side = self.side_mut(direction);
        side.operations += 1;
        side.sites.count(site);
    }

    /// Counts a close; says whether the channel is sure to be closed already.
    pub(super) fn close(&mut self, at: Ktime, lost_at: Option<Ktime>) -> bool {
        let again = self.closes > 0 && self.is_known_whole(lost_at);
        self.closes += 1;
        self.closed = Some(self.closed.map_or(at, |known| known.min(at)));
        again
    }

    /// Whether all that ever happened to the channel was told.
    fn is_known_whole(&self, lost_at: Option<Ktime>) -> bool {
        self.made
            .is_some_and(|made| lost_at.is_none_or(|lost| lost <= made.at))
    }

    fn is_from_before(&self, at: Ktime) -> bool {
        self.span.is_some_and(|(first, _)| first < at)
    }

    fn is_newer_than(&self, at: Ktime) -> bool {
        self.span.is_some_and(|(_, last)| last > at)
    }

    fn has_cap(&self, cap: u32) -> bool {
        self.cap.is_none_or(|known| known == cap)
    }
}

/// A capacity as records have it.
fn recorded(cap: u64) -> u32 {
    u32::try_from(cap).unwrap_or(u32::MAX)
}

/// What memory showed of a channel.
#[derive(Clone, Debug)]
struct Read {
    elem_type: Option<Arc<str>>,
    cap: u64,
    len: u64,
    max_len: u64,
    /// Since when it is known to be closed.
    closed: Option<Ktime>,
    /// It was seen closed while it did not change.
    surely_closed: bool,
    /// When it was read first.
    first: Ktime,
    contents: Contents,
}

impl Read {
    const fn at(&self) -> Ktime {
        self.contents.at
    }

    /// Whether the same channel can have been read again like this.
    fn goes_on_as(&self, read: &snapshot::Channel) -> bool {
        let same_type = read.elem_type.is_empty()
            || self
                .elem_type
                .as_deref()
                .is_none_or(|known| *known == *read.elem_type);
        let reopened = self.surely_closed && !read.closed && !read.moving;
        self.cap == read.cap && same_type && !reopened
    }
}

/// What was told of a channel whose address another one has by now.
#[derive(Clone, Debug)]
struct Earlier {
    /// Events from before that may still be of it.
    until: Ktime,
    told: Told,
}

/// A channel: what the events told of it and what memory showed (see `join.rs`).
///
/// Events can reach us after a look at memory that is ahead of them, and that found another channel at
/// the same address already. That one is shown then; what is still told of the earlier one is kept
/// apart.
#[derive(Clone, Debug)]
pub struct Channel {
    id: ChanId,
    addr: ChanAddr,
    told: Told,
    read: Option<Read>,
    earlier: Option<Box<Earlier>>,
}

impl Channel {
    pub(super) fn new(id: ChanId, addr: ChanAddr) -> Channel {
        Channel {
            id,
            addr,
            told: Told::default(),
            read: None,
            earlier: None,
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
        self.read.as_ref()?.elem_type.as_deref()
    }

    /// Capacity, if known.
    pub fn cap(&self) -> Option<u64> {
        let told = self.told.cap.map(u64::from);
        self.read.as_ref().map(|read| read.cap).or(told)
    }

    /// Buffered elements as last seen, and when: as an operation began, or as read.
    pub fn len(&self) -> Option<Known<u64>> {
        let mut len = self.told.len;
        if let Some(read) = &self.read {
            Known::learn(&mut len, read.len, Stamp::memory(read.at()));
        }
        len
    }

    /// Most buffered elements seen.
    pub fn max_len(&self) -> u64 {
        let read = self.read.as_ref().map_or(0, |read| read.max_len);
        u64::from(self.told.max_len).max(read)
    }

    /// Since when it is known to be closed.
    pub fn closed(&self) -> Option<Ktime> {
        let read = self.read.as_ref().and_then(|read| read.closed);
        self.told.closed.into_iter().chain(read).min()
    }

    /// Closes begun: more than one is a panic in the target.
    pub const fn closes(&self) -> u64 {
        self.told.closes
    }

    /// What was counted of one side.
    pub const fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::Send => &self.told.send,
            Direction::Receive => &self.told.receive,
        }
    }

    /// What memory showed last, if it was read. Who waits *now* is in [`super::Queues`].
    pub fn contents(&self) -> Option<&Contents> {
        self.read.as_ref().map(|read| &read.contents)
    }

    /// How it came to be, if that was seen.
    pub const fn made(&self) -> Option<Made> {
        self.told.made
    }

    /// When it was last heard of or read.
    pub fn last_activity(&self) -> Ktime {
        let told = self.told.span.map(|(_, last)| last);
        let read = self.read.as_ref().map(Read::at);
        told.max(read).unwrap_or_default()
    }

    /// What was told of the channel that had the address at this time.
    pub(super) fn told_at(&self, at: Ktime) -> &Told {
        match &self.earlier {
            Some(earlier) if at < earlier.until => &earlier.told,
            _ => &self.told,
        }
    }

    /// Where to note what is told of this time.
    pub(super) fn told_at_mut(&mut self, at: Ktime) -> &mut Told {
        match &mut self.earlier {
            Some(earlier) if at < earlier.until => &mut earlier.told,
            _ => &mut self.told,
        }
    }

    /// Where to note what is told of this time and of a channel with this capacity, which tells channels
    /// apart. None if it is late: newer events are of another one.
    pub(super) fn told_of(
        &mut self,
        at: Ktime,
        cap: u32,
        new_id: impl FnOnce() -> ChanId,
    ) -> Option<&mut Told> {
        let read = self.read.as_ref();
        let read = read.map(|read| (read.at(), recorded(read.cap) == cap));
        let earlier = self.earlier.as_deref();
        match (earlier.filter(|earlier| at < earlier.until), read) {
            // The events have come to the channel that was read.
            (Some(earlier), Some((_, true))) if !earlier.told.has_cap(cap) => self.earlier = None,
            (Some(_), _) => {}
            (None, Some((read_at, false))) if at < read_at => self.set_aside(read_at, new_id()),
            (None, None | Some((_, true))) if self.told.has_cap(cap) => {}
            (None, _) if self.told.is_newer_than(at) => return None,
            (None, _) => self.begin(at, new_id()),
        }
        let told = self.told_at_mut(at);
        if !told.has_cap(cap) {
            *told = Told::default();
        }
        Some(told)
    }

    /// A channel was made at this address: whatever was there before is gone. What is known only from
    /// later is about the new one, or about one after that.
    pub(super) fn make(&mut self, made: Made, new_id: impl FnOnce() -> ChanId) {
        let read_before = self.read.as_ref().is_some_and(|read| read.first < made.at);
        if read_before || self.told.is_from_before(made.at) {
            self.begin(made.at, new_id());
        }
        self.earlier = None;
        self.told.touch(made.at);
        self.told.made = Some(made);
    }

    /// From now on it is another channel, which a look may have shown already.
    fn begin(&mut self, at: Ktime, id: ChanId) {
        self.id = id;
        self.told = Told::default();
        self.earlier = None;
        self.read = self.read.take().filter(|read| read.at() > at);
        if let Some(read) = &mut self.read {
            read.first = read.at();
        }
    }

    /// The channel is another one, but events from before `until` may be of the one that was told of.
    fn set_aside(&mut self, until: Ktime, id: ChanId) {
        self.id = id;
        let told = std::mem::take(&mut self.told);
        self.earlier = Some(Box::new(Earlier { until, told }));
    }

    /// Takes over what memory showed. Until `heard_until` all was told.
    pub(super) fn observe(
        &mut self,
        at: Ktime,
        read: &snapshot::Channel,
        elem_type: Option<Arc<str>>,
        heard_until: Ktime,
        new_id: impl FnOnce() -> ChanId,
    ) {
        let is_newer = |known: &Read| known.at() > at;
        if self.read.as_ref().is_some_and(is_newer) {
            return;
        }
        if !self.matches(read) {
            if self.told.is_newer_than(at) {
                return;
            }
            self.read = None;
            if self.told.span.is_some() && heard_until < at {
                self.set_aside(at, new_id());
            } else {
                self.id = new_id();
                self.told = Told::default();
            }
        }
        self.earlier.take_if(|earlier| earlier.until <= heard_until);

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
        let before = self.read.take();
        let since = before.as_ref().and_then(|before| before.closed);
        let surely_closed = before.as_ref().is_some_and(|before| before.surely_closed);
        self.read = Some(Read {
            cap: *cap,
            len: *len,
            max_len: before
                .as_ref()
                .map_or(*len, |before| before.max_len.max(*len)),
            closed: since.or(closed.then_some(at)),
            surely_closed: surely_closed || (*closed && !*moving),
            first: before.as_ref().map_or(at, |before| before.first),
            elem_type: elem_type.or(before.and_then(|before| before.elem_type)),
            contents: Contents {
                at,
                elem_size: *elem_size,
                timer: *timer,
                values: values.as_slice().into(),
                send_waiting: send_waiting.as_slice().into(),
                recv_waiting: recv_waiting.as_slice().into(),
                moving: *moving,
            },
        });
    }

    /// Whether what was read can be this channel.
    fn matches(&self, read: &snapshot::Channel) -> bool {
        let goes_on = |known: &Read| known.goes_on_as(read);
        self.told.has_cap(recorded(read.cap)) && self.read.as_ref().is_none_or(goes_on)
    }
}
