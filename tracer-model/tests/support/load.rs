//! Streams of events as a busy program makes them, all of them possible, in the order of their
//! time.

use tracer_model::event::{ChanOp, Event, EventKind, Fill};
use tracer_model::ids::{ChanAddr, GAddr, Goid, Ktime, Pc};
use tracer_model::wait::{Direction, WaitObject, WaitReason};

/// A stream under construction.
#[derive(Debug)]
pub(crate) struct Load {
    clock: u64,
    next_goid: u64,
    random: u64,
    pub(crate) events: Vec<Event>,
}

impl Load {
    pub(crate) fn new(first_goid: u64) -> Load {
        Load {
            clock: 1_000_000,
            next_goid: first_goid,
            random: 0x9e37_79b9_7f4a_7c15,
            events: Vec::new(),
        }
    }

    /// Pairs of goroutines on unbuffered channels: the receiver parks, the sender hands over. Six
    /// events a round.
    pub(crate) fn hand_over(&mut self, pairs: u64, rounds: usize) {
        for _ in 0..rounds {
            let pair = self.random() % pairs;
            let (sender, receiver) = (Goid(2 * pair + 1), Goid(2 * pair + 2));
            let chan = ChanAddr(0xc000_0000 + 96 * pair);
            self.push(receiver, EventKind::ReceiveBegin(operation(chan, 0, 0)));
            self.park(receiver, chan, Direction::Receive);
            self.push(sender, EventKind::SendBegin(operation(chan, 0, 0)));
            self.meet(sender, chan, receiver, false);
            self.ready(sender, receiver, WaitReason::ChanReceive);
            self.push(receiver, EventKind::Run);
        }
    }

    /// A worker selects over three channels, parks, and is woken through one. Seven events a
    /// round.
    pub(crate) fn select(&mut self, workers: u64, rounds: usize) {
        for _ in 0..rounds {
            let worker = self.random() % workers;
            let (goid, other) = (Goid(worker + 1), Goid(workers + 1 + worker % 16));
            let chans = [0, 1, 2].map(|case| ChanAddr(0xc000_0000 + 96 * (worker + case)));
            let cases = chans.map(|chan| WaitObject::Chan {
                chan,
                direction: Direction::Receive,
            });
            self.push(
                goid,
                EventKind::SelectBegin {
                    cases: cases.into(),
                    nils: 0,
                    blocking: true,
                    truncated: false,
                    site: Some(Pc(0x4000)),
                },
            );
            let reason = WaitReason::Select;
            self.push(
                goid,
                EventKind::Park {
                    reason,
                    object: None,
                },
            );
            self.push(other, EventKind::SendBegin(operation(chans[0], 0, 4)));
            self.meet(other, chans[0], goid, true);
            self.ready(other, goid, reason);
            self.push(goid, EventKind::Run);
            self.push(goid, EventKind::SelectEnd { case: Some(0) });
        }
    }

    /// A goroutine is created, sends once and exits. Four events a round.
    pub(crate) fn short_lived(&mut self, rounds: usize) {
        for _ in 0..rounds {
            let child = Goid(self.next_goid);
            self.next_goid += 1;
            self.push(
                Goid(1),
                EventKind::Create {
                    child,
                    gaddr: GAddr(0xc100_0000),
                    start: Pc(0x5000),
                    site: Some(Pc(0x5100)),
                },
            );
            let chan = ChanAddr(0xc000_0000);
            self.push(child, EventKind::SendBegin(operation(chan, 0, 8)));
            self.push(Goid(1), EventKind::ReceiveBegin(operation(chan, 1, 8)));
            self.push(child, EventKind::Exit);
        }
    }

    fn park(&mut self, goid: Goid, chan: ChanAddr, direction: Direction) {
        let reason = match direction {
            Direction::Send => WaitReason::ChanSend,
            Direction::Receive => WaitReason::ChanReceive,
        };
        let object = Some(WaitObject::Chan { chan, direction });
        self.push(goid, EventKind::Park { reason, object });
    }

    fn meet(&mut self, sender: Goid, chan: ChanAddr, partner: Goid, partner_selects: bool) {
        self.push(
            sender,
            EventKind::Direct {
                chan,
                direction: Direction::Send,
                partner,
                partner_selects,
            },
        );
    }

    fn ready(&mut self, waker: Goid, woken: Goid, reason: WaitReason) {
        let object = None;
        self.push(
            waker,
            EventKind::Ready {
                woken,
                reason,
                object,
            },
        );
    }

    fn push(&mut self, actor: Goid, kind: EventKind) {
        self.clock += 1000;
        self.events.push(Event {
            at: Ktime(self.clock),
            actor,
            kind,
        });
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

fn operation(chan: ChanAddr, len: u32, cap: u32) -> ChanOp {
    ChanOp {
        chan: Some(chan),
        blocking: true,
        site: Some(Pc(0x4000)),
        fill: Some(Fill { len, cap }),
    }
}
