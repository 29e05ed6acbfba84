//! Findings in words. Addresses and goids only: who shows a finding adds names and lines.

use std::fmt::Write as _;

use rustc_hash::FxHashMap;

use super::finding::Link;
use crate::ids::{ChanAddr, Goid};
use crate::snapshot::{Channel, Holder, Snapshot, Unused, WaitTarget};
use crate::wait::{Direction, WaitKind, WaitObject, WaitReason};

/// How many goids a sentence names.
const NAMED: usize = 4;

/// How many steps of a chain a sentence tells; of a longer one the first and the last.
const STEPS: usize = 8;

/// What sentences need to know about the objects of a snapshot.
#[derive(Debug)]
pub(super) struct Words<'s> {
    channels: FxHashMap<ChanAddr, &'s Channel>,
    /// The unused variables that lead to objects.
    variables: FxHashMap<WaitTarget, String>,
}

impl<'s> Words<'s> {
    pub(super) fn new(snapshot: &'s Snapshot, held: &[Unused]) -> Words<'s> {
        let channels = snapshot
            .channels
            .iter()
            .map(|channel| (channel.addr, channel))
            .collect();
        let variables = held.iter().map(|held| (held.object, name(held)));
        Words {
            channels,
            variables: variables.collect(),
        }
    }

    /// `goroutine 1 waits to …, which only goroutine 2 could receive from; it waits …`
    pub(super) fn chain(&self, links: &[Link]) -> String {
        let mut text = String::new();
        let mut subject = None;
        for (index, link) in links.iter().enumerate() {
            let left_out = links.len().saturating_sub(STEPS);
            if left_out > 0 && (STEPS - 1..links.len() - 1).contains(&index) {
                if index == STEPS - 1 {
                    push(&mut text, format_args!("; so on through {left_out} more"));
                }
                subject = None;
                continue;
            }
            let it = subject == Some(link.goid);
            if !text.is_empty() {
                text.push_str("; ");
            }
            if it {
                text.push_str("it");
            } else {
                push(&mut text, format_args!("goroutine {}", link.goid));
            }
            push(&mut text, format_args!(" {}", self.wait(link)));
            text.push_str(&self.held_by(link));
            subject = match *link.held_by.as_slice() {
                [only] => Some(only),
                _ => None,
            };
        }
        text
    }

    /// `waits to send on channel 0x… (chan int, cap 0)`
    pub(super) fn wait(&self, link: &Link) -> String {
        let Some(object) = link.waits_on else {
            return match link.reason {
                WaitReason::ChanSendNil => "waits forever to send on a nil channel".to_owned(),
                WaitReason::ChanReceiveNil => {
                    "waits forever to receive from a nil channel".to_owned()
                }
                WaitReason::SelectNoCases => "waits forever in a select without cases".to_owned(),
                reason => format!("waits ({reason}), on what is not known"),
            };
        };
        let what = self.object(object);
        match (link.reason.kind(), object) {
            (WaitKind::Select, WaitObject::Chan { direction, .. }) => {
                format!(
                    "waits in a select, among others to {} {what}",
                    verb(direction)
                )
            }
            (_, WaitObject::Chan { direction, .. }) => {
                format!("waits to {} {what}", verb(direction))
            }
            (WaitKind::Mutex, _) => format!("waits to lock the mutex of {what}"),
            (WaitKind::RwMutex, _) => format!("waits to lock the RW mutex of {what}"),
            (WaitKind::WaitGroup, _) => format!("waits for the wait group of {what}"),
            _ => format!("waits for {what}"),
        }
    }

    /// `channel 0x… (chan int, cap 0)`
    pub(super) fn object(&self, object: WaitObject) -> String {
        match object {
            WaitObject::Chan { chan, .. } => match self.channels.get(&chan) {
                Some(channel) if channel.elem_type.is_empty() => {
                    format!("channel {chan} (cap {})", channel.cap)
                }
                Some(channel) => format!(
                    "channel {chan} (chan {}, cap {})",
                    channel.elem_type, channel.cap
                ),
                None => format!("channel {chan}"),
            },
            WaitObject::Semaphore(addr) => format!("semaphore {addr}"),
            WaitObject::Cond(addr) => format!("condition variable {addr}"),
            WaitObject::Netpoll(addr) => format!("network descriptor {addr}"),
        }
    }

    fn held_by(&self, link: &Link) -> String {
        let Some(object) = link.waits_on else {
            return String::new();
        };
        if link.held_by.is_empty() {
            return match self.variables.get(&WaitTarget::from(object)) {
                Some(variable) => format!(", which nothing but {variable} leads to"),
                None => ", which nothing that can still run refers to".to_owned(),
            };
        }
        let who = goroutines(&link.held_by);
        match object {
            WaitObject::Chan {
                direction: Direction::Send,
                ..
            } => format!(", which only {who} could receive from"),
            WaitObject::Chan {
                direction: Direction::Receive,
                ..
            } => format!(", which only {who} could send on or close"),
            _ if link.held_by.len() == 1 => format!(", which only {who} refers to"),
            _ => format!(", which only {who} refer to"),
        }
    }

    /// `goroutine 2 refers to channel 0x… from 0xc000… in frame 3 of its stack, through 0xc000…`
    pub(super) fn reference(&self, object: WaitObject, holder: &Holder) -> String {
        let mut text = format!("goroutine {} refers to ", holder.goid);
        text.push_str(&self.object(object));
        let target = WaitTarget::from(object).0;
        let mut way = holder.path.iter().filter(|&&addr| addr != target);
        if let Some(slot) = way.next() {
            push(&mut text, format_args!(" from its stack at {slot}"));
        }
        if let Some(frame) = holder.frame {
            push(&mut text, format_args!(" (frame {frame})"));
        }
        let mut separator = ", through ";
        for step in way {
            push(&mut text, format_args!("{separator}{step}"));
            separator = " and ";
        }
        text
    }
}

/// `goroutines 3, 4, 5, 6 and 12 more`
pub(super) fn goroutines(goids: &[Goid]) -> String {
    if let [only] = goids {
        return format!("goroutine {only}");
    }
    let mut text = String::from("goroutines ");
    let (named, rest) = goids.split_at(goids.len().min(NAMED));
    for (index, goid) in named.iter().enumerate() {
        let separator = match index {
            0 => "",
            last if last + 1 == goids.len() => " and ",
            _ => ", ",
        };
        push(&mut text, format_args!("{separator}{goid}"));
    }
    if !rest.is_empty() {
        push(&mut text, format_args!(" and {} more", rest.len()));
    }
    text
}

/// `the unused variable main.sessions`
fn name(held: &Unused) -> String {
    match &*held.variable {
        "" => "an unused variable without a name".to_owned(),
        name => format!("the unused variable {name}"),
    }
}

/// `the unused variable main.sessions leads to 0xc000…, from 0x5a…, through 0xc000…`
pub(super) fn variable(held: &Unused) -> String {
    let WaitTarget(object) = held.object;
    let mut way = held.path.iter().filter(|&&addr| addr != object);
    let Some(word) = way.next() else {
        return format!("{object} is part of {}", name(held));
    };
    let mut text = format!("{} leads to {object}, from {word}", name(held));
    let mut separator = ", through ";
    for step in way {
        push(&mut text, format_args!("{separator}{step}"));
        separator = " and ";
    }
    text
}

const fn verb(direction: Direction) -> &'static str {
    match direction {
        Direction::Send => "send on",
        Direction::Receive => "receive from",
    }
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("writing to a string does not fail");
}
