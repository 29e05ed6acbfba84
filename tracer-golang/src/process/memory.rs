//! Reading a target's memory, whatever the target is: a live process, a saved image, a fake.

use tracer_model::ids::Addr;

mod bulk;
mod fake;
mod live;

pub(crate) use bulk::Bulk;
pub use fake::FakeMemory;
pub use live::LiveMemory;

/// Why bytes of the target could not be read.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum MemoryError {
    /// The range is not mapped (or not any more).
    #[error("{len} bytes at {addr} are not readable")]
    Unreadable {
        /// First byte that was asked for.
        addr: Addr,
        /// How many bytes were asked for.
        len: usize,
    },
    /// The process is gone.
    #[error("the process has ended")]
    Gone,
    /// The kernel refuses: no right to read that process.
    #[error("no permission to read the process' memory: {0}")]
    Denied(String),
}

/// One range to read and where its bytes go.
#[derive(Debug)]
pub struct Request<'a> {
    /// Where to read.
    pub addr: Addr,
    /// Buffer of the length to read.
    pub into: &'a mut [u8],
}

/// Memory of a Go target. Reads never stop it and are not atomic beyond one aligned word.
pub trait TargetMemory {
    /// Fills `into` with the bytes at `addr`, all of them or an error.
    fn read(&self, addr: Addr, into: &mut [u8]) -> Result<(), MemoryError>;

    /// Serves many requests in few system calls. The results are in the requests' order; one
    /// unreadable range does not fail the others. The outer error is for what ends everything
    /// ([`MemoryError::Gone`], [`MemoryError::Denied`]).
    fn read_many(
        &self,
        requests: &mut [Request<'_>],
    ) -> Result<Vec<Result<(), MemoryError>>, MemoryError>;

    /// Checks that this is still the memory of the same process: pids are reused, and `execve`
    /// replaces everything.
    fn check_alive(&self) -> Result<(), MemoryError> {
        Ok(())
    }

    /// The word at `addr`.
    fn read_u64(&self, addr: Addr) -> Result<u64, MemoryError> {
        let mut bytes = [0; 8];
        self.read(addr, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}
