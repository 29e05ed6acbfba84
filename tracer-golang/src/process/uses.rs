//! Which static memory the code that can still run may get at.
//!
//! A global variable keeps alive what it leads to only if somebody uses it. Who can still run begins in
//! the frames of goroutines that can: each goes on behind the call that it waits in. From there, code
//! leads to code (calls, functions whose address it takes), to static memory (what it names), and static
//! memory, the heap and stacks lead on by their words: pointers to data, function values, and type
//! descriptors, whose methods any code may call that meets a value of the type. The runtime's own code can
//! always run. What is not reached so, nobody uses again.
//!
//! All of this errs on one side: what may be used counts as used. Where code cannot be told (no symbols,
//! C code, plugins, a function or a stack that is not understood), nothing is said at all.

use std::ops::Range;

use rustc_hash::{FxHashMap, FxHashSet};
use tracer_model::ids::Addr;

use super::header::Header;
use super::mark::Mark;
use super::memory::{Bulk, MemoryError, TargetMemory};
use super::stack::Extent;
use super::{GoProcess, Module};
use crate::binary::{Arch, Content, Function, References, Statics, Vaddr};

/// What runs once, before the program's own code: only the frames of those who are in it count.
const BEGINNING: [&str; 9] = [
    "runtime.main",
    "runtime.rt0_go",
    "runtime.schedinit",
    "runtime.doInit",
    "runtime.doInit1",
    "runtime.runtime_inittasks",
    "runtime.args",
    "runtime.osinit",
    "runtime.check",
];
/// Packages whose code may run at any time.
const ALWAYS: [&str; 3] = ["runtime.", "runtime/internal/", "internal/runtime/"];
/// What a program with C code has (`runtime/cgo`).
const C_CODE: &str = "crosscall2";
/// Bytes at the end of a stack that belong to no frame: what `runtime.newproc1` leaves.
const STACK_END: u64 = 64;
/// No object in the sections without pointers is looked at that is larger.
const MAX_POINTERLESS: u64 = 64 << 10;
/// No larger object is believed, bytes.
const MAX_OBJECT: u64 = 1 << 30;
/// Bytes of one object that are read together, and of all.
const PIECE: u64 = 1 << 20;

/// What is known about the binary's code; it never changes.
#[derive(Debug, Default)]
pub(super) struct Known {
    statics: Option<Option<Statics>>,
    /// By entry; `None` for what could not be decoded.
    functions: FxHashMap<u64, Option<References>>,
    /// By an address in a frame.
    frames: FxHashMap<u64, Option<References>>,
}

/// What is used, as far as it was found. All addresses are link-time addresses.
pub(super) struct Uses<'a, M> {
    process: &'a GoProcess<M>,
    known: Known,
    statics: Option<Statics>,
    text: Range<u64>,
    types: Range<u64>,
    /// Sections whose words are no pointers, if they are none of ours.
    pointerless: [Range<u64>; 2],
    /// The runtime's own lists of all there is: to be in them is no use.
    lists: Vec<Range<u64>>,
    functions: FxHashSet<u64>,
    frames: FxHashSet<u64>,
    /// Begins of objects.
    objects: FxHashSet<u64>,
    /// Of those that have no symbol, the whole.
    loose: Vec<Range<u64>>,
    seen: FxHashSet<u64>,
    /// To be looked at: entries of functions, addresses, objects.
    next_functions: Vec<u64>,
    next_frames: Vec<u64>,
    next: Vec<u64>,
    next_objects: Vec<Range<u64>>,
    unknown: Option<String>,
}

impl<'a, M: TargetMemory> Uses<'a, M> {
    /// Nothing is used yet but by the runtime itself.
    pub(super) fn new(process: &'a GoProcess<M>, mut known: Known) -> Uses<'a, M> {
        let binary = process.binary();
        let statics = known.statics.take().unwrap_or_else(|| binary.statics());
        let bias = process.bias();
        let range =
            |range: &Range<Addr>| range.start.0.wrapping_sub(bias)..range.end.0.wrapping_sub(bias);
        let module: Option<&Module> = process.modules().first();
        let of = |field: fn(&Module) -> &Range<Addr>| module.map_or(0..0, |m| range(field(m)));
        let mut uses = Uses {
            process,
            known,
            statics,
            text: of(|module| &module.text),
            types: of(|module| &module.types),
            pointerless: [
                of(|module| &module.noptrdata),
                of(|module| &module.noptrbss),
            ],
            lists: Vec::new(),
            functions: FxHashSet::default(),
            frames: FxHashSet::default(),
            objects: FxHashSet::default(),
            loose: Vec::new(),
            seen: FxHashSet::default(),
            next_functions: Vec::new(),
            next_frames: Vec::new(),
            next: Vec::new(),
            next_objects: Vec::new(),
            unknown: None,
        };
        uses.begin();
        uses
    }

    fn begin(&mut self) {
        let binary = self.process.binary();
        let table = binary.pclntab();
        if binary.arch() != Arch::Amd64 {
            self.give_up(|| format!("code for {} is not read", binary.arch()));
        } else if self.statics.is_none() {
            self.give_up(|| "the program has no symbols".to_owned());
        } else if self.process.modules().len() > 1 {
            self.give_up(|| "the program has plugins".to_owned());
        } else if table.lookup(C_CODE).is_some() {
            self.give_up(|| "the program has C code".to_owned());
        }
        if self.unknown.is_some() {
            return;
        }
        self.lists = lists(self.process, self.statics.as_ref());
        for function in table.functions() {
            let always = ALWAYS
                .iter()
                .any(|package| function.name.starts_with(package));
            if always && !BEGINNING.contains(&function.name) {
                self.function(&function);
            }
        }
    }

    /// What was learnt about the binary.
    pub(super) fn into_known(self) -> Known {
        Known {
            statics: Some(self.statics),
            ..self.known
        }
    }

    /// Why nothing can be said, if so.
    pub(super) fn unknown(&self) -> Option<&str> {
        self.unknown.as_deref()
    }

    /// Nothing can be said.
    pub(super) fn give_up(&mut self, why: impl FnOnce() -> String) {
        self.unknown.get_or_insert_with(why);
    }

    /// The addresses in the process that [`Uses::word`] wants to be told of.
    pub(super) fn range(&self) -> Range<u64> {
        let Some(statics) = self.statics.as_ref().filter(|_| self.unknown.is_none()) else {
            return 0..0;
        };
        let bias = self.process.bias();
        let statics = statics.range();
        let start = statics.start.min(self.text.start);
        let end = statics.end.max(self.text.end);
        start.wrapping_add(bias)..end.wrapping_add(bias)
    }

    /// A goroutine that can run has these frames. `complete` says that there are no others.
    pub(super) fn frames(&mut self, header: &Header, extents: &[Extent]) {
        let end = extents
            .last()
            .map_or(header.stack_lo, |last| last.caller_sp);
        if end > header.stack_hi || header.stack_hi - end > STACK_END {
            self.give_up(|| format!("the stack of goroutine {} is not understood", header.goid));
        }
        let table = self.process.binary().pclntab();
        for extent in extents {
            let vaddr = extent.pc.0.wrapping_sub(self.process.bias());
            if header.panics == 0 && self.frames.contains(&vaddr) {
                continue;
            }
            match table.function(Vaddr(vaddr)) {
                // Whoever panics may go on anywhere.
                Some(function) if header.panics != 0 => self.function(&function),
                Some(_) => {
                    self.frames.insert(vaddr);
                    self.next_frames.push(vaddr);
                }
                None => self.give_up(|| format!("there is no function at {:#x}", extent.pc.0)),
            }
        }
    }

    /// Something that is used has a word that lies in [`Uses::range`].
    pub(super) fn word(&mut self, word: u64) {
        let address = word.wrapping_sub(self.process.bias());
        match self.text.contains(&address) {
            true => self.entry(address),
            false => self.next.push(address),
        }
    }

    /// The same of a word that may be left over, if it is one that the compiler's maps of pointers leave
    /// out: an entry, or what an interface knows its type by.
    pub(super) fn leftover(&mut self, word: u64) {
        let address = word.wrapping_sub(self.process.bias());
        if self.text.contains(&address) {
            self.entry(address);
        } else if let Some(statics) = &self.statics
            && !self.process.is_variable(word)
            && statics.content(address) != Content::Functions
        {
            self.next.push(address);
        }
    }

    /// Whether an object that is used contains this address in the process.
    pub(super) fn has(&self, addr: u64) -> bool {
        let address = addr.wrapping_sub(self.process.bias());
        let object = self.statics.as_ref().and_then(|it| it.object(address));
        object.is_some_and(|object| self.objects.contains(&object.start))
            || self.loose.iter().any(|object| object.contains(&address))
    }

    /// The name of the variable at an address in the process.
    pub(super) fn name(&self, addr: u64) -> Option<String> {
        let address = addr.wrapping_sub(self.process.bias());
        self.statics.as_ref()?.name(address)
    }

    /// Follows what was found, and marks what it leads to. Words that lie in [`Uses::range`] are left
    /// with the mark.
    ///
    /// # Errors
    /// Only what ends everything.
    pub(super) fn follow(&mut self, mark: &mut Mark) -> Result<(), MemoryError> {
        loop {
            if self.unknown.is_some() {
                return Ok(());
            }
            if let Some(entry) = self.next_functions.pop() {
                self.code(entry, false);
            } else if let Some(place) = self.next_frames.pop() {
                self.code(place, true);
            } else if let Some(address) = self.next.pop() {
                self.address(address);
            } else if !self.next_objects.is_empty() {
                let objects = std::mem::take(&mut self.next_objects);
                self.read(mark, &objects)?;
            } else {
                return Ok(());
            }
        }
    }

    fn function(&mut self, function: &Function<'_>) {
        if self.functions.insert(function.entry.0) {
            self.next_functions.push(function.entry.0);
        }
    }

    /// A word is an address in the text: a function, if it is an entry.
    fn entry(&mut self, address: u64) {
        let function = self.process.binary().pclntab().function(Vaddr(address));
        if let Some(function) = function.filter(|function| function.entry.0 == address) {
            self.function(&function);
        }
    }

    /// All that a function names, or what it does from a place in it on.
    fn code(&mut self, address: u64, frame: bool) {
        let binary = self.process.binary();
        let table = binary.pclntab();
        let Some(function) = table.function(Vaddr(address)) else {
            return;
        };
        let (cache, places) = match frame {
            true => {
                let exit = function.deferreturn();
                let places: Vec<Vaddr> = [Vaddr(address)].into_iter().chain(exit).collect();
                (&mut self.known.frames, Some(places))
            }
            false => (&mut self.known.functions, None),
        };
        let references = cache
            .entry(address)
            .or_insert_with(|| binary.references(&function, places.as_deref()));
        let Some(references) = references else {
            let name = function.name;
            self.unknown = Some(format!("the code of {name} is not understood"));
            return;
        };
        let mut called = Vec::new();
        for &Vaddr(address) in &references.addresses {
            match self.text.contains(&address) {
                true => called.extend(table.function(Vaddr(address))),
                false => self.next.push(address),
            }
        }
        for function in called {
            self.function(&function);
        }
    }

    /// What can be had at a static address.
    fn address(&mut self, address: u64) {
        let Some(statics) = &self.statics else {
            return;
        };
        if !self.seen.insert(address) || self.lists.iter().any(|list| list.contains(&address)) {
            return;
        }
        match statics.content(address) {
            Content::Nothing => {}
            Content::Functions => {
                if let Some(word) = statics.word(address) {
                    self.entry(word);
                }
            }
            Content::Types => {
                let leads = statics.type_leads(address, &self.types).unwrap_or_default();
                self.next.extend(leads.statics);
                for offset in leads.functions {
                    let vaddr = Vaddr(self.text.start.wrapping_add(u64::from(offset)));
                    if let Some(function) = self.process.binary().pclntab().function(vaddr) {
                        self.function(&function);
                    }
                }
            }
            Content::Objects => {
                let Some(object) = statics.object(address) else {
                    return;
                };
                if self.objects.insert(object.start) {
                    if object.start == address {
                        self.loose.push(object.clone());
                    }
                    self.next_objects.push(object);
                }
            }
        }
    }

    /// Marks what the words of objects lead to.
    fn read(&mut self, mark: &mut Mark, objects: &[Range<u64>]) -> Result<(), MemoryError> {
        let Some(statics) = &self.statics else {
            return Ok(());
        };
        let bias = self.process.bias();
        let mut items = Vec::new();
        for object in objects {
            let size = object.end - object.start;
            let pointerless = (self.pointerless.iter()).any(|of| of.contains(&object.start));
            if pointerless && size > MAX_POINTERLESS {
                continue;
            }
            if size > MAX_OBJECT {
                self.unknown = Some(format!("a variable has {size} bytes"));
                return Ok(());
            }
            let start = object.start.checked_next_multiple_of(8);
            let start = start.unwrap_or(object.end);
            if statics.is_constant(object.start) {
                let places = (start..object.end.saturating_sub(7)).step_by(8);
                let words = places.filter_map(|place| statics.word(place));
                words.for_each(|word| mark.word(word.wrapping_add(bias)));
                continue;
            }
            let mut at = start;
            while at < object.end {
                let len = (object.end - at).min(PIECE);
                items.push((at.wrapping_add(bias), len as usize));
                at += len;
            }
        }
        let mut bulk = Bulk::default();
        let mut items = items.as_slice();
        while !items.is_empty() {
            let mut bytes = 0;
            let count = items
                .iter()
                .take_while(|(_, len)| {
                    bytes += *len as u64;
                    bytes <= PIECE
                })
                .count();
            let (now, rest) = items.split_at(count.max(1));
            bulk.read(self.process.memory(), now)?;
            for (i, (addr, _)) in now.iter().enumerate() {
                match bulk.get(i) {
                    Some(bytes) => mark.words(bytes),
                    None => self.unknown = Some(format!("no data can be read at {addr:#x}")),
                }
            }
            items = rest;
        }
        Ok(())
    }
}

/// The lists of all there is: the linker's description of the program, the first thread (all threads are
/// roots by themselves), the table of all who wait for locks, and that of all methods of interfaces that were ever used (the runtime looks up a type that it
/// has met, which leads to the methods by itself).
fn lists<M: TargetMemory>(process: &GoProcess<M>, statics: Option<&Statics>) -> Vec<Range<u64>> {
    let (variables, layout) = (process.binary().variables(), process.layout());
    let of = |Vaddr(start): Vaddr, size: u32| start..start.saturating_add(u64::from(size));
    let module = of(variables.firstmoduledata, layout.moduledata.size);
    let semaphores = variables.semtable.map(|at| of(at, layout.sem_table.size));
    let (thread, interfaces) = match statics {
        Some(statics) => (statics.first_thread(), statics.interface_table()),
        None => (None, None),
    };
    let lists = [Some(module), semaphores, thread, interfaces];
    lists.into_iter().flatten().collect()
}
