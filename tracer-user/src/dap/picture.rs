//! A look that is held still while a client looks around in it: `pause` takes one, `continue` drops it.

use rustc_hash::FxHashMap;
use tracer_model::detect::Finding;
use tracer_model::ids::{ChanAddr, Goid};
use tracer_model::snapshot::{Channel, Goroutine, Snapshot, WaitTarget};
use tracer_model::symbol::Symbolizer;

use super::config::Config;
use super::handles::Handles;
use super::look::Look;
use super::protocol::{Client, Refusal, StackFrame, StackTraceArguments, Thread};
use super::stack;
use super::threads::{self, Mark, Marks, Names};
use super::variables::Node;
use crate::listing::{ChannelSort, sort_channels};

/// A frame: whose, and which of its frames.
type FrameOf = (u32, u32);

/// A look with what is needed to find one's way in it, and the numbers that the client knows.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(super) look: Look,
    /// Positions of the goroutines that are listed, and how many more there are.
    chosen: Vec<usize>,
    pub(super) left_out: usize,
    goroutines: FxHashMap<Goid, u32>,
    channels: FxHashMap<ChanAddr, u32>,
    /// Who waits on what.
    waiters: FxHashMap<WaitTarget, Vec<u32>>,
    /// Which channels a goroutine holds and does not wait on.
    held: FxHashMap<Goid, Vec<u32>>,
    marks: Marks,
    frames: Handles<FrameOf>,
    pub(super) nodes: Handles<Node>,
}

/// Numbers that no picture has used yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unused {
    frames: i64,
    nodes: i64,
}

impl Picture {
    pub(crate) fn new(
        mut look: Look,
        config: &Config,
        symbols: &dyn Symbolizer,
        unused: Unused,
    ) -> Picture {
        if let Ok(findings) = &mut look.findings {
            findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
        }
        sort_channels(&mut look.snapshot.channels, ChannelSort::Fill);
        let findings = look.findings.as_deref().unwrap_or_default();
        let marks = threads::marks(findings);
        let snapshot = &look.snapshot;
        let mut chosen = threads::choose(snapshot, &config.filter, symbols, findings, &marks);
        let left_out = chosen.len().saturating_sub(config.threads);
        chosen.truncate(config.threads);
        let mut waiters: FxHashMap<WaitTarget, Vec<u32>> = FxHashMap::default();
        let mut goroutines = FxHashMap::default();
        for (goroutine, number) in snapshot.goroutines.iter().zip(0..) {
            goroutines.insert(goroutine.goid, number);
            for object in goroutine.wait.iter().flat_map(|wait| &wait.objects) {
                let waiting = waiters.entry((*object).into()).or_default();
                // A select can have several cases on one channel.
                if waiting.last() != Some(&number) {
                    waiting.push(number);
                }
            }
        }
        let mut held: FxHashMap<Goid, Vec<u32>> = FxHashMap::default();
        let mut channels = FxHashMap::default();
        for (channel, number) in snapshot.channels.iter().zip(0..) {
            channels.insert(channel.addr, number);
            for user in &channel.users {
                let of_user = held.entry(user.goid).or_default();
                if of_user.last() != Some(&number) {
                    of_user.push(number);
                }
            }
        }
        Picture {
            chosen,
            left_out,
            goroutines,
            channels,
            waiters,
            held,
            marks,
            frames: Handles::new(unused.frames),
            nodes: Handles::new(unused.nodes),
            look,
        }
    }

    /// Numbers for the next picture: what a client kept from this one stands for nothing there.
    pub(crate) fn unused(&self) -> Unused {
        Unused {
            frames: self.frames.next(),
            nodes: self.nodes.next(),
        }
    }

    pub(crate) const fn snapshot(&self) -> &Snapshot {
        &self.look.snapshot
    }

    pub(crate) fn findings(&self) -> &[Finding] {
        self.look.findings.as_deref().unwrap_or_default()
    }

    pub(super) fn goroutine(&self, number: u32) -> Option<&Goroutine> {
        self.snapshot().goroutines.get(number as usize)
    }

    pub(super) fn goroutine_number(&self, goid: Goid) -> Option<u32> {
        self.goroutines.get(&goid).copied()
    }

    pub(super) fn channel(&self, number: u32) -> Option<&Channel> {
        self.snapshot().channels.get(number as usize)
    }

    pub(super) fn channel_number(&self, addr: ChanAddr) -> Option<u32> {
        self.channels.get(&addr).copied()
    }

    pub(super) fn waiters(&self, target: WaitTarget) -> &[u32] {
        self.waiters.get(&target).map_or(&[], |waiters| waiters)
    }

    pub(super) fn held(&self, goid: Goid) -> &[u32] {
        self.held.get(&goid).map_or(&[], |held| held)
    }

    pub(super) fn marks(&self, goid: Goid) -> &[Mark] {
        self.marks.get(&goid).map_or(&[], |marks| marks)
    }

    pub(super) fn is_unsure(&self, goid: Goid) -> bool {
        self.look.unsure.binary_search(&goid).is_ok()
    }

    /// Whom to look at first: a goroutine of the surest finding, else the first that is listed.
    pub(crate) fn focus(&self) -> Option<Goid> {
        let first = *self.chosen.first()?;
        let stuck = self.findings().iter().find_map(|it| it.goroutines.first());
        let shown = stuck.copied().filter(|goid| {
            let number = self.goroutine_number(*goid);
            number.is_some_and(|number| self.chosen.contains(&(number as usize)))
        });
        shown.or_else(|| Some(self.snapshot().goroutines.get(first)?.goid))
    }

    pub(crate) fn threads(&self, symbols: &dyn Symbolizer) -> Vec<Thread> {
        Names::new(self.snapshot(), symbols).threads(
            &self.chosen,
            self.findings(),
            &self.marks,
            &self.look.unsure,
        )
    }

    /// Some frames of a goroutine, and how many there are.
    ///
    /// # Errors
    /// There is no such goroutine.
    pub(crate) fn stack(
        &mut self,
        asked: &StackTraceArguments,
        symbols: &dyn Symbolizer,
        config: &Config,
        client: &Client,
    ) -> Result<(Vec<StackFrame>, usize), Refusal> {
        let goid = u64::try_from(asked.thread_id).ok().map(Goid);
        let number = goid.and_then(|goid| self.goroutine_number(goid));
        let found = number.and_then(|number| Some((number, self.goroutine(number)?)));
        let Some((number, goroutine)) = found else {
            let text = format!("there is no goroutine {} in this snapshot", asked.thread_id);
            return Err(Refusal::new(text));
        };
        let frames = stack::frames(self.snapshot(), goroutine, symbols, config, client);
        let total = frames.len();
        let as_count =
            |given: Option<u64>| usize::try_from(given.unwrap_or(0)).unwrap_or(usize::MAX);
        let levels = match as_count(asked.levels) {
            0 => usize::MAX,
            levels => levels,
        };
        let numbered = frames.into_iter().zip(0..);
        let some = numbered
            .skip(as_count(asked.start_frame))
            .take(levels)
            .map(|(frame, index)| StackFrame {
                id: self.frames.number(&(number, index)),
                ..frame
            })
            .collect();
        Ok((some, total))
    }

    /// The goroutine that a frame belongs to.
    ///
    /// # Errors
    /// The number stands for no frame of this picture.
    pub(crate) fn frame(&self, id: i64) -> Result<u32, Refusal> {
        let frame = self.frames.get(id).copied();
        frame
            .map(|(goroutine, _)| goroutine)
            .ok_or_else(|| Refusal::new(format!("frame {id} is not of this snapshot")))
    }
}
