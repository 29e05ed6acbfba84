//! Where the runtime of one Go version and architecture keeps what, as data.
//!
//! A [`RuntimeLayout`] comes from the binary's own DWARF, or from the table that
//! `cargo xtask layouts` generates from real toolchains. Never typed in by hand, never guessed from
//! a neighbouring version. All offsets and sizes are bytes.

use serde::{Deserialize, Serialize};

macro_rules! layouts {
    ($names:ident: $(
        $(#[$doc:meta])*
        $strukt:ident of $go:literal $(or $older:literal)* { $($field:ident: $path:literal $(or $alt:literal)* $(, $optional:ident)?;)* }
    )*) => {
        /// Go names of the structs here, with those of other versions beside each.
        const $names: &[&[&str]] = &[$(&[$go $(, $older)*]),*];
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
                    let (strukt, size) = [$go $(, $older)*]
                        .into_iter()
                        .find_map(|name| Some((name, source.size(name)?)))
                        .filter(|(_, size)| *size <= MAX_STRUCT)
                        .ok_or_else(|| MissingLayout($go.to_owned()))?;
                    let source = Within { source, size };
                    let _ = (strukt, &source); // a struct may have no field of interest
                    Ok($strukt {
                        size,
                        $($field: layouts!(@get source, strukt, [$path $(, $alt)*] $(, $optional)?),)*
                    })
                }
            }
        )*
    };
    (@type) => { u32 };
    (@type optional) => { Option<u32> };
    (@get $source:ident, $go:ident, [$($path:literal),*]) => {
        None$(.or_else(|| $source.offset($go, $path)))*
            .ok_or_else(|| MissingLayout(format!("{}.{}", $go, [$($path),*][0])))?
    };
    (@get $source:ident, $go:ident, [$($path:literal),*], optional) => {
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

/// No struct of the runtime is larger, bytes: `runtime.heapArena` of Go 1.19 has a tenth of it.
const MAX_STRUCT: u32 = 1 << 24;

/// The fields of one struct, as far as they lie within it: a binary's DWARF may say anything.
struct Within<'a> {
    source: &'a dyn LayoutSource,
    size: u32,
}

impl Within<'_> {
    fn offset(&self, strukt: &str, field: &str) -> Option<u32> {
        let offset = self.source.offset(strukt, field)?;
        (offset < self.size).then_some(offset)
    }
}

/// A struct or field that a [`LayoutSource`] does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the layout of {0} is not known for this binary")]
pub struct MissingLayout(pub String);

layouts! {
    STRUCTS:
    /// `runtime.g`, a goroutine.
    G of "runtime.g" {
        stack_lo: "stack.lo";
        stack_hi: "stack.hi";
        panics: "_panic";
        defers: "_defer";
        m: "m";
        sched_sp: "sched.sp";
        sched_pc: "sched.pc";
        sched_g: "sched.g";
        sched_bp: "sched.bp";
        sched_lr: "sched.lr";
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
        tracking_seq: "trackingSeq";
        running_cleanups: "runningCleanups", optional;
        xregs: "xRegs.state", optional;
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
    /// `runtime.schedt`, the scheduler's own state.
    Schedt of "runtime.schedt" {
        lock: "lock";
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
        specials: "specials";
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
    /// `runtime.special`, what the runtime notes about one object of a span.
    Special of "runtime.special" {
        next: "next";
        offset: "offset";
        kind: "kind";
    }
    /// `runtime.specialfinalizer`, a finalizer. Its size bounds what a special may hold.
    SpecialFinalizer of "runtime.specialfinalizer" {
        function: "fn";
        results: "nret";
        object_type: "ot";
    }
    /// `runtime._defer`, a deferred call.
    Defer of "runtime._defer" {
        link: "link";
    }
    /// `runtime.p`, a processor: what a goroutine needs to run.
    P of "runtime.p" {
        mspancache: "mspancache";
        gcw: "gcw";
        run_safe_point_fn: "runSafePointFn";
        xregs: "xRegs.scratch", optional;
        xregs_cache: "xRegs.cache", optional;
    }
    /// `runtime.timer`.
    Timer of "runtime.timer" {
        when: "when";
        period: "period";
        mu: "mu", optional;
        send_lock: "sendLock", optional;
        is_sending: "isSending", optional;
    }
    /// `runtime.pollDesc`, what the network poller knows of a file descriptor.
    PollDesc of "runtime.pollDesc" {
        fd: "fd";
        rg: "rg";
        wg: "wg";
    }
    /// `runtime.semTable`, where the waiters of all semaphores are: [`SemTable::ROOTS`] padded
    /// entries, each a `semaRoot` at its begin.
    SemTable of "runtime.semTable" {}
    /// What every type descriptor begins with.
    TypeHead of "internal/abi.Type" or "runtime._type" {
        bytes: "Size_" or "size";
        ptr_bytes: "PtrBytes" or "ptrdata";
        tflag: "TFlag" or "tflag";
        align: "Align_" or "align";
        kind: "Kind_" or "kind";
        name: "Str" or "str";
    }
    /// Descriptor of a pointer type.
    PtrType of "internal/abi.PtrType" or "runtime.ptrtype" {
        elem: "Elem" or "elem";
    }
    /// Descriptor of a slice type.
    SliceType of "internal/abi.SliceType" or "runtime.slicetype" {
        elem: "Elem" or "elem";
    }
    /// Descriptor of an array type.
    ArrayType of "internal/abi.ArrayType" or "runtime.arraytype" {
        elem: "Elem" or "elem";
        len: "Len" or "len";
    }
    /// Descriptor of a channel type.
    ChanType of "internal/abi.ChanType" or "runtime.chantype" {
        elem: "Elem" or "elem";
    }
    /// Descriptor of an interface type.
    InterfaceType of "internal/abi.InterfaceType" or "runtime.interfacetype" {
        methods: "Methods" or "mhdr";
    }
    /// Descriptor of a struct type.
    StructType of "internal/abi.StructType" or "runtime.structtype" {
        fields: "Fields" or "fields";
    }
    /// One field in the descriptor of a struct type.
    StructField of "internal/abi.StructField" or "runtime.structfield" {
        name: "Name" or "name";
        typ: "Typ" or "typ";
        offset: "Offset" or "offset";
    }
    /// The table by which an interface value with methods knows its dynamic type.
    Itab of "internal/abi.ITab" or "runtime.itab" {
        typ: "Type" or "_type";
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

layouts! {
    MAP_STRUCTS:
    /// Descriptor of a map type with buckets (up to Go 1.23).
    BucketMapType of "internal/abi.MapType" or "runtime.maptype" {
        key: "Key" or "key";
        elem: "Elem" or "elem";
        key_size: "KeySize" or "keysize";
        elem_size: "ValueSize" or "elemsize";
        bucket_size: "BucketSize" or "bucketsize";
        flags: "Flags" or "flags";
    }
    /// `runtime.hmap`, a map with buckets (up to Go 1.23).
    BucketMap of "runtime.hmap" {
        count: "count";
        flags: "flags";
        log_buckets: "B";
        buckets: "buckets";
        oldbuckets: "oldbuckets";
    }
    /// Descriptor of a Swiss map type (Go 1.24 and later). Up to 1.26 a group holds slots of key and
    /// element (`SlotSize`, `ElemOff`), from 1.27 on all keys, then all elements.
    SwissMapType of "internal/abi.SwissMapType" or "internal/abi.MapType" {
        key: "Key";
        elem: "Elem";
        group_size: "GroupSize";
        slot_size: "SlotSize", optional;
        elem_off: "ElemOff";
        keys_off: "KeysOff", optional;
        key_stride: "KeyStride", optional;
        elems_off: "ElemsOff", optional;
        elem_stride: "ElemStride", optional;
        flags: "Flags";
    }
    /// `internal/runtime/maps.Map`, a Swiss map (Go 1.24 and later).
    SwissMap of "internal/runtime/maps.Map" {
        used: "used";
        dir_ptr: "dirPtr";
        dir_len: "dirLen";
    }
    /// `internal/runtime/maps.table`, one table of a Swiss map.
    SwissTable of "internal/runtime/maps.table" {
        groups: "groups";
    }
}

impl P {
    /// Bytes that vector registers are kept in, of a processor or of a goroutine. `None` before Go 1.26, which keeps
    /// them on the goroutine's stack.
    #[must_use]
    pub fn vector_registers(&self) -> Option<u32> {
        self.xregs_cache?.checked_sub(self.xregs?)
    }
}

impl SemTable {
    /// Entries of the semaphore table (`runtime.semTabSize`, the same in Go 1.19 to 1.27).
    pub const ROOTS: u32 = 251;
}

/// How maps lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "each field is the struct that its type documents"
)]
pub enum MapLayout {
    /// Buckets with overflow chains (up to Go 1.23).
    Buckets { typ: BucketMapType, map: BucketMap },
    /// Groups with control bytes (Go 1.24 and later).
    Swiss {
        typ: SwissMapType,
        map: SwissMap,
        table: SwissTable,
    },
}

impl MapLayout {
    fn from_source(source: &dyn LayoutSource) -> Result<MapLayout, MissingLayout> {
        if source.size("runtime.hmap").is_some() {
            return Ok(MapLayout::Buckets {
                typ: BucketMapType::from_source(source)?,
                map: BucketMap::from_source(source)?,
            });
        }
        Ok(MapLayout::Swiss {
            typ: SwissMapType::from_source(source)?,
            map: SwissMap::from_source(source)?,
            table: SwissTable::from_source(source)?,
        })
    }
}

/// The layouts of type descriptors and of the values that only the runtime lays out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "each field is the struct that its type documents"
)]
pub struct TypeLayout {
    pub head: TypeHead,
    pub pointer: PtrType,
    pub slice: SliceType,
    pub array: ArrayType,
    pub chan: ChanType,
    pub interface: InterfaceType,
    pub strukt: StructType,
    pub field: StructField,
    pub itab: Itab,
    /// `None` if the source does not know: a program without maps may lack it in its DWARF.
    pub map: Option<MapLayout>,
}

impl TypeLayout {
    /// Builds all layouts of types from one source.
    ///
    /// # Errors
    /// Names the first struct or field that the source does not have.
    pub fn from_source(source: &dyn LayoutSource) -> Result<TypeLayout, MissingLayout> {
        Ok(TypeLayout {
            head: TypeHead::from_source(source)?,
            pointer: PtrType::from_source(source)?,
            slice: SliceType::from_source(source)?,
            array: ArrayType::from_source(source)?,
            chan: ChanType::from_source(source)?,
            interface: InterfaceType::from_source(source)?,
            strukt: StructType::from_source(source)?,
            field: StructField::from_source(source)?,
            itab: Itab::from_source(source)?,
            map: MapLayout::from_source(source).ok(),
        })
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
    pub schedt: Schedt,
    pub sudog: Sudog,
    pub hchan: Hchan,
    pub sema_root: SemaRoot,
    pub notify_list: NotifyList,
    pub mspan: Mspan,
    pub mheap: Mheap,
    pub heap_arena: HeapArena,
    pub special: Special,
    pub defer: Defer,
    pub special_finalizer: SpecialFinalizer,
    pub p: P,
    pub sem_table: SemTable,
    /// `None` if the source does not know: a program without timers may lack it in its DWARF.
    pub timer: Option<Timer>,
    /// `None` if the source does not know: a program that opens no file may lack it in its DWARF.
    pub poll_desc: Option<PollDesc>,
    pub types: TypeLayout,
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
            schedt: Schedt::from_source(source)?,
            sudog: Sudog::from_source(source)?,
            hchan: Hchan::from_source(source)?,
            sema_root: SemaRoot::from_source(source)?,
            notify_list: NotifyList::from_source(source)?,
            mspan: Mspan::from_source(source)?,
            mheap: Mheap::from_source(source)?,
            heap_arena: HeapArena::from_source(source)?,
            special: Special::from_source(source)?,
            defer: Defer::from_source(source)?,
            special_finalizer: SpecialFinalizer::from_source(source)?,
            p: P::from_source(source)?,
            sem_table: SemTable::from_source(source)?,
            timer: Timer::from_source(source).ok(),
            poll_desc: PollDesc::from_source(source).ok(),
            types: TypeLayout::from_source(source)?,
            moduledata: Moduledata::from_source(source)?,
        })
    }

    /// The Go names of all structs that [`RuntimeLayout::from_source`] asks a source for, in groups:
    /// names of one struct in different versions, or structs of which a version has one.
    pub fn structs() -> Vec<Vec<&'static str>> {
        let mut groups: Vec<Vec<&str>> = STRUCTS.iter().map(|names| names.to_vec()).collect();
        // Each struct of the one kind of map stands for one of the other.
        let (buckets, swiss) = MAP_STRUCTS.split_at(2);
        for (index, names) in swiss.iter().enumerate() {
            let other = buckets[index.min(buckets.len() - 1)];
            groups.push([names, other].concat());
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Has everything except the structs named, and notes what it is asked for.
    struct Source {
        without: &'static str,
        asked: RefCell<Vec<String>>,
    }

    impl LayoutSource for Source {
        fn size(&self, strukt: &str) -> Option<u32> {
            self.asked.borrow_mut().push(strukt.to_owned());
            (!self.without.contains(strukt)).then_some(8)
        }

        fn offset(&self, strukt: &str, _field: &str) -> Option<u32> {
            self.size(strukt).map(|_| 0)
        }
    }

    #[test]
    fn fields_lie_within_their_struct() {
        struct Source(u32);
        impl LayoutSource for Source {
            fn size(&self, _strukt: &str) -> Option<u32> {
                Some(self.0)
            }

            fn offset(&self, _strukt: &str, _field: &str) -> Option<u32> {
                Some(24)
            }
        }
        assert!(Defer::from_source(&Source(32)).is_ok());
        let outside = Defer::from_source(&Source(24)).expect_err("it is behind the struct");
        assert_eq!(outside, MissingLayout("runtime._defer.link".to_owned()));
        let huge = Defer::from_source(&Source(MAX_STRUCT + 1)).expect_err("no struct is so large");
        assert_eq!(huge, MissingLayout("runtime._defer".to_owned()));
    }

    #[test]
    fn names_every_struct_that_it_asks_for() {
        let named: Vec<&str> = RuntimeLayout::structs().concat();
        for without in [
            "",
            "runtime.hmap",
            "runtime.hmap internal/abi.SwissMapType",
            "internal/abi.Type internal/abi.MapType internal/abi.ITab",
        ] {
            let source = Source {
                without,
                asked: RefCell::default(),
            };
            RuntimeLayout::from_source(&source).expect("there is another name for each");
            for asked in source.asked.into_inner() {
                assert!(named.contains(&asked.as_str()), "{asked}");
            }
        }
    }
}
