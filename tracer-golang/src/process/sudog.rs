//! A sudog: one goroutine in one wait queue.

use super::bytes::{u8_at, u64_at};
use crate::layout;

/// A `runtime.sudog` as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sudog {
    pub(crate) addr: u64,
    pub(crate) g: u64,
    pub(crate) next: u64,
    pub(crate) prev: u64,
    pub(crate) elem: u64,
    pub(crate) waitlink: u64,
    pub(crate) chan: u64,
    pub(crate) is_select: bool,
}

impl Sudog {
    pub(crate) fn parse(layout: &layout::Sudog, addr: u64, bytes: &[u8]) -> Sudog {
        Sudog {
            addr,
            g: u64_at(bytes, layout.g),
            next: u64_at(bytes, layout.next),
            prev: u64_at(bytes, layout.prev),
            elem: u64_at(bytes, layout.elem),
            waitlink: u64_at(bytes, layout.waitlink),
            chan: u64_at(bytes, layout.c),
            is_select: u8_at(bytes, layout.is_select) != 0,
        }
    }
}
