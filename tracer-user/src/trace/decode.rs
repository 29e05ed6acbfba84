//! From a record's bytes to an event of the model.

use bytes::Buf as _;
use rustc_hash::FxHashMap;
use tracer_common::{
    FLAG_BLOCK, FLAG_FAULT, FLAG_TRUNCATED, Kind, SELECT_CASES, SELECT_MAX_CASES, SELECT_MORE_CASES,
};
use tracer_golang::process::WaitDecoder;
use tracer_model::event::{ChanOp, Event, EventKind, Fill};
use tracer_model::ids::{Addr, ChanAddr, GAddr, Goid, Ktime, Pc};
use tracer_model::wait::{Direction, WaitObject, WaitReason};

/// What the numbers of a target mean; the Go side knows.
pub(crate) trait Meaning: Send + 'static {
    /// The wait reason with this index.
    fn reason(&self, index: u8) -> WaitReason;
    /// What gopark's `lock` argument says about the object, for this reason.
    fn object(&self, reason: WaitReason, lock: u64) -> Option<WaitObject>;
    /// What a goroutine waited on, for this reason, by the channel of its sudog.
    fn channel(&self, reason: WaitReason, chan: u64) -> Option<WaitObject>;
}

impl Meaning for WaitDecoder {
    fn reason(&self, index: u8) -> WaitReason {
        self.wait_reason(index)
    }

    fn object(&self, reason: WaitReason, lock: u64) -> Option<WaitObject> {
        self.park_object(reason, lock)
    }

    fn channel(&self, reason: WaitReason, chan: u64) -> Option<WaitObject> {
        self.channel_object(reason, chan)
    }
}

/// A record's common part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) at: Ktime,
    pub(crate) goid: Goid,
    pub(crate) seq: u32,
    pub(crate) cpu: u16,
    pub(crate) kind: Kind,
    /// Whose it is.
    pub(crate) slot: u32,
    flags: u8,
    aux: u32,
}

impl Head {
    /// Reads the common part; `None` for bytes that are no record of this version.
    pub(crate) fn read(record: &[u8]) -> Option<Head> {
        let mut bytes = record;
        if bytes.remaining() < size_of::<tracer_common::Header>() {
            return None;
        }
        let at = Ktime(bytes.get_u64_le());
        let goid = Goid(bytes.get_u64_le());
        let seq = bytes.get_u32_le();
        let cpu = bytes.get_u16_le();
        let kind = Kind::from_wire(bytes.get_u8())?;
        let flags = bytes.get_u8();
        let slot = bytes.get_u32_le();
        let aux = bytes.get_u32_le();
        (record.len() >= kind.size()).then_some(Head {
            at,
            goid,
            seq,
            cpu,
            kind,
            slot,
            flags,
            aux,
        })
    }

    const fn blocking(&self) -> bool {
        self.flags & FLAG_BLOCK != 0
    }
}

/// A select whose further cases are still to come.
#[derive(Debug)]
struct PendingSelect {
    at: Ktime,
    site: Option<Pc>,
    blocking: bool,
    truncated: bool,
    sends: usize,
    expected: usize,
    chans: Vec<u64>,
}

impl PendingSelect {
    fn event(self, goid: Goid) -> Event {
        let sends = self.sends;
        let cases = self
            .chans
            .iter()
            .enumerate()
            .filter(|(_, chan)| **chan != 0)
            .map(|(index, chan)| {
                let direction = if index < sends {
                    Direction::Send
                } else {
                    Direction::Receive
                };
                WaitObject::Chan {
                    chan: ChanAddr(*chan),
                    direction,
                }
            });
        Event {
            at: self.at,
            actor: goid,
            kind: EventKind::SelectBegin {
                nils: (0..)
                    .zip(&self.chans)
                    .map(|(index, chan)| u32::from(*chan == 0) << index)
                    .sum(),
                cases: cases.collect(),
                blocking: self.blocking,
                truncated: self.truncated || self.chans.len() < self.expected,
                site: self.site,
            },
        }
    }
}

/// Turns the records of one target into events, in the order of arrival.
pub(crate) struct Decoder<M> {
    meaning: M,
    selects: FxHashMap<Goid, PendingSelect>,
    faults: u64,
}

impl<M: Meaning> Decoder<M> {
    pub(crate) fn new(meaning: M) -> Self {
        Self {
            meaning,
            selects: FxHashMap::default(),
            faults: 0,
        }
    }

    /// Records whose probe could not read all of the target's memory that it wanted.
    pub(crate) const fn faults(&self) -> u64 {
        self.faults
    }

    /// Decodes one record and hands the events that it completes to `emit`: usually one; none for
    /// the first part of a large select; two when such a select turns out to be incomplete.
    pub(crate) fn decode(&mut self, head: Head, record: &[u8], mut emit: impl FnMut(Event)) {
        let mut body = record
            .get(size_of::<tracer_common::Header>()..)
            .unwrap_or_default();
        if head.flags & FLAG_FAULT != 0 {
            self.faults += 1;
        }
        if head.kind != Kind::SelectMore
            && !self.selects.is_empty()
            && let Some(incomplete) = self.selects.remove(&head.goid)
        {
            emit(incomplete.event(head.goid));
        }
        let event = |kind| Event {
            at: head.at,
            actor: head.goid,
            kind,
        };
        match head.kind {
            Kind::ChanSend => emit(event(EventKind::SendBegin(chan_op(head, &mut body)))),
            Kind::ChanRecv => emit(event(EventKind::ReceiveBegin(chan_op(head, &mut body)))),
            Kind::ChanClose => emit(event(EventKind::Close(chan_op(head, &mut body)))),
            Kind::Select => {
                let site = Pc::of_return(body.get_u64_le());
                let sends = (head.aux & 0xffff) as usize;
                let cases = sends + (head.aux >> 16) as usize;
                let expected = cases.min(SELECT_MAX_CASES);
                let select = PendingSelect {
                    at: head.at,
                    site,
                    blocking: head.blocking(),
                    truncated: head.flags & FLAG_TRUNCATED != 0 || cases > expected,
                    sends,
                    expected,
                    chans: (0..SELECT_CASES.min(expected))
                        .map(|_| body.get_u64_le())
                        .collect(),
                };
                self.finish_or_keep(head.goid, select, emit);
            }
            Kind::SelectMore => {
                // Without its beginning (which was lost) it says nothing.
                let Some(mut select) = self.selects.remove(&head.goid) else {
                    return;
                };
                let missing = select.expected - select.chans.len();
                if select.chans.len() == head.aux as usize {
                    select
                        .chans
                        .extend((0..SELECT_MORE_CASES.min(missing)).map(|_| body.get_u64_le()));
                    self.finish_or_keep(head.goid, select, emit);
                } else {
                    emit(select.event(head.goid));
                }
            }
            Kind::Park => {
                let reason = self.reason(head);
                let object = self.meaning.object(reason, body.get_u64_le());
                emit(event(EventKind::Park { reason, object }));
            }
            Kind::Ready => {
                let reason = self.reason(head);
                let woken = Goid(body.get_u64_le());
                let object = self.meaning.channel(reason, body.get_u64_le());
                emit(event(EventKind::Ready {
                    woken,
                    reason,
                    object,
                }));
            }
            Kind::Create => {
                let child = Goid(body.get_u64_le());
                let gaddr = GAddr(body.get_u64_le());
                let start = Pc(body.get_u64_le());
                let site = Pc::of_return(body.get_u64_le());
                emit(event(EventKind::Create {
                    child,
                    gaddr,
                    start,
                    site,
                }));
            }
            Kind::Exit => emit(event(EventKind::Exit)),
            Kind::Run => emit(event(EventKind::Run)),
            Kind::SelectEnd => emit(event(EventKind::SelectEnd {
                // Below 0, as the runtime counts it, is the default case.
                case: (head.aux <= u32::from(u16::MAX)).then_some(head.aux),
            })),
            Kind::SemAcquire => emit(event(EventKind::Acquire {
                object: WaitObject::Semaphore(Addr(body.get_u64_le())),
            })),
            Kind::SyscallEnter => emit(event(EventKind::SyscallEnter)),
            Kind::SyscallExit => emit(event(EventKind::SyscallExit)),
            Kind::ChanMake => {
                let chan = ChanAddr(body.get_u64_le());
                let site = Pc::of_return(body.get_u64_le());
                emit(event(EventKind::Make { chan, site }));
            }
            Kind::DirectSend | Kind::DirectRecv => {
                let chan = ChanAddr(body.get_u64_le());
                let partner = Goid(body.get_u64_le());
                emit(event(EventKind::Direct {
                    chan,
                    direction: match head.kind {
                        Kind::DirectSend => Direction::Send,
                        _ => Direction::Receive,
                    },
                    partner,
                    partner_selects: head.aux != 0,
                }));
            }
        }
    }

    fn finish_or_keep(&mut self, goid: Goid, select: PendingSelect, mut emit: impl FnMut(Event)) {
        if select.chans.len() == select.expected {
            emit(select.event(goid));
        } else {
            self.selects.insert(goid, select);
        }
    }

    fn reason(&self, head: Head) -> WaitReason {
        self.meaning
            .reason(u8::try_from(head.aux).unwrap_or(u8::MAX))
    }
}

fn chan_op(head: Head, body: &mut &[u8]) -> ChanOp {
    let chan = body.get_u64_le();
    let site = Pc::of_return(body.get_u64_le());
    let fill = Fill {
        len: body.get_u32_le(),
        cap: body.get_u32_le(),
    };
    let readable = chan != 0 && head.flags & FLAG_FAULT == 0;
    ChanOp {
        chan: (chan != 0).then_some(ChanAddr(chan)),
        blocking: head.blocking(),
        site,
        fill: readable.then_some(fill),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Plain;

    impl Meaning for Plain {
        fn reason(&self, index: u8) -> WaitReason {
            match index {
                14 => WaitReason::ChanReceive,
                index => WaitReason::Unknown(index),
            }
        }

        fn object(&self, reason: WaitReason, lock: u64) -> Option<WaitObject> {
            (reason == WaitReason::ChanReceive).then_some(WaitObject::Chan {
                chan: ChanAddr(lock - 104),
                direction: Direction::Receive,
            })
        }

        fn channel(&self, reason: WaitReason, chan: u64) -> Option<WaitObject> {
            (reason == WaitReason::ChanReceive && chan != 0).then_some(WaitObject::Chan {
                chan: ChanAddr(chan),
                direction: Direction::Receive,
            })
        }
    }

    fn record(kind: Kind, flags: u8, aux: u32, words: &[u64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(1000u64.to_le_bytes());
        bytes.extend(7u64.to_le_bytes());
        bytes.extend(0u32.to_le_bytes());
        bytes.extend(0u16.to_le_bytes());
        bytes.extend([kind as u8, flags]);
        bytes.extend(0u32.to_le_bytes());
        bytes.extend(aux.to_le_bytes());
        for word in words {
            bytes.extend(word.to_le_bytes());
        }
        bytes
    }

    fn decode(records: &[Vec<u8>]) -> Vec<EventKind> {
        let mut decoder = Decoder::new(Plain);
        let mut events = Vec::new();
        for record in records {
            let head = Head::read(record).expect("a record");
            decoder.decode(head, record, |event| {
                assert_eq!((event.at, event.actor), (Ktime(1000), Goid(7)));
                events.push(event.kind);
            });
        }
        events
    }

    fn select(cases: &[(u64, Direction)], truncated: bool) -> EventKind {
        select_without(0, cases, truncated)
    }

    fn select_without(nils: u32, cases: &[(u64, Direction)], truncated: bool) -> EventKind {
        EventKind::SelectBegin {
            nils,
            cases: cases
                .iter()
                .map(|(chan, direction)| WaitObject::Chan {
                    chan: ChanAddr(*chan),
                    direction: *direction,
                })
                .collect(),
            blocking: true,
            truncated,
            site: Some(Pc(0x4f)),
        }
    }

    #[test]
    fn each_kind_is_decoded() {
        let op = ChanOp {
            chan: Some(ChanAddr(0xc0)),
            blocking: true,
            site: Some(Pc(0x3f)),
            fill: Some(Fill { len: 2, cap: 4 }),
        };
        let nil = ChanOp {
            chan: None,
            blocking: true,
            site: None,
            fill: None,
        };
        for (record, expected) in [
            (
                record(Kind::ChanSend, FLAG_BLOCK, 0, &[0xc0, 0x40, 2 | 4 << 32]),
                EventKind::SendBegin(op),
            ),
            (
                record(Kind::ChanRecv, FLAG_BLOCK, 0, &[0, 0, 0]),
                EventKind::ReceiveBegin(nil),
            ),
            (
                record(Kind::ChanClose, FLAG_FAULT, 0, &[0xc0, 0, 0]),
                EventKind::Close(ChanOp {
                    chan: Some(ChanAddr(0xc0)),
                    blocking: false,
                    ..nil
                }),
            ),
            (
                record(Kind::Park, 0, 14, &[0xc0 + 104]),
                EventKind::Park {
                    reason: WaitReason::ChanReceive,
                    object: Some(WaitObject::Chan {
                        chan: ChanAddr(0xc0),
                        direction: Direction::Receive,
                    }),
                },
            ),
            (
                record(Kind::Ready, 0, 99, &[8, 0]),
                EventKind::Ready {
                    woken: Goid(8),
                    reason: WaitReason::Unknown(99),
                    object: None,
                },
            ),
            (
                record(Kind::Ready, 0, 14, &[8, 0xc0]),
                EventKind::Ready {
                    woken: Goid(8),
                    reason: WaitReason::ChanReceive,
                    object: Some(WaitObject::Chan {
                        chan: ChanAddr(0xc0),
                        direction: Direction::Receive,
                    }),
                },
            ),
            (
                record(Kind::Create, 0, 0, &[9, 0xa0, 0x50, 0x60]),
                EventKind::Create {
                    child: Goid(9),
                    gaddr: GAddr(0xa0),
                    start: Pc(0x50),
                    site: Some(Pc(0x5f)),
                },
            ),
            (record(Kind::Exit, 0, 0, &[]), EventKind::Exit),
            (record(Kind::Run, 0, 0, &[]), EventKind::Run),
            (
                record(Kind::SelectEnd, 0, 3, &[]),
                EventKind::SelectEnd { case: Some(3) },
            ),
            (
                record(Kind::SelectEnd, 0, u32::MAX, &[]),
                EventKind::SelectEnd { case: None },
            ),
            (
                record(Kind::SemAcquire, 0, 0, &[0x510]),
                EventKind::Acquire {
                    object: WaitObject::Semaphore(Addr(0x510)),
                },
            ),
            (
                record(Kind::SyscallEnter, 0, 0, &[]),
                EventKind::SyscallEnter,
            ),
            (record(Kind::SyscallExit, 0, 0, &[]), EventKind::SyscallExit),
            (
                record(Kind::ChanMake, 0, 0, &[0xc0, 0x40]),
                EventKind::Make {
                    chan: ChanAddr(0xc0),
                    site: Some(Pc(0x3f)),
                },
            ),
            (
                record(Kind::DirectSend, 0, 1, &[0xc0, 9]),
                EventKind::Direct {
                    chan: ChanAddr(0xc0),
                    direction: Direction::Send,
                    partner: Goid(9),
                    partner_selects: true,
                },
            ),
            (
                record(Kind::DirectRecv, 0, 0, &[0xc0, 9]),
                EventKind::Direct {
                    chan: ChanAddr(0xc0),
                    direction: Direction::Receive,
                    partner: Goid(9),
                    partner_selects: false,
                },
            ),
        ] {
            assert_eq!(decode(&[record]), [expected]);
        }
    }

    #[test]
    fn a_select_is_put_together_from_its_records() {
        use Direction::{Receive, Send};
        let first = |sends: u32, receives: u32, chans: [u64; 3]| {
            record(
                Kind::Select,
                FLAG_BLOCK,
                sends | receives << 16,
                &[&[0x50], &chans[..]].concat(),
            )
        };
        let more = |start: u32, chans: [u64; 4]| record(Kind::SelectMore, 0, start, &chans);
        let exit = record(Kind::Exit, 0, 0, &[]);

        let small = first(1, 1, [1, 2, 0]);
        assert_eq!(
            decode(&[small]),
            [select(&[(1, Send), (2, Receive)], false)]
        );

        let nil_left_out = first(1, 2, [0, 2, 3]);
        assert_eq!(
            decode(&[nil_left_out]),
            [select_without(0b1, &[(2, Receive), (3, Receive)], false)]
        );

        let five = [(1, Send), (2, Send), (3, Send), (4, Send), (5, Receive)];
        let whole = [first(4, 1, [1, 2, 3]), more(3, [4, 5, 0, 0])];
        assert_eq!(decode(&whole), [select(&five, false)]);

        let rest_lost = [first(4, 1, [1, 2, 3]), exit.clone()];
        assert_eq!(
            decode(&rest_lost),
            [select(&five[..3], true), EventKind::Exit]
        );

        let beginning_lost = [more(3, [4, 5, 0, 0]), exit];
        assert_eq!(decode(&beginning_lost), [EventKind::Exit]);
    }

    #[test]
    fn foreign_bytes_are_no_record() {
        let whole = record(Kind::Park, 0, 14, &[1]);
        assert!(Head::read(&whole).is_some());
        for cut in 0..whole.len() {
            assert_eq!(Head::read(&whole[..cut]), None, "{cut} bytes");
        }
        let mut other = whole;
        other[22] = 200;
        assert_eq!(Head::read(&other), None);
    }
}
