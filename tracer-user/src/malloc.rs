//! What is asked of glibc's malloc.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
use libc::{M_ARENA_MAX, M_MMAP_THRESHOLD};

/// What is taken from the kernel by itself, and given back at once when it is freed, from this size on.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const OWN_MAPPING: libc::c_int = 1 << 20;

/// Makes it serve all threads from one arena. A snapshot is made by one thread and freed by another, over and
/// over; with an arena for each, what is freed in one lies idle while the other grows: a fifth more memory at
/// 100,000 goroutines. There are few threads, and none allocates while events stream.
pub(crate) fn use_one_arena() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    set(M_ARENA_MAX, 1);
}

/// Makes it give back what is large when that is freed: of use where gotrace stays for long and needs much for
/// moments, a search of memory above all. Else the limit grows with what is freed, and what is below it stays.
/// Whoever frees and takes such pieces all the time pays for it in page faults.
pub(crate) fn give_large_pieces_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    set(M_MMAP_THRESHOLD, OWN_MAPPING);
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn set(parameter: libc::c_int, value: libc::c_int) {
    // SAFETY: it sets a parameter of the allocator and touches no memory of ours. If it is refused, nothing
    // changes.
    unsafe {
        libc::mallopt(parameter, value);
    }
}
