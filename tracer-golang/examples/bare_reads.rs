//! The least that a look at all goroutines of a live Go process must read, and nothing else: every g,
//! its sudog, the hchan of that, and 512 bytes of its stack. What lies close together is one read.
//! Prints the nanoseconds of each run: `bare_reads PID [--times N]`.
//!
//! `cargo xtask bench` measures gotrace against it, so it does not use gotrace's own reading: no
//! header is read twice, nothing is checked, nothing is kept.

use std::io::IoSliceMut;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use tracer_golang::binary::GoBinary;
use tracer_golang::process::GoProcess;

/// Goroutines read together. Fewer or more took longer.
const TOGETHER: usize = 512;
/// What lies no farther apart is one read, bytes.
const GAP: u64 = 4096;
/// Bytes of each stack.
const STACK: u64 = 512;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let pid: i32 = arguments.next().ok_or("which process?")?.parse()?;
    let times: usize = match arguments.next().as_deref() {
        Some("--times") => arguments.next().ok_or("how many?")?.parse()?,
        Some(other) => return Err(format!("what is {other}?").into()),
        None => 1,
    };
    let binary = Arc::new(GoBinary::open(&PathBuf::from(format!("/proc/{pid}/exe")))?);
    let process = GoProcess::attach(pid.try_into()?, Arc::clone(&binary))?;
    let layout = process.layout();
    let variables = binary.variables();
    let [allglen, allgptr] =
        [variables.allglen, variables.allgptr].map(|vaddr| process.address(vaddr).0);
    let mut reader = Reader {
        pid: Pid::from_raw(pid),
        bytes: Vec::new(),
        places: Vec::new(),
    };

    for _ in 0..times {
        let begun = Instant::now();
        let word = |reader: &mut Reader, addr| {
            reader.read(&[(addr, 8)])?;
            Ok::<u64, nix::Error>(reader.word(0, 0))
        };
        let len = word(&mut reader, allglen)?;
        let array = word(&mut reader, allgptr)?;
        reader.read(&[(array, 8 * len)])?;
        let mut gs: Vec<u64> = (0..len as usize)
            .map(|i| reader.word(0, 8 * i as u32))
            .collect();
        gs.sort_unstable();
        let (mut stacks, mut sudogs, mut hchans) = (0, 0, 0);
        for group in gs.chunks(TOGETHER) {
            let items: Vec<_> = group
                .iter()
                .map(|&g| (g, u64::from(layout.g.size)))
                .collect();
            reader.read(&items)?;
            let used = |i| {
                let (sp, hi) = (
                    reader.word(i, layout.g.sched_sp),
                    reader.word(i, layout.g.stack_hi),
                );
                (sp != 0 && sp < hi).then(|| (sp, STACK.min(hi - sp)))
            };
            let mut stack: Vec<_> = (0..group.len()).filter_map(used).collect();
            let mut waiting: Vec<_> = (0..group.len())
                .map(|i| reader.word(i, layout.g.waiting))
                .filter(|&sudog| sudog != 0)
                .map(|sudog| (sudog, u64::from(layout.sudog.size)))
                .collect();
            stack.sort_unstable();
            reader.read(&stack)?;
            waiting.sort_unstable();
            reader.read(&waiting)?;
            let mut chans: Vec<_> = (0..waiting.len())
                .map(|i| reader.word(i, layout.sudog.c))
                .filter(|&chan| chan != 0)
                .map(|chan| (chan, u64::from(layout.hchan.size)))
                .collect();
            chans.sort_unstable();
            chans.dedup();
            reader.read(&chans)?;
            stacks += stack.len();
            sudogs += waiting.len();
            hchans += chans.len();
        }
        println!("{}", begun.elapsed().as_nanos());
        eprintln!("{len} g, {stacks} stacks, {sudogs} sudogs, {hchans} hchans");
    }
    Ok(())
}

struct Reader {
    pid: Pid,
    bytes: Vec<u8>,
    /// Where in `bytes` each item begins.
    places: Vec<usize>,
}

impl Reader {
    /// Reads items, addresses and lengths, in the order of their addresses.
    fn read(&mut self, items: &[(u64, u64)]) -> Result<(), nix::Error> {
        self.places.clear();
        let mut remote: Vec<RemoteIoVec> = Vec::new();
        let mut total = 0;
        for &(addr, len) in items {
            match remote.last_mut() {
                Some(last) if addr <= (last.base + last.len) as u64 + GAP => {
                    let end = (addr + len).max((last.base + last.len) as u64);
                    total += end as usize - last.base - last.len;
                    last.len = end as usize - last.base;
                }
                _ => {
                    remote.push(RemoteIoVec {
                        base: addr as usize,
                        len: len as usize,
                    });
                    total += len as usize;
                }
            }
            let last = remote.last().map_or(0, |last| last.base + last.len);
            self.places.push(total - (last - addr as usize));
        }
        if self.bytes.len() < total {
            self.bytes.resize(total, 0);
        }
        let mut rest = &mut self.bytes[..];
        for part in remote.chunks(1024) {
            let len = part.iter().map(|range| range.len).sum();
            let (into, after) = rest.split_at_mut(len);
            let read = process_vm_readv(self.pid, &mut [IoSliceMut::new(into)], part)?;
            assert_eq!(read, len, "all of it is readable");
            rest = after;
        }
        Ok(())
    }

    fn word(&self, item: usize, offset: u32) -> u64 {
        let at = self.places[item] + offset as usize;
        let bytes = self
            .bytes
            .get(at..at + 8)
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_le_bytes)
    }
}
