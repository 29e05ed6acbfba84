//! What a snapshot knows as a tree of variables: what a goroutine waits for, channels with their elements and
//! queues, findings with their evidence.

use tracer_model::ids::Goid;
use tracer_model::snapshot::{Channel, Goroutine, User, Value, WaitTarget, Waiter};
use tracer_model::symbol::Symbolizer;
use tracer_model::wait::{Direction, WaitKind, WaitObject};

use super::config::Config;
use super::picture::Picture;
use super::protocol::{Client, Refusal, Scope, Variable, VariablesArguments, VariablesFilter};
use super::threads::{Names, marked, state};
use super::value::{self, Inside, Shown};
use crate::document::channels::Stacks;
use crate::document::{Site, WaitingOn, WallClock};
use crate::text::findings::waits;
use crate::text::{count, elapsed, place, safe};

/// Variables in one answer to a client that does not ask for pages.
const MOST_AT_ONCE: usize = 10_000;

/// Where a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Root {
    /// An element of a channel's buffer; 0 is the oldest.
    Element(u32, u32),
    /// What a goroutine of a channel's queue of senders holds out.
    Sent(u32, u32),
}

/// Something that can be opened. Numbers are positions in the picture's snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    Goroutine(u32),
    WaitsFor(u32),
    /// The findings about a goroutine.
    Findings(u32),
    Finding(u32),
    /// The goroutines of a finding.
    Stuck(u32),
    Chain(u32),
    Evidence(u32),
    /// Who could end a goroutine's wait, by the chain of a finding.
    Enders(u32),
    Channels,
    /// The channels that a goroutine holds.
    Held(u32),
    Channel(u32),
    Elements(u32),
    Senders(u32),
    /// One of them.
    Sender(u32, u32),
    Receivers(u32),
    Users(u32),
    /// Who waits on something that is no channel.
    Waiters(WaitTarget),
    /// A decoded value, or the part of it that the path leads to.
    Value(Root, Box<[u32]>),
}

/// What it takes to show things.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) symbols: &'a dyn Symbolizer,
    pub(crate) clock: WallClock,
    pub(crate) client: &'a Client,
}

/// A variable whose number is not known yet.
struct Item {
    name: String,
    value: String,
    typ: Option<String>,
    node: Option<Node>,
    /// What the console takes to show the same.
    expression: Option<String>,
}

impl Item {
    fn leaf(name: impl Into<String>, value: impl Into<String>) -> Item {
        Item {
            name: name.into(),
            value: value.into(),
            typ: None,
            node: None,
            expression: None,
        }
    }

    fn node(name: impl Into<String>, value: impl Into<String>, node: Node) -> Item {
        Item {
            node: Some(node),
            ..Item::leaf(name, value)
        }
    }
}

impl Picture {
    /// What can be opened at a frame. The runtime's frames and the user's lead to the same: what a goroutine
    /// waits for is its own.
    pub(crate) fn scopes(&mut self, frame: i64, config: &Config) -> Result<Vec<Scope>, Refusal> {
        let number = self.frame(frame)?;
        let Some(goroutine) = self.goroutine(number) else {
            return Ok(Vec::new());
        };
        let goid = goroutine.goid;
        let mut found = Vec::new();
        if goroutine.wait.is_some() {
            found.push(("Waits for", Node::WaitsFor(number), false));
        }
        if !self.marks(goid).is_empty() {
            found.push(("Findings", Node::Findings(number), false));
        }
        found.push(("Goroutine", Node::Goroutine(number), false));
        if !self.held(goid).is_empty() {
            found.push(("Holds", Node::Held(number), false));
        }
        if config.globals {
            found.push(("Channels", Node::Channels, true));
        }
        let scopes = found.into_iter().map(|(name, node, expensive)| Scope {
            name,
            indexed_variables: self.length(&node),
            variables_reference: self.nodes.number(&node),
            expensive,
        });
        Ok(scopes.collect())
    }

    /// What is inside something, or a page of it.
    ///
    /// # Errors
    /// The number stands for nothing of this picture.
    pub(crate) fn variables(
        &mut self,
        asked: &VariablesArguments,
        view: View<'_>,
    ) -> Result<Vec<Variable>, Refusal> {
        let reference = asked.variables_reference;
        let Some(node) = self.nodes.get(reference).cloned() else {
            let text = format!("variable {reference} is not of this snapshot");
            return Err(Refusal::new(text));
        };
        let start = asked.start.unwrap_or(0);
        let most = match asked.count {
            None | Some(0) => MOST_AT_ONCE,
            Some(count) => count.min(MOST_AT_ONCE),
        };
        let length = self.length(&node);
        let mut items: Vec<Item> = match (length, asked.filter) {
            (Some(_), Some(VariablesFilter::Named)) => Vec::new(),
            (None, Some(VariablesFilter::Indexed)) => Vec::new(),
            (Some(length), _) => {
                let range = start.min(length)..start.saturating_add(most).min(length);
                // Only of who holds a channel it is asked where.
                let stacks = match node {
                    Node::Held(_) | Node::Users(_) => Stacks::of(self.snapshot()),
                    _ => Stacks::none(),
                };
                range
                    .filter_map(|at| self.element(&node, at, &stacks, view))
                    .collect()
            }
            (None, _) => {
                let named = self.named(&node, view).into_iter();
                named.skip(start).take(most).collect()
            }
        };
        if let Some(length) = length
            && asked.count.is_none_or(|count| count == 0)
            && length > start.saturating_add(items.len())
            && !items.is_empty()
        {
            let rest = length - start - items.len();
            items.push(Item::leaf(
                "…",
                format!("{rest} more; ask for them by start and count"),
            ));
        }
        Ok(items
            .into_iter()
            .map(|item| self.variable(item, view))
            .collect())
    }

    /// One channel as a variable.
    pub(crate) fn channel_variable(&mut self, number: u32, view: View<'_>) -> Option<Variable> {
        let channel = self.channel(number)?;
        let item = channel_item(channel.addr.to_string(), channel, number);
        Some(self.variable(item, view))
    }

    fn variable(&mut self, item: Item, view: View<'_>) -> Variable {
        let indexed = item.node.as_ref().and_then(|node| self.length(node));
        Variable {
            name: item.name,
            value: item.value,
            typ: item.typ.filter(|_| view.client.supports_variable_type),
            variables_reference: item.node.map_or(0, |node| self.nodes.number(&node)),
            // Without these, a client without pages asks for all at once, as it must.
            named_variables: None,
            indexed_variables: indexed.filter(|_| view.client.supports_variable_paging),
            evaluate_name: item.expression,
        }
    }

    /// How many elements a list has; `None` of what has named parts.
    fn length(&self, node: &Node) -> Option<usize> {
        let channel = |number: &u32| self.channel(*number);
        let finding = |number: &u32| self.findings().get(*number as usize);
        let goid = |number: &u32| self.goroutine(*number).map_or(Goid(0), |it| it.goid);
        let length = match node {
            Node::Findings(number) => self.marks(goid(number)).len(),
            Node::Stuck(number) => finding(number).map_or(0, |it| it.goroutines.len()),
            Node::Chain(number) => finding(number).map_or(0, |it| it.chain.len()),
            Node::Evidence(number) => finding(number).map_or(0, |it| it.evidence.len()),
            Node::Enders(number) => self.enders(*number).len(),
            Node::Channels => self.snapshot().channels.len(),
            Node::Held(number) => self.held(goid(number)).len(),
            Node::Elements(number) => channel(number).map_or(0, |it| it.values.len()),
            Node::Senders(number) => channel(number).map_or(0, |it| it.send_waiting.len()),
            Node::Receivers(number) => channel(number).map_or(0, |it| it.recv_waiting.len()),
            Node::Users(number) => channel(number).map_or(0, |it| it.users.len()),
            Node::Waiters(target) => self.waiters(*target).len(),
            Node::Value(root, path) => match self.part(*root, path).map(value::inside) {
                Some(Inside::Elements(list)) => list.len(),
                _ => return None,
            },
            Node::Goroutine(_)
            | Node::WaitsFor(_)
            | Node::Finding(_)
            | Node::Channel(_)
            | Node::Sender(..) => return None,
        };
        Some(length)
    }

    /// An element of a list.
    fn element(&self, node: &Node, at: usize, stacks: &Stacks<'_>, view: View<'_>) -> Option<Item> {
        let name = format!("[{at}]");
        let number = u32::try_from(at).ok()?;
        match node {
            Node::Findings(goroutine) => {
                let goid = self.goroutine(*goroutine)?.goid;
                let mark = self.marks(goid).get(at)?;
                let finding = self.findings().get(mark.finding as usize)?;
                let node = Node::Finding(mark.finding);
                Some(Item::node(
                    marked(finding, *mark),
                    safe(&finding.reason),
                    node,
                ))
            }
            Node::Stuck(finding) => {
                let goid = *self.findings().get(*finding as usize)?.goroutines.get(at)?;
                Some(self.goroutine_item(name, goid, view))
            }
            Node::Chain(finding) => {
                let link = self.findings().get(*finding as usize)?.chain.get(at)?;
                let mut item =
                    self.goroutine_item(format!("goroutine {}", link.goid), link.goid, view);
                let on = waits(&WaitingOn::of(link.reason.kind(), link.waits_on));
                let site = link.site.and_then(|pc| Site::of_user(&[pc], view.symbols));
                item.value = format!("{on}{}", site.map_or(String::new(), |site| at_place(&site)));
                Some(item)
            }
            Node::Evidence(finding) => {
                let evidence = self.findings().get(*finding as usize)?.evidence.get(at)?;
                Some(Item::leaf(name, safe(evidence)))
            }
            Node::Enders(goroutine) => {
                Some(self.goroutine_item(name, *self.enders(*goroutine).get(at)?, view))
            }
            Node::Channels => {
                let channel = self.channel(number)?;
                Some(channel_item(channel.addr.to_string(), channel, number))
            }
            Node::Held(goroutine) => {
                let goid = self.goroutine(*goroutine)?.goid;
                let number = *self.held(goid).get(at)?;
                let channel = self.channel(number)?;
                let user = channel.users.iter().find(|user| user.goid == goid)?;
                let mut item = channel_item(channel.addr.to_string(), channel, number);
                item.value.push_str(&held_at(user, stacks, view.symbols));
                Some(item)
            }
            Node::Elements(channel) => {
                let read = self.channel(*channel)?;
                let item = value_item(name, read.values.get(at)?, Root::Element(*channel, number));
                Some(typed(item, read))
            }
            Node::Senders(channel) => {
                let read = self.channel(*channel)?;
                let waiter = read.send_waiting.get(at)?;
                let mut item = self.waiter_item(name, waiter, view);
                if let Some(held) = &waiter.value {
                    let sent = safe(&value::shown(held).text).into_owned();
                    item.value = format!("{} sends {sent}", item.value);
                    item.node = Some(Node::Sender(*channel, number));
                }
                Some(item)
            }
            Node::Receivers(channel) => {
                let waiter = self.channel(*channel)?.recv_waiting.get(at)?;
                Some(self.waiter_item(name, waiter, view))
            }
            Node::Users(channel) => {
                let user = self.channel(*channel)?.users.get(at)?;
                let mut item = self.goroutine_item(name, user.goid, view);
                item.value.push_str(&held_at(user, stacks, view.symbols));
                Some(item)
            }
            Node::Waiters(target) => {
                let goid = self.goroutine(*self.waiters(*target).get(at)?)?.goid;
                Some(self.goroutine_item(name, goid, view))
            }
            Node::Value(root, path) => {
                let Inside::Elements(list) = value::inside(self.part(*root, path)?) else {
                    return None;
                };
                Some(part_item(name, list.get(at)?, *root, path, number))
            }
            Node::Goroutine(_)
            | Node::WaitsFor(_)
            | Node::Finding(_)
            | Node::Channel(_)
            | Node::Sender(..) => None,
        }
    }

    /// The named parts of something.
    fn named(&self, node: &Node, view: View<'_>) -> Vec<Item> {
        match node {
            Node::Goroutine(number) => self.goroutine_parts(*number, view),
            Node::WaitsFor(number) => self.wait_parts(*number),
            Node::Finding(number) => self.finding_parts(*number, view),
            Node::Channel(number) => self.channel_parts(*number, view),
            Node::Sender(channel, at) => self.sender_parts(*channel, *at, view),
            Node::Value(root, path) => match self.part(*root, path).map(value::inside) {
                Some(Inside::Fields(fields)) => fields
                    .into_iter()
                    .zip(0..)
                    .map(|((name, json), at)| part_item(safe(name), json, *root, path, at))
                    .collect(),
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    fn part(&self, root: Root, path: &[u32]) -> Option<&serde_json::Value> {
        let value = match root {
            Root::Element(channel, at) => self.channel(channel)?.values.get(at as usize)?,
            Root::Sent(channel, at) => {
                let waiter = self.channel(channel)?.send_waiting.get(at as usize)?;
                waiter.value.as_deref()?
            }
        };
        match value {
            Value::Decoded(json) => value::part(json, path),
            Value::Redacted(_) | Value::Unreadable(_) => None,
        }
    }

    /// Who alone could end a goroutine's wait, as the chain of a finding says.
    fn enders(&self, number: u32) -> &[Goid] {
        let Some(goroutine) = self.goroutine(number) else {
            return &[];
        };
        let chains = self.findings().iter().flat_map(|finding| &finding.chain);
        let mut links = chains.filter(|link| link.goid == goroutine.goid);
        links.next().map_or(&[], |link| &link.held_by)
    }

    fn name(&self, goroutine: &Goroutine, view: View<'_>) -> String {
        let unsure = self.is_unsure(goroutine.goid);
        Names::new(self.snapshot(), view.symbols).name(goroutine, unsure)
    }

    fn goroutine_item(&self, name: String, goid: Goid, view: View<'_>) -> Item {
        let number = self.goroutine_number(goid);
        match number.and_then(|number| Some((number, self.goroutine(number)?))) {
            Some((number, goroutine)) => Item {
                expression: Some(format!("why {goid}")),
                ..Item::node(name, self.name(goroutine, view), Node::Goroutine(number))
            },
            None => Item::leaf(name, format!("[Go {goid}] is not in this snapshot")),
        }
    }

    /// A goroutine in a channel's queue.
    fn waiter_item(&self, name: String, waiter: &Waiter, view: View<'_>) -> Item {
        let mut item = self.goroutine_item(name, waiter.goid, view);
        if waiter.select {
            item.value.push_str(", in a select");
        }
        item
    }

    /// A goroutine that waits to send, and what it holds out.
    fn sender_parts(&self, number: u32, at: u32, view: View<'_>) -> Vec<Item> {
        let Some(channel) = self.channel(number) else {
            return Vec::new();
        };
        let Some(waiter) = channel.send_waiting.get(at as usize) else {
            return Vec::new();
        };
        let held = waiter.value.as_deref();
        let held = held.map(|held| value_item("value".to_owned(), held, Root::Sent(number, at)));
        let goroutine = self.waiter_item("goroutine".to_owned(), waiter, view);
        held.map(|item| typed(item, channel))
            .into_iter()
            .chain([goroutine])
            .collect()
    }

    fn goroutine_parts(&self, number: u32, view: View<'_>) -> Vec<Item> {
        let Some(goroutine) = self.goroutine(number) else {
            return Vec::new();
        };
        let place = |pc| Site::of(pc, view.symbols).map(|site| place(&site));
        let mut items = vec![
            Item::leaf("goid", goroutine.goid.to_string()),
            Item::leaf("state", goroutine.state.name()),
        ];
        if goroutine.wait.is_some() {
            let node = Node::WaitsFor(number);
            items.push(Item::node("waits for", state(goroutine), node));
        }
        if let Some(start) = goroutine.start.get().and_then(place) {
            items.push(Item::leaf("started with", start));
        }
        if let Some(created) = goroutine.created_at.get().and_then(place) {
            items.push(Item::leaf("created at", created));
        }
        if let Some(parent) = goroutine.parent.get() {
            items.push(self.goroutine_item("created by".to_owned(), parent, view));
        }
        for (key, label) in &goroutine.labels {
            items.push(Item::leaf(format!("label {}", safe(key)), safe(label)));
        }
        if goroutine.system {
            items.push(Item::leaf("whose", "the runtime's own"));
        }
        if let Some(bytes) = goroutine.stack_bytes.get() {
            items.push(Item::leaf("stack", format!("{bytes} bytes in use")));
        }
        if !self.marks(goroutine.goid).is_empty() {
            let found = count(self.marks(goroutine.goid).len(), "finding");
            items.push(Item::node("findings", found, Node::Findings(number)));
        }
        items.extend(doubts(goroutine.moving, self.is_unsure(goroutine.goid)));
        items
    }

    fn wait_parts(&self, number: u32) -> Vec<Item> {
        let found = self.goroutine(number);
        let Some((goroutine, wait)) = found.and_then(|it| Some((it, it.wait.as_ref()?))) else {
            return Vec::new();
        };
        let snapshot = self.snapshot();
        let since = wait.since.get().map_or_else(
            || "not known: Go notes it only when it collects garbage".to_owned(),
            |since| format!("{} or more", elapsed(snapshot.finished.since(since))),
        );
        let mut items = vec![
            Item::leaf("reason", wait.reason.to_string()),
            Item::leaf("for", since),
        ];
        if let Some(until) = goroutine.sleeps_until.get() {
            let left = elapsed(until.since(snapshot.finished));
            items.push(Item::leaf("sleeps for", format!("{left} more")));
        }
        let is_select = wait.objects.len() > 1;
        for (at, object) in wait.objects.iter().enumerate() {
            let case = is_select.then(|| format!("case {at}: "));
            items.push(self.object_item(
                case.as_deref().unwrap_or(""),
                *object,
                wait.reason.kind(),
                number,
            ));
        }
        if !self.enders(number).is_empty() {
            let only = count(self.enders(number).len(), "goroutine");
            items.push(Item::node(
                "could be ended only by",
                only,
                Node::Enders(number),
            ));
        }
        items.extend(doubts(goroutine.moving, self.is_unsure(goroutine.goid)));
        items
    }

    /// One thing that can end a wait.
    fn object_item(&self, case: &str, object: WaitObject, kind: WaitKind, number: u32) -> Item {
        match object {
            WaitObject::Chan { chan, direction } => {
                let side = match direction {
                    Direction::Send => "send to",
                    Direction::Receive => "receive from",
                };
                let name = format!("{case}{side} {chan}");
                let channel = self.channel_number(chan);
                match channel.and_then(|number| Some((number, self.channel(number)?))) {
                    Some((number, channel)) => channel_item(name, channel, number),
                    None => Item::leaf(name, "a channel that was not read"),
                }
            }
            WaitObject::Netpoll(_) => {
                let wait = self.goroutine(number).and_then(|it| it.wait.as_ref());
                let on = wait.map(|wait| waits(&WaitingOn::wait(wait, self.snapshot())));
                Item::leaf("descriptor", on.unwrap_or_default())
            }
            WaitObject::Semaphore(addr) | WaitObject::Cond(addr) => {
                let on = WaitingOn::object(kind, object);
                let name = format!("{case}{} {addr}", on.kind_name());
                let value = match self.waiters(object.into()).len() {
                    0 | 1 => "nobody else waits there".to_owned(),
                    all => format!("{} wait there", count(all, "goroutine")),
                };
                Item::node(name, value, Node::Waiters(object.into()))
            }
        }
    }

    fn finding_parts(&self, number: u32, view: View<'_>) -> Vec<Item> {
        let Some(finding) = self.findings().get(number as usize) else {
            return Vec::new();
        };
        let place = |pc: &_| Site::of_user(&[*pc], view.symbols).map(|site| place(&site));
        let mut items = vec![
            Item::leaf("verdict", finding.verdict.name()),
            Item::leaf("reason", safe(&finding.reason)),
        ];
        for (name, pc) in [("at", &finding.at), ("created at", &finding.created_at)] {
            if let Some(place) = pc.as_ref().and_then(place) {
                items.push(Item::leaf(name, place));
            }
        }
        let chain = count(finding.chain.len(), "step");
        let lists = [
            ("chain", finding.chain.len(), chain, Node::Chain(number)),
            (
                "goroutines",
                finding.goroutines.len(),
                count(finding.goroutines.len(), "goroutine"),
                Node::Stuck(number),
            ),
            (
                "evidence",
                finding.evidence.len(),
                count(finding.evidence.len(), "sentence"),
                Node::Evidence(number),
            ),
        ];
        for (name, length, value, node) in lists {
            if length > 0 {
                items.push(Item::node(name, value, node));
            }
        }
        if !finding.unconfirmed.is_empty() {
            let others = count(finding.unconfirmed.len(), "goroutine");
            items.push(Item::leaf(
                "not confirmed",
                format!("{others} stuck in the same way"),
            ));
        }
        if let Some(cause) = &finding.caused_by {
            items.push(Item::leaf("caused by", safe(&cause.0)));
        }
        if let Some(advice) = &finding.advice {
            items.push(Item::leaf("usual fix", safe(advice)));
        }
        items.push(Item::leaf("id", safe(&finding.id.0)));
        items
    }

    fn channel_parts(&self, number: u32, view: View<'_>) -> Vec<Item> {
        let Some(channel) = self.channel(number) else {
            return Vec::new();
        };
        let snapshot = self.snapshot();
        let read = channel.values.len() as u64;
        let elements = match channel.len.saturating_sub(read) {
            0 => count(channel.values.len(), "element"),
            _ => format!(
                "{read} of {}, oldest first; the others were not read (`values`)",
                channel.len
            ),
        };
        let queue = |waiters: &[Waiter]| match waiters.len() {
            0 => "none waits".to_owned(),
            n => count(n, "goroutine"),
        };
        let mut items = vec![
            Item::leaf("len", channel.len.to_string()),
            Item::leaf("cap", channel.cap.to_string()),
            Item::leaf("state", if channel.closed { "closed" } else { "open" }),
            Item::leaf("element type", elem_type(channel)),
        ];
        let (senders, receivers) = (queue(&channel.send_waiting), queue(&channel.recv_waiting));
        let lists = [
            (
                "elements",
                channel.values.len(),
                elements,
                Node::Elements(number),
            ),
            (
                "sendq",
                channel.send_waiting.len(),
                senders,
                Node::Senders(number),
            ),
            (
                "recvq",
                channel.recv_waiting.len(),
                receivers,
                Node::Receivers(number),
            ),
            (
                "held by",
                channel.users.len(),
                count(channel.users.len(), "goroutine"),
                Node::Users(number),
            ),
        ];
        for (name, length, value, node) in lists {
            items.push(match length {
                0 => Item::leaf(name, value),
                _ => Item::node(name, value, node),
            });
        }
        if let Some(site) = channel.made_at.and_then(|pc| Site::of(pc, view.symbols)) {
            items.push(Item::leaf("made at", place(&site)));
        }
        if let Some(timer) = &channel.timer {
            let fires = timer.when.map_or_else(
                || "stopped, or has fired".to_owned(),
                |when| format!("fires in {}", elapsed(when.since(snapshot.finished))),
            );
            items.push(Item::leaf("timer", fires));
        }
        items.push(Item::leaf("read at", view.clock.rfc3339(channel.at)));
        items.extend(doubts(channel.moving, false));
        items
    }
}

/// What keeps a person from trusting the rest.
fn doubts(moving: bool, unsure: bool) -> impl Iterator<Item = Item> {
    let moving = moving.then(|| {
        Item::leaf(
            "moving",
            "it changed under every read: the parts may not belong together",
        )
    });
    let unsure = unsure.then(|| {
        Item::leaf(
            "not known for sure",
            "it may have changed unseen since it was last known",
        )
    });
    moving.into_iter().chain(unsure)
}

/// The type of a channel's elements as Go spells it.
fn elem_type(channel: &Channel) -> String {
    match &*channel.elem_type {
        "" => "not known".to_owned(),
        name => safe(name).into_owned(),
    }
}

fn channel_item(name: String, channel: &Channel, number: u32) -> Item {
    let mut value = format!(
        "chan {} {}/{}",
        elem_type(channel),
        channel.len,
        channel.cap
    );
    if channel.closed {
        value.push_str(", closed");
    } else if channel.cap > 0 && channel.len == channel.cap {
        value.push_str(", full");
    }
    for (waiters, what) in [
        (&channel.send_waiting, "to send"),
        (&channel.recv_waiting, "to receive"),
    ] {
        match waiters.len() {
            0 => {}
            1 => value.push_str(&format!(", 1 goroutine waits {what}")),
            n => value.push_str(&format!(", {n} goroutines wait {what}")),
        }
    }
    if channel.moving {
        value.push_str(", moving");
    }
    Item {
        typ: Some(format!("chan {}", elem_type(channel))),
        expression: Some(format!("channel {}", channel.addr)),
        ..Item::node(name, value, Node::Channel(number))
    }
}

fn value_item(name: String, held: &Value, root: Root) -> Item {
    let Shown { text, dynamic_type } = value::shown(held);
    let opens = matches!(held, Value::Decoded(json) if value::inside(json) != Inside::Nothing);
    Item {
        typ: dynamic_type.map(|name| safe(&name).into_owned()),
        node: opens.then(|| Node::Value(root, Box::default())),
        ..Item::leaf(name, safe(&text))
    }
}

/// The same with the type that its channel has, if it has none of its own.
fn typed(item: Item, channel: &Channel) -> Item {
    Item {
        typ: item.typ.or_else(|| Some(elem_type(channel))),
        ..item
    }
}

fn part_item(
    name: impl Into<String>,
    json: &serde_json::Value,
    root: Root,
    path: &[u32],
    at: u32,
) -> Item {
    let Shown { text, dynamic_type } = value::decoded(json);
    let opens = value::inside(json) != Inside::Nothing;
    Item {
        typ: dynamic_type.map(|name| safe(&name).into_owned()),
        node: opens.then(|| Node::Value(root, [path, &[at]].concat().into())),
        ..Item::leaf(name, safe(&text))
    }
}

fn at_place(site: &Site) -> String {
    format!(" at {}", place(site))
}

/// How a goroutine holds a channel.
fn held_at(user: &User, stacks: &Stacks<'_>, symbols: &dyn Symbolizer) -> String {
    let site = stacks.site(user, symbols);
    let at = site.map_or(String::new(), |site| format!(", held{}", at_place(&site)));
    match user.through {
        Some(object) => format!("{at} through the object at {object}"),
        None => at,
    }
}
