//! Events as CSV, one a row (RFC 4180). What is lost is a row of its own, in its place.

use std::io::{self, Write};

use jiff::Timestamp;
use tracer_model::event::{ChanOp, Event, EventKind};
use tracer_model::ids::{Ktime, Pc};
use tracer_model::wait::{Direction, WaitObject};

use crate::symbols::Places;
use crate::{Clocks, Export, Part, Symbols, Told, Written};

/// The columns. An empty field is what an event does not have, or what is not known.
pub const COLUMNS: [&str; 17] = [
    // By the wall clock, to the microsecond.
    "time",
    // By the kernel's clock, exactly.
    "monotonic_ns",
    // Who acted; 0 is the runtime itself.
    "goid",
    "event",
    // The goroutine that was woken or created, or met waiting on a channel.
    "other",
    "channel",
    // The address of what is no channel.
    "object",
    "direction",
    "wait_reason",
    // Buffered elements as the operation began.
    "len",
    "cap",
    // Of a select: its cases, `send 0x… receive 0x…`.
    "cases",
    // Of the end of a select: which one, as the runtime counts them.
    "case",
    "site",
    // The function of a new goroutine.
    "start",
    // Records that never arrived before this; 0 if nobody counted them.
    "count",
    // What of the recording cannot be read.
    "message",
];

/// A row, by column.
type Row = [String; COLUMNS.len()];

mod column {
    pub(super) const TIME: usize = 0;
    pub(super) const MONOTONIC: usize = 1;
    pub(super) const GOID: usize = 2;
    pub(super) const EVENT: usize = 3;
    pub(super) const OTHER: usize = 4;
    pub(super) const CHANNEL: usize = 5;
    pub(super) const OBJECT: usize = 6;
    pub(super) const DIRECTION: usize = 7;
    pub(super) const WAIT_REASON: usize = 8;
    pub(super) const LEN: usize = 9;
    pub(super) const CAP: usize = 10;
    pub(super) const CASES: usize = 11;
    pub(super) const CASE: usize = 12;
    pub(super) const SITE: usize = 13;
    pub(super) const START: usize = 14;
    pub(super) const COUNT: usize = 15;
    pub(super) const MESSAGE: usize = 16;
}

/// Writes events.
pub struct Csv<W: Write> {
    out: csv::Writer<W>,
    part: Part,
    clocks: Clocks,
    places: Places,
    heard: Ktime,
    written: Written,
}

impl<W: Write> Csv<W> {
    /// Begins with the names of the columns.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn new(out: W, part: Part, clocks: Clocks, symbols: Symbols) -> io::Result<Csv<W>> {
        let mut out = csv::Writer::from_writer(out);
        out.write_record(COLUMNS)?;
        Ok(Csv {
            out,
            part,
            clocks,
            places: Places::new(symbols),
            heard: Ktime(0),
            written: Written::default(),
        })
    }

    fn row(&mut self, at: Ktime, event: &str, mut row: Row) -> io::Result<()> {
        let nanos = i128::from(self.clocks.unix_nanos(at));
        let time = Timestamp::from_nanosecond(nanos).unwrap_or_default();
        row[column::TIME] = format!("{time:.6}");
        row[column::MONOTONIC] = at.0.to_string();
        row[column::EVENT] = event.to_owned();
        Ok(self.out.write_record(&row)?)
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        let Event { at, actor, kind } = event;
        self.heard = self.heard.max(*at);
        if !self.part.has(*at) {
            return Ok(());
        }
        let mut row = Row::default();
        row[column::GOID] = actor.to_string();
        match kind {
            EventKind::SendBegin(op) | EventKind::ReceiveBegin(op) | EventKind::Close(op) => {
                self.operation(&mut row, op);
            }
            EventKind::SelectBegin { cases, site, .. } => {
                let cases: Vec<String> = cases.iter().filter_map(case).collect();
                row[column::CASES] = cases.join(" ");
                row[column::SITE] = self.site(*site);
            }
            EventKind::SelectEnd { case } => {
                row[column::CASE] = case.map_or_else(String::new, |case| case.to_string());
            }
            EventKind::Acquire { object: on } => object(&mut row, Some(*on)),
            EventKind::Park { reason, object: on } => {
                row[column::WAIT_REASON] = reason.to_string();
                object(&mut row, *on);
            }
            EventKind::Ready {
                woken,
                reason,
                object: on,
            } => {
                row[column::OTHER] = woken.to_string();
                row[column::WAIT_REASON] = reason.to_string();
                object(&mut row, *on);
            }
            EventKind::Create {
                child, start, site, ..
            } => {
                row[column::OTHER] = child.to_string();
                row[column::START] = self.site(Some(*start));
                row[column::SITE] = self.site(*site);
            }
            EventKind::Make { chan, site } => {
                row[column::CHANNEL] = chan.to_string();
                row[column::SITE] = self.site(*site);
            }
            EventKind::Direct {
                chan,
                direction: side,
                partner,
                ..
            } => {
                row[column::CHANNEL] = chan.to_string();
                row[column::DIRECTION] = direction(*side).to_owned();
                row[column::OTHER] = partner.to_string();
            }
            EventKind::Lost { count } => {
                row[column::GOID].clear();
                row[column::COUNT] = count.to_string();
                self.written.lost += count;
                self.written.gaps += 1;
            }
            EventKind::SyscallEnter | EventKind::SyscallExit | EventKind::Run | EventKind::Exit => {
            }
        }
        self.written.events += u64::from(!matches!(kind, EventKind::Lost { .. }));
        self.row(*at, kind.name(), row)
    }

    fn operation(&mut self, row: &mut Row, op: &ChanOp) {
        if let Some(chan) = op.chan {
            row[column::CHANNEL] = chan.to_string();
        }
        if let Some(fill) = op.fill {
            row[column::LEN] = fill.len.to_string();
            row[column::CAP] = fill.cap.to_string();
        }
        row[column::SITE] = self.site(op.site);
    }

    fn site(&mut self, pc: Option<Pc>) -> String {
        pc.map_or_else(String::new, |pc| self.places.name(pc).to_string())
    }

    /// Something is missing here.
    fn gap(&mut self, at: Ktime, event: &str, message: &str) -> io::Result<()> {
        if !self.part.has(at) {
            return Ok(());
        }
        self.written.gaps += 1;
        let mut row = Row::default();
        row[column::MESSAGE] = message.to_owned();
        self.row(at, event, row)
    }
}

const fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Send => "send",
        Direction::Receive => "receive",
    }
}

fn case(object: &WaitObject) -> Option<String> {
    match *object {
        WaitObject::Chan {
            chan,
            direction: side,
        } => Some(format!("{} {chan}", direction(side))),
        _ => None,
    }
}

fn object(row: &mut Row, object: Option<WaitObject>) {
    match object {
        Some(WaitObject::Chan {
            chan,
            direction: side,
        }) => {
            row[column::CHANNEL] = chan.to_string();
            row[column::DIRECTION] = direction(side).to_owned();
        }
        Some(
            WaitObject::Semaphore(address)
            | WaitObject::Cond(address)
            | WaitObject::Netpoll(address),
        ) => row[column::OBJECT] = address.to_string(),
        None => {}
    }
}

impl<W: Write> Export for Csv<W> {
    fn tell(&mut self, told: Told<'_>) -> io::Result<()> {
        match told {
            Told::Event(event) => self.event(event),
            Told::Retraced { at, .. } => self.gap(
                at,
                "retraced",
                "what is traced changed here; some time before was not traced",
            ),
            Told::Missing { what } => self.gap(self.heard.max(self.part.from), "missing", what),
            Told::Known { at, .. } => {
                self.heard = at;
                Ok(())
            }
            Told::HeardUntil(_) | Told::Observed(_) => Ok(()),
        }
    }

    fn finish(&mut self) -> io::Result<Written> {
        self.out.flush()?;
        Ok(self.written)
    }
}
