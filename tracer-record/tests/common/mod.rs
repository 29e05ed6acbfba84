//! A made-up recording.

use std::sync::Arc;

use tracer_model::event::{ChanOp, Event, EventKind, Fill};
use tracer_model::ids::{ChanAddr, Goid, Ktime, Pc};
use tracer_model::snapshot::{Goroutine, Snapshot, StackId, State};
use tracer_model::symbol::{Frame, Symbolizer};
use tracer_record::{Batch, Clock, Keyframe, Note, Writer};

/// Names program counters by their numbers.
pub(crate) struct Named;

impl Symbolizer for Named {
    fn frames(&self, pc: Pc) -> Arc<[Frame]> {
        Arc::new([Frame {
            function: format!("main.f{}", pc.0).into(),
            file: "main.go".into(),
            line: 7,
            inlined: false,
        }])
    }
}

/// Events of a batch.
pub(crate) const EVENTS: u64 = 50;

pub(crate) fn event(number: u64) -> Event {
    Event {
        at: Ktime(1000 * number),
        actor: Goid(1 + number % 7),
        kind: EventKind::SendBegin(ChanOp {
            chan: Some(ChanAddr(0xc000 + 96 * (number % 5))),
            blocking: true,
            site: Some(Pc(number % 3)),
            fill: Some(Fill { len: 1, cap: 8 }),
        }),
    }
}

pub(crate) fn snapshot(at: u64) -> Snapshot {
    let goroutine = |goid| Goroutine {
        at: Ktime(at),
        goid: Goid(goid),
        gaddr: Default::default(),
        state: State::Running,
        wait: None,
        sleeps_until: None.into(),
        system: false,
        parent: None.into(),
        created_at: None.into(),
        start: None.into(),
        stack: Some(StackId(0)),
        labels: Vec::new().into(),
        stops: None,
        stack_bytes: 8192.into(),
        moving: false,
    };
    Snapshot {
        started: Ktime(at),
        finished: Ktime(at + 10),
        goroutines: (1..8).map(goroutine).collect(),
        stacks: vec![[Pc(5), Pc(6)].into()],
        ..Snapshot::default()
    }
}

/// So many segments, each with a keyframe, two batches, a read and a note.
pub(crate) fn file(segments: u64) -> Vec<u8> {
    let clock = Clock {
        kernel: Ktime(0),
        unix: 1_700_000_000_000_000_000,
    };
    let mut writer = Writer::new(Vec::new(), clock, "test", None);
    let mut number = 0;
    for _ in 0..segments {
        let begins = 1000 * number;
        let keyframe = Keyframe {
            at: Ktime(begins),
            snapshot: Some(snapshot(begins)),
            ..Keyframe::default()
        };
        writer.keyframe(&keyframe, &Named).expect("memory takes it");
        for _ in 0..2 {
            let mut batch = Batch::new();
            for _ in 0..EVENTS {
                batch.event(&event(number));
                number += 1;
            }
            let packed = batch.pack().expect("there are some");
            writer.items(packed, &Named).expect("memory takes it");
        }
        let now = 1000 * (number - 1);
        writer
            .observation(&snapshot(now), &Named)
            .expect("memory takes it");
        let note = Note {
            at: Ktime(now),
            name: "tick".to_owned(),
            body: serde_json::json!({ "number": number }),
        };
        writer.note(&note).expect("memory takes it");
    }
    writer.finish().expect("memory takes it")
}
