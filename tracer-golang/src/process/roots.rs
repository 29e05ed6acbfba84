//! Where a mark begins, goroutines aside: what the target holds whatever any goroutine does.
//!
//! As the runtime's own collector has it (`runtime/mgcmark.go`, markroot): global variables that may
//! hold pointers, and what finalizers and cleanups need. In addition the processors' memory, for the
//! timers in it. The runtime's bookkeeping of goroutines is no root: the semaphore table, and the
//! caches and buffers of a processor, whose contents are left over or belong to the collector.

use tracer_model::ids::Addr;

use super::bytes::{u16_at, u64_at};
use super::mark::Mark;
use super::memory::{Bulk, MemoryError, TargetMemory};
use super::{GoProcess, ProcessError};
use crate::binary::Vaddr;

/// Bytes of a root that are read at once.
const PIECE: u64 = 1 << 20;
/// A finalizer's function returns no more bytes than this.
const MAX_RESULTS: u64 = 1 << 16;
/// No list of specials that is longer is believed.
const MAX_SPECIALS: usize = 1 << 26;
/// Size of a block of finalizers, bytes; its first word leads to the next one (`runtime/mfinal.go`, finblock).
const FINALIZERS: usize = 4096;
/// No list of such blocks that is longer is believed.
const MAX_BLOCKS: usize = 1 << 20;
/// Threads that are looked at, twice: `runtime.SetMaxThreads` allows 10000 by default.
const MAX_THREADS: usize = 1 << 20;
/// No list of processors that is longer is believed.
const MAX_PROCESSORS: u64 = 1 << 16;

/// A thread of the runtime.
pub(super) struct Thread {
    /// Address of its `runtime.m`.
    pub(super) m: u64,
    /// The g's that it has for itself, `m.g0` and `m.gsignal`.
    pub(super) gs: [Option<u64>; 2],
}

impl<M: TargetMemory> GoProcess<M> {
    /// Marks what all words in a range point to.
    pub(super) fn mark_range(
        &self,
        mark: &mut Mark,
        range: std::ops::Range<u64>,
    ) -> Result<(), MemoryError> {
        let mut at = range.start.checked_next_multiple_of(8).unwrap_or(range.end);
        let mut bytes = Vec::new();
        while at < range.end {
            let len = (range.end - at).min(PIECE);
            bytes.resize(len as usize, 0);
            self.memory().read(Addr(at), &mut bytes)?;
            mark.words(&bytes);
            at += len;
        }
        Ok(())
    }

    /// Marks what global variables point to.
    pub(super) fn mark_globals(&self, mark: &mut Mark) -> Result<(), MemoryError> {
        let semtable = self.semaphore_table();
        for module in self.modules() {
            for section in [&module.data, &module.bss] {
                // The semaphore table may lie in the middle.
                let (start, end) = (section.start.0, section.end.0);
                let before = start..end.min(semtable.start).max(start);
                let behind = start.max(semtable.end).min(end)..end;
                match semtable.start < end && semtable.end > start {
                    true => {
                        self.mark_range(mark, before)?;
                        self.mark_range(mark, behind)?;
                    }
                    false => self.mark_range(mark, start..end)?,
                }
            }
        }
        Ok(())
    }

    /// Whether a global variable of the program is there.
    pub(super) fn is_variable(&self, address: u64) -> bool {
        let module = self.modules().first();
        module.is_some_and(|module| {
            [
                &module.noptrdata,
                &module.data,
                &module.bss,
                &module.noptrbss,
            ]
            .iter()
            .any(|section| section.contains(&Addr(address)))
        })
    }

    fn semaphore_table(&self) -> std::ops::Range<u64> {
        match self.binary().variables().semtable {
            Some(table) => {
                let start = self.address(table).0;
                start..start.saturating_add(u64::from(self.layout().sem_table.size))
            }
            None => 0..0,
        }
    }

    /// The processors: `runtime.allp`. Empty if the binary does not tell where that is.
    pub(super) fn processors(&self) -> Result<Vec<u64>, ProcessError> {
        let Some(allp) = self.binary().variables().allp else {
            return Ok(Vec::new());
        };
        let mut slice = [0; 24];
        self.memory().read(self.address(allp), &mut slice)?;
        let [array, len, cap] = [0, 8, 16].map(|offset| u64_at(&slice, offset));
        if len > cap || cap > MAX_PROCESSORS {
            return Err(ProcessError::check(
                "runtime.allp",
                format!("{len} of {cap}"),
            ));
        }
        let mut bytes = vec![0; len as usize * 8];
        self.memory().read(Addr(array), &mut bytes)?;
        let words = bytes.as_chunks().0.iter();
        Ok(words.map(|word| u64::from_le_bytes(*word)).collect())
    }

    /// The threads. Empty if the binary does not tell where they are.
    pub(super) fn threads(&self) -> Result<Vec<Thread>, MemoryError> {
        let Some(allm) = self.binary().variables().allm else {
            return Ok(Vec::new());
        };
        let layout = &self.layout().m;
        let back = u64::from(self.layout().g.m);
        let mut threads = Vec::new();
        let mut m = self.memory().read_u64(self.address(allm))?;
        let mut bytes = vec![0; layout.size as usize];
        while m != 0 && threads.len() < MAX_THREADS {
            match self.memory().read(Addr(m), &mut bytes) {
                Ok(()) => {}
                // A thread that ended meanwhile.
                Err(MemoryError::Unreadable { .. }) => break,
                Err(error) => return Err(error),
            }
            let mut gs = [layout.g0, layout.gsignal].map(|field| Some(u64_at(&bytes, field)));
            for g in &mut gs {
                // A g knows its thread: what is no g is not taken for one.
                let own = |g: &u64| self.memory().read_u64(Addr(g.wrapping_add(back))) == Ok(m);
                *g = g.filter(own);
            }
            threads.push(Thread { m, gs });
            m = u64_at(&bytes, layout.alllink);
        }
        Ok(threads)
    }

    /// Marks what a thread holds, but for code: it keeps places that were looked up (`m.pcvalueCache`).
    pub(super) fn mark_thread(&self, mark: &mut Mark, thread: &Thread) -> Result<(), MemoryError> {
        let mut bytes = vec![0; self.layout().m.size as usize];
        match self.memory().read(Addr(thread.m), &mut bytes) {
            // It ended meanwhile.
            Err(MemoryError::Unreadable { .. }) => return Ok(()),
            result => result?,
        }
        let text = self.modules().first().map(|module| &module.text);
        for word in bytes.as_chunks().0 {
            let word = u64::from_le_bytes(*word);
            if text.is_none_or(|text| !text.contains(&Addr(word))) {
                mark.word(word);
            }
        }
        Ok(())
    }

    /// Marks what a processor holds: timers above all, and whatever else is no cache. What is before its caches
    /// of sudogs refers to nothing of the program's (Go 1.19 to 1.27): free defers, the queue of g's, and where
    /// free pages begin (`p.pcache.base`), which is where an object begins that has come to lie there. Behind it
    /// all (Go 1.26 and later) are left over what vector registers held of whoever was preempted there last.
    pub(super) fn mark_processor(&self, mark: &mut Mark, p: u64) -> Result<(), MemoryError> {
        let layout = &self.layout().p;
        let at = |offset: u32| p.wrapping_add(u64::from(offset));
        for range in [
            at(layout.mspancache)..at(layout.gcw),
            at(layout.run_safe_point_fn)..at(layout.xregs.unwrap_or(layout.size)),
        ] {
            self.mark_range(mark, range)?;
        }
        Ok(())
    }

    /// Marks what vector registers hold for a goroutine that was preempted anywhere in its code: Go 1.26 and later keep
    /// them outside of its stack (`runtime/preempt_xreg.go`, xRegScan). `g` is its `runtime.g`.
    pub(super) fn mark_vector_registers(
        &self,
        mark: &mut Mark,
        g: &[u8],
    ) -> Result<(), MemoryError> {
        let (g_layout, p) = (&self.layout().g, &self.layout().p);
        let Some((field, size)) = g_layout.xregs.zip(p.vector_registers()) else {
            return Ok(());
        };
        match u64_at(g, field) {
            0 => Ok(()),
            state => self.mark_range(mark, state..state.saturating_add(u64::from(size))),
        }
    }

    /// Marks what the runtime notes about single objects: the functions of finalizers and cleanups,
    /// and objects with a finalizer, which it is given.
    pub(super) fn mark_specials(&self, mark: &mut Mark) -> Result<(), ProcessError> {
        let layout = self.layout();
        let (special, size) = (&layout.special, layout.special_finalizer.size);
        // The offset has 16 bits up to Go 1.23, a word since: the distance to what follows tells.
        let short = special.kind.wrapping_sub(special.offset) == 2;
        let mut lists: Vec<(u64, u64)> = mark
            .heap()
            .spans()
            .iter()
            .filter(|span| span.specials != 0)
            .map(|span| (span.start, span.specials))
            .collect();
        let mut bulk = Bulk::default();
        let mut seen = 0;
        while !lists.is_empty() {
            seen += lists.len();
            if seen > MAX_SPECIALS {
                return Err(ProcessError::check("mspan.specials", "no end of them"));
            }
            let items: Vec<_> = lists
                .iter()
                .map(|&(_, addr)| (addr, size as usize))
                .collect();
            bulk.read(self.memory(), &items)?;
            let mut next = Vec::new();
            for (i, &(start, addr)) in lists.iter().enumerate() {
                let Some(bytes) = bulk.get(i) else {
                    let len = size as usize;
                    return Err(MemoryError::Unreadable {
                        addr: Addr(addr),
                        len,
                    }
                    .into());
                };
                let offset = match short {
                    true => u64::from(u16_at(bytes, special.offset)),
                    false => u64_at(bytes, special.offset),
                };
                if self.is_finalizer(mark, bytes) {
                    mark.word(start.wrapping_add(offset));
                }
                mark.words(bytes.get(special.size as usize..).unwrap_or(&[]));
                match u64_at(bytes, special.next) {
                    0 => {}
                    addr => next.push((start, addr)),
                }
            }
            lists = next;
        }
        Ok(())
    }

    /// Marks what finalizers need that are about to run: their objects are dead already, and nothing else
    /// leads to them. They wait here for as long as one before them does not return.
    pub(super) fn mark_queued_finalizers(&self, mark: &mut Mark) -> Result<(), ProcessError> {
        let Some(list) = self.binary().queued_finalizers() else {
            return Ok(());
        };
        let mut block = self.memory().read_u64(self.address(list))?;
        let mut bytes = vec![0; FINALIZERS];
        for _ in 0..MAX_BLOCKS {
            if block == 0 {
                return Ok(());
            }
            self.memory().read(Addr(block), &mut bytes)?;
            mark.words(&bytes);
            block = u64_at(&bytes, 0);
        }
        Err(ProcessError::check("runtime.allfin", "no end of them"))
    }

    /// Whether a special is a finalizer. The kinds' numbers differ between versions; what it has that
    /// the others do not is the type of the object.
    fn is_finalizer(&self, mark: &Mark, special: &[u8]) -> bool {
        let layout = &self.layout().special_finalizer;
        let typ = u64_at(special, layout.object_type);
        u64_at(special, layout.function) != 0
            && u64_at(special, layout.results) < MAX_RESULTS
            && (mark.heap().object(typ).is_some()
                || (self.modules().iter()).any(|module| module.types.contains(&Addr(typ))))
    }

    /// Where the heap is.
    pub(super) fn heap_place(&self) -> Result<super::heap::HeapPlace<'_>, ProcessError> {
        let mheap: Vaddr = self.binary().variables().mheap.ok_or_else(|| {
            ProcessError::check("runtime.mheap_", "it was not found in this binary")
        })?;
        Ok(super::heap::HeapPlace {
            mheap: self.address(mheap),
            layout: &self.layout().mheap,
            span: &self.layout().mspan,
        })
    }
}
