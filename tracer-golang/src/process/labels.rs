//! pprof labels of goroutines (`runtime/pprof.Do`). `g.labels` points to a `runtime/pprof.labelMap`:
//! a list of pairs of strings from Go 1.24 on, a `map[string]string` before.
//!
//! A set of labels never changes, and many goroutines share one.

use super::bytes::{u8_at, u64_at};
use super::memory::{Bulk, MemoryError, TargetMemory};
use crate::binary::GoBinary;
use crate::layout::{BucketMap, MapLayout};

/// Labels of one goroutine at most; more are not believed.
const MAX_LABELS: u64 = 1024;
/// Longest key or value, bytes; longer ones are not believed.
const MAX_TEXT: u64 = 1 << 16;
/// Size of a pair of string headers.
const PAIR: usize = 32;
/// Slots of a map's bucket (`abi.OldMapBucketCount`).
const SLOTS: usize = 8;
/// Size of a bucket of a `map[string]string`: marks, keys, values, overflow pointer.
const BUCKET: usize = SLOTS + SLOTS * 16 + SLOTS * 16 + 8;
/// Marks of a bucket's slot below this one say that it is empty (`minTopHash`).
const MIN_MARK: u8 = 5;

/// The labels of a goroutine: keys and values.
pub(super) type Labels = Vec<(Box<str>, Box<str>)>;

/// How a binary's runtime keeps labels.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    List,
    Map(BucketMap),
    /// Not read.
    Unknown,
}

impl Form {
    pub(super) fn of(binary: &GoBinary) -> Form {
        if binary.go_version().number() >= (1, 24, 0) {
            return Form::List;
        }
        match &binary.layout().types.map {
            Some(MapLayout::Buckets { map, .. }) => Form::Map(*map),
            _ => Form::Unknown,
        }
    }
}

/// Addresses and lengths of a key and of a value.
type Pair = [u64; 4];

/// Reads the sets of labels at these addresses; `None` for one that does not make sense.
pub(super) fn read<M: TargetMemory>(
    memory: &M,
    bulk: &mut Bulk,
    form: Form,
    pointers: &[u64],
) -> Result<Vec<Option<Labels>>, MemoryError> {
    if pointers.is_empty() {
        return Ok(Vec::new());
    }
    let mut sets = match form {
        Form::List => lists(memory, bulk, pointers)?,
        Form::Map(layout) => maps(memory, bulk, layout, pointers)?,
        Form::Unknown => vec![None; pointers.len()],
    };
    for set in &mut sets {
        let sane = set.as_ref().is_some_and(|pairs| {
            pairs
                .iter()
                .all(|[_, key, _, value]| *key <= MAX_TEXT && *value <= MAX_TEXT)
        });
        if !sane {
            *set = None;
        }
    }
    let texts: Vec<_> = sets
        .iter()
        .flatten()
        .flatten()
        .flat_map(|[key, key_len, value, value_len]| {
            [(*key, *key_len as usize), (*value, *value_len as usize)]
        })
        .collect();
    bulk.read(memory, &texts)?;
    let mut item = 0;
    let mut text = || {
        item += 1;
        let text = std::str::from_utf8(bulk.get(item - 1)?).ok()?;
        Some(Box::from(text))
    };
    Ok(sets
        .into_iter()
        .map(|set| {
            let texts: Vec<_> = set?.into_iter().map(|_| (text(), text())).collect();
            texts
                .into_iter()
                .map(|(key, value)| Some((key?, value?)))
                .collect()
        })
        .collect())
}

fn pair(keys: &[u8], values: &[u8], index: usize) -> Pair {
    let at = (index * 16) as u32;
    [
        u64_at(keys, at),
        u64_at(keys, at + 8),
        u64_at(values, at),
        u64_at(values, at + 8),
    ]
}

fn lists<M: TargetMemory>(
    memory: &M,
    bulk: &mut Bulk,
    pointers: &[u64],
) -> Result<Vec<Option<Vec<Pair>>>, MemoryError> {
    let headers: Vec<_> = pointers.iter().map(|&pointer| (pointer, 24)).collect();
    bulk.read(memory, &headers)?;
    let arrays: Vec<_> = (0..pointers.len())
        .map(|i| {
            let header = bulk.get(i)?;
            let [array, len, cap] = [0, 8, 16].map(|at| u64_at(header, at));
            (len <= cap && len <= MAX_LABELS).then(|| (array, len as usize * PAIR))
        })
        .collect();
    let items: Vec<_> = arrays.iter().map(|array| array.unwrap_or((0, 0))).collect();
    bulk.read(memory, &items)?;
    Ok(arrays
        .into_iter()
        .enumerate()
        .map(|(i, array)| {
            array?;
            let (pairs, _) = bulk.get(i)?.as_chunks::<PAIR>();
            Some(
                pairs
                    .iter()
                    .map(|bytes| pair(bytes, &bytes[16..], 0))
                    .collect(),
            )
        })
        .collect())
}

fn maps<M: TargetMemory>(
    memory: &M,
    bulk: &mut Bulk,
    layout: BucketMap,
    pointers: &[u64],
) -> Result<Vec<Option<Vec<Pair>>>, MemoryError> {
    let items: Vec<_> = pointers.iter().map(|&pointer| (pointer, 8)).collect();
    bulk.read(memory, &items)?;
    let items: Vec<_> = (0..pointers.len())
        .map(|i| match bulk.get(i).map_or(0, |bytes| u64_at(bytes, 0)) {
            0 => (0, 0),
            map => (map, layout.size as usize),
        })
        .collect();
    bulk.read(memory, &items)?;
    let mut sets: Vec<_> = (0..pointers.len())
        .map(|i| bulk.get(i).map(|_| Vec::new()))
        .collect();
    // Which set a bucket is of, and where its bytes are.
    let mut buckets = Vec::new();
    let mut counts = vec![0; pointers.len()];
    for (i, set) in sets.iter_mut().enumerate() {
        let Some(map) = bulk.get(i).filter(|bytes| !bytes.is_empty()) else {
            continue;
        };
        counts[i] = u64_at(map, layout.count);
        let log = u8_at(map, layout.log_buckets);
        // A map that is never written to again has finished growing, or nearly so.
        let growing = u64_at(map, layout.oldbuckets) != 0;
        if counts[i] > MAX_LABELS || log > 7 || growing {
            *set = None;
            continue;
        }
        let array = u64_at(map, layout.buckets);
        if array != 0 {
            buckets.extend((0..1u64 << log).map(|n| (i, array.wrapping_add(n * BUCKET as u64))));
        }
    }
    // Each round follows the buckets' overflow pointers.
    for _ in 0..MAX_LABELS {
        if buckets.is_empty() {
            break;
        }
        let items: Vec<_> = buckets
            .iter()
            .map(|(_, bucket)| (*bucket, BUCKET))
            .collect();
        bulk.read(memory, &items)?;
        let mut overflow = Vec::new();
        for (item, (i, _)) in buckets.into_iter().enumerate() {
            let (Some(set), Some(bytes)) = (&mut sets[i], bulk.get(item)) else {
                sets[i] = None;
                continue;
            };
            let (marks, rest) = bytes.split_at(SLOTS);
            let (keys, values) = rest.split_at(SLOTS * 16);
            for (slot, mark) in marks.iter().enumerate() {
                if *mark >= MIN_MARK {
                    set.push(pair(keys, values, slot));
                }
            }
            let next = u64_at(values, (SLOTS * 16) as u32);
            if next != 0 && set.len() as u64 <= counts[i] {
                overflow.push((i, next));
            }
        }
        buckets = overflow;
    }
    for (set, count) in sets.iter_mut().zip(counts) {
        if set.as_ref().is_some_and(|set| set.len() as u64 != count) {
            *set = None;
        }
    }
    Ok(sets)
}
