//! A finding as a value: what is wrong, how sure, and why.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::trend::Slope;
use crate::ids::{Goid, Pc};
use crate::wait::{WaitObject, WaitReason};

/// Names a finding, the same in every pass that finds it again: a deadlock by the goroutines of its
/// cycle, a leak by where its goroutines are stuck, a trend by its place or object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FindingId(pub Arc<str>);

impl fmt::Display for FindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum FindingKind {
    /// Goroutines wait for one another in a circle.
    Deadlock,
    /// Goroutines wait for what nothing can bring about any more.
    Leak,
    /// All that the program is for is stuck, and only what waits for the outside keeps the runtime from
    /// saying so.
    Stall,
    /// Goroutines are created at a place faster than they end.
    Growth,
    /// Senders wait for room in a channel all the time.
    Backlog,
    /// Many goroutines wait for one lock all the time.
    Convoy,
    /// A goroutine's stack grows and grows.
    Recursion,
    /// An operation on a channel that makes its goroutine panic.
    Panic,
    /// A channel whose own fields cannot be.
    Corrupt,
}

impl FindingKind {
    /// Every kind.
    pub const ALL: [FindingKind; 9] = [
        FindingKind::Deadlock,
        FindingKind::Leak,
        FindingKind::Stall,
        FindingKind::Growth,
        FindingKind::Backlog,
        FindingKind::Convoy,
        FindingKind::Recursion,
        FindingKind::Panic,
        FindingKind::Corrupt,
    ];

    /// Whether its goroutines are those that can never run again; the other kinds are about something
    /// else, or about the same ones once more.
    pub const fn is_of_stuck(self) -> bool {
        matches!(self, FindingKind::Deadlock | FindingKind::Leak)
    }

    /// As the JSON contract spells it.
    pub const fn name(self) -> &'static str {
        match self {
            FindingKind::Deadlock => "deadlock",
            FindingKind::Leak => "leak",
            FindingKind::Stall => "stall",
            FindingKind::Growth => "growth",
            FindingKind::Backlog => "backlog",
            FindingKind::Convoy => "convoy",
            FindingKind::Recursion => "recursion",
            FindingKind::Panic => "panic",
            FindingKind::Corrupt => "corrupt",
        }
    }
}

/// How sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Seen in a few passes only, during which user goroutines ran, who may have moved a reference out
    /// of sight; or part of the memory could not be read; or it is not known on what the goroutine
    /// waits; or it is the main goroutine, which may be parked on purpose.
    Suspect,
    /// Nothing that can run was seen to refer to it: in one pass that saw memory as at one moment, or in
    /// several during which others ran.
    Likely,
    /// The goroutine was stuck in the same wait in two passes that saw memory as at one moment, or in
    /// many that met no goroutine running, and in every pass between them.
    Proven,
}

impl Verdict {
    /// Every verdict, the least sure first.
    pub const ALL: [Verdict; 3] = [Verdict::Suspect, Verdict::Likely, Verdict::Proven];

    /// As the JSON contract spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Suspect => "suspect",
            Verdict::Likely => "likely",
            Verdict::Proven => "proven",
        }
    }
}

/// One step of a chain: who waits on what, and who could end that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Who waits.
    pub goid: Goid,
    /// Why, in the runtime's words.
    pub reason: WaitReason,
    /// On what; of a select the case by which the chain goes on. `None` if it waits on nothing (a
    /// nil channel, a select without cases) or if it is not known.
    pub waits_on: Option<WaitObject>,
    /// The goroutines that refer to it and are not waiting for the same: they alone could end the
    /// wait, and they are stuck too. Ascending.
    pub held_by: Vec<Goid>,
    /// Where, in the user's code.
    pub site: Option<Pc>,
}

/// Something that is wrong in the target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Its name.
    pub id: FindingId,
    /// What.
    pub kind: FindingKind,
    /// How sure; it holds for each of `goroutines`.
    pub verdict: Verdict,
    /// Who is stuck, ascending. Of a deadlock those that wait for one another; those that merely
    /// wait for a deadlock are leaks of their own, with `caused_by`.
    pub goroutines: Vec<Goid>,
    /// Goroutines stuck in the same way of which the verdict is not that sure yet, ascending.
    pub unconfirmed: Vec<Goid>,
    /// Of a deadlock the shortest cycle: the last one's object is held by the first one. Of a leak
    /// the way from its first goroutine to the cause, as far as there is one.
    pub chain: Vec<Link>,
    /// The deadlock that a leak's goroutines wait for.
    pub caused_by: Option<FindingId>,
    /// In one sentence.
    pub reason: String,
    /// What was seen, a sentence each.
    pub evidence: Vec<String>,
    /// What usually ends it.
    pub advice: Option<String>,
    /// The `go` statement of the goroutines, where that is what they have in common.
    pub created_at: Option<Pc>,
    /// Where it happened, of what is not about a wait.
    pub at: Option<Pc>,
    /// What was measured over a window of time.
    pub trend: Option<Trend>,
}

impl Finding {
    /// Whether no further look can make it surer. Of deadlocks and leaks
    /// [`super::Detector::is_settled`] says that.
    pub fn is_settled(&self) -> bool {
        let surest = match self.kind {
            FindingKind::Deadlock | FindingKind::Leak => return true,
            FindingKind::Stall | FindingKind::Corrupt => Verdict::Likely,
            _ => Verdict::Suspect,
        };
        self.verdict >= surest && self.unconfirmed.is_empty()
    }
}

/// Something measured at many looks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    /// From the first look to the last, in nanoseconds.
    pub window: u64,
    /// How many looks.
    pub looks: u32,
    /// The number at the beginning of the window: goroutines, those that wait, bytes of stack.
    pub first: u64,
    /// At its end.
    pub last: u64,
    /// How fast it grows; `None` of what does not grow but stays.
    pub slope: Option<Slope>,
    /// The probability that chance alone would look so.
    pub chance: Option<f64>,
    /// Of a backlog who receives from the channel, if that is known.
    pub served_by: Option<Goid>,
}
