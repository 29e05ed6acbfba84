//! The domain of gotrace, pure: goroutines, channels, what waits for what, and the verdicts that
//! follow. No I/O, no clock, no threads, no unsafe. Time enters as a field of an event or of an
//! observation, so everything here can be replayed.
//!
//! - [`ids`]: names for things that look alike.
//! - [`maybe`]: that they may be missing, in little room.
//! - [`wait`]: why and on what a goroutine waits.
//! - [`symbol`]: program counters and what they mean.
//! - [`snapshot`]: what a read of the target's memory saw.
//! - [`event`]: what the probes said.
//! - [`order`]: puts events into the order of their time.
//! - [`world`]: every goroutine and channel, as events and snapshots build it.
//! - [`detect`]: deadlocks and leaks, with how sure and why.
//! - [`query`]: filters, groups and orders of goroutines.

#![forbid(unsafe_code)]

pub mod detect;
pub mod diff;
pub mod event;
pub mod ids;
pub mod maybe;
pub mod order;
pub mod query;
pub mod snapshot;
pub mod symbol;
pub mod wait;
pub mod world;
