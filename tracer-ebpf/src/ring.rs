//! The ring: sequence numbers, records, wake-ups.

use aya_ebpf::{
    Global,
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_ns},
    macros::map,
    maps::RingBuf,
};
use tracer_common::{Header, Kind};

use crate::{config::Target, counters::Counters};

/// Size of the ring unless the loader sets another one (`EbpfLoader::map_max_entries`).
const DEFAULT_RING_BYTES: u32 = 8 << 20;

/// A CPU looks at the ring's fill once in 64 records unless told otherwise: the look costs, and so
/// does a wake-up.
const FILL_CHECK_MASK: u64 = 63;

#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(DEFAULT_RING_BYTES, 0);

/// Fill in bytes above which the reader is woken; it drains by a timer besides.
#[unsafe(no_mangle)]
static WAKEUP_BYTES: Global<u64> = Global::new(DEFAULT_RING_BYTES as u64 / 4);

/// Records whose sequence number has none of these bits look at the ring's fill.
#[unsafe(no_mangle)]
static WAKEUP_MASK: Global<u64> = Global::new(FILL_CHECK_MASK);

/// What the hook's program knows for the header.
#[derive(Clone, Copy)]
pub struct Event {
    /// Kind of the record.
    pub kind: Kind,
    /// goid of the acting goroutine.
    pub goid: u64,
    /// `FLAG_*`.
    pub flags: u8,
    /// By kind, see [`Header::aux`].
    pub aux: u32,
}

/// Puts one record into the ring, made by `record` from its header, or counts it as lost.
///
/// Everything that takes time (reads of the target) is done before: between reserve and submit the
/// reader cannot pass this record.
#[inline(always)]
pub fn emit<T: 'static>(
    counters: Counters,
    target: Target,
    event: Event,
    record: impl FnOnce(Header) -> T,
) {
    let seq = counters.next();
    let Some(mut entry) = EVENTS.reserve::<T>(0) else {
        counters.lose();
        return;
    };
    entry.write(record(Header {
        // SAFETY: no preconditions.
        ktime: unsafe { bpf_ktime_get_ns() },
        goid: event.goid,
        seq: seq as u32,
        // SAFETY: no preconditions.
        cpu: unsafe { bpf_get_smp_processor_id() } as u16,
        kind: event.kind as u8,
        flags: event.flags,
        slot: target.slot,
        aux: event.aux,
    }));
    let wake = seq & WAKEUP_MASK.load() == 0
        && EVENTS.query(u64::from(BPF_RB_AVAIL_DATA)) > WAKEUP_BYTES.load();
    entry.submit(u64::from(if wake {
        BPF_RB_FORCE_WAKEUP
    } else {
        BPF_RB_NO_WAKEUP
    }));
}
