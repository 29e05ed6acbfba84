//! Batches of events: each part of an event in a stream of its own, so that they compress well, and
//! each kind of event in streams of its own, so that a reader can leave out those it does not know.

use tracer_model::event::{Event, EventKind};
use tracer_model::ids::{Goid, Ktime, Pc};

use crate::field::{Field, Tables};
use crate::varint::{Bytes, Malformed, put, put_bytes, put_step};

/// What happened, in the order in which the world was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An event.
    Event(Event),
    /// No event from before this time is still to come.
    HeardUntil(Ktime),
    /// Other probes are in place; what happened in between was not traced.
    Retraced {
        /// When.
        at: Ktime,
        /// Whether goroutines park with an event from now on.
        parks_seen: bool,
    },
}

macro_rules! kinds {
    ($($name:literal => $variant:ident $(($one:ident))? $({ $($field:ident),* })?;)*) => {
        /// Every kind by the name that it has in a file.
        const NAMES: &[&str] = &[$($name,)* HEARD_UNTIL, RETRACED];

        /// Kinds by their place in [`NAMES`].
        #[derive(Clone, Copy)]
        enum Code {
            $($variant,)*
            HeardUntil,
            Retraced,
        }

        fn put_kind(kind: &EventKind, batch: &mut Streams, tables: &mut Tables) {
            match kind {
                $(EventKind::$variant $(($one))? $({ $($field),* })? => {
                    #[allow(unused_variables, reason = "some kinds have no fields")]
                    let out = batch.of(Code::$variant);
                    $($one.put(out, tables);)?
                    $($($field.put(out, tables);)*)?
                })*
            }
        }

        #[allow(unused_variables, reason = "some kinds have no fields")]
        fn take_kind(
            code: usize,
            bytes: &mut Bytes<'_>,
            tables: &Tables,
        ) -> Result<EventKind, Malformed> {
            match code {
                $(code if code == Code::$variant as usize => {
                    $(let $one = Field::take(bytes, tables)?;)?
                    $($(let $field = Field::take(bytes, tables)?;)*)?
                    Ok(EventKind::$variant $(($one))? $({ $($field),* })?)
                })*
                _ => Err(Malformed),
            }
        }
    };
}

const HEARD_UNTIL: &str = "heard_until";
const RETRACED: &str = "retraced";

// A new kind of event gets a line here. A kind whose fields change gets another name: files of before
// have the old one, which is then not known any more and is left out by name.
kinds! {
    "send_begin" => SendBegin(operation);
    "receive_begin" => ReceiveBegin(operation);
    "close" => Close(operation);
    "select_begin" => SelectBegin { cases, nils, blocking, truncated, site };
    "select_end" => SelectEnd { case };
    "acquire" => Acquire { object };
    "syscall_enter" => SyscallEnter;
    "syscall_exit" => SyscallExit;
    "park" => Park { reason, object };
    "ready" => Ready { woken, reason, object };
    "create" => Create { child, gaddr, start, site };
    "run" => Run;
    "make" => Make { chan, site };
    "direct" => Direct { chan, direction, partner, partner_selects };
    "exit" => Exit;
    "lost" => Lost { count };
}

/// The streams of a batch that is being made.
#[derive(Debug, Default)]
struct Streams {
    /// Kinds used, as places in [`NAMES`], in the order of their first use.
    used: Vec<usize>,
    /// Place in `used` and one more, by place in [`NAMES`]; 0 if not used yet.
    places: [u8; NAMES.len()],
    /// The kind of each item, as its place in `used`.
    kinds: Vec<u8>,
    /// The fields of all items of a kind, by place in [`NAMES`].
    fields: [Vec<u8>; NAMES.len()],
}

impl Streams {
    /// Notes an item of this kind and gives the stream for its fields.
    fn of(&mut self, code: Code) -> &mut Vec<u8> {
        let code = code as usize;
        if self.places[code] == 0 {
            self.used.push(code);
            self.places[code] = self.used.len() as u8;
        }
        self.kinds.push(self.places[code] - 1);
        &mut self.fields[code]
    }
}

/// Items that are collected to be written as one block.
#[derive(Debug, Default)]
pub struct Batch {
    streams: Streams,
    times: Vec<u8>,
    actors: Vec<u8>,
    tables: Tables,
    span: Option<(Ktime, Ktime)>,
    before: u64,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// How many items it holds.
    pub fn len(&self) -> usize {
        self.streams.kinds.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.streams.kinds.is_empty()
    }

    /// Adds an event.
    pub fn event(&mut self, event: &Event) {
        self.time(event.at);
        event.actor.put(&mut self.actors, &mut self.tables);
        put_kind(&event.kind, &mut self.streams, &mut self.tables);
    }

    /// Adds [`Item::HeardUntil`].
    pub fn heard_until(&mut self, at: Ktime) {
        self.time(at);
        Goid(0).put(&mut self.actors, &mut self.tables);
        self.streams.of(Code::HeardUntil);
    }

    /// Adds [`Item::Retraced`].
    pub fn retraced(&mut self, at: Ktime, parks_seen: bool) {
        self.time(at);
        Goid(0).put(&mut self.actors, &mut self.tables);
        let out = self.streams.of(Code::Retraced);
        parks_seen.put(out, &mut self.tables);
    }

    fn time(&mut self, at: Ktime) {
        put_step(&mut self.times, self.before, at.0);
        self.before = at.0;
        let (first, last) = self.span.unwrap_or((at, at));
        self.span = Some((first.min(at), last.max(at)));
    }

    /// Takes the items out, as bytes; `None` if there are none.
    pub fn pack(&mut self) -> Option<Packed> {
        let (first, last) = self.span.take()?;
        let items = self.len();
        let mut bytes = Vec::with_capacity(16 * items);
        put(&mut bytes, items as u64);
        self.tables.put(&mut bytes);
        put(&mut bytes, self.streams.used.len() as u64);
        for &code in &self.streams.used {
            put_bytes(&mut bytes, NAMES[code].as_bytes());
            put_bytes(&mut bytes, &self.streams.fields[code]);
        }
        for stream in [&self.streams.kinds, &self.times, &self.actors] {
            put_bytes(&mut bytes, stream);
        }
        let pcs = self.tables.pcs.values.iter().copied().map(Pc).collect();
        // The buffers are used again.
        self.tables.clear();
        self.times.clear();
        self.actors.clear();
        self.streams.kinds.clear();
        for code in self.streams.used.drain(..) {
            self.streams.fields[code].clear();
            self.streams.places[code] = 0;
        }
        self.before = 0;
        Some(Packed {
            items,
            first,
            last,
            pcs,
            bytes,
        })
    }
}

/// A batch as bytes.
#[derive(Clone, Debug)]
pub struct Packed {
    pub(crate) items: usize,
    pub(crate) first: Ktime,
    pub(crate) last: Ktime,
    pub(crate) pcs: Vec<Pc>,
    pub(crate) bytes: Vec<u8>,
}

/// What a batch holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Its items.
    pub items: Vec<Item>,
    /// Kinds of items that this gotrace does not know, each with how many were left out.
    pub unknown: Vec<(String, u64)>,
}

/// The fields of one kind while they are read.
struct Kind<'a> {
    name: &'a str,
    code: Option<usize>,
    fields: Bytes<'a>,
    left_out: u64,
}

/// Reads a batch; `room` is where its items go, in place of what it holds.
///
/// # Errors
/// The bytes are not one.
pub(crate) fn unpack(bytes: &[u8], room: Vec<Item>) -> Result<Unpacked, Malformed> {
    let mut bytes = Bytes(bytes);
    let count = bytes.count()?;
    let tables = Tables::take(&mut bytes)?;
    let mut kinds = Vec::new();
    for _ in 0..bytes.count()? {
        let name = std::str::from_utf8(bytes.bytes()?).map_err(|_| Malformed)?;
        kinds.push(Kind {
            name,
            code: NAMES.iter().position(|known| *known == name),
            fields: Bytes(bytes.bytes()?),
            left_out: 0,
        });
    }
    let places = bytes.bytes()?;
    let mut times = Bytes(bytes.bytes()?);
    let mut actors = Bytes(bytes.bytes()?);
    if places.len() != count {
        return Err(Malformed);
    }
    let mut items = room;
    items.clear();
    items.reserve(count);
    let mut before = 0;
    for &place in places {
        before = times.step(before)?;
        let at = Ktime(before);
        let actor = Goid::take(&mut actors, &tables)?;
        let kind = kinds.get_mut(usize::from(place)).ok_or(Malformed)?;
        let Some(code) = kind.code else {
            kind.left_out += 1;
            continue;
        };
        items.push(if code == Code::HeardUntil as usize {
            Item::HeardUntil(at)
        } else if code == Code::Retraced as usize {
            Item::Retraced {
                at,
                parks_seen: bool::take(&mut kind.fields, &tables)?,
            }
        } else {
            let kind = take_kind(code, &mut kind.fields, &tables)?;
            Item::Event(Event { at, actor, kind })
        });
    }
    let unknown = kinds
        .iter()
        .filter(|kind| kind.left_out > 0)
        .map(|kind| (kind.name.to_owned(), kind.left_out))
        .collect();
    Ok(Unpacked { items, unknown })
}

#[cfg(test)]
mod tests {
    use tracer_model::event::{ChanOp, Fill};
    use tracer_model::ids::{Addr, ChanAddr, GAddr};
    use tracer_model::wait::{Direction, WaitObject, WaitReason};

    use super::*;

    fn event(at: u64, actor: u64, kind: EventKind) -> Item {
        Item::Event(Event {
            at: Ktime(at),
            actor: Goid(actor),
            kind,
        })
    }

    /// One of each, with every optional part there and not.
    fn all() -> Vec<Item> {
        let chan = ChanAddr(0xc000_0123_45c0);
        let object = WaitObject::Chan {
            chan,
            direction: Direction::Receive,
        };
        let operation = ChanOp {
            chan: Some(chan),
            blocking: true,
            site: Some(Pc(0x48_1234)),
            fill: Some(Fill {
                len: 3,
                cap: 1 << 30,
            }),
        };
        let nil = ChanOp {
            chan: None,
            blocking: false,
            site: None,
            fill: None,
        };
        let reason = WaitReason::ChanReceive;
        let objects = [
            object,
            WaitObject::Semaphore(Addr(1)),
            WaitObject::Cond(Addr(2)),
            WaitObject::Netpoll(Addr(u64::MAX)),
        ];
        vec![
            event(1000, 7, EventKind::SendBegin(operation)),
            event(1001, 7, EventKind::ReceiveBegin(nil)),
            event(999, u64::MAX, EventKind::Close(operation)),
            event(
                u64::MAX,
                7,
                EventKind::SelectBegin {
                    cases: objects.into(),
                    nils: 0b101,
                    blocking: true,
                    truncated: false,
                    site: None,
                },
            ),
            Item::HeardUntil(Ktime(0)),
            event(
                5,
                1,
                EventKind::Park {
                    reason: WaitReason::Unknown(200),
                    object: Some(object),
                },
            ),
            event(
                6,
                0,
                EventKind::Ready {
                    woken: Goid(7),
                    reason,
                    object: None,
                },
            ),
            event(
                7,
                7,
                EventKind::Create {
                    child: Goid(8),
                    gaddr: GAddr(0xc0),
                    start: Pc(1),
                    site: Some(Pc(2)),
                },
            ),
            Item::Retraced {
                at: Ktime(8),
                parks_seen: true,
            },
            event(9, 7, EventKind::Run),
            event(9, 7, EventKind::SelectEnd { case: Some(3) }),
            event(9, 7, EventKind::Acquire { object: objects[1] }),
            event(9, 7, EventKind::SyscallEnter),
            event(9, 7, EventKind::SyscallExit),
            event(10, 7, EventKind::Make { chan, site: None }),
            event(
                11,
                7,
                EventKind::Direct {
                    chan,
                    direction: Direction::Send,
                    partner: Goid(9),
                    partner_selects: true,
                },
            ),
            event(12, 7, EventKind::Exit),
            event(13, 0, EventKind::Lost { count: 1 << 40 }),
        ]
    }

    fn pack(batch: &mut Batch, items: &[Item]) -> Packed {
        for item in items {
            match item {
                Item::Event(event) => batch.event(event),
                Item::HeardUntil(at) => batch.heard_until(*at),
                Item::Retraced { at, parks_seen } => batch.retraced(*at, *parks_seen),
            }
        }
        batch.pack().expect("there are some")
    }

    #[test]
    fn everything_comes_back_and_a_batch_is_used_again() {
        let mut batch = Batch::new();
        assert!(batch.pack().is_none());
        for _ in 0..2 {
            let packed = pack(&mut batch, &all());
            assert_eq!((packed.first, packed.last), (Ktime(0), Ktime(u64::MAX)));
            assert_eq!(packed.pcs, [Pc(0x48_1234), Pc(1), Pc(2)]);
            let unpacked = unpack(&packed.bytes, Vec::new()).expect("it is a batch");
            assert_eq!(unpacked.items, all());
            assert!(unpacked.unknown.is_empty());
            assert!(batch.is_empty());
        }
    }

    #[test]
    fn a_kind_that_is_not_known_is_left_out_by_name() {
        let packed = pack(&mut Batch::new(), &all());
        let at = packed
            .bytes
            .windows(6)
            .position(|window| window == b"direct")
            .expect("its name is there");
        let mut bytes = packed.bytes;
        bytes[at..at + 6].copy_from_slice(b"future");
        let unpacked = unpack(&bytes, Vec::new()).expect("it is a batch");
        assert_eq!(unpacked.unknown, [("future".to_owned(), 1)]);
        let is_direct = |item: &Item| {
            matches!(
                item,
                Item::Event(Event {
                    kind: EventKind::Direct { .. },
                    ..
                })
            )
        };
        let rest: Vec<Item> = all().into_iter().filter(|item| !is_direct(item)).collect();
        assert_eq!(unpacked.items, rest);
    }

    #[test]
    fn no_bytes_do_harm() {
        let packed = pack(&mut Batch::new(), &all());
        for length in 0..packed.bytes.len() {
            assert_eq!(
                unpack(&packed.bytes[..length], Vec::new()),
                Err(Malformed),
                "{length}"
            );
        }
        for at in 0..packed.bytes.len() {
            for bit in 0..8 {
                let mut bytes = packed.bytes.clone();
                bytes[at] ^= 1 << bit;
                // Whatever comes of it, it comes.
                let _ = unpack(&bytes, Vec::new());
            }
        }
    }
}
