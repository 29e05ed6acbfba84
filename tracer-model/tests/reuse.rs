//! Channels that follow each other at the same addresses, and looks at memory that are ahead of the
//! events: what they show is of whoever has the address at their time, what is told of whoever had it
//! then. Random lives of channels against what is counted and known in the end.

mod support;

use proptest::prelude::*;
use tracer_model::event::{ChanOp, Event, EventKind, Fill};
use tracer_model::ids::{ChanAddr, Goid, Ktime, Pc};
use tracer_model::snapshot::Snapshot;
use tracer_model::wait::Direction;
use tracer_model::world::World;

/// One channel, from its make on.
#[derive(Clone, Debug)]
struct Life {
    chan: u64,
    cap: u32,
    sends: u64,
    closes: u64,
}

fn life() -> impl Strategy<Value = Life> {
    (1_u64..4, 0_u32..3, 0_u64..4, 0_u64..4).prop_map(|(chan, cap, sends, closes)| Life {
        chan,
        cap,
        sends,
        closes,
    })
}

/// When a look is taken, as a place among the events, and how many of these are told after it.
fn look() -> impl Strategy<Value = (prop::sample::Index, usize)> {
    (any::<prop::sample::Index>(), 0_usize..20)
}

/// What the probes say of a life; each event is 10 ns after the one before.
fn tell(life: &Life, events: &mut Vec<Event>) {
    let chan = ChanAddr(0x1000 * life.chan);
    let site = Some(Pc(0x600));
    let op = || ChanOp {
        chan: Some(chan),
        blocking: false,
        site,
        fill: Some(Fill {
            len: 0,
            cap: life.cap,
        }),
    };
    let mut say = |kind: EventKind| {
        let at = Ktime(10 * (1 + events.len() as u64));
        let actor = Goid(1);
        events.push(Event { at, actor, kind });
    };
    say(EventKind::Make { chan, site });
    for _ in 0..life.sends {
        say(EventKind::SendBegin(op()));
    }
    for _ in 0..life.closes {
        say(EventKind::Close(op()));
    }
}

/// Each channel that has an address at this time, seen as the newest of its lives.
fn read(at: u64, told: &[Event], lives: &[Life]) -> Snapshot {
    let mut newest: Vec<Option<(&Life, u64)>> = vec![None; 4];
    let mut made = lives.iter();
    for event in told {
        match event.kind {
            EventKind::Make { .. } => {
                let life = made.next().expect("one for each make");
                newest[life.chan as usize] = Some((life, 0));
            }
            EventKind::Close(op) => {
                let chan = op.chan.expect("not nil").0 / 0x1000;
                let (_, closes) = newest[chan as usize].as_mut().expect("made");
                *closes += 1;
            }
            _ => {}
        }
    }
    let seen = newest.iter().flatten().map(|(life, closes)| {
        let closed = if *closes > 0 { " closed" } else { "" };
        format!("{at} c{} 0/{}{closed}\n", life.chan, life.cap)
    });
    support::snapshot(&format!("{at}..{}", at + 3), &seen.collect::<String>())
}

proptest! {
    #[test]
    fn whoever_has_the_address_is_told_of(
        lives in proptest::collection::vec(life(), 1..20),
        looks in proptest::collection::vec(look(), 0..6),
    ) {
        let mut events = Vec::new();
        for life in &lives {
            tell(life, &mut events);
        }
        let mut looks: Vec<(usize, Snapshot)> = looks
            .iter()
            .map(|(place, ahead)| {
                let place = place.index(events.len() + 1);
                let at = 10 * place as u64 + 5;
                (place.saturating_sub(*ahead), read(at, &events[..place], &lives))
            })
            .collect();
        looks.sort_by_key(|(_, look)| look.started);

        let mut world = World::new();
        for (index, event) in events.iter().enumerate() {
            for (_, look) in looks.extract_if(.., |(place, _)| *place <= index) {
                world.observe(&look);
            }
            world.apply(event);
        }
        for (_, look) in looks {
            world.observe(&look);
        }

        let again: u64 = lives.iter().map(|life| life.closes.saturating_sub(1)).sum();
        prop_assert_eq!(world.totals().panics.close_of_closed, again);
        for chan in 1..4 {
            let addr = ChanAddr(0x1000 * chan);
            let life = lives.iter().rfind(|life| life.chan == chan);
            let channel = world.channel_at(addr);
            prop_assert_eq!(channel.is_some(), life.is_some());
            let (Some(channel), Some(life)) = (channel, life) else {
                continue;
            };
            prop_assert!(channel.made().is_some());
            prop_assert_eq!(channel.side(Direction::Send).operations, life.sends);
            prop_assert_eq!(channel.closes(), life.closes);
            prop_assert_eq!(channel.closed().is_some(), life.closes > 0);
            if life.sends + life.closes > 0 {
                prop_assert_eq!(channel.cap(), Some(u64::from(life.cap)));
            }
        }
    }
}
