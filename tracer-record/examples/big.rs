//! Writes a recording of a given size, in MiB, of made-up events, 500,000 a second: `big FILE MIB`.

use std::path::PathBuf;
use std::sync::Arc;

use tracer_model::event::{ChanOp, Event, EventKind, Fill};
use tracer_model::ids::{ChanAddr, Goid, Ktime, Pc};
use tracer_model::symbol::{Frame, Symbolizer};
use tracer_record::{Batch, Clock, Keyframe, Sink as _, Writer, sink};

/// Events of a segment and of a batch, as `gotrace record` has them.
const SEGMENT: u64 = 1 << 20;
const BATCH: usize = 1 << 16;
/// Nanoseconds from one event to the next, on average.
const STEP: u64 = 2000;

struct Nameless;

impl Symbolizer for Nameless {
    fn frames(&self, _: Pc) -> Arc<[Frame]> {
        Arc::new([])
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "big FILE MIB";
    let path = PathBuf::from(arguments.next().ok_or(usage)?);
    let bytes = arguments.next().ok_or(usage)?.parse::<u64>()? << 20;
    let clock = Clock {
        kernel: Ktime(0),
        unix: 1_700_000_000_000_000_000,
    };
    let mut writer = Writer::new(sink::file(&path)?, clock, "big", None);
    let target = serde_json::json!({
        "pid": 1, "exe": "/made/up", "replaced": false, "build_id": "", "go_version": "go1.27.3",
        "arch": "amd64", "main": null, "stripped": false, "pie": false, "layout": "",
    });
    let mut at = Ktime(1);
    let mut batch = Batch::new();
    while writer.sink().bytes() < bytes {
        let keyframe = Keyframe {
            at,
            about: serde_json::json!({ "what": "look", "target": target }),
            parks_seen: true,
            ..Keyframe::default()
        };
        writer.keyframe(&keyframe, &Nameless)?;
        for _ in 0..SEGMENT {
            at = Ktime(at.0 + fastrand::u64(1..2 * STEP));
            let operation = ChanOp {
                chan: Some(ChanAddr(0xc000_0000_0000 + 96 * fastrand::u64(..64))),
                blocking: true,
                site: Some(Pc(0x48_0000 + fastrand::u64(..16))),
                fill: Some(Fill {
                    len: fastrand::u32(..8),
                    cap: 8,
                }),
            };
            batch.event(&Event {
                at,
                actor: Goid(1 + fastrand::u64(..256)),
                kind: match fastrand::bool() {
                    true => EventKind::SendBegin(operation),
                    false => EventKind::ReceiveBegin(operation),
                },
            });
            if batch.len() == BATCH
                && let Some(packed) = batch.pack()
            {
                writer.items(packed, &Nameless)?;
            }
        }
    }
    writer.finish()?;
    Ok(())
}
