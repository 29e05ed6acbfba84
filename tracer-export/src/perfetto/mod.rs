//! A trace for Perfetto, in its own protobuf format: a track a goroutine below a track for its `go` statement, a
//! counter a channel, arrows for wake-ups and messages.
//!
//! All packets are of one sequence, and names are told once and meant by number after that (interned), which are
//! as many as there are places in the code. Packets are not in the order of time, which the format does not ask for.

mod schema;

use std::io::{self, Write};

use rustc_hash::{FxHashMap, FxHashSet};
use tracer_model::ids::{Goid, Ktime, Pc};
use tracer_model::wait::WaitObject;

use self::schema::{
    Clock, ClockSnapshot, CounterDescriptor, DebugAnnotation, InternedData, InternedString, Named,
    PacketDefaults, ProcessDescriptor, TracePacket, TrackDescriptor, TrackEvent, annotation,
};
use crate::symbols::Places;
use crate::timeline::{
    Canvas, Cause, Channel, End, Fill, Gap, Goroutine, Mark, Message, Slice, State, Wake,
};
use crate::{About, Clocks, Symbols};

/// Our sequence of packets; any number but 0.
const SEQUENCE: u32 = 1;
/// The field of a packet in a trace.
const PACKET: u32 = 1;

/// Tracks are named by 64 bits: what they are about above, which one below.
mod track {
    use tracer_model::ids::{ChanId, Goid};

    pub(super) const PROCESS: u64 = 1 << 60;
    pub(super) const GAPS: u64 = 2 << 60;
    pub(super) const CHANNELS: u64 = 3 << 60;
    pub(super) const UNKNOWN_ORIGIN: u64 = 4 << 60;
    /// Room for 2^60 of each.
    const NUMBER: u64 = (1 << 60) - 1;

    pub(super) const fn goroutine(goid: Goid) -> u64 {
        5 << 60 | goid.0 & NUMBER
    }

    pub(super) const fn origin(pc: u64) -> u64 {
        6 << 60 | pc & NUMBER
    }

    pub(super) const fn channel(id: ChanId) -> u64 {
        7 << 60 | id.0 as u64
    }

    pub(super) const fn fill(id: ChanId) -> u64 {
        8 << 60 | id.0 as u64
    }
}

/// Names of annotations, by number from 1.
const ANNOTATIONS: [&str; 9] = [
    "at",
    "object",
    "channel",
    "from goroutine",
    "to goroutine",
    "began before",
    "lost events",
    "why",
    "by goroutine",
];

#[derive(Clone, Copy)]
#[repr(u64)]
enum Annotation {
    At = 1,
    Object,
    Channel,
    From,
    To,
    BeganBefore,
    Lost,
    Why,
    By,
}

/// Numbers of texts that were told before.
#[derive(Default)]
struct Interner(FxHashMap<Box<str>, u64>);

impl Interner {
    /// The number of a text, and whether it is to be told first.
    fn number(&mut self, text: &str) -> (u64, bool) {
        if let Some(&number) = self.0.get(text) {
            return (number, false);
        }
        let number = self.0.len() as u64 + 1;
        self.0.insert(text.into(), number);
        (number, true)
    }
}

/// Writes a Perfetto trace.
pub struct Perfetto<W> {
    out: W,
    places: Places,
    names: Interner,
    texts: Interner,
    /// Texts to be told with the next packet.
    untold: InternedData,
    origins: FxHashSet<Pc>,
    unknown_origin: bool,
    channels: bool,
    gaps: bool,
    buffer: Vec<u8>,
}

impl<W: Write> Perfetto<W> {
    /// Begins a trace.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new(out: W, about: &About, symbols: Symbols) -> io::Result<Perfetto<W>> {
        let mut perfetto = Perfetto {
            out,
            places: Places::new(symbols),
            names: Interner::default(),
            texts: Interner::default(),
            untold: InternedData::default(),
            origins: FxHashSet::default(),
            unknown_origin: false,
            channels: false,
            gaps: false,
            buffer: Vec::new(),
        };
        perfetto.begin(about)?;
        Ok(perfetto)
    }

    fn begin(&mut self, about: &About) -> io::Result<()> {
        let Clocks { kernel, unix } = about.clocks;
        let clock = |clock_id, timestamp| Clock {
            clock_id: Some(clock_id),
            timestamp: Some(timestamp),
        };
        self.untold.debug_annotation_names = ANNOTATIONS
            .iter()
            .zip(1..)
            .map(|(name, number)| Named::new(number, name))
            .collect();
        self.packet(TracePacket {
            sequence_flags: Some(schema::INCREMENTAL_STATE_CLEARED),
            trace_packet_defaults: Some(PacketDefaults {
                timestamp_clock_id: Some(schema::MONOTONIC),
            }),
            clock_snapshot: Some(ClockSnapshot {
                clocks: vec![
                    clock(schema::MONOTONIC, kernel.0),
                    clock(schema::REALTIME, u64::try_from(unix).unwrap_or(0)),
                ],
                primary_trace_clock: Some(schema::MONOTONIC),
            }),
            first_packet_on_sequence: Some(true),
            ..TracePacket::default()
        })?;
        self.describe(TrackDescriptor {
            uuid: Some(track::PROCESS),
            process: Some(ProcessDescriptor {
                pid: i32::try_from(about.pid).ok(),
                process_name: Some(about.name.clone()),
            }),
            ..TrackDescriptor::default()
        })
    }

    fn packet(&mut self, mut packet: TracePacket) -> io::Result<()> {
        packet.trusted_packet_sequence_id = Some(SEQUENCE);
        let needs = schema::NEEDS_INCREMENTAL_STATE;
        packet.sequence_flags = packet.sequence_flags.or(Some(needs));
        if self.untold != InternedData::default() {
            packet.interned_data = Some(std::mem::take(&mut self.untold));
        }
        self.buffer.clear();
        prost::encoding::message::encode(PACKET, &packet, &mut self.buffer);
        self.out.write_all(&self.buffer)
    }

    fn describe(&mut self, descriptor: TrackDescriptor) -> io::Result<()> {
        self.packet(TracePacket {
            track_descriptor: Some(descriptor),
            ..TracePacket::default()
        })
    }

    fn event(&mut self, at: Ktime, event: TrackEvent) -> io::Result<()> {
        self.packet(TracePacket {
            timestamp: Some(at.0),
            track_event: Some(event),
            ..TracePacket::default()
        })
    }

    /// The number of an event's name.
    fn name(&mut self, name: &str) -> Option<u64> {
        let (number, is_new) = self.names.number(name);
        if is_new {
            self.untold.event_names.push(Named::new(number, name));
        }
        Some(number)
    }

    fn text(&mut self, name: Annotation, text: &str) -> DebugAnnotation {
        let (number, is_new) = self.texts.number(text);
        if is_new {
            self.untold
                .debug_annotation_string_values
                .push(InternedString::new(number, text));
        }
        annotate(name, annotation::Value::StringIid(number))
    }

    /// Something that took no time.
    fn instant(&mut self, at: Ktime, track: u64, name: &str, event: TrackEvent) -> io::Result<()> {
        let name_iid = self.name(name);
        self.event(
            at,
            TrackEvent {
                r#type: Some(schema::INSTANT),
                track_uuid: Some(track),
                name_iid,
                ..event
            },
        )
    }

    /// The track that a goroutine's is below.
    fn origin(&mut self, created_at: Option<(Pc, &str)>) -> io::Result<u64> {
        let (uuid, name, is_new) = match created_at {
            Some((pc, name)) => {
                let name = format!("go at {name}");
                (track::origin(pc.0), name, self.origins.insert(pc))
            }
            None => {
                let is_new = !std::mem::replace(&mut self.unknown_origin, true);
                (
                    track::UNKNOWN_ORIGIN,
                    "created by nobody known".to_owned(),
                    is_new,
                )
            }
        };
        if is_new {
            self.describe(TrackDescriptor {
                uuid: Some(uuid),
                parent_uuid: Some(track::PROCESS),
                name: Some(name),
                ..TrackDescriptor::default()
            })?;
        }
        Ok(uuid)
    }
}

const fn annotate(name: Annotation, value: annotation::Value) -> DebugAnnotation {
    DebugAnnotation {
        name_iid: Some(name as u64),
        value: Some(value),
    }
}

const fn number(name: Annotation, value: u64) -> DebugAnnotation {
    annotate(name, annotation::Value::Uint(value))
}

const fn address(name: Annotation, value: u64) -> DebugAnnotation {
    annotate(name, annotation::Value::Pointer(value))
}

impl<W: Write> Canvas for Perfetto<W> {
    fn goroutine(&mut self, goroutine: &Goroutine<'_>) -> io::Result<()> {
        let parent = match goroutine.goid {
            Goid(0) => track::PROCESS,
            _ => self.origin(goroutine.created_at)?,
        };
        self.describe(TrackDescriptor {
            uuid: Some(track::goroutine(goroutine.goid)),
            parent_uuid: Some(parent),
            name: Some(goroutine.title()),
            ..TrackDescriptor::default()
        })
    }

    fn channel(&mut self, channel: &Channel<'_>) -> io::Result<()> {
        if !std::mem::replace(&mut self.channels, true) {
            self.describe(TrackDescriptor {
                uuid: Some(track::CHANNELS),
                parent_uuid: Some(track::PROCESS),
                name: Some("channels".to_owned()),
                ..TrackDescriptor::default()
            })?;
        }
        self.describe(TrackDescriptor {
            uuid: Some(track::channel(channel.id)),
            parent_uuid: Some(track::CHANNELS),
            name: Some(channel.title()),
            // Channels of one type can be many.
            sibling_merge_behavior: Some(schema::MERGE_NONE),
            ..TrackDescriptor::default()
        })
    }

    fn slice(&mut self, slice: &Slice<'_>) -> io::Result<()> {
        let uuid = Some(track::goroutine(slice.goid));
        let name_iid = self.name(&slice.state.name());
        let mut debug_annotations = Vec::new();
        if let State::Waiting { object, .. } = slice.state {
            match object {
                Some(WaitObject::Chan { chan, .. }) => {
                    debug_annotations.push(address(Annotation::Channel, chan.0));
                }
                Some(
                    WaitObject::Semaphore(addr)
                    | WaitObject::Cond(addr)
                    | WaitObject::Netpoll(addr),
                ) => debug_annotations.push(address(Annotation::Object, addr.0)),
                None => {}
            }
            if let Some(site) = self.places.site(slice.place) {
                let place = self.places.name(site);
                debug_annotations.push(self.text(Annotation::At, &place));
            }
        }
        if !slice.begun {
            debug_annotations.push(annotate(
                Annotation::BeganBefore,
                annotation::Value::Bool(true),
            ));
        }
        self.event(
            slice.from,
            TrackEvent {
                r#type: Some(schema::SLICE_BEGIN),
                track_uuid: uuid,
                name_iid,
                terminating_flow_ids: slice.arrow.into_iter().collect(),
                debug_annotations,
                ..TrackEvent::default()
            },
        )?;
        if slice.end == End::Open {
            return Ok(());
        }
        self.event(
            slice.to,
            TrackEvent {
                r#type: Some(schema::SLICE_END),
                track_uuid: uuid,
                ..TrackEvent::default()
            },
        )
    }

    fn wake(&mut self, wake: &Wake) -> io::Result<()> {
        let mut debug_annotations = vec![number(Annotation::To, wake.woken.0)];
        let name = match wake.cause {
            Cause::Woken(reason) => {
                debug_annotations.push(self.text(Annotation::Why, &reason.to_string()));
                "wake"
            }
            Cause::Created => "go",
        };
        let event = TrackEvent {
            flow_ids: vec![wake.arrow],
            debug_annotations,
            ..TrackEvent::default()
        };
        self.instant(wake.at, track::goroutine(wake.waker), name, event)
    }

    fn message(&mut self, message: &Message) -> io::Result<()> {
        let channel = address(Annotation::Channel, message.addr.0);
        let sent = TrackEvent {
            flow_ids: vec![message.arrow],
            debug_annotations: vec![channel, number(Annotation::To, message.receiver.0)],
            ..TrackEvent::default()
        };
        self.instant(message.sent, track::goroutine(message.sender), "send", sent)?;
        let received = TrackEvent {
            terminating_flow_ids: vec![message.arrow],
            debug_annotations: vec![channel, number(Annotation::From, message.sender.0)],
            ..TrackEvent::default()
        };
        let track = track::goroutine(message.receiver);
        self.instant(message.received, track, "receive", received)
    }

    fn fill(&mut self, fill: &Fill) -> io::Result<()> {
        if fill.first {
            self.describe(TrackDescriptor {
                uuid: Some(track::fill(fill.channel)),
                parent_uuid: Some(track::channel(fill.channel)),
                name: Some(format!("len of {}", fill.addr)),
                counter: Some(CounterDescriptor {
                    unit: Some(schema::UNIT_COUNT),
                }),
                ..TrackDescriptor::default()
            })?;
        }
        self.event(
            fill.at,
            TrackEvent {
                r#type: Some(schema::COUNTER),
                track_uuid: Some(track::fill(fill.channel)),
                counter_value: Some(i64::try_from(fill.len).unwrap_or(i64::MAX)),
                ..TrackEvent::default()
            },
        )
    }

    fn mark(&mut self, mark: &Mark) -> io::Result<()> {
        let name = if mark.closed { "close" } else { "make" };
        let event = TrackEvent {
            debug_annotations: vec![number(Annotation::By, mark.by.0)],
            ..TrackEvent::default()
        };
        self.instant(mark.at, track::channel(mark.channel), name, event)
    }

    fn gap(&mut self, gap: &Gap<'_>) -> io::Result<()> {
        if !std::mem::replace(&mut self.gaps, true) {
            self.describe(TrackDescriptor {
                uuid: Some(track::GAPS),
                parent_uuid: Some(track::PROCESS),
                name: Some("lost events".to_owned()),
                ..TrackDescriptor::default()
            })?;
        }
        self.event(
            gap.from,
            TrackEvent {
                r#type: Some(schema::SLICE_BEGIN),
                track_uuid: Some(track::GAPS),
                // Not by number: there can be as many as there are gaps.
                name: Some(gap.title()),
                debug_annotations: vec![number(Annotation::Lost, gap.lost)],
                ..TrackEvent::default()
            },
        )?;
        self.event(
            gap.to,
            TrackEvent {
                r#type: Some(schema::SLICE_END),
                track_uuid: Some(track::GAPS),
                ..TrackEvent::default()
            },
        )
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
