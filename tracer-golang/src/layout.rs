//! Where the runtime of one Go version and architecture keeps what, as data.
//!
//! A [`RuntimeLayout`] comes from the binary's own DWARF, or from the table that
//! `cargo xtask layouts` generates from real toolchains. Never typed in by hand, never guessed from
//! a neighbouring version. All offsets and sizes are bytes.

use serde::{Deserialize, Serialize};

macro_rules! layouts {
    ($(
        $(#[$doc:meta])*
        $strukt:ident of $go:literal { $($field:ident: $path:literal $(or $alt:literal)* $(, $optional:ident)?;)* }
    )*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
            pub struct $strukt {
                #[doc = concat!("Size of `", $go, "`.")]
                pub size: u32,
                $(#[doc = concat!("`", $path, "`.")] pub $field: layouts!(@type $($optional)?),)*
            }

            impl $strukt {
                /// Builds it from a source of sizes and field offsets.
                ///
                /// # Errors
                /// Names the struct or field that the source does not have.
                pub fn from_source(source: &dyn LayoutSource) -> Result<$strukt, MissingLayout> {
                    Ok($strukt {
                        size: source.size($go).ok_or_else(|| MissingLayout($go.to_owned()))?,
                        $($field: layouts!(@get source, $go, [$path $(, $alt)*] $(, $optional)?),)*
                    })
                }
            }
        )*
    };
    (@type) => { u32 };
    (@type optional) => { Option<u32> };
    (@get $source:ident, $go:literal, [$($path:literal),*]) => {
        None$(.or_else(|| $source.offset($go, $path)))*
            .ok_or_else(|| MissingLayout(format!("{}.{}", $go, [$($path),*][0])))?
    };
    (@get $source:ident, $go:literal, [$($path:literal),*], optional) => {
        None$(.or_else(|| $source.offset($go, $path)))*
    };
}

/// Where sizes and offsets of the runtime's structs come from: DWARF or the table.
pub trait LayoutSource {
    /// Size in bytes of the struct with this Go name, e.g. `runtime.g`.
    fn size(&self, strukt: &str) -> Option<u32>;
    /// Offset in bytes of a field, which may be nested: `sched.sp`.
    fn offset(&self, strukt: &str, field: &str) -> Option<u32>;
}

/// A struct or field that a [`LayoutSource`] does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the layout of {0} is not known for this binary")]
pub struct MissingLayout(pub String);

layouts! {
    /// `runtime.g`, a goroutine.
    G of "runtime.g" {
        stack_lo: "stack.lo";
        stack_hi: "stack.hi";
        m: "m";
        sched_sp: "sched.sp";
        sched_pc: "sched.pc";
        sched_g: "sched.g";
        sched_bp: "sched.bp";
        syscallsp: "syscallsp";
        syscallpc: "syscallpc";
        syscallbp: "syscallbp", optional;
        atomicstatus: "atomicstatus";
        goid: "goid";
        waitsince: "waitsince";
        waitreason: "waitreason";
        parent_goid: "parentGoid", optional;
        gopc: "gopc";
        startpc: "startpc";
        waiting: "waiting";
        labels: "labels";
        lockedm: "lockedm";
        timer: "timer";
        coroarg: "coroarg", optional;
    }
    /// `runtime.m`, a thread.
    M of "runtime.m" {
        g0: "g0";
        procid: "procid";
        gsignal: "gsignal";
        curg: "curg";
        p: "p";
        alllink: "alllink";
        waitlock: "waitlock";
    }
    /// `runtime.sudog`, a goroutine in a wait queue. Since Go 1.26 `elem` and `c` are pairs whose
    /// second word (`vu`) is the truth.
    Sudog of "runtime.sudog" {
        g: "g";
        next: "next";
        prev: "prev";
        elem: "elem.vu" or "elem";
        is_select: "isSelect";
        parent: "parent";
        waitlink: "waitlink";
        waittail: "waittail";
        c: "c.vu" or "c";
    }
    /// `runtime.hchan`, a channel.
    Hchan of "runtime.hchan" {
        qcount: "qcount";
        dataqsiz: "dataqsiz";
        buf: "buf";
        elemsize: "elemsize";
        closed: "closed";
        timer: "timer", optional;
        elemtype: "elemtype";
        sendx: "sendx";
        recvx: "recvx";
        recvq_first: "recvq.first";
        recvq_last: "recvq.last";
        sendq_first: "sendq.first";
        sendq_last: "sendq.last";
        lock: "lock";
    }
    /// `runtime.semaRoot`, one treap of the semaphore table.
    SemaRoot of "runtime.semaRoot" {
        treap: "treap";
        nwait: "nwait";
    }
    /// `runtime.notifyList`, the waiters of a `sync.Cond`.
    NotifyList of "runtime.notifyList" {
        lock: "lock";
        head: "head";
        tail: "tail";
    }
    /// `runtime.mspan`, a run of pages of the heap.
    Mspan of "runtime.mspan" {
        start_addr: "startAddr";
        npages: "npages";
        freeindex: "freeindex";
        nelems: "nelems";
        alloc_bits: "allocBits";
        spanclass: "spanclass";
        state: "state.s" or "state";
        elemsize: "elemsize";
    }
    /// `runtime.mheap`, the heap.
    Mheap of "runtime.mheap" {
        arenas: "arenas";
        allspans: "allspans";
    }
    /// `runtime.heapArena`, the metadata of one arena.
    HeapArena of "runtime.heapArena" {
        spans: "spans";
    }
    /// `runtime.moduledata`, what the linker says about one module.
    Moduledata of "runtime.moduledata" {
        text: "text";
        etext: "etext";
        noptrdata: "noptrdata";
        enoptrdata: "enoptrdata";
        data: "data";
        edata: "edata";
        bss: "bss";
        ebss: "ebss";
        noptrbss: "noptrbss";
        enoptrbss: "enoptrbss";
        types: "types";
        etypes: "etypes";
        gofunc: "gofunc";
        next: "next";
    }
}

/// Every layout that reading a target needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "each field is the struct that its type documents"
)]
pub struct RuntimeLayout {
    pub g: G,
    pub m: M,
    pub sudog: Sudog,
    pub hchan: Hchan,
    pub sema_root: SemaRoot,
    pub notify_list: NotifyList,
    pub mspan: Mspan,
    pub mheap: Mheap,
    pub heap_arena: HeapArena,
    pub moduledata: Moduledata,
}

impl RuntimeLayout {
    /// Builds all layouts from one source.
    ///
    /// # Errors
    /// Names the first struct or field that the source does not have.
    pub fn from_source(source: &dyn LayoutSource) -> Result<RuntimeLayout, MissingLayout> {
        Ok(RuntimeLayout {
            g: G::from_source(source)?,
            m: M::from_source(source)?,
            sudog: Sudog::from_source(source)?,
            hchan: Hchan::from_source(source)?,
            sema_root: SemaRoot::from_source(source)?,
            notify_list: NotifyList::from_source(source)?,
            mspan: Mspan::from_source(source)?,
            mheap: Mheap::from_source(source)?,
            heap_arena: HeapArena::from_source(source)?,
            moduledata: Moduledata::from_source(source)?,
        })
    }
}
