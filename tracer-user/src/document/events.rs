//! `gotrace.events/1`: the events of a recording, one object a line.

use schemars::JsonSchema;
use serde::Serialize;
use tracer_model::event::{ChanOp, Event as Told, EventKind};
use tracer_model::ids::{ChanAddr, Goid};
use tracer_model::symbol::Symbolizer;
use tracer_model::wait::{Direction, WaitObject};

use super::{Site, WallClock};

/// The schema of every line.
pub(crate) const SCHEMA: &str = "gotrace.events/1";

/// One line.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
#[schemars(rename = "EventLine")]
pub(crate) enum Line<'a> {
    Event(&'a Event),
    /// Something is missing here.
    Warning {
        message: &'a str,
    },
}

/// A [`Line`] with its schema.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "EventMessage")]
pub(crate) struct Stamped<'a> {
    #[schemars(extend("const" = SCHEMA))]
    schema: &'static str,
    #[serde(flatten)]
    line: Line<'a>,
}

impl<'a> Line<'a> {
    pub(crate) const fn stamped(self) -> Stamped<'a> {
        Stamped {
            schema: SCHEMA,
            line: self,
        }
    }
}

/// An event; what a kind does not have is left out.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Event {
    pub(crate) time: String,
    /// Who acted; 0 is the runtime itself.
    pub(crate) goid: Goid,
    pub(crate) event: &'static str,
    /// The other goroutine: woken, created, or met on a channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) other: Option<Goid>,
    /// Address of the channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) channel: Option<String>,
    /// Address of what is no channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) direction: Option<Direction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wait_reason: Option<String>,
    /// Buffered elements as the operation began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) len: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cap: Option<u32>,
    /// The cases of a select.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) cases: Vec<Case>,
    /// Of the end of a select: the case, as the runtime counts them (sends first); none: the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) case: Option<u32>,
    /// Where, or the `go` statement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) site: Option<Site>,
    /// The function of a goroutine that was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) start: Option<Site>,
    /// Records that never arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<u64>,
}

/// A case of a select.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Case {
    pub(crate) channel: String,
    pub(crate) direction: Direction,
}

impl Event {
    pub(crate) fn new(told: &Told, symbols: &dyn Symbolizer, clock: WallClock) -> Event {
        let site = |pc: Option<_>| pc.and_then(|pc| Site::of(pc, symbols));
        let operation = |op: &ChanOp| Event {
            channel: op.chan.map(|chan| chan.to_string()),
            len: op.fill.map(|fill| fill.len),
            cap: op.fill.map(|fill| fill.cap),
            site: site(op.site),
            ..Event::default()
        };
        let event = match &told.kind {
            EventKind::SendBegin(op) | EventKind::ReceiveBegin(op) | EventKind::Close(op) => {
                operation(op)
            }
            EventKind::SelectBegin {
                cases,
                nils: _,
                blocking: _,
                truncated: _,
                site: at,
            } => Event {
                cases: cases.iter().filter_map(case).collect(),
                site: site(*at),
                ..Event::default()
            },
            EventKind::SelectEnd { case } => Event {
                case: *case,
                ..Event::default()
            },
            EventKind::Acquire { object } => Event::of_object(Some(*object)),
            EventKind::SyscallEnter | EventKind::SyscallExit | EventKind::Run | EventKind::Exit => {
                Event::default()
            }
            EventKind::Park { reason, object } => Event {
                wait_reason: Some(reason.to_string()),
                ..Event::of_object(*object)
            },
            EventKind::Ready {
                woken,
                reason,
                object,
            } => Event {
                other: Some(*woken),
                wait_reason: Some(reason.to_string()),
                ..Event::of_object(*object)
            },
            EventKind::Create {
                child,
                gaddr: _,
                start,
                site: at,
            } => Event {
                other: Some(*child),
                start: Site::of(*start, symbols),
                site: site(*at),
                ..Event::default()
            },
            EventKind::Make { chan, site: at } => Event {
                channel: Some(chan.to_string()),
                site: site(*at),
                ..Event::default()
            },
            EventKind::Direct {
                chan,
                direction,
                partner,
                partner_selects: _,
            } => Event {
                channel: Some(chan.to_string()),
                direction: Some(*direction),
                other: Some(*partner),
                ..Event::default()
            },
            EventKind::Lost { count } => Event {
                count: Some(*count),
                ..Event::default()
            },
        };
        Event {
            time: clock.rfc3339(told.at),
            goid: told.actor,
            event: told.kind.name(),
            ..event
        }
    }

    fn of_object(object: Option<WaitObject>) -> Event {
        match object {
            Some(WaitObject::Chan { chan, direction }) => Event {
                channel: Some(chan.to_string()),
                direction: Some(direction),
                ..Event::default()
            },
            Some(
                WaitObject::Semaphore(address)
                | WaitObject::Cond(address)
                | WaitObject::Netpoll(address),
            ) => Event {
                object: Some(address.to_string()),
                ..Event::default()
            },
            None => Event::default(),
        }
    }
}

fn case(object: &WaitObject) -> Option<Case> {
    match *object {
        WaitObject::Chan { chan, direction } => Some(Case {
            channel: chan.to_string(),
            direction,
        }),
        _ => None,
    }
}

/// Whose events are listed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen {
    pub(crate) goroutines: Vec<Goid>,
    pub(crate) channels: Vec<ChanAddr>,
}

impl Chosen {
    /// Whether an event is about one of the goroutines or channels, or nothing is chosen. A loss may be
    /// of any.
    pub(crate) fn keep(&self, event: &Told) -> bool {
        let of = |goid: Goid| self.goroutines.contains(&goid);
        let on = |chan: ChanAddr| self.channels.contains(&chan);
        let about = |object: &WaitObject| match *object {
            WaitObject::Chan { chan, .. } => on(chan),
            _ => false,
        };
        let everything = self.goroutines.is_empty() && self.channels.is_empty();
        everything
            || of(event.actor)
            || match &event.kind {
                EventKind::SendBegin(op) | EventKind::ReceiveBegin(op) | EventKind::Close(op) => {
                    op.chan.is_some_and(on)
                }
                EventKind::SelectBegin { cases, .. } => cases.iter().any(about),
                EventKind::Park { object, .. } => object.as_ref().is_some_and(about),
                EventKind::Ready { woken, object, .. } => {
                    of(*woken) || object.as_ref().is_some_and(about)
                }
                EventKind::Create { child, .. } => of(*child),
                EventKind::Make { chan, .. } => on(*chan),
                EventKind::Direct { chan, partner, .. } => on(*chan) || of(*partner),
                EventKind::Acquire { object } => about(object),
                EventKind::Run
                | EventKind::Exit
                | EventKind::SelectEnd { .. }
                | EventKind::SyscallEnter
                | EventKind::SyscallExit => false,
                EventKind::Lost { .. } => true,
            }
    }
}
