//! Events as a timeline: what each goroutine does from when to when, who wakes whom, which message goes where.
//!
//! Events alone move a goroutine from state to state. A read of memory adds what no event told: how everything was
//! at the beginning, what is true after a loss, and waits that the network poller ended (of which there is no
//! event). It is taken in when the events have caught up with it, since it is ahead of them.
//!
//! A slice is given to the canvas when it ends, so what is given is not in the order of time; a slice without an end
//! comes last.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use tracer_model::event::{ChanOp, Event, EventKind};
use tracer_model::ids::{ChanAddr, ChanId, Goid, Ktime, Pc};
use tracer_model::snapshot::{self, Snapshot};
use tracer_model::wait::{WaitKind, WaitObject, WaitReason};
use tracer_model::world::{Delivery, World};

use crate::symbols::Places;
use crate::{Export, Part, Symbols, Told, Written};

/// At so many channels those are forgotten that the model has forgotten.
const CHANNELS: usize = 1 << 17;

/// What a timeline is drawn on.
pub trait Canvas {
    /// A goroutine, before anything else of it. Goid 0 is the runtime itself.
    ///
    /// # Errors
    /// It cannot be written, here and below.
    fn goroutine(&mut self, goroutine: &Goroutine<'_>) -> io::Result<()>;

    /// A channel, before anything else of it.
    ///
    /// # Errors
    /// As above.
    fn channel(&mut self, channel: &Channel<'_>) -> io::Result<()>;

    /// A goroutine did one thing for some time.
    ///
    /// # Errors
    /// As above.
    fn slice(&mut self, slice: &Slice<'_>) -> io::Result<()>;

    /// A goroutine made another one runnable.
    ///
    /// # Errors
    /// As above.
    fn wake(&mut self, wake: &Wake) -> io::Result<()>;

    /// A message went from a goroutine to another one.
    ///
    /// # Errors
    /// As above.
    fn message(&mut self, message: &Message) -> io::Result<()>;

    /// So many elements are buffered in a channel.
    ///
    /// # Errors
    /// As above.
    fn fill(&mut self, fill: &Fill) -> io::Result<()>;

    /// A goroutine made or closed a channel.
    ///
    /// # Errors
    /// As above.
    fn mark(&mut self, mark: &Mark) -> io::Result<()>;

    /// What happened in some time is not known.
    ///
    /// # Errors
    /// As above.
    fn gap(&mut self, gap: &Gap<'_>) -> io::Result<()>;

    /// Nothing more is drawn.
    ///
    /// # Errors
    /// As above.
    fn finish(&mut self) -> io::Result<()>;
}

/// A goroutine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goroutine<'a> {
    /// Its id; 0 is the runtime itself.
    pub goid: Goid,
    /// Its function, if known.
    pub function: Option<&'a str>,
    /// The `go` statement, if known.
    pub created_at: Option<(Pc, &'a str)>,
}

/// A channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel<'a> {
    /// Its number, never reused.
    pub id: ChanId,
    /// Its address then.
    pub addr: ChanAddr,
    /// Type of its elements, if known.
    pub elem_type: Option<&'a str>,
    /// Capacity, if known.
    pub cap: Option<u64>,
    /// Where it was made, if that was seen.
    pub made_at: Option<&'a str>,
}

impl Channel<'_> {
    /// What people call it.
    pub fn title(&self) -> String {
        let mut title = format!("chan {}", self.addr);
        if let Some(elem_type) = self.elem_type {
            title = format!("{title} {elem_type}");
        }
        if let Some(cap) = self.cap {
            title = format!("{title} cap {cap}");
        }
        if let Some(made_at) = self.made_at {
            title = format!("{title} made at {made_at}");
        }
        title
    }
}

impl Goroutine<'_> {
    /// What people call it.
    pub fn title(&self) -> String {
        match (self.goid.0, self.function) {
            (0, _) => "the runtime".to_owned(),
            (goid, Some(function)) => format!("G{goid} {function}"),
            (goid, None) => format!("G{goid}"),
        }
    }
}

/// What a goroutine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody knows: before it was heard of, since a loss, or since parks are not traced.
    NotKnown,
    /// It runs, or could: that the runtime let another one run in its place makes no event.
    Running,
    /// It was woken or created and waits for a thread.
    Runnable,
    /// The same, and then it ran: when it began to is not traced.
    RunnableThenRunning,
    /// It is in a system call.
    Syscall,
    /// It waits.
    Waiting {
        /// Why.
        reason: WaitReason,
        /// On what, if that is one thing and known.
        object: Option<WaitObject>,
    },
}

impl State {
    /// What it is called.
    pub fn name(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            State::NotKnown => "not known",
            State::Running => "running",
            State::Runnable => "runnable",
            State::RunnableThenRunning => "runnable, then running",
            State::Syscall => "in a system call",
            State::Waiting { reason, .. } => match reason {
                WaitReason::Unknown(_) => return Cow::Owned(reason.to_string()),
                known => known.text(),
            },
        })
    }
}

/// Where a goroutine waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// Its stack, innermost frame first: memory was read meanwhile.
    Stack(&'a [Pc]),
    /// Where it asked for what it waits for.
    Site(Pc),
    /// Neither is known.
    NotKnown,
}

/// How a slice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// That was seen.
    Seen,
    /// It may have gone on, or not: records are missing.
    Cut,
    /// It had not, by the end of the part.
    Open,
}

/// What a goroutine did for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice<'a> {
    /// Who.
    pub goid: Goid,
    /// Entry of its function, if known.
    pub start: Option<Pc>,
    /// What.
    pub state: State,
    /// From when. Of what was so before the part, the part's beginning.
    pub from: Ktime,
    /// Until when.
    pub to: Ktime,
    /// How it ended.
    pub end: End,
    /// Whether its beginning was seen, within the part.
    pub begun: bool,
    /// The arrow that leads to its beginning.
    pub arrow: Option<u64>,
    /// Of a wait: where.
    pub place: Place<'a>,
}

/// Why a goroutine was made runnable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// What it waited for has come.
    Woken(WaitReason),
    /// It is new.
    Created,
}

/// A goroutine made another one runnable: an arrow from here to the [`Slice`] that has its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    /// Who; 0 is the runtime itself.
    pub waker: Goid,
    /// Whom.
    pub woken: Goid,
    /// When.
    pub at: Ktime,
    /// Why.
    pub cause: Cause,
    /// Number of the arrow.
    pub arrow: u64,
}

/// A message's way from sender to receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Over which channel.
    pub channel: ChanId,
    /// Its address then.
    pub addr: ChanAddr,
    /// From whom; 0 is the runtime itself, such as a timer.
    pub sender: Goid,
    /// When it was sent: as the send began.
    pub sent: Ktime,
    /// To whom.
    pub receiver: Goid,
    /// When it was handed over; out of a buffer, as the receive began.
    pub received: Ktime,
    /// Number of the arrow.
    pub arrow: u64,
}

/// How many elements a channel buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Which.
    pub channel: ChanId,
    /// Its address then.
    pub addr: ChanAddr,
    /// When: as an operation begins, or memory is read.
    pub at: Ktime,
    /// How many.
    pub len: u64,
    /// Whether it is the first that is told of the channel.
    pub first: bool,
}

/// What happened to a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Which.
    pub channel: ChanId,
    /// Its address then.
    pub addr: ChanAddr,
    /// When.
    pub at: Ktime,
    /// Who did it; 0 is the runtime itself.
    pub by: Goid,
    /// Whether it was closed, rather than made.
    pub closed: bool,
}

/// A time of which not all is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap<'a> {
    /// The last event before, or the end of the gap before: gaps do not overlap. What is lost is of one processor,
    /// and since when is not told, so it can be from a little before.
    pub from: Ktime,
    /// When it was noticed, or ended.
    pub to: Ktime,
    /// Records that never arrived; 0 if they were not counted.
    pub lost: u64,
    /// What of the recording cannot be read, if it is that.
    pub damage: Option<&'a str>,
}

impl Gap<'_> {
    /// What to say of it.
    pub fn title(&self) -> String {
        match (self.damage, self.lost) {
            (Some(what), _) => format!("the recording is damaged: {what}"),
            (None, 0) => "not traced, or events are lost (nobody counted them)".to_owned(),
            (None, 1) => "1 event is lost".to_owned(),
            (None, lost) => format!("{lost} events are lost"),
        }
    }
}

/// A state and what is known of it.
struct Now {
    state: State,
    since: Ktime,
    begun: bool,
    arrow: Option<u64>,
    stack: Option<Arc<[Pc]>>,
    site: Option<Pc>,
}

impl Now {
    const fn new(state: State, since: Ktime, begun: bool) -> Now {
        Now {
            state,
            since,
            begun,
            arrow: None,
            stack: None,
            site: None,
        }
    }
}

/// A goroutine that is alive.
struct Track {
    now: Now,
    /// Time of the last event by it or for it; `None` if memory alone tells of it.
    told: Option<Ktime>,
    /// Where it asked last for an operation on a channel, until it does something else.
    asked: Option<Pc>,
    start: Option<Pc>,
    created_at: Option<Pc>,
    /// It is in the list of those whose state a loss makes unknown.
    certain: bool,
    drawn: bool,
}

impl Track {
    const fn new(now: Now) -> Track {
        Track {
            now,
            told: None,
            asked: None,
            start: None,
            created_at: None,
            certain: false,
            drawn: false,
        }
    }
}

/// What was drawn of the channel at an address.
struct Drawn {
    id: ChanId,
    len: Option<u64>,
}

/// How a goroutine comes into a state.
#[derive(Clone, Copy, Default)]
struct Change {
    /// It was seen to begin to run.
    ran: bool,
    arrow: Option<u64>,
    site: Option<Pc>,
}

/// Draws what it is told.
pub struct Timeline<C> {
    canvas: C,
    part: Part,
    places: Places,
    world: World,
    parks_seen: bool,
    tracks: FxHashMap<Goid, Track>,
    certain: Vec<Goid>,
    runtime_drawn: bool,
    channels: FxHashMap<ChanAddr, Drawn>,
    forget_at: usize,
    messages: Vec<Delivery>,
    /// Who was missing in the last read, and until when it is drawn: events that came too late may still tell of it.
    gone: FxHashMap<Goid, Ktime>,
    /// A read that the events have not caught up with.
    ahead: Option<Box<Snapshot>>,
    /// Time of the newest event.
    heard: Ktime,
    /// Since when events may be missing, and why, until the next one comes.
    damaged: Option<(Ktime, String)>,
    /// The end of the last gap that was drawn.
    gap_until: Ktime,
    arrows: u64,
    written: Written,
}

impl<C: Canvas> Timeline<C> {
    /// Draws a part of a recording.
    pub fn new(canvas: C, part: Part, symbols: Symbols) -> Timeline<C> {
        Timeline {
            canvas,
            part,
            places: Places::new(symbols),
            world: World::new().with_deliveries(),
            parks_seen: true,
            tracks: FxHashMap::default(),
            certain: Vec::new(),
            runtime_drawn: false,
            channels: FxHashMap::default(),
            forget_at: CHANNELS,
            messages: Vec::new(),
            gone: FxHashMap::default(),
            ahead: None,
            heard: Ktime(0),
            damaged: None,
            gap_until: part.from,
            arrows: 0,
            written: Written::default(),
        }
    }

    /// What it draws on.
    pub const fn canvas(&self) -> &C {
        &self.canvas
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        let Event { at, actor, kind } = event;
        let (at, actor) = (*at, *actor);
        // A loss can be noticed ahead of events that are still told.
        if !matches!(kind, EventKind::Lost { .. }) {
            self.catch_up(at)?;
        }
        if let Some((from, what)) = self.damaged.take() {
            self.lose(from, at, 0, Some(&what))?;
        }
        self.world.apply(event);
        if let EventKind::Lost { count } = kind {
            self.lose(self.heard, at, *count, None)?;
            self.heard = self.heard.max(at);
            return Ok(());
        }
        self.written.events += u64::from(self.part.has(at));
        match kind {
            EventKind::SendBegin(op) | EventKind::ReceiveBegin(op) => {
                self.acts(actor, at, op.site)?;
                self.operate(op, at)?;
            }
            EventKind::Close(op) => {
                self.acts(actor, at, None)?;
                self.operate(op, at)?;
                if let Some(chan) = op.chan {
                    self.mark(chan, at, actor, true)?;
                }
            }
            EventKind::SelectBegin { site, .. } => self.acts(actor, at, *site)?,
            EventKind::Make { chan, .. } => {
                self.acts(actor, at, None)?;
                self.mark(*chan, at, actor, false)?;
            }
            EventKind::Direct { .. } => self.lives(actor, at)?,
            EventKind::SelectEnd { .. } | EventKind::Acquire { .. } | EventKind::SyscallExit => {
                self.acts(actor, at, None)?
            }
            EventKind::SyscallEnter => {
                self.acts(actor, at, None)?;
                self.change(actor, at, State::Syscall, Change::default())?;
            }
            EventKind::Park { reason, object } => self.park(actor, at, *reason, *object)?,
            EventKind::Ready { woken, reason, .. } => {
                self.lives(actor, at)?;
                self.wake(actor, *woken, at, Cause::Woken(*reason))?;
            }
            EventKind::Create {
                child, start, site, ..
            } => {
                self.acts(actor, at, None)?;
                let track = self.track(*child, at);
                track.start = Some(*start);
                track.created_at = *site;
                self.wake(actor, *child, at, Cause::Created)?;
            }
            EventKind::Run => {
                let state = self.active();
                let ran = Change {
                    ran: true,
                    ..Change::default()
                };
                self.change(actor, at, state, ran)?;
            }
            EventKind::Exit => {
                self.lives(actor, at)?;
                if let Some(track) = self.tracks.remove(&actor) {
                    self.draw(actor, &track, &track.now, at, End::Seen, false)?;
                }
            }
            EventKind::Lost { .. } => {}
        }
        self.heard = self.heard.max(at);
        self.deliver()
    }

    /// What whoever acts does, as far as one can tell.
    const fn active(&self) -> State {
        match self.parks_seen {
            true => State::Running,
            // It may park in the next moment, and nobody says so.
            false => State::NotKnown,
        }
    }

    /// The goroutine is running.
    fn lives(&mut self, goid: Goid, at: Ktime) -> io::Result<()> {
        self.change(goid, at, self.active(), Change::default())
    }

    /// The goroutine is running, and asks for an operation there, or for nothing of the kind.
    fn acts(&mut self, goid: Goid, at: Ktime, asked: Option<Pc>) -> io::Result<()> {
        self.lives(goid, at)?;
        if let Some(track) = self.tracks.get_mut(&goid) {
            track.asked = asked;
        }
        Ok(())
    }

    fn park(
        &mut self,
        goid: Goid,
        at: Ktime,
        reason: WaitReason,
        object: Option<WaitObject>,
    ) -> io::Result<()> {
        // Whatever it waited in before has ended, though nobody said so.
        self.lives(goid, at)?;
        let asked = self.tracks.get(&goid).and_then(|track| track.asked);
        let site = asked.filter(|_| matches!(reason.kind(), WaitKind::Chan | WaitKind::Select));
        let change = Change {
            site,
            ..Change::default()
        };
        self.change(goid, at, State::Waiting { reason, object }, change)
    }

    fn wake(&mut self, waker: Goid, woken: Goid, at: Ktime, cause: Cause) -> io::Result<()> {
        if woken.0 == 0 {
            return Ok(());
        }
        let state = match self.parks_seen {
            true => State::Runnable,
            false => State::NotKnown,
        };
        let arrow = self.arrows + 1;
        let change = Change {
            arrow: Some(arrow),
            ..Change::default()
        };
        self.change(woken, at, state, change)?;
        let arrives = self
            .tracks
            .get(&woken)
            .is_some_and(|track| track.now.arrow == Some(arrow));
        if arrives && self.part.has(at) {
            self.arrows = arrow;
            self.meet(waker)?;
            self.meet(woken)?;
            self.canvas.wake(&Wake {
                waker,
                woken,
                at,
                cause,
                arrow,
            })?;
        }
        Ok(())
    }

    fn track(&mut self, goid: Goid, at: Ktime) -> &mut Track {
        let gone = &self.gone;
        self.tracks.entry(goid).or_insert_with(|| {
            let since = gone.get(&goid).map_or(at, |&until| at.max(until));
            Track::new(Now::new(State::NotKnown, since, false))
        })
    }

    /// A goroutine comes into a state, unless it is in it, or something later is known of it.
    fn change(&mut self, goid: Goid, at: Ktime, state: State, change: Change) -> io::Result<()> {
        if goid.0 == 0 {
            return Ok(());
        }
        let track = self.track(goid, at);
        if track.told.is_some_and(|told| at < told) {
            return Ok(());
        }
        track.told = Some(at);
        // Whoever is made runnable has an arrow, and what is not known has no length.
        if track.now.state == state && (change.arrow.is_none() || state == State::Runnable) {
            return Ok(());
        }
        let now = Now {
            arrow: change.arrow,
            site: change.site,
            ..Now::new(state, at.max(track.now.since), true)
        };
        self.replace(goid, now, at, End::Seen, change.ran)
    }

    /// Ends what a goroutine does, and begins something else.
    fn replace(&mut self, goid: Goid, now: Now, to: Ktime, end: End, ran: bool) -> io::Result<()> {
        let Some(mut track) = self.tracks.remove(&goid) else {
            return Ok(());
        };
        let before = std::mem::replace(&mut track.now, now);
        if track.now.state != State::NotKnown && !track.certain {
            track.certain = true;
            self.certain.push(goid);
        }
        if self.is_drawn(&before, to) && !track.drawn {
            track.drawn = true;
            self.introduce(goid, &track)?;
        }
        let drawn = self.draw(goid, &track, &before, to, end, ran);
        self.tracks.insert(goid, track);
        drawn
    }

    /// Whether a state that lasts until then is worth a slice.
    fn is_drawn(&self, now: &Now, to: Ktime) -> bool {
        let lasts = to > now.since
            || now.arrow.is_some()
            || matches!(now.state, State::Waiting { .. } | State::Syscall);
        lasts && to >= self.part.from && now.since <= self.part.to
    }

    fn draw(
        &mut self,
        goid: Goid,
        track: &Track,
        now: &Now,
        to: Ktime,
        end: End,
        ran: bool,
    ) -> io::Result<()> {
        if !self.is_drawn(now, to) {
            return Ok(());
        }
        if !track.drawn {
            self.introduce(goid, track)?;
        }
        let is_open = to > self.part.to || end == End::Open;
        let state = match (now.state, end) {
            (State::Runnable, End::Seen) if !ran && !is_open => State::RunnableThenRunning,
            (state, _) => state,
        };
        let place = match (&now.stack, now.site) {
            (Some(stack), _) => Place::Stack(stack),
            (None, Some(site)) => Place::Site(site),
            (None, None) => Place::NotKnown,
        };
        self.canvas.slice(&Slice {
            goid,
            start: track.start,
            state,
            from: now.since.max(self.part.from),
            to: to.min(self.part.to).max(now.since),
            end: if is_open { End::Open } else { end },
            begun: now.begun && now.since >= self.part.from,
            arrow: now.arrow.filter(|_| now.since >= self.part.from),
            place,
        })
    }

    /// Draws who a goroutine is, if that was not done.
    fn meet(&mut self, goid: Goid) -> io::Result<()> {
        if goid.0 == 0 {
            if !std::mem::replace(&mut self.runtime_drawn, true) {
                self.canvas.goroutine(&Goroutine {
                    goid,
                    function: None,
                    created_at: None,
                })?;
            }
            return Ok(());
        }
        if let Some(mut track) = self.tracks.remove(&goid) {
            if !std::mem::replace(&mut track.drawn, true) {
                self.introduce(goid, &track)?;
            }
            self.tracks.insert(goid, track);
        }
        Ok(())
    }

    fn introduce(&mut self, goid: Goid, track: &Track) -> io::Result<()> {
        let start = track.start.and_then(|start| self.places.frame(start));
        let created_at = track.created_at.map(|pc| (pc, self.places.name(pc)));
        self.canvas.goroutine(&Goroutine {
            goid,
            function: start.as_ref().map(|frame| &*frame.function),
            created_at: created_at.as_ref().map(|(pc, name)| (*pc, &**name)),
        })
    }

    fn operate(&mut self, op: &ChanOp, at: Ktime) -> io::Result<()> {
        match (op.chan, op.fill) {
            (Some(chan), Some(fill)) if fill.cap > 0 && fill.len <= fill.cap => {
                self.fill(chan, at, u64::from(fill.len))
            }
            _ => Ok(()),
        }
    }

    fn fill(&mut self, chan: ChanAddr, at: Ktime, len: u64) -> io::Result<()> {
        if !self.part.has(at) {
            return Ok(());
        }
        let Some(channel) = self.channel(chan)? else {
            return Ok(());
        };
        let Some(drawn) = self.channels.get_mut(&chan) else {
            return Ok(());
        };
        let before = drawn.len.replace(len);
        if before != Some(len) {
            self.canvas.fill(&Fill {
                channel,
                addr: chan,
                at,
                len,
                first: before.is_none(),
            })?;
        }
        Ok(())
    }

    fn mark(&mut self, chan: ChanAddr, at: Ktime, by: Goid, closed: bool) -> io::Result<()> {
        if self.part.has(at)
            && let Some(channel) = self.channel(chan)?
        {
            self.meet(by)?;
            self.canvas.mark(&Mark {
                channel,
                addr: chan,
                at,
                by,
                closed,
            })?;
        }
        Ok(())
    }

    /// The number of the channel that has this address, which is drawn if it was not.
    fn channel(&mut self, addr: ChanAddr) -> io::Result<Option<ChanId>> {
        let Some(channel) = self.world.channel_at(addr) else {
            return Ok(None);
        };
        let id = channel.id();
        if self.channels.get(&addr).is_some_and(|drawn| drawn.id == id) {
            return Ok(Some(id));
        }
        let made_at = channel.made().and_then(|made| made.site);
        let made_at = made_at.map(|site| self.places.name(site));
        self.canvas.channel(&Channel {
            id,
            addr,
            elem_type: channel.elem_type(),
            cap: channel.cap(),
            made_at: made_at.as_deref(),
        })?;
        if self.channels.len() >= self.forget_at {
            let world = &self.world;
            self.channels.retain(|addr, drawn| {
                let known = world.channel_at(*addr);
                known.is_some_and(|channel| channel.id() == drawn.id)
            });
            self.forget_at = CHANNELS.max(2 * self.channels.len());
        }
        self.channels.insert(addr, Drawn { id, len: None });
        Ok(Some(id))
    }

    /// Draws the messages that have arrived.
    fn deliver(&mut self) -> io::Result<()> {
        let mut messages = std::mem::take(&mut self.messages);
        self.world.take_deliveries(&mut messages);
        for delivery in messages.drain(..) {
            let Delivery {
                chan,
                sender,
                sent,
                receiver,
                received,
            } = delivery;
            // A sender of before may be gone, and was never drawn.
            if !self.part.has(sent) || !self.part.has(received) {
                continue;
            }
            let Some(channel) = self.channel(chan)? else {
                continue;
            };
            self.meet(sender)?;
            self.meet(receiver)?;
            self.arrows += 1;
            self.canvas.message(&Message {
                channel,
                addr: chan,
                sender,
                sent,
                receiver,
                received,
                arrow: self.arrows,
            })?;
        }
        self.messages = messages;
        Ok(())
    }

    /// What happened in this time is not known.
    fn lose(&mut self, from: Ktime, to: Ktime, lost: u64, damage: Option<&str>) -> io::Result<()> {
        for goid in std::mem::take(&mut self.certain) {
            let Some(track) = self.tracks.get_mut(&goid) else {
                continue;
            };
            track.certain = false;
            track.asked = None;
            let from = from.max(track.now.since);
            let now = Now::new(State::NotKnown, from, true);
            self.replace(goid, now, from, End::Cut, false)?;
        }
        if to >= self.part.from && from <= self.part.to {
            self.written.lost += lost;
            self.written.gaps += 1;
            // Several processors can lose at once.
            let from = from.min(to).max(self.gap_until);
            let to = to.min(self.part.to).max(from);
            self.gap_until = to;
            self.canvas.gap(&Gap {
                from,
                to,
                lost,
                damage,
            })?;
        }
        Ok(())
    }

    /// Takes a read in, if the events have caught up with it.
    fn catch_up(&mut self, at: Ktime) -> io::Result<()> {
        match self.ahead.take_if(|ahead| ahead.finished <= at) {
            Some(snapshot) => self.read(&snapshot),
            None => Ok(()),
        }
    }

    fn read(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        let mut alive = FxHashSet::default();
        for goroutine in &snapshot.goroutines {
            alive.insert(goroutine.goid);
            let at = goroutine.at.max(snapshot.started);
            // Who exited since is not there any more.
            if self.world.goroutine(goroutine.goid).is_some() && !goroutine.moving {
                self.see(goroutine, snapshot.stack(goroutine), at)?;
            }
        }
        let gone: Vec<Goid> = self
            .tracks
            .iter()
            .filter(|(goid, track)| {
                let known = track.told.unwrap_or_default().max(track.now.since);
                known < snapshot.started && !alive.contains(goid)
            })
            .map(|(&goid, _)| goid)
            .collect();
        self.gone.clear();
        for goid in gone {
            self.gone.insert(goid, snapshot.started);
            if let Some(track) = self.tracks.remove(&goid) {
                self.draw(goid, &track, &track.now, snapshot.started, End::Seen, false)?;
            }
        }
        for channel in &snapshot.channels {
            if channel.cap > 0 && !channel.moving {
                self.fill(channel.addr, channel.at.max(snapshot.started), channel.len)?;
            }
        }
        Ok(())
    }

    /// Takes in how a goroutine was, unless an event is newer.
    fn see(&mut self, goroutine: &snapshot::Goroutine, stack: &[Pc], at: Ktime) -> io::Result<()> {
        let goid = goroutine.goid;
        let Some(seen) = state_of(goroutine) else {
            return Ok(());
        };
        let since = goroutine.wait.as_ref().and_then(|wait| wait.since.get());
        let since = since.filter(|&since| since <= at).unwrap_or(at);
        let is_new = !self.tracks.contains_key(&goid);
        let track = self.track(goid, since);
        track.start = goroutine.start.get().or(track.start);
        track.created_at = goroutine.created_at.get().or(track.created_at);
        if track.told.is_some_and(|told| told >= at) {
            return Ok(());
        }
        let knows_better = match (track.now.state, seen) {
            (State::NotKnown, _) => false,
            (State::Waiting { reason, .. }, State::Waiting { reason: now, .. }) => reason == now,
            (State::Waiting { .. }, _) | (_, State::Waiting { .. }) => false,
            (known, seen) => track.told.is_some() || known == seen,
        };
        if !knows_better {
            let since = since.max(track.now.since);
            let to = if is_new { since } else { since.min(at) };
            self.replace(goid, Now::new(seen, since, false), to, End::Seen, false)?;
        }
        if let Some(track) = self.tracks.get_mut(&goid)
            && matches!(track.now.state, State::Waiting { .. })
            && track.now.stack.is_none()
            && !stack.is_empty()
        {
            track.now.stack = Some(stack.into());
        }
        Ok(())
    }
}

/// What memory showed of a goroutine; `None` if that tells nothing.
fn state_of(goroutine: &snapshot::Goroutine) -> Option<State> {
    Some(match goroutine.state {
        snapshot::State::Running | snapshot::State::Copystack | snapshot::State::Preempted => {
            State::Running
        }
        snapshot::State::Runnable => State::Runnable,
        snapshot::State::Syscall => State::Syscall,
        snapshot::State::Waiting | snapshot::State::Leaked => {
            let wait = goroutine.wait.as_ref()?;
            let object = match &*wait.objects {
                [object] => Some(*object),
                _ => None,
            };
            State::Waiting {
                reason: wait.reason,
                object,
            }
        }
        snapshot::State::Idle | snapshot::State::Dead => return None,
    })
}

impl<C: Canvas> Export for Timeline<C> {
    fn tell(&mut self, told: Told<'_>) -> io::Result<()> {
        match told {
            Told::Known {
                at,
                snapshot,
                parks_seen,
            } => {
                self.heard = at;
                self.parks_seen = parks_seen;
                if !parks_seen {
                    self.world.retrace(at, parks_seen);
                }
                match snapshot {
                    Some(snapshot) => {
                        self.world.observe(snapshot);
                        self.read(snapshot)
                    }
                    None => Ok(()),
                }
            }
            Told::Event(event) => self.event(event),
            Told::HeardUntil(at) => {
                self.world.heard_until(at);
                self.catch_up(at)
            }
            Told::Retraced { at, parks_seen } => {
                self.world.retrace(at, parks_seen);
                self.parks_seen = parks_seen;
                self.lose(self.heard, at, 0, None)?;
                self.heard = self.heard.max(at);
                Ok(())
            }
            Told::Observed(snapshot) => {
                self.world.observe(&snapshot);
                if let Some(before) = self.ahead.replace(snapshot) {
                    self.read(&before)?;
                }
                Ok(())
            }
            Told::Missing { what } => {
                let from = self.heard;
                self.world.retrace(self.world.now(), self.parks_seen);
                self.damaged.get_or_insert_with(|| (from, what.to_owned()));
                Ok(())
            }
        }
    }

    fn finish(&mut self) -> io::Result<Written> {
        if let Some(ahead) = self.ahead.take() {
            self.read(&ahead)?;
        }
        if let Some((from, what)) = self.damaged.take() {
            self.lose(from, self.part.to.max(from), 0, Some(&what))?;
        }
        let mut left: Vec<(Goid, Track)> = self.tracks.drain().collect();
        left.sort_unstable_by_key(|(goid, _)| *goid);
        for (goid, track) in left {
            let to = self.part.to.max(track.now.since);
            self.draw(goid, &track, &track.now, to, End::Open, false)?;
        }
        self.canvas.finish()?;
        Ok(self.written)
    }
}
