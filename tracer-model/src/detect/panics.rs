//! Operations on channels that make their goroutine panic, as findings: a program that recovers lives
//! on, and forgets.

use super::finding::{Finding, FindingId, FindingKind, Verdict};
use crate::world::{Panic, PanicCause, PanicPlace, World};

/// What was seen so far, by kind and place; it is never over.
pub fn panics(world: &World) -> Vec<Finding> {
    let mut findings: Vec<Finding> = world.panics().map(finding).collect();
    findings.sort_by(|a, b| a.id.cmp(&b.id));
    findings
}

fn finding((place, seen): (PanicPlace, Panic)) -> Finding {
    let PanicPlace { cause, site } = place;
    let who = match seen.times {
        1 => format!("goroutine {}", seen.goid),
        times => format!(
            "{times} times a goroutine, at last goroutine {},",
            seen.goid
        ),
    };
    let (name, what, advice) = match cause {
        PanicCause::CloseOfNil => (
            "close-of-nil",
            format!("{who} closed a nil channel"),
            "make the channel before it can be closed; a nil channel cannot be closed",
        ),
        PanicCause::CloseOfClosed => (
            "close-of-closed",
            format!("{who} closed a channel that was closed already"),
            "let one goroutine alone close it, the one that sends, or close it by a sync.Once",
        ),
        PanicCause::SendOnClosed => (
            "send-on-closed",
            format!("{who} closed a channel on which another goroutine waited to send"),
            "let the sender alone close the channel; where there are several, do not close it but tell them \
             by a context or a second channel, and wait for them",
        ),
    };
    let at = site.map_or_else(String::new, |pc| format!("-{pc}"));
    let addr = seen
        .chan
        .map_or_else(String::new, |chan| format!(", channel {chan}"));
    Finding {
        id: FindingId(format!("panic-{name}{at}").into()),
        kind: FindingKind::Panic,
        verdict: Verdict::Suspect,
        goroutines: vec![seen.goid],
        unconfirmed: Vec::new(),
        chain: Vec::new(),
        caused_by: None,
        reason: format!("{what}, which panics"),
        evidence: vec![format!("the call to close was seen{addr}")],
        advice: Some(advice.to_owned()),
        created_at: None,
        at: site,
        trend: None,
    }
}
