//! A whole program that is stuck, main included, and that the runtime takes for alive: it says that all
//! goroutines are asleep only if none waits for the outside, and a signal handler, a ticker or a listener
//! that nobody thinks of is enough.
//!
//! An idle server looks much like it. What tells them apart is main: there it waits for connections, for
//! signals, or for what those bring about, and is not stuck.

use rustc_hash::FxHashMap;

use super::finding::{Finding, FindingId, FindingKind, Verdict};
use super::report::Report;
use super::text::goroutines;
use super::timers::timers;
use super::{MAIN, waits_forever};
use crate::ids::{ChanAddr, Goid};
use crate::snapshot::{Channel, Goroutine, State};
use crate::symbol::Landmark;
use crate::wait::{WaitKind, WaitObject};

/// What a goroutine waits for that comes from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outside {
    Signals,
    Time,
    Network,
}

impl Report<'_> {
    /// Whether that is so; `findings` are those of who is stuck.
    pub(super) fn stall(&self, findings: &[Finding]) -> Option<Finding> {
        let of_main = findings.iter().find(|finding| {
            finding.verdict >= Verdict::Likely && finding.goroutines.contains(&MAIN)
        })?;
        // Alone it may be parked on purpose, by a wait that nobody was ever to end.
        let waits_for_others = of_main.chain.iter().any(|link| !link.held_by.is_empty());
        if !waits_for_others {
            return None;
        }
        let channels: FxHashMap<ChanAddr, &Channel> = (self.snapshot.channels.iter())
            .map(|channel| (channel.addr, channel))
            .collect();
        let mut stuck = Vec::new();
        let mut kept: [Vec<Goid>; 3] = Default::default();
        for goroutine in &self.snapshot.goroutines {
            if goroutine.system || goroutine.state == State::Dead {
                continue;
            }
            if self.pass.sightings.contains_key(&goroutine.goid) {
                // One that waits for ever on purpose says nothing of the others.
                if goroutine.goid == MAIN && waits_forever(goroutine) {
                    return None;
                }
                stuck.push(goroutine.goid);
            } else {
                let outside = self.waits_for_the_outside(goroutine, &channels)?;
                kept[outside as usize].push(goroutine.goid);
            }
        }
        kept.iter_mut().for_each(|goids| goids.sort_unstable());
        let parts = ["for signals", "for a timer", "for the network"];
        let kept: Vec<String> = (kept.iter().zip(parts))
            .filter(|(goids, _)| !goids.is_empty())
            .map(|(goids, what)| match goids.len() {
                1 => format!("{} waits {what}", goroutines(goids)),
                _ => format!("{} wait {what}", goroutines(goids)),
            })
            .collect();
        // If nobody is left the runtime says so itself.
        if kept.is_empty() {
            return None;
        }
        stuck.sort_unstable();
        Some(Finding {
            id: FindingId("stall".into()),
            kind: FindingKind::Stall,
            verdict: of_main.verdict.min(Verdict::Likely),
            unconfirmed: Vec::new(),
            chain: of_main.chain.clone(),
            caused_by: match of_main.kind {
                FindingKind::Deadlock => Some(of_main.id.clone()),
                _ => of_main.caused_by.clone(),
            },
            reason: format!(
                "the whole program is stuck, the main goroutine included: {} of its goroutines can never \
                 run again, and what is left waits for the outside: {}",
                stuck.len(),
                kept.join("; "),
            ),
            goroutines: stuck,
            evidence: vec![
                "the runtime does not end it with \"all goroutines are asleep\", since something from \
                 outside could still wake somebody"
                    .to_owned(),
                format!("main is stuck by {} ({})", of_main.id, of_main.verdict.name()),
            ],
            advice: Some(
                "it will not get better by itself: end it, and see the chain for why main is stuck".to_owned(),
            ),
            created_at: None,
            at: None,
            trend: None,
        })
    }

    fn waits_for_the_outside(
        &self,
        goroutine: &Goroutine,
        channels: &FxHashMap<ChanAddr, &Channel>,
    ) -> Option<Outside> {
        let start = goroutine
            .start
            .get()
            .and_then(|pc| self.symbolizer.landmark(pc));
        if start == Some(Landmark::SignalLoop) {
            return Some(Outside::Signals);
        }
        let wait = goroutine.wait.as_ref()?;
        let signals = |object: &WaitObject| match object {
            WaitObject::Chan { chan, .. } => {
                let channel = channels.get(chan);
                channel.is_some_and(|channel| &*channel.elem_type == "os.Signal")
            }
            _ => false,
        };
        match wait.reason.kind() {
            WaitKind::Netpoll => Some(Outside::Network),
            WaitKind::Sleep | WaitKind::Timer => Some(Outside::Time),
            WaitKind::Chan | WaitKind::Select => {
                if wait.objects.iter().any(signals) {
                    return Some(Outside::Signals);
                }
                let timer = timers(goroutine, channels).next();
                timer.map(|_| Outside::Time)
            }
            _ => None,
        }
    }
}
