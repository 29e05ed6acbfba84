//! The wait-for graph as nodes and edges, whatever the language in which it is written.
//!
//! An edge leads from a goroutine to what it waits on, and from there to each goroutine that could end
//! the wait.

use rustc_hash::{FxHashMap, FxHashSet};
use tracer_model::detect::{Awaited, Reference, Stands, Verdict, Waiting, Why};
use tracer_model::ids::Goid;
use tracer_model::snapshot::{Snapshot, WaitTarget};
use tracer_model::symbol::Symbolizer;
use tracer_model::wait::{Direction, WaitKind, WaitObject, WaitReason};

use super::{Site, WaitingOn};

/// How a node looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// A goroutine that can never run again.
    Stuck(Verdict),
    /// A goroutine that may run.
    Alive,
    /// What goroutines wait on.
    Object,
}

/// A goroutine or an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) look: Look,
    /// Whether the graph is about it.
    pub(crate) asked: bool,
    pub(crate) lines: Vec<String>,
}

/// From the node at one index to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Whether it is a step of the chain that explains.
    pub(crate) chain: bool,
    pub(crate) lines: Vec<String>,
}

/// The graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) edges: Vec<Edge>,
}

impl Graph {
    /// Of one goroutine's explanation.
    pub(crate) fn of_why(why: &Why, snapshot: &Snapshot, symbols: &dyn Symbolizer) -> Graph {
        // The chain ends with the first one of the cycle, to which the cycle comes back.
        let steps: Vec<Goid> = match why.cycle.first() {
            Some(&first) => {
                let tail = why.cycle.iter().skip(1).copied();
                why.chain
                    .iter()
                    .copied()
                    .chain(tail)
                    .chain([first])
                    .collect()
            }
            None => why.chain.clone(),
        };
        let pairs = steps.windows(2).map(|pair| (pair[0], pair[1])).collect();
        Builder::new(snapshot, symbols, pairs, Some(why.goid)).build(&why.waits)
    }

    /// Of the waits in the chains of findings.
    pub(crate) fn of_waits(
        waits: &[Waiting],
        snapshot: &Snapshot,
        symbols: &dyn Symbolizer,
    ) -> Graph {
        Builder::new(snapshot, symbols, FxHashSet::default(), None).build(waits)
    }
}

struct Builder<'a> {
    snapshot: &'a Snapshot,
    symbols: &'a dyn Symbolizer,
    /// Who follows whom in the chain.
    chain: FxHashSet<(Goid, Goid)>,
    asked: Option<Goid>,
    graph: Graph,
    goroutines: FxHashMap<Goid, usize>,
    objects: FxHashMap<WaitTarget, usize>,
    held: FxHashSet<(usize, usize)>,
}

impl<'a> Builder<'a> {
    fn new(
        snapshot: &'a Snapshot,
        symbols: &'a dyn Symbolizer,
        chain: FxHashSet<(Goid, Goid)>,
        asked: Option<Goid>,
    ) -> Self {
        Self {
            snapshot,
            symbols,
            chain,
            asked,
            graph: Graph::default(),
            goroutines: FxHashMap::default(),
            objects: FxHashMap::default(),
            held: FxHashSet::default(),
        }
    }

    fn build(mut self, waits: &[Waiting]) -> Graph {
        for waiting in waits {
            self.goroutine(waiting);
        }
        for waiting in waits {
            for awaited in &waiting.awaited {
                self.wait(waiting, awaited);
            }
        }
        self.graph
    }

    fn goroutine(&mut self, waiting: &Waiting) {
        let mut lines = vec![format!("goroutine {}", waiting.goid)];
        lines.push(match waiting.reason {
            Some(reason) => reason.to_string(),
            None => waiting.state.to_string(),
        });
        let site = waiting
            .site
            .and_then(|pc| Site::of_user(&[pc], self.symbols));
        if let Some(site) = site {
            lines.push(format!(
                "{} {}:{}",
                site.function,
                file_name(&site),
                site.line
            ));
        }
        let look = match waiting.stands {
            Stands::Stuck(verdict) => Look::Stuck(verdict),
            Stands::OnPurpose | Stands::Alive(_) | Stands::Unknown => Look::Alive,
        };
        let index = self.node(format!("g{}", waiting.goid), look, lines);
        self.graph.nodes[index].asked = self.asked == Some(waiting.goid);
        self.goroutines.insert(waiting.goid, index);
    }

    fn wait(&mut self, waiting: &Waiting, awaited: &Awaited) {
        let from = self.goroutines[&waiting.goid];
        let object = self.object(waiting.reason, awaited);
        let in_chain = |goid: Goid| self.chain.contains(&(waiting.goid, goid));
        let leads_on = awaited.references.iter().any(|it| in_chain(it.goid));
        let marked: Vec<bool> = awaited
            .references
            .iter()
            .map(|it| in_chain(it.goid))
            .collect();
        let what = match (waiting.reason.map(WaitReason::kind), awaited.object) {
            (kind, WaitObject::Chan { direction, .. }) => {
                let verb = match direction {
                    Direction::Send => "waits to send",
                    Direction::Receive => "waits to receive",
                };
                match kind {
                    Some(WaitKind::Select) => format!("{verb} (select)"),
                    _ => verb.to_owned(),
                }
            }
            (Some(WaitKind::Mutex | WaitKind::RwMutex), _) => "waits to lock".to_owned(),
            _ => "waits".to_owned(),
        };
        self.graph.edges.push(Edge {
            from,
            to: object,
            chain: leads_on,
            lines: vec![what],
        });
        for (reference, chain) in awaited.references.iter().zip(marked) {
            let to = self.holder(reference.goid);
            if self.held.insert((object, to)) {
                let lines = self.held(reference);
                self.graph.edges.push(Edge {
                    from: object,
                    to,
                    chain,
                    lines,
                });
            } else if chain {
                let mut edges = self.graph.edges.iter_mut();
                if let Some(edge) = edges.find(|edge| (edge.from, edge.to) == (object, to)) {
                    edge.chain = true;
                }
            }
        }
    }

    fn object(&mut self, reason: Option<WaitReason>, awaited: &Awaited) -> usize {
        let target = WaitTarget::from(awaited.object);
        if let Some(&index) = self.objects.get(&target) {
            return index;
        }
        let kind = reason.map_or(WaitKind::Runtime, WaitReason::kind);
        let mut lines = match awaited.object {
            WaitObject::Chan { chan, .. } => {
                let channel = self.snapshot.channels.iter().find(|it| it.addr == chan);
                let mut lines = vec![format!("channel {chan}")];
                if let Some(channel) = channel {
                    lines.push(format!(
                        "chan {}, {}/{}",
                        match &*channel.elem_type {
                            "" => "?",
                            name => name,
                        },
                        channel.len,
                        channel.cap
                    ));
                }
                lines
            }
            object => {
                let on = WaitingOn::object(kind, object);
                vec![format!("{} {}", on.kind_name(), target.0)]
            }
        };
        if awaited.references.is_empty() {
            lines.push("nobody else was seen to refer to it".to_owned());
        }
        if awaited.others_total > 0 {
            lines.push(format!("{} more wait here", awaited.others_total));
        }
        let index = self.node(format!("o{:x}", target.0.0), Look::Object, lines);
        self.objects.insert(target, index);
        index
    }

    /// A goroutine that is told of, or its id alone.
    fn holder(&mut self, goid: Goid) -> usize {
        if let Some(&index) = self.goroutines.get(&goid) {
            return index;
        }
        let lines = vec![format!("goroutine {goid}")];
        let index = self.node(format!("g{goid}"), Look::Alive, lines);
        self.goroutines.insert(goid, index);
        index
    }

    fn held(&self, reference: &Reference) -> Vec<String> {
        let mut lines = Vec::new();
        let frame = reference.frame.map(|pc| self.symbols.frames(pc));
        match frame.as_ref().and_then(|frames| frames.last()) {
            Some(frame) => lines.push(format!("held by {}", frame.function)),
            None => lines.push("held by its stack".to_owned()),
        }
        if let Some(slot) = reference.slot {
            lines.push(format!("at {slot}"));
        }
        for object in &reference.through {
            lines.push(format!("through {object}"));
        }
        lines
    }

    fn node(&mut self, name: String, look: Look, lines: Vec<String>) -> usize {
        self.graph.nodes.push(Node {
            name,
            look,
            asked: false,
            lines,
        });
        self.graph.nodes.len() - 1
    }
}

fn file_name(site: &Site) -> &str {
    site.file.rsplit('/').next().unwrap_or(&site.file)
}
