//! What goroutines wait on.

use std::sync::Arc;

use tracer_model::ids::{Addr, ChanAddr};
use tracer_model::wait::{Direction, WaitKind, WaitObject, WaitReason};

use crate::binary::GoBinary;

/// The side of a channel that a plain operation waits on, by its reason. `None` for a select.
pub(super) fn direction(reason: WaitReason) -> Option<Direction> {
    match reason {
        WaitReason::ChanSend | WaitReason::ChanSendSynctest | WaitReason::ChanSendDurable => {
            Some(Direction::Send)
        }
        WaitReason::ChanReceive
        | WaitReason::ChanReceiveSynctest
        | WaitReason::ChanReceiveDurable => Some(Direction::Receive),
        _ => None,
    }
}

/// Whether such a wait is for a semaphore of the runtime.
pub(super) fn is_semaphore(kind: WaitKind) -> bool {
    matches!(
        kind,
        WaitKind::Mutex | WaitKind::RwMutex | WaitKind::WaitGroup | WaitKind::Semaphore
    )
}

/// What the numbers in an event of a target mean. Cheap to clone, may be kept and shared between
/// threads.
#[derive(Clone, Debug)]
pub struct WaitDecoder {
    binary: Arc<GoBinary>,
}

impl WaitDecoder {
    /// For the events of processes that run `binary`.
    pub fn new(binary: Arc<GoBinary>) -> WaitDecoder {
        WaitDecoder { binary }
    }

    /// What a value of `g.waitreason` means.
    pub fn wait_reason(&self, index: u8) -> WaitReason {
        self.binary.wait_reasons().get(index)
    }

    /// The reasons of plain operations on one channel, a bit each by index; no index of such a reason
    /// is beyond 63 in Go 1.19 to 1.27.
    pub fn channel_reasons(&self) -> u64 {
        let reasons = self.binary.wait_reasons().iter().take(64).enumerate();
        reasons
            .filter(|&(_, reason)| direction(reason).is_some())
            .fold(0, |mask, (index, _)| mask | 1 << index)
    }

    /// What a goroutine waited on for this reason, by the channel of its sudog.
    pub fn channel_object(&self, reason: WaitReason, chan: u64) -> Option<WaitObject> {
        Some(WaitObject::Chan {
            chan: (chan != 0).then_some(ChanAddr(chan))?,
            direction: direction(reason)?,
        })
    }

    /// What a goroutine is about to wait on, by the `lock` argument of `runtime.gopark`. `None`
    /// where that does not tell: a select's cases and a semaphore's address are not in it.
    ///
    /// Go 1.19 to 1.27: channel operations pass `&hchan.lock` (`chansend`, `chanrecv`), a Cond
    /// `&notifyList.lock` (`notifyListWait`), the network poller the slot of its pollDesc
    /// (`netpollblock`).
    pub fn park_object(&self, reason: WaitReason, lock: u64) -> Option<WaitObject> {
        if lock == 0 {
            return None;
        }
        let layout = self.binary.layout();
        if let Some(direction) = direction(reason) {
            let chan = lock.checked_sub(u64::from(layout.hchan.lock))?;
            return Some(WaitObject::Chan {
                chan: ChanAddr(chan),
                direction,
            });
        }
        match reason.kind() {
            WaitKind::Cond => {
                let list = lock.checked_sub(u64::from(layout.notify_list.lock))?;
                Some(WaitObject::Cond(Addr(list)))
            }
            WaitKind::Netpoll => Some(WaitObject::Netpoll(Addr(lock))),
            _ => None,
        }
    }
}
