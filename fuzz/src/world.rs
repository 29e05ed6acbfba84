//! The memory of a Go process, made up: goroutines that wait for each other, their channels, stacks
//! and the heap, of which the fuzzer changes words, before it is read and while.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, LazyLock};

use arbitrary::Unstructured;
use tracer_golang::binary::{Arch, GoBinary};
use tracer_golang::layout::{RuntimeLayout, SemTable};
use tracer_golang::process::memory::{MemoryError, Request, TargetMemory};
use tracer_golang::process::{GoProcess, ProcessError, ReadOptions};
use tracer_model::ids::{Addr, ChanAddr, Ktime};
use tracer_model::snapshot::Snapshot;

use crate::image::{self, BASE, Choices, Image, put, typ};

/// The heap: one span for each kind of object.
const HEAP: u64 = 0xc0_0000_0000;
const GS: u64 = HEAP;
const SUDOGS: u64 = HEAP + 0x2000;
const CHANS: u64 = HEAP + 0x4000;
const OBJECTS: u64 = HEAP + 0x6000;
/// Stacks, one page each.
const STACKS: u64 = HEAP + 0x10_0000;
/// What the runtime keeps outside of the heap: the list of goroutines, spans, threads.
const OUTSIDE: u64 = 0x7f00_0000_0000;
const SPANS: u64 = OUTSIDE + 0x1000;
const BITS: u64 = OUTSIDE + 0x3000;

/// Goroutines in the world.
const GOROUTINES: u64 = 8;
/// Reads of a target before the memory stops to change.
const MAX_CHANGES: usize = 64;

/// Memory of which words can change with every read.
#[derive(Debug, Default)]
pub struct Garbage {
    ranges: Vec<(u64, RefCell<Vec<u8>>)>,
    /// Words to write, last one first, one after so many reads.
    changes: RefCell<Vec<(u8, u64, u64)>>,
    reads: Cell<u32>,
}

impl Garbage {
    /// Maps a range.
    pub fn map(&mut self, at: u64, bytes: Vec<u8>) {
        self.ranges.push((at, RefCell::new(bytes)));
    }

    /// Writes a word, where there is memory for it.
    fn poke(&self, at: u64, value: u64) {
        for (start, bytes) in &self.ranges {
            let mut bytes = bytes.borrow_mut();
            let offset = at.wrapping_sub(*start);
            if offset
                .checked_add(8)
                .is_some_and(|end| end <= bytes.len() as u64)
            {
                put(&mut bytes, offset, value);
            }
        }
    }

    fn change(&self) {
        self.reads.set(self.reads.get() + 1);
        let due = self
            .changes
            .borrow()
            .last()
            .is_some_and(|(after, _, _)| self.reads.get() >= u32::from(*after));
        if due && let Some((_, at, value)) = self.changes.borrow_mut().pop() {
            self.reads.set(0);
            self.poke(at, value);
        }
    }
}

impl TargetMemory for Garbage {
    fn read(&self, addr: Addr, into: &mut [u8]) -> Result<(), MemoryError> {
        self.change();
        // As the kernel does it: nothing is readable anywhere.
        if into.is_empty() {
            return Ok(());
        }
        for (start, bytes) in &self.ranges {
            let bytes = bytes.borrow();
            let found = addr.0.checked_sub(*start).and_then(|offset| {
                let offset = usize::try_from(offset).ok()?;
                bytes.get(offset..offset.checked_add(into.len())?)
            });
            if let Some(found) = found {
                into.copy_from_slice(found);
                return Ok(());
            }
        }
        Err(MemoryError::Unreadable {
            addr,
            len: into.len(),
        })
    }

    fn read_many(
        &self,
        requests: &mut [Request<'_>],
    ) -> Result<Vec<Result<(), MemoryError>>, MemoryError> {
        Ok(requests
            .iter_mut()
            .map(|request| self.read(request.addr, request.into))
            .collect())
    }
}

/// A process to read.
pub struct World {
    memory: Garbage,
    binary: Arc<GoBinary>,
}

static PROGRAM: LazyLock<(Image, Arc<GoBinary>, &RuntimeLayout)> = LazyLock::new(|| {
    let image = Image::build(&Choices::default());
    let binary = GoBinary::parse(image.bytes.clone()).expect("the file is fine");
    (image, Arc::new(binary), image::layout(Arch::Amd64))
});

/// Places that matter: a change of a word there is worth more than elsewhere.
fn places() -> Vec<(u64, u64)> {
    let (image, _, layout) = &*PROGRAM;
    let place = |name| image.places[name];
    vec![
        (GS, GOROUTINES * 0x200),
        (SUDOGS, 0x400),
        (CHANS, 0x200),
        (OBJECTS, 0x200),
        (STACKS, GOROUTINES * 0x1000),
        (OUTSIDE, 0x200),
        (SPANS, 4 * 0x100),
        (BITS, 0x100),
        (place("runtime.allgs"), 0x30),
        (place("runtime.allglen"), 8),
        (place("runtime.semtable"), u64::from(layout.sem_table.size)),
        (
            place("runtime.mheap_") + u64::from(layout.mheap.allspans),
            24,
        ),
        (place("moduledata"), u64::from(layout.moduledata.size)),
        (place("types"), 0x800),
        (place("runtime.sched"), 0x100),
    ]
}

impl World {
    /// A world in which everything is as it should be, but for what the input says.
    pub fn new(input: &mut Unstructured<'_>) -> World {
        let (_, binary, _) = &*PROGRAM;
        let mut memory = sound();
        let places = places();
        let mut changes = Vec::new();
        // An empty input changes nothing.
        while !input.is_empty() && changes.len() < MAX_CHANGES {
            let Ok((after, at, value)) = change(input, &places) else {
                break;
            };
            match after {
                0 => memory.poke(at, value),
                after => changes.push((after, at, value)),
            }
        }
        changes.reverse();
        memory.changes = RefCell::new(changes);
        World {
            memory,
            binary: Arc::clone(binary),
        }
    }

    /// Reads it as the commands do.
    ///
    /// # Errors
    /// As reading a process.
    pub fn read(self) -> Result<Snapshot, ProcessError> {
        let clock = Cell::new(0);
        let now = || {
            clock.set(clock.get() + 1);
            Ktime(clock.get())
        };
        let mut process = GoProcess::new(self.memory, self.binary, 0)?;
        let options = ReadOptions {
            values: 4,
            extra_channels: vec![ChanAddr(CHANS)],
            ..ReadOptions::default()
        };
        let snapshot = process.snapshot(&options, &now)?;
        let found = process.reachability(&snapshot, &now)?;
        process.corruption(&snapshot)?;
        assert!(found.unreached.len() <= snapshot.goroutines.len());
        process.snapshot(&options, &now)
    }
}

/// One change: after how many reads (0 is before all), where, and to what.
fn change(
    input: &mut Unstructured<'_>,
    places: &[(u64, u64)],
) -> arbitrary::Result<(u8, u64, u64)> {
    let address = |input: &mut Unstructured<'_>| {
        let (start, size) = input.choose(places)?;
        Ok(start + u64::from(input.arbitrary::<u16>()?) % size)
    };
    let after = input.arbitrary::<u8>()? % 32;
    let at = address(input)? & !7;
    let value = match input.arbitrary::<u8>()? % 4 {
        0 => input.arbitrary::<u64>()?,
        1 => u64::from(input.arbitrary::<u16>()?),
        2 => address(input)?,
        _ => address(input)? & !7,
    };
    Ok((after, at, value))
}

/// The world as it should be.
fn sound() -> Garbage {
    let (image, _, layout) = &*PROGRAM;
    let mut memory = Garbage::default();
    memory.map(BASE, image.memory());
    memory.map(HEAP, vec![0; 0x8000]);
    memory.map(STACKS, vec![0; GOROUTINES as usize * 0x1000]);
    memory.map(OUTSIDE, vec![0; 0x4000]);
    let place = |name: &str| image.places[name];
    let poke = |at: u64, value: u64| memory.poke(at, value);
    let g = |index: u64| GS + index * 0x200;
    let sudog = |index: u64| SUDOGS + index * 0x80;
    let chan = |index: u64| CHANS + index * 0x80;

    // The list of goroutines.
    for index in 0..GOROUTINES {
        poke(OUTSIDE + index * 8, g(index));
    }
    let allgs = place("runtime.allgs");
    poke(allgs, OUTSIDE);
    poke(allgs + 8, GOROUTINES);
    poke(allgs + 16, GOROUTINES);
    poke(place("runtime.allgptr"), OUTSIDE);
    poke(place("runtime.allglen"), GOROUTINES);

    // State and wait reason of each: receive, send, select, mutex, sleep, running, syscall, dead.
    let states = [
        (4, 1),
        (4, 2),
        (4, 3),
        (4, 6),
        (4, 5),
        (2, 0),
        (3, 0),
        (6, 0),
    ];
    for (index, (status, reason)) in (0..).zip(states) {
        let g = g(index);
        let stack = STACKS + index * 0x1000;
        let sp = stack + 0xf00;
        let at = |offset: u32| g + u64::from(offset);
        poke(at(layout.g.stack_lo), stack);
        poke(at(layout.g.stack_hi), stack + 0x1000);
        poke(at(layout.g.sched_g), g);
        poke(at(layout.g.sched_sp), sp);
        poke(at(layout.g.sched_pc), place("runtime.gopark") + 20);
        poke(at(layout.g.syscallsp), sp);
        poke(at(layout.g.syscallpc), place("main.main") + 20);
        poke(at(layout.g.atomicstatus), status);
        poke(at(layout.g.goid), index + 1);
        poke(
            at(layout.g.waitreason) & !7,
            reason << (8 * (at(layout.g.waitreason) & 7)),
        );
        poke(at(layout.g.startpc), place("main.main"));
        poke(at(layout.g.gopc), place("runtime.main") + 20);
        // gopark's frame, main.main's, goexit.
        poke(sp + 8, place("main.main") + 20);
        poke(sp + 24, place("runtime.goexit") + 1);
    }

    // Two channels: nothing in the first, the second is full.
    for (index, capacity) in [(0, 0), (1, 2)] {
        let at = |offset: u32| chan(index) + u64::from(offset);
        poke(at(layout.hchan.qcount), capacity);
        poke(at(layout.hchan.dataqsiz), capacity);
        poke(at(layout.hchan.buf), OBJECTS);
        poke(at(layout.hchan.elemsize) & !7, 8);
        poke(at(layout.hchan.elemtype), place("types") + typ::INT);
    }
    // Who waits, on which channel, in which queue; the third goroutine selects on both.
    let sudogs = [(0, 0, 0), (1, 1, 0), (2, 0, 2), (2, 1, 3)];
    for (index, (owner, on, _)) in (0..).zip(sudogs) {
        let at = |offset: u32| sudog(index) + u64::from(offset);
        poke(at(layout.sudog.g), g(owner));
        poke(at(layout.sudog.elem), OBJECTS + 0x40 + index * 8);
        poke(at(layout.sudog.c), chan(on));
        if owner == 2 {
            let select = at(layout.sudog.is_select);
            poke(select & !7, 1 << (8 * (select & 7)));
        }
    }
    for (owner, first) in [(0, 0), (1, 1), (2, 2)] {
        poke(g(owner) + u64::from(layout.g.waiting), sudog(first));
    }
    poke(sudog(2) + u64::from(layout.sudog.waitlink), sudog(3));
    let queue = |on: u64, first: u32, last: u32, members: [u64; 2]| {
        poke(chan(on) + u64::from(first), sudog(members[0]));
        poke(chan(on) + u64::from(last), sudog(members[1]));
        poke(
            sudog(members[0]) + u64::from(layout.sudog.next),
            sudog(members[1]),
        );
        poke(
            sudog(members[1]) + u64::from(layout.sudog.prev),
            sudog(members[0]),
        );
    };
    queue(0, layout.hchan.recvq_first, layout.hchan.recvq_last, [0, 2]);
    queue(1, layout.hchan.sendq_first, layout.hchan.sendq_last, [1, 3]);

    // The fourth goroutine waits for a semaphore, alone in its root.
    let semaphore = sudog(4);
    let stride = u64::from(layout.sem_table.size / SemTable::ROOTS);
    let root = place("runtime.semtable") + 3 * stride;
    poke(root + u64::from(layout.sema_root.treap), semaphore);
    poke(root + u64::from(layout.sema_root.nwait), 1);
    poke(semaphore + u64::from(layout.sudog.g), g(3));
    poke(semaphore + u64::from(layout.sudog.elem), OBJECTS + 0x100);
    poke(g(3) + u64::from(layout.g.waiting), semaphore);

    // Spans: goroutines, sudogs, channels, other objects.
    for (index, (start, size)) in (0..).zip([(GS, 512), (SUDOGS, 128), (CHANS, 128), (OBJECTS, 64)])
    {
        let span = SPANS + 0x200 + index * 0x100;
        let at = |offset: u32| span + u64::from(offset);
        let elems = 0x2000 / size;
        poke(SPANS + index * 8, span);
        poke(at(layout.mspan.start_addr), start);
        poke(at(layout.mspan.npages), 1);
        poke(at(layout.mspan.elemsize), size);
        poke(at(layout.mspan.alloc_bits), BITS);
        // Free index and number of objects are 16 bits each.
        poke(at(layout.mspan.freeindex), elems | elems << 16);
        let state = at(layout.mspan.state);
        poke(state & !7, 1 << (8 * (state & 7)));
    }
    let spans = place("runtime.mheap_") + u64::from(layout.mheap.allspans);
    poke(spans, SPANS);
    poke(spans + 8, 4);
    poke(spans + 16, 4);
    memory
}
