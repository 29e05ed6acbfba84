//! One hit of a probe: whose it is, counted.

use aya_ebpf::programs::ProbeContext;
use tracer_common::{Cookie, Hook};

use crate::{
    config::Target,
    counters::Counters,
    registers::Registers,
    ring::{self, Event},
};

/// What a hook's code works with.
#[derive(Clone, Copy)]
pub struct Hit<'a> {
    counters: Counters,
    /// The target, whose slot is in use.
    pub target: Target,
    /// The registers at the site.
    pub registers: Registers<'a>,
}

impl<'a> Hit<'a> {
    /// Counts the hit, whether its target's slot is in use or not; `None` if it is not.
    ///
    /// `hook` is the cookie's: given apart, it is a constant, and so is the counter's place.
    #[inline(always)]
    pub fn of(ctx: &'a ProbeContext, cookie: Cookie, hook: Hook) -> Option<Hit<'a>> {
        let counters = Counters::of(cookie.slot)?;
        counters.hit(hook);
        Some(Hit {
            counters,
            target: Target::of(cookie)?,
            registers: Registers::new(ctx),
        })
    }

    /// Puts a record into the ring, see [`ring::emit`].
    #[inline(always)]
    pub fn emit<T: 'static>(self, event: Event, record: impl FnOnce(tracer_common::Header) -> T) {
        ring::emit(self.counters, self.target, event, record);
    }
}
