//! The target's code as it lies in memory, compared with its file: a probe is a byte that differs.
//!
//! This needs nothing that gotrace says, so it shows whether every probe is gone.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Addresses at which the code of a process differs from the file that it runs.
#[track_caller]
pub fn patched(pid: u32) -> Vec<u64> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("it runs");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("root may read memory");
    let exe = format!("/proc/{pid}/exe");
    let file = File::open(&exe).expect("it runs");
    let path = std::fs::read_link(&exe).expect("it runs");
    let path = path.to_str().expect("a path of ours");

    let mut addresses = Vec::new();
    for line in maps.lines().filter(|line| line.ends_with(path)) {
        // 00401000-00583000 r-xp 00001000 00:2a 1234   /path
        let mut fields = line.split_ascii_whitespace();
        let range = fields.next().expect("maps have a range");
        let permissions = fields.next().expect("maps have permissions");
        let offset = hex(fields.next().expect("maps have an offset"));
        if !permissions.contains('x') {
            continue;
        }
        let (start, end) = range.split_once('-').expect("a range has two ends");
        let (start, end) = (hex(start), hex(end));
        let length = usize::try_from(end - start).expect("code fits into memory");
        let mut loaded = vec![0; length];
        memory
            .read_exact_at(&mut loaded, start)
            .expect("code is readable");
        // The last page of the mapping may reach beyond the end of the file; there it is zero.
        let mut original = vec![0; length];
        let mut filled = 0;
        while filled < length {
            let at = offset + filled as u64;
            match file.read_at(&mut original[filled..], at) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) => panic!("{exe}: {error}"),
            }
        }
        addresses.extend(
            (start..)
                .zip(loaded.iter().zip(&original))
                .filter(|(_, (loaded, original))| loaded != original)
                .map(|(address, _)| address),
        );
    }
    addresses
}

#[track_caller]
fn hex(text: &str) -> u64 {
    u64::from_str_radix(text, 16).expect("maps have hexadecimal numbers")
}

/// Fails if a probe is left in a process.
#[track_caller]
pub fn assert_no_probe(pid: u32) {
    let left = patched(pid);
    assert!(left.is_empty(), "probes are left at {left:x?}");
}
