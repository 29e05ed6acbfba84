//! Where blocks go: one file, a directory of files of which the oldest are deleted, or memory.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tracer_model::ids::Ktime;

/// How the files of a directory's segments are named: a number and this.
pub(crate) const SUFFIX: &str = ".gotrace";

/// Takes blocks, segment by segment.
pub trait Sink: Send {
    /// A segment begins.
    ///
    /// # Errors
    /// The system's.
    fn begin(&mut self) -> io::Result<()>;

    /// Takes a whole block; `last` is the time of the latest thing in it.
    ///
    /// # Errors
    /// The system's. What was taken before stays readable.
    fn block(&mut self, bytes: &[u8], last: Ktime) -> io::Result<()>;

    /// There is no more.
    ///
    /// # Errors
    /// The system's.
    fn finish(&mut self) -> io::Result<()>;

    /// Bytes that are kept by now.
    fn bytes(&self) -> u64;

    /// Writes what is kept in memory into a file, which must not exist. Returns how many bytes that were.
    ///
    /// # Errors
    /// The file cannot be made or written, or what is kept is in a file already.
    fn write_to(&self, _: &Path) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A file that blocks are appended to.
#[derive(Debug)]
struct Output {
    file: File,
    bytes: u64,
}

impl Output {
    /// Makes the file, which must not exist, readable by its owner alone: channel values can be secrets.
    fn create(path: &Path) -> io::Result<Output> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        Ok(Output { file, bytes: 0 })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).inspect_err(|_| {
            // Half a block is of no use; where it cannot be removed, a reader leaves it out.
            let _ = self.file.set_len(self.bytes);
        })?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

impl Sink for Box<dyn Sink> {
    fn begin(&mut self) -> io::Result<()> {
        (**self).begin()
    }

    fn block(&mut self, bytes: &[u8], last: Ktime) -> io::Result<()> {
        (**self).block(bytes, last)
    }

    fn finish(&mut self) -> io::Result<()> {
        (**self).finish()
    }

    fn bytes(&self) -> u64 {
        (**self).bytes()
    }

    fn write_to(&self, path: &Path) -> io::Result<u64> {
        (**self).write_to(path)
    }
}

/// One file, as long as it gets.
///
/// # Errors
/// It exists, or cannot be made.
pub fn file(path: &Path) -> io::Result<impl Sink + use<>> {
    Ok(OneFile(Output::create(path)?))
}

struct OneFile(Output);

impl Sink for OneFile {
    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn block(&mut self, bytes: &[u8], _: Ktime) -> io::Result<()> {
        self.0.append(bytes)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.file.sync_all()
    }

    fn bytes(&self) -> u64 {
        self.0.bytes
    }
}

/// How much a directory holds at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files.
    pub bytes: Option<u64>,
    /// Nanoseconds from the end of the oldest file to now.
    pub age: Option<u64>,
}

/// A directory with a file for each segment, of which the oldest are deleted when they are too many
/// bytes or too old.
///
/// # Errors
/// It exists, or cannot be made.
pub fn directory(path: &Path, limits: Limits) -> io::Result<impl Sink + use<>> {
    std::fs::DirBuilder::new().mode(0o700).create(path)?;
    Ok(Directory {
        path: path.to_owned(),
        limits,
        next: 0,
        current: None,
        closed: VecDeque::new(),
    })
}

struct Closed {
    path: PathBuf,
    bytes: u64,
    last: Ktime,
}

struct Directory {
    path: PathBuf,
    limits: Limits,
    next: u64,
    current: Option<(Output, Closed)>,
    closed: VecDeque<Closed>,
}

impl Directory {
    fn close(&mut self) -> io::Result<()> {
        if let Some((output, mut closed)) = self.current.take() {
            output.file.sync_all()?;
            closed.bytes = output.bytes;
            self.closed.push_back(closed);
        }
        Ok(())
    }

    /// Deletes the oldest files for as long as a limit says so; `coming` bytes are about to be added.
    fn delete(&mut self, coming: u64, now: Ktime) -> io::Result<()> {
        while let Some(oldest) = self.closed.front() {
            let too_much = self
                .limits
                .bytes
                .is_some_and(|most| self.bytes() + coming > most);
            let too_old = self
                .limits
                .age
                .is_some_and(|most| now.since(oldest.last) > most);
            if !(too_much || too_old) {
                break;
            }
            std::fs::remove_file(&oldest.path)?;
            self.closed.pop_front();
        }
        Ok(())
    }
}

impl Sink for Directory {
    fn begin(&mut self) -> io::Result<()> {
        self.close()?;
        let path = self.path.join(format!("{:08}{SUFFIX}", self.next));
        self.next += 1;
        let closed = Closed {
            path: path.clone(),
            bytes: 0,
            last: Ktime(0),
        };
        self.current = Some((Output::create(&path)?, closed));
        Ok(())
    }

    fn block(&mut self, bytes: &[u8], last: Ktime) -> io::Result<()> {
        self.delete(bytes.len() as u64, last)?;
        if let Some((output, closed)) = &mut self.current {
            output.append(bytes)?;
            closed.last = closed.last.max(last);
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.close()
    }

    fn bytes(&self) -> u64 {
        let current = self.current.as_ref().map_or(0, |(output, _)| output.bytes);
        let closed: u64 = self.closed.iter().map(|closed| closed.bytes).sum();
        current + closed
    }
}

/// The last seconds, in memory.
#[derive(Debug)]
pub struct Ring {
    window: u64,
    segments: VecDeque<Kept>,
    newest: Ktime,
}

#[derive(Debug, Default)]
struct Kept {
    blocks: Vec<Box<[u8]>>,
    bytes: u64,
    last: Ktime,
}

impl Ring {
    /// Keeps `window` nanoseconds, and what is needed to understand them.
    pub const fn new(window: u64) -> Ring {
        Ring {
            window,
            segments: VecDeque::new(),
            newest: Ktime(0),
        }
    }
}

impl Sink for Ring {
    fn begin(&mut self) -> io::Result<()> {
        self.segments.push_back(Kept::default());
        Ok(())
    }

    fn block(&mut self, bytes: &[u8], last: Ktime) -> io::Result<()> {
        self.newest = self.newest.max(last);
        if let Some(segment) = self.segments.back_mut() {
            segment.blocks.push(bytes.into());
            segment.bytes += bytes.len() as u64;
            segment.last = segment.last.max(last);
        }
        // The one before begins the window as long as it reaches into it.
        while self.segments.len() > 1
            && let Some(oldest) = self.segments.front()
            && self.newest.since(oldest.last) > self.window
        {
            self.segments.pop_front();
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    fn write_to(&self, path: &Path) -> io::Result<u64> {
        let mut output = Output::create(path)?;
        for block in self.segments.iter().flat_map(|segment| &segment.blocks) {
            output.append(block)?;
        }
        output.file.sync_all()?;
        Ok(output.bytes)
    }
}

/// All of it in memory, as a file would have it.
impl Sink for Vec<u8> {
    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn block(&mut self, bytes: &[u8], _: Ktime) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.len() as u64
    }
}
