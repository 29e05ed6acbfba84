//! The self-check: whether the runtime's structures are where this binary's layouts say. Nothing is
//! believed before it passed.

use rustc_hash::FxHashMap;
use tracer_model::ids::Addr;
use tracer_model::snapshot::State;

use super::bytes::u64_at;
use super::header::Header;
use super::memory::{Bulk, TargetMemory};
use super::sudog::Sudog;
use super::{GoProcess, ProcessError, goroutines};
use crate::layout::RuntimeLayout;

/// How often something that may just have changed is looked at again.
const ATTEMPTS: usize = 8;

/// Goroutines that are looked at; of more of them, every so many.
const SAMPLE: usize = 1000;

/// No struct of the runtime that is read here is larger than this, bytes.
const MAX_STRUCT: u32 = 1 << 16;

/// Longest version string that is believed, bytes.
const MAX_VERSION: u64 = 256;

/// Checks that the sizes of the structs to read are sane, before buffers are made of them.
pub(super) fn sizes(layout: &RuntimeLayout) -> Result<(), ProcessError> {
    for (field, size) in [
        ("the size of runtime.g", layout.g.size),
        ("the size of runtime.sudog", layout.sudog.size),
        ("the size of runtime.hchan", layout.hchan.size),
        ("the size of runtime.moduledata", layout.moduledata.size),
        ("the size of runtime.semTable", layout.sem_table.size),
    ] {
        if size == 0 || size > MAX_STRUCT {
            return Err(ProcessError::check(field, format!("{size} bytes")));
        }
    }
    Ok(())
}

/// Runs every check.
pub(super) fn run<M: TargetMemory>(process: &GoProcess<M>) -> Result<(), ProcessError> {
    version(process)?;
    all_goroutines(process)?;
    let gs = goroutines::addresses(process)?;
    let step = gs.len().div_ceil(SAMPLE).max(1);
    let sample: Vec<u64> = gs.into_iter().step_by(step).collect();
    headers(process, &sample)
}

/// `runtime.buildVersion` is what the build information in the file says.
fn version<M: TargetMemory>(process: &GoProcess<M>) -> Result<(), ProcessError> {
    const FIELD: &str = "runtime.buildVersion";
    let Some(variable) = process.binary().variables().buildversion else {
        return Ok(());
    };
    let mut header = [0; 16];
    process
        .memory()
        .read(process.address(variable), &mut header)?;
    let (text, len) = (u64_at(&header, 0), u64_at(&header, 8));
    if len > MAX_VERSION {
        return Err(ProcessError::check(
            FIELD,
            format!("a string of {len} bytes"),
        ));
    }
    let mut bytes = vec![0; len as usize];
    process.memory().read(Addr(text), &mut bytes)?;
    let expected = process.binary().go_version().as_str();
    if bytes != expected.as_bytes() {
        let found = String::from_utf8_lossy(&bytes);
        return Err(ProcessError::check(
            FIELD,
            format!("{found:?} in the process, {expected:?} in the file"),
        ));
    }
    Ok(())
}

/// The two ways to the list of goroutines agree: the slice, and the pair that is read without a
/// lock.
fn all_goroutines<M: TargetMemory>(process: &GoProcess<M>) -> Result<(), ProcessError> {
    let variables = process.binary().variables();
    let mut seen = String::new();
    for _ in 0..ATTEMPTS {
        let mut slice = [0; 24];
        process
            .memory()
            .read(process.address(variables.allgs), &mut slice)?;
        let [ptr, len, cap] = [0, 8, 16].map(|at| u64_at(&slice, at));
        let allglen = process
            .memory()
            .read_u64(process.address(variables.allglen))?;
        let allgptr = process
            .memory()
            .read_u64(process.address(variables.allgptr))?;
        if ptr == allgptr && len == allglen && len > 0 && len <= cap {
            return Ok(());
        }
        seen =
            format!("{len} of {cap} at {ptr:#x}, but allglen is {allglen}, allgptr {allgptr:#x}");
    }
    Err(ProcessError::check("runtime.allgs", seen))
}

/// The headers of these goroutines make sense, and the sudogs that they wait with are theirs.
fn headers<M: TargetMemory>(process: &GoProcess<M>, gs: &[u64]) -> Result<(), ProcessError> {
    let layout = process.layout();
    let mut pending = gs.to_vec();
    let mut by_goid = FxHashMap::default();
    let (mut bulk, mut sudogs) = (Bulk::default(), Bulk::default());
    let mut failed = None;
    for _ in 0..ATTEMPTS {
        let before = read_headers(process, &mut bulk, &pending)?;
        let items: Vec<_> = before
            .iter()
            .map(|header| match header.parked() {
                true => (header.waiting, layout.sudog.size as usize),
                false => (0, 0),
            })
            .collect();
        sudogs.read(process.memory(), &items)?;
        let after = read_headers(process, &mut bulk, &pending)?;

        let looked_at = std::mem::take(&mut pending);
        for (i, gaddr) in looked_at.into_iter().enumerate() {
            let header = &after[i];
            if header.state() == Some(State::Dead) {
                continue;
            }
            // A goroutine that went on meanwhile has given its sudog back: nothing to compare.
            let waits = header.parked() && header.waiting != 0 && before[i].unchanged(header);
            let foreign_sudog = || {
                let owner = sudogs
                    .get(i)
                    .map(|bytes| Sudog::parse(&layout.sudog, header.waiting, bytes).g);
                (waits && owner != Some(gaddr)).then(|| {
                    let reason = format!(
                        "the sudog at {:#x} is not that of the g at {gaddr:#x}",
                        header.waiting
                    );
                    ("g.waiting", reason)
                })
            };
            let shared_goid = || {
                let other = *by_goid.get(&header.goid)?;
                (other != gaddr).then(|| {
                    let reason = format!(
                        "{} in the g at {gaddr:#x} and in the one at {other:#x}",
                        header.goid
                    );
                    ("g.goid", reason)
                })
            };
            let wrong = header
                .implausible(gaddr)
                .or_else(foreign_sudog)
                .or_else(shared_goid);
            match wrong {
                None => {
                    by_goid.insert(header.goid, gaddr);
                }
                // It may have been read in the middle of a change.
                wrong => {
                    failed = wrong;
                    pending.push(gaddr);
                }
            }
        }
        if pending.is_empty() {
            return Ok(());
        }
    }
    let (field, reason) = failed.unwrap_or(("runtime.allgs", "it never stood still".to_owned()));
    Err(ProcessError::SelfCheck { field, reason })
}

fn read_headers<M: TargetMemory>(
    process: &GoProcess<M>,
    bulk: &mut Bulk,
    gs: &[u64],
) -> Result<Vec<Header>, ProcessError> {
    let layout = &process.layout().g;
    let items: Vec<_> = gs.iter().map(|&g| (g, layout.size as usize)).collect();
    bulk.read(process.memory(), &items)?;
    gs.iter()
        .enumerate()
        .map(|(i, gaddr)| match bulk.get(i) {
            Some(bytes) => Ok(Header::parse(layout, bytes)),
            None => Err(ProcessError::check(
                "runtime.allgs",
                format!("the g at {gaddr:#x} is not readable"),
            )),
        })
        .collect()
}
