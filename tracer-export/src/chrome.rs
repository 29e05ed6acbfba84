//! A trace in Chrome's JSON format, which Perfetto, Chrome's own viewer and many tools read: a thread a goroutine,
//! pairs of `B` and `E` for what it does, complete events (`X`) for operations, pairs of `s` and `f` for arrows,
//! counters (`C`) for the fill of channels.
//!
//! What a goroutine does has no gaps: what ends ends at the very number at which the next begins. A time and a duration
//! would not say so, since readers add them as floating-point numbers, and see each begin before the other's end.
//!
//! It has no way to group goroutines, and a number of its own for what is lost: [`GAPS`].

use std::io::{self, Write};

use serde_json::{Value, json};
use tracer_model::ids::{Goid, Ktime};
use tracer_model::wait::WaitObject;

use crate::symbols::Places;
use crate::timeline::{
    Canvas, Cause, Channel, End, Fill, Gap, Goroutine, Mark, Message, Slice, State, Wake,
};
use crate::{About, Symbols};

/// The thread of what is lost: the largest number that JSON's readers hold exactly, which no goroutine has.
pub const GAPS: u64 = (1 << 53) - 1;

/// Writes a Chrome trace.
pub struct Chrome<W> {
    out: W,
    places: Places,
    pid: u32,
    begun: bool,
    gaps: bool,
}

/// One event: what is the same in all of them, and what is its own.
struct Line<'a> {
    phase: char,
    thread: u64,
    at: Ktime,
    name: &'a str,
    category: &'a str,
    duration: Option<u64>,
    arrow: Option<u64>,
    args: Option<Value>,
}

impl<'a> Line<'a> {
    const fn new(phase: char, thread: u64, at: Ktime, name: &'a str, category: &'a str) -> Self {
        Line {
            phase,
            thread,
            at,
            name,
            category,
            duration: None,
            arrow: None,
            args: None,
        }
    }
}

impl<W: Write> Chrome<W> {
    /// Begins a trace.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new(out: W, about: &About, symbols: Symbols) -> io::Result<Chrome<W>> {
        let mut chrome = Chrome {
            out,
            places: Places::new(symbols),
            pid: about.pid,
            begun: false,
            gaps: false,
        };
        chrome.begin(about)?;
        Ok(chrome)
    }

    fn begin(&mut self, about: &About) -> io::Result<()> {
        let clock = json!({
            "clock": "CLOCK_MONOTONIC",
            "monotonic_ns": about.clocks.kernel.0,
            "unix_ns": about.clocks.unix,
        });
        write!(
            self.out,
            "{{\"displayTimeUnit\":\"ns\",\"otherData\":{clock},\"traceEvents\":["
        )?;
        self.metadata("process_name", 0, &about.name)
    }

    fn metadata(&mut self, what: &str, thread: u64, name: &str) -> io::Result<()> {
        self.line(&Line {
            args: Some(json!({ "name": name })),
            ..Line::new('M', thread, Ktime(0), what, "__metadata")
        })
    }

    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        let out = &mut self.out;
        let comma = if std::mem::replace(&mut self.begun, true) {
            ",\n"
        } else {
            "\n"
        };
        write!(out, "{comma}{{\"ph\":\"{}\",\"name\":", line.phase)?;
        serde_json::to_writer(&mut *out, line.name)?;
        write!(
            out,
            ",\"cat\":\"{}\",\"pid\":{},\"tid\":{},\"ts\":{}",
            line.category,
            self.pid,
            line.thread,
            Micros(line.at.0)
        )?;
        if let Some(duration) = line.duration {
            write!(out, ",\"dur\":{}", Micros(duration))?;
        }
        if let Some(arrow) = line.arrow {
            write!(out, ",\"id\":{arrow}")?;
        }
        match line.phase {
            // To whatever is drawn there, not to what comes next.
            'f' => write!(out, ",\"bp\":\"e\"")?,
            'i' => write!(out, ",\"s\":\"t\"")?,
            _ => {}
        }
        if let Some(args) = &line.args {
            write!(out, ",\"args\":{args}")?;
        }
        write!(out, "}}")
    }

    /// Both ends of an arrow.
    fn arrow(
        &mut self,
        name: &str,
        number: u64,
        from: (Goid, Ktime),
        to: (Goid, Ktime),
    ) -> io::Result<()> {
        for (phase, (goid, at)) in [('s', from), ('f', to)] {
            self.line(&Line {
                arrow: Some(number),
                ..Line::new(phase, goid.0, at, name, "arrow")
            })?;
        }
        Ok(())
    }

    /// Something that took no time, which an arrow can begin or end at.
    fn moment(&mut self, at: Ktime, goid: Goid, name: &str, args: Value) -> io::Result<()> {
        self.line(&Line {
            duration: Some(0),
            args: Some(args),
            ..Line::new('X', goid.0, at, name, "operation")
        })
    }
}

/// Nanoseconds, written as microseconds.
struct Micros(u64);

impl std::fmt::Display for Micros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

impl<W: Write> Canvas for Chrome<W> {
    fn goroutine(&mut self, goroutine: &Goroutine<'_>) -> io::Result<()> {
        let mut title = goroutine.title();
        if let Some((_, created_at)) = goroutine.created_at {
            title = format!("{title} (go at {created_at})");
        }
        self.metadata("thread_name", goroutine.goid.0, &title)
    }

    fn channel(&mut self, _: &Channel<'_>) -> io::Result<()> {
        // A counter is known by its name alone.
        Ok(())
    }

    fn slice(&mut self, slice: &Slice<'_>) -> io::Result<()> {
        let mut args = serde_json::Map::new();
        if let State::Waiting { object, .. } = slice.state {
            match object {
                Some(WaitObject::Chan { chan, .. }) => {
                    args.insert("channel".to_owned(), chan.to_string().into());
                }
                Some(
                    WaitObject::Semaphore(addr)
                    | WaitObject::Cond(addr)
                    | WaitObject::Netpoll(addr),
                ) => {
                    args.insert("object".to_owned(), addr.to_string().into());
                }
                None => {}
            }
            if let Some(site) = self.places.site(slice.place) {
                args.insert("at".to_owned(), (*self.places.name(site)).into());
            }
        }
        if !slice.begun {
            args.insert("began before".to_owned(), true.into());
        }
        if slice.end == End::Open {
            args.insert("goes on".to_owned(), true.into());
        }
        let (thread, name) = (slice.goid.0, slice.state.name());
        self.line(&Line {
            args: (!args.is_empty()).then_some(Value::Object(args)),
            ..Line::new('B', thread, slice.from, &name, "goroutine")
        })?;
        self.line(&Line::new('E', thread, slice.to, &name, "goroutine"))
    }

    fn wake(&mut self, wake: &Wake) -> io::Result<()> {
        let (name, args) = match wake.cause {
            Cause::Woken(reason) => (
                "wake",
                json!({ "to goroutine": wake.woken.0, "why": reason.to_string() }),
            ),
            Cause::Created => ("go", json!({ "to goroutine": wake.woken.0 })),
        };
        self.moment(wake.at, wake.waker, name, args)?;
        let (from, to) = ((wake.waker, wake.at), (wake.woken, wake.at));
        self.arrow(name, wake.arrow, from, to)
    }

    fn message(&mut self, message: &Message) -> io::Result<()> {
        let Message {
            channel: _,
            addr,
            sender,
            sent,
            receiver,
            received,
            arrow,
        } = *message;
        let channel = addr.to_string();
        let args = json!({ "channel": channel, "to goroutine": receiver.0 });
        self.moment(sent, sender, "send", args)?;
        let args = json!({ "channel": channel, "from goroutine": sender.0 });
        self.moment(received, receiver, "receive", args)?;
        self.arrow("message", arrow, (sender, sent), (receiver, received))
    }

    fn fill(&mut self, fill: &Fill) -> io::Result<()> {
        let Fill {
            channel,
            addr,
            at,
            len,
            first: _,
        } = *fill;
        // An address alone could be that of another channel later.
        let name = format!("len of chan {addr} (#{})", channel.0);
        self.line(&Line {
            args: Some(json!({ "len": len })),
            ..Line::new('C', 0, at, &name, "channel")
        })
    }

    fn mark(&mut self, mark: &Mark) -> io::Result<()> {
        let name = if mark.closed { "close" } else { "make" };
        self.line(&Line {
            args: Some(json!({ "channel": mark.addr.to_string() })),
            ..Line::new('i', mark.by.0, mark.at, name, "channel")
        })
    }

    fn gap(&mut self, gap: &Gap<'_>) -> io::Result<()> {
        if !std::mem::replace(&mut self.gaps, true) {
            self.metadata("thread_name", GAPS, "lost events")?;
        }
        self.line(&Line {
            duration: Some(gap.to.since(gap.from)),
            args: Some(json!({ "lost events": gap.lost })),
            ..Line::new('X', GAPS, gap.from, &gap.title(), "loss")
        })
    }

    fn finish(&mut self) -> io::Result<()> {
        writeln!(self.out, "\n]}}")?;
        self.out.flush()
    }
}
