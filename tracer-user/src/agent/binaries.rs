//! Programs that are known by now: each is read once, however many processes run it.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tracer_golang::binary::{BinaryError, GoBinary};

/// Programs that are no Go programs, or that cannot be read, are remembered up to this number; then all are
/// forgotten and looked at anew.
const MOST_OTHERS: usize = 4096;

/// Go programs that are kept though none of their processes may live any more: what is run again and again, each
/// time for moments, is not to be read each time.
const RECENT: usize = 8;

/// Which file it is: one that was replaced, or written to, is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// Why a process is not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// There is no such process any more, or it is a thread of the kernel.
    Gone,
    /// It is no Go program.
    NotGo,
    /// It was not asked for.
    NotSelected,
    /// It is one, most likely, but cannot be read.
    Refused {
        /// In a word.
        reason: Reason,
        /// In a sentence.
        why: Arc<str>,
    },
}

/// Why a Go program is not followed, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// It may not be looked at.
    Denied,
    /// Packed or obfuscated.
    Disguised,
    /// Built by a version that is not read, or that cannot be told.
    Version,
    /// Something in the file is not as it should be.
    Unrecognised,
    /// Its memory is not as its file says.
    SelfCheck,
    /// So many are followed already.
    TooMany,
}

impl Reason {
    pub(crate) const ALL: [Reason; 6] = [
        Reason::Denied,
        Reason::Disguised,
        Reason::Version,
        Reason::Unrecognised,
        Reason::SelfCheck,
        Reason::TooMany,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Reason::Denied => "denied",
            Reason::Disguised => "disguised",
            Reason::Version => "version",
            Reason::Unrecognised => "unrecognised",
            Reason::SelfCheck => "self_check",
            Reason::TooMany => "too_many",
        }
    }
}

impl From<&BinaryError> for Unread {
    fn from(error: &BinaryError) -> Unread {
        let reason = match error {
            BinaryError::NotElf
            | BinaryError::NotGo
            | BinaryError::Not64Bit
            | BinaryError::OtherArchitecture(_) => return Unread::NotGo,
            BinaryError::Io { .. } => Reason::Denied,
            BinaryError::Packed | BinaryError::Obfuscated => Reason::Disguised,
            BinaryError::NoBuildInfo
            | BinaryError::VersionUnknown(_)
            | BinaryError::VersionTooOld(_) => Reason::Version,
            BinaryError::Malformed(_)
            | BinaryError::Unrecognised(_)
            | BinaryError::Layout { .. } => Reason::Unrecognised,
        };
        Unread::Refused {
            reason,
            why: error.to_string().into(),
        }
    }
}

#[derive(Default)]
struct Known {
    /// Gone with the last process that runs it, unless it is among those of `recent`.
    programs: HashMap<Key, Weak<GoBinary>>,
    /// The last one first.
    recent: VecDeque<Arc<GoBinary>>,
    others: HashMap<Key, Unread>,
}

impl Known {
    /// Keeps a program for as long as few others are asked for.
    fn used(&mut self, binary: &Arc<GoBinary>) {
        self.recent.retain(|recent| !Arc::ptr_eq(recent, binary));
        self.recent.push_front(Arc::clone(binary));
        self.recent.truncate(RECENT);
    }
}

/// Everything that is known of files.
#[derive(Default)]
pub(crate) struct Binaries {
    known: Mutex<Known>,
}

impl Binaries {
    /// The program that a process runs, through whatever mount namespace that sees its file.
    ///
    /// # Errors
    /// It is none that can be followed.
    pub(crate) fn of(&self, pid: u32) -> Result<Arc<GoBinary>, Unread> {
        // Opened once: what is read is what was looked at, whatever the process executes meanwhile.
        let file = File::open(format!("/proc/{pid}/exe")).map_err(|error| unopened(&error))?;
        self.of_file(&file)
    }

    /// Opens the file that a process runs, if that still is this program.
    pub(super) fn open(&self, pid: u32, binary: &Arc<GoBinary>) -> Option<File> {
        let file = File::open(format!("/proc/{pid}/exe")).ok()?;
        let found = self.of_file(&file).ok()?;
        Arc::ptr_eq(&found, binary).then_some(file)
    }

    fn of_file(&self, file: &File) -> Result<Arc<GoBinary>, Unread> {
        let status = file.metadata().map_err(|error| unopened(&error))?;
        let key = Key {
            device: status.dev(),
            inode: status.ino(),
            size: status.size(),
            modified: (status.mtime(), status.mtime_nsec()),
        };
        // Held while a file is read: whoever else asks for it is to wait and not to read it, too.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = known.others.get(&key) {
            return Err(other.clone());
        }
        if let Some(binary) = known.programs.get(&key).and_then(Weak::upgrade) {
            known.used(&binary);
            return Ok(binary);
        }
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        match GoBinary::open(Path::new(&path)) {
            Ok(binary) => {
                binary.release();
                let binary = Arc::new(binary);
                known.programs.retain(|_, known| known.strong_count() > 0);
                known.programs.insert(key, Arc::downgrade(&binary));
                known.used(&binary);
                Ok(binary)
            }
            Err(error) => {
                let other = Unread::from(&error);
                if known.others.len() >= MOST_OTHERS {
                    known.others.clear();
                }
                known.others.insert(key, other.clone());
                Err(other)
            }
        }
    }

    /// Go programs that are held.
    pub(crate) fn held(&self) -> usize {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let held = known.programs.values();
        held.filter(|known| known.strong_count() > 0).count()
    }
}

fn unopened(error: &std::io::Error) -> Unread {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => Unread::Refused {
            reason: Reason::Denied,
            why: "its file may not be looked at: CAP_SYS_PTRACE is missing, or the kernel protects it"
                .into(),
        },
        _ => Unread::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_go_program_is_read_once_and_known_again() {
        let binaries = Binaries::default();
        // This very test.
        let own = std::process::id();
        for _ in 0..2 {
            assert_eq!(binaries.of(own).err(), Some(Unread::NotGo));
        }
        let known = binaries.known.lock().expect("no panic");
        assert_eq!((known.programs.len(), known.others.len()), (0, 1));
    }

    #[test]
    fn a_file_that_is_written_to_is_another_one() {
        use std::io::Write as _;
        let binaries = Binaries::default();
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let look = |file: &tempfile::NamedTempFile| {
            let file = File::open(file.path()).expect("it is there");
            binaries.of_file(&file).err()
        };
        file.write_all(b"#!/bin/sh\n").expect("room");
        assert_eq!(look(&file), Some(Unread::NotGo));
        file.write_all(b"exit\n").expect("room");
        assert_eq!(look(&file), Some(Unread::NotGo));
        let known = binaries.known.lock().expect("no panic");
        assert_eq!(known.others.len(), 2);
    }

    #[test]
    fn a_process_that_is_not_there_is_gone() {
        assert_eq!(Binaries::default().of(u32::MAX).err(), Some(Unread::Gone));
    }
}
