//! The way of an event: trap, record, ring, decode, order, world; and beside it the reads of the
//! target's memory that the events are joined with.
//!
//! - [`preflight`]: may and can this host do it.
//! - [`kernel`]: the BPF object, its probes and its ring. The only module that knows aya.
//! - [`probes`]: which hooks a level takes, and what the probes need to know of a target.
//! - [`intake`]: from the records of one target to its events in order, by [`decode`], and what never arrived,
//!   by [`loss`].
//! - [`observer`]: the thread that reads memory.
//! - [`governor`]: what to trace so that the budget is kept; [`estimate`]: rates from windows;
//!   [`calibrate`]: what a hit costs; [`governed`]: the governor's eyes and hands.
//! - [`pipeline`]: the thread that takes all in; [`story`]: what is learnt, told in order, live or from a
//!   recording; [`picture`]: what the world looks like; [`measure`]: the same in numbers; [`feed`]: for whoever
//!   listens.

pub(crate) mod calibrate;
pub(crate) mod cpu_clock;
pub(crate) mod decode;
mod estimate;
pub(crate) mod feed;
pub(crate) mod governed;
pub(crate) mod governor;
pub(crate) mod intake;
pub(crate) mod kernel;
pub(crate) mod loss;
pub(crate) mod measure;
pub(crate) mod observer;
mod picture;
pub(crate) mod pipeline;
pub(crate) mod preflight;
pub(crate) mod probes;
pub(crate) mod story;
