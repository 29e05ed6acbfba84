//! Channels that package time sends on.

use rustc_hash::FxHashMap;

use crate::ids::ChanAddr;
use crate::snapshot::{Channel, Goroutine};
use crate::wait::WaitObject;

/// The channels of timers that are set, or may be, on which a goroutine waits, and whether they fire but
/// once.
pub(super) fn timers<'a>(
    goroutine: &'a Goroutine,
    channels: &'a FxHashMap<ChanAddr, &Channel>,
) -> impl Iterator<Item = (ChanAddr, bool)> + 'a {
    let objects = goroutine
        .wait
        .as_ref()
        .map_or(&[][..], |wait| &wait.objects);
    objects.iter().filter_map(|object| {
        let WaitObject::Chan { chan, .. } = *object else {
            return None;
        };
        let channel = channels.get(&chan)?;
        // Before Go 1.23 a channel does not tell of its timer, but only package time makes these.
        let named = &*channel.elem_type == "time.Time" && channel.cap == 1;
        match channel.timer {
            Some(timer) => timer.when.map(|_| (chan, timer.period == 0)),
            None => named.then_some((chan, false)),
        }
    })
}
