//! Newtypes for values that look alike and must not be mixed up.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A goroutine's id, never reused within one process. 0 stands for the runtime itself (a timer,
/// the network poller) where an actor is expected.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Goid(pub u64);

/// A channel as the model numbers it, never reused: an hchan's address is, by the allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChanId(pub u32);

/// Kernel time (CLOCK_MONOTONIC) in nanoseconds. Go's `nanotime` reads the same clock.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct Ktime(pub u64);

impl Ktime {
    /// Nanoseconds from `earlier` to `self`, 0 if `earlier` is later.
    pub const fn since(self, earlier: Ktime) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

macro_rules! address {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }
    )*};
}

address! {
    /// Address of a `g` in the target, reused by the runtime for later goroutines.
    GAddr,
    /// Address of an `hchan` in the target, reused by the allocator.
    ChanAddr,
    /// Any other address in the target's memory.
    Addr,
    /// A program counter in the target: an address *inside* the instruction that is meant. For a
    /// return address that is one byte before it, so that it falls into the call.
    Pc,
}

impl Pc {
    /// The call that returns to `return_address`; `None` for 0, which means not known.
    pub const fn of_return(return_address: u64) -> Option<Pc> {
        match return_address {
            0 => None,
            address => Some(Pc(address - 1)),
        }
    }
}

impl fmt::Display for Goid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
