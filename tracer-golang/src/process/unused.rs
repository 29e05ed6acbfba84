//! Who waits for what global variables alone lead to that nobody uses.
//!
//! Before global variables are marked: the goroutines that are not reached yet, and whose wait no variable
//! leads to that the code which can still run may use ([`Uses`]).

use rustc_hash::{FxHashMap, FxHashSet};
use tracer_model::ids::{Addr, Goid};
use tracer_model::snapshot::{Holder, Unused, WaitTarget};

use super::bytes::u64_at;
use super::candidates::Candidate;
use super::header::Header;
use super::mark::Mark;
use super::memory::TargetMemory;
use super::reachability::Pass;
use super::role::Role;
use super::stack_words::StackWords;
use super::{ProcessError, holders};

/// Bytes of global variables that are read together.
const PIECE: usize = 1 << 20;

/// What global variables that nobody uses lead to, and what nothing does.
pub(super) struct Held {
    unused: Vec<Unused>,
    holders: Vec<Holder>,
}

impl Held {
    /// Who is held by unused variables, given who is not reached at all. `holders` gets what is known
    /// of who else refers to what they wait on.
    pub(super) fn add_to(self, holders: &mut Vec<Holder>, unreached: &[Candidate]) -> Vec<Unused> {
        let mut unused = self.unused;
        let unreached: FxHashSet<Goid> = unreached.iter().map(|it| it.goid).collect();
        unused.retain(|unused| !unreached.contains(&unused.goid));
        for holder in self.holders {
            if !holders.contains(&holder) {
                holders.push(holder);
            }
        }
        unused
    }
}

impl<M: TargetMemory> Pass<'_, M> {
    /// What remains of the candidates when everything was marked that is used. `None` if that cannot be
    /// told.
    pub(super) fn held(
        &mut self,
        mark: &mut Mark,
        candidates: &mut Vec<Candidate>,
    ) -> Result<Option<Held>, ProcessError> {
        loop {
            let Some(uses) = &mut self.uses else {
                return Ok(None);
            };
            let met = mark.met(self.process.memory())?;
            let nothing_new = met.is_empty();
            met.into_iter().for_each(|word| uses.word(word));
            uses.follow(mark)?;
            if candidates.is_empty() || uses.unknown().is_some() {
                return Ok(None);
            }
            let used: FxHashSet<u64> = (candidates.iter())
                .filter(|candidate| candidate.statics.iter().any(|&addr| uses.has(addr)))
                .map(|candidate| candidate.gaddr())
                .collect();
            let before = candidates.len();
            self.revive(mark, candidates, |candidate| {
                used.contains(&candidate.gaddr())
            })?;
            self.fixed_point(mark, candidates)?;
            if nothing_new && candidates.len() == before {
                break;
            }
        }
        let holders = holders::find(self.process, &mut self.stacks, mark, candidates)?;
        Ok(Some(Held {
            unused: self.variables(mark, candidates)?,
            holders,
        }))
    }

    /// The variables that lead to what the candidates wait on; those that none leads to are left out.
    fn variables(
        &self,
        mark: &Mark,
        candidates: &[Candidate],
    ) -> Result<Vec<Unused>, ProcessError> {
        let mut words = Vec::new();
        for module in self.process.modules() {
            for section in [&module.data, &module.bss] {
                for start in (section.start.0..section.end.0).step_by(PIECE) {
                    let len = (section.end.0 - start).min(PIECE as u64) as usize;
                    let mut bytes = vec![0; len];
                    self.process.memory().read(Addr(start), &mut bytes)?;
                    let places = (0..len as u64 / 8).map(|n| n * 8);
                    let pairs = places.map(|at| (start + at, u64_at(&bytes, at as u32)));
                    words.extend(pairs.filter(|(_, word)| mark.heap().object(*word).is_some()));
                }
            }
        }
        let ways = holders::from_statics(self.process, mark, &words, candidates)?;
        let Some(uses) = &self.uses else {
            return Ok(Vec::new());
        };
        let mut names: FxHashMap<u64, Box<str>> = FxHashMap::default();
        let mut name = |addr: u64| {
            let name = names.entry(addr);
            let name = name.or_insert_with(|| uses.name(addr).unwrap_or_default().into());
            name.clone()
        };
        let mut unused = Vec::new();
        for candidate in candidates {
            let in_heap = candidate.targets.iter().filter_map(|(_, addr)| {
                let path = ways.get(addr)?;
                Some((*addr, path.clone()))
            });
            let global = candidate
                .statics
                .iter()
                .map(|addr| (*addr, vec![Addr(*addr)]));
            for (addr, path) in global.chain(in_heap) {
                unused.push(Unused {
                    goid: candidate.goid,
                    object: WaitTarget(Addr(addr)),
                    variable: name(path[0].0),
                    path,
                });
            }
        }
        Ok(unused)
    }

    /// Nobody knows what a goroutine is about to do.
    pub(super) fn unclear(&mut self, header: &Header) {
        if self.is_system(header) {
            return;
        }
        if let Some(uses) = &mut self.uses {
            uses.give_up(|| format!("goroutine {} ran", header.goid));
        }
    }

    /// What a goroutine that can run is about to do, by its stack.
    pub(super) fn code_of(&mut self, header: &Header, bytes: &[u8], known: Option<&StackWords>) {
        if self.uses.is_none() || self.is_system(header) {
            return;
        }
        let walked;
        let extents = match known {
            Some(known) => &known.extents,
            None => {
                walked = self.stacks.extents(self.process, header, bytes);
                &walked
            }
        };
        let Some(uses) = &mut self.uses else {
            return;
        };
        uses.frames(header, extents);
        if let Some(known) = known {
            let range = uses.range();
            for (word, of_use) in bytes.as_chunks().0.iter().zip(&known.of_use) {
                let word = u64::from_le_bytes(*word);
                if !of_use && range.contains(&word) {
                    uses.leftover(word);
                }
            }
        }
    }

    /// Whether it is one of the runtime's own, whose code counts as used in any case.
    fn is_system(&self, header: &Header) -> bool {
        let process = self.process;
        let role = Role::of(process.binary(), process.bias(), header.startpc);
        matches!(role, Role::System)
    }
}
