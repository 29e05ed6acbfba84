//! Timers of channels: which will send by themselves.

use tracer_model::ids::Addr;

use super::GoProcess;
use super::bytes::{u32_at, u64_at};
use super::memory::{MemoryError, TargetMemory};

impl<M: TargetMemory> GoProcess<M> {
    /// Whether a channel's timer will not send unless somebody sets it anew: it was stopped, or has fired,
    /// and nobody is about to send for it.
    ///
    /// Whoever fires it clears `when` first. But from then to the end of the send it has the timer's lock,
    /// or is counted in `isSending`, or has `sendLock`, each from before it lets go of the one before
    /// (`runtime/time.go`, unlockAndRun). Two equal reads with none of that are too far apart for one who
    /// passed between them: he would have woken the receiver, which is looked at again later.
    ///
    /// # Errors
    /// Only what ends everything.
    pub(super) fn is_stopped(&self, timer: u64) -> Result<bool, MemoryError> {
        let Some(layout) = self.layout().timer else {
            return Ok(false);
        };
        let (Some(lock), Some(send_lock), Some(sending)) =
            (layout.mu, layout.send_lock, layout.is_sending)
        else {
            return Ok(false);
        };
        let mut reads = [(); 2].map(|()| vec![0; layout.size as usize]);
        for bytes in &mut reads {
            match self.memory().read(Addr(timer), bytes) {
                Err(MemoryError::Unreadable { .. }) => return Ok(false),
                result => result?,
            }
        }
        let [first, second] = &reads;
        let words = [layout.when, lock, send_lock].map(|field| u64_at(first, field));
        Ok(first == second && words == [0; 3] && u32_at(first, sending) == 0)
    }
}
