//! Channels whose own fields cannot be: somebody wrote into them who should not.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::finding::{Finding, FindingId, FindingKind, Link, Verdict};
use crate::ids::{ChanAddr, Ktime};
use crate::snapshot::{CorruptChannel, Snapshot};
use crate::symbol::{Symbolizer, user_site};

/// For how long a channel must be seen so to be called more than suspect, in nanoseconds: no operation
/// takes that long.
const LASTING: u64 = 100_000_000;

/// What passes before saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Corrupt {
    /// With the pass that saw it so first.
    known: FxHashMap<ChanAddr, (CorruptChannel, Ktime)>,
}

impl Corrupt {
    /// What a pass shows, in the light of those before.
    pub(super) fn pass(
        &mut self,
        snapshot: &Snapshot,
        symbolizer: &dyn Symbolizer,
    ) -> Vec<Finding> {
        let before = std::mem::take(&mut self.known);
        let mut findings = Vec::new();
        for channel in &snapshot.corrupt {
            let since = match before.get(&channel.addr) {
                Some((known, since)) if is_same(known, channel) => *since,
                _ => snapshot.started,
            };
            self.known.insert(channel.addr, (channel.clone(), since));
            let lasts = snapshot.started.since(since) >= LASTING;
            findings.push(finding(channel, lasts, snapshot, symbolizer));
        }
        findings
    }
}

fn is_same(before: &CorruptChannel, now: &CorruptChannel) -> bool {
    (&before.field, &before.reason) == (&now.field, &now.reason)
        && before.waiting.iter().any(|goid| now.waiting.contains(goid))
}

fn finding(
    channel: &CorruptChannel,
    lasts: bool,
    snapshot: &Snapshot,
    symbolizer: &dyn Symbolizer,
) -> Finding {
    let CorruptChannel {
        addr,
        elem_type,
        len,
        cap,
        field,
        reason,
        waiting,
    } = channel;
    let one =
        (snapshot.goroutines.iter()).find(|goroutine| Some(&goroutine.goid) == waiting.first());
    let link = one.and_then(|goroutine| {
        let wait = goroutine.wait.as_ref()?;
        Some(Link {
            goid: goroutine.goid,
            reason: wait.reason,
            waits_on: wait.objects.first().copied(),
            held_by: Vec::new(),
            site: user_site(snapshot.stack(goroutine), symbolizer),
        })
    });
    let typed = match &**elem_type {
        "" => String::new(),
        name => format!(" (chan {name})"),
    };
    let mut evidence = vec![
        format!("its length is {len}, its capacity {cap}"),
        "two reads agree, its lock was free, and who waits on it waited all the while".to_owned(),
    ];
    if !lasts {
        evidence.push("still to be confirmed by a further pass".to_owned());
    }
    Finding {
        id: FindingId(format!("corrupt-{addr}").into()),
        kind: FindingKind::Corrupt,
        verdict: if lasts { Verdict::Likely } else { Verdict::Suspect },
        goroutines: waiting.clone(),
        unconfirmed: Vec::new(),
        chain: link.into_iter().collect(),
        caused_by: None,
        reason: format!("channel {addr}{typed} cannot be: {field} is {reason}"),
        evidence,
        advice: Some(
            "something writes into the channel's memory: look at uses of package unsafe and at C code, run \
             the tests with -race and with -gcflags=all=-d=checkptr"
                .to_owned(),
        ),
        created_at: None,
        at: None,
        trend: None,
    }
}
