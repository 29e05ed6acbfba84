//! A snapshot of many goroutines, and symbols for it, as a service under load has them: most of the
//! goroutines wait, in a few hundred distinct stacks that share most of their functions.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use tracer_model::ids::{ChanAddr, GAddr, Goid, Ktime, Pc};
use tracer_model::snapshot::{Goroutine, Snapshot, StackId, State};
use tracer_model::symbol::{Frame, Symbolizer};
use tracer_model::wait::{Direction, Wait, WaitObject, WaitReason};

/// Distinct stacks.
const STACKS: u64 = 200;
/// Physical frames of each.
const DEPTH: u64 = 8;
/// Distinct functions besides the innermost ones, which all stacks share.
const FUNCTIONS: u64 = 400;

/// So many goroutines.
pub(crate) fn snapshot(goroutines: u64) -> Snapshot {
    let stack = |stack: u64| -> Box<[Pc]> {
        let shared = [Pc(1), Pc(2)].into_iter();
        let own = (2..DEPTH).map(|depth| Pc(100 + (stack * 7 + depth * 13) % FUNCTIONS));
        shared.chain(own).collect()
    };
    let goroutine = |index: u64| {
        let state = match index % 16 {
            0 => State::Runnable,
            1 => State::Syscall,
            _ => State::Waiting,
        };
        Goroutine {
            at: Ktime(10),
            goid: Goid(index + 1),
            gaddr: GAddr(0xc100_0000 + 512 * index),
            state,
            wait: (state == State::Waiting).then(|| Wait {
                reason: WaitReason::ChanReceive,
                objects: [WaitObject::Chan {
                    chan: ChanAddr(0xc000_0000 + 96 * index),
                    direction: Direction::Receive,
                }]
                .into(),
                since: Ktime(5).into(),
            }),
            sleeps_until: None.into(),
            system: false,
            parent: Goid(1).into(),
            created_at: Pc(100 + index % 50).into(),
            start: Pc(200 + index % 50).into(),
            stack: Some(StackId((index % STACKS) as u32)),
            stops: None,
            stack_bytes: None.into(),
            labels: Vec::new().into(),
            moving: false,
        }
    };
    Snapshot {
        started: Ktime(10),
        finished: Ktime(20),
        goroutines: (0..goroutines).map(goroutine).collect(),
        stacks: (0..STACKS).map(stack).collect(),
        ..Snapshot::default()
    }
}

/// Symbols of such a snapshot, looked up as those of a process are.
#[derive(Debug)]
pub(crate) struct Symbols(FxHashMap<Pc, Arc<[Frame]>>);

impl Symbols {
    pub(crate) fn new() -> Symbols {
        let frames = |pc: u64| -> Arc<[Frame]> {
            let function = match pc {
                1 => "runtime.gopark".to_owned(),
                2 => "runtime.chanrecv1".to_owned(),
                pc => format!(
                    "example.com/shop/internal/service{}.(*pool).serve{pc}",
                    pc % 20
                ),
            };
            Arc::from([Frame {
                function: function.into(),
                file: format!("/src/shop/internal/service{}/pool.go", pc % 20).into(),
                line: pc as u32,
                inlined: false,
            }])
        };
        let pcs = [1, 2].into_iter().chain(100..100 + FUNCTIONS);
        Symbols(pcs.map(|pc| (Pc(pc), frames(pc))).collect())
    }
}

impl Symbolizer for Symbols {
    fn frames(&self, pc: Pc) -> Arc<[Frame]> {
        self.0.get(&pc).cloned().unwrap_or_default()
    }
}
