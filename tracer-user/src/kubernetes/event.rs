//! Findings on their way to become events of their pods: one event for each finding of a container, however often it
//! is told, and few at a time.
//!
//! They are events of the core API, which `kubectl describe pod` lists with how often and since when; what
//! events.k8s.io makes carries no count that it shows. The name of one follows from the finding, so that an agent that
//! was started anew, or a container, goes on with the event that is there.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHasher};
use serde_json::{Value, json};
use tracer_model::detect::{FindingKind, Verdict};

use super::pod::Pod;
use crate::document::findings::Entry;
use crate::text::safe;

/// What says it.
const CONTROLLER: &str = "gotrace.dev/agent";
/// Bytes of a note at most: what events.k8s.io takes.
const MOST_NOTE: usize = 1024;
/// Characters of a pod's name in an event's: of the 253 that there may be, room for the rest.
const MOST_NAME: usize = 253 - 17;
/// Findings that wait at most.
const MOST_WAITING: usize = 256;
/// Findings that are remembered at most, so that they are told once.
const MOST_KNOWN: usize = 4096;
/// The API forgets an event an hour after its last change. So does this.
const KEPT: Duration = Duration::from_secs(3600);
/// So many at once,
const BURST: u32 = 20;
/// and one more each so often, for all of the node.
const REFILL: Duration = Duration::from_secs(6);

/// What is to be told of a finding.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) pod: Arc<Pod>,
    pub(super) container: Option<Box<str>>,
    pub(super) finding: Box<str>,
    pub(super) reason: &'static str,
    pub(super) note: String,
}

impl Report {
    pub(super) fn new(pod: Arc<Pod>, container: Option<&str>, pid: u32, entry: &Entry) -> Report {
        Report {
            pod,
            container: container.map(Box::from),
            finding: entry.id.as_str().into(),
            reason: reason(entry.kind),
            note: note(pid, entry),
        }
    }
}

/// The reason of an event, as such are spelt.
const fn reason(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::Deadlock => "GoroutineDeadlock",
        FindingKind::Leak => "GoroutineLeak",
        FindingKind::Stall => "ProgramStall",
        FindingKind::Growth => "GoroutineGrowth",
        FindingKind::Backlog => "ChannelBacklog",
        FindingKind::Convoy => "LockConvoy",
        FindingKind::Recursion => "RunawayRecursion",
        FindingKind::Panic => "ChannelPanic",
        FindingKind::Corrupt => "ChannelCorrupt",
    }
}

fn note(pid: u32, entry: &Entry) -> String {
    let verdict = match entry.verdict {
        Verdict::Suspect => "Suspected",
        Verdict::Likely => "Likely",
        Verdict::Proven => "Proven",
    };
    // What is said of the process comes last, and always has room.
    let end = format!(" (process {pid}, finding {})", safe(&entry.id));
    let mut note = format!("{verdict}: {}", safe(&entry.reason));
    let waits = entry.chain.iter().find_map(|link| link.site.as_ref());
    if let Some(site) = entry.at.as_ref().or(waits) {
        // Writing to a string does not fail.
        let _ = write!(note, "; at {}", safe(&site.function));
        let _ = write!(note, " {}:{}", safe(&site.file), site.line);
    }
    if let Some(advice) = &entry.advice {
        let _ = write!(note, "; {}", safe(advice));
    }
    shorten(&mut note, MOST_NOTE.saturating_sub(end.len()));
    note += &end;
    shorten(&mut note, MOST_NOTE);
    note
}

/// Cuts at a character's end, and shows that.
fn shorten(text: &mut String, most: usize) {
    const MARK: &str = "…";
    if text.len() <= most {
        return;
    }
    let mut end = most.saturating_sub(MARK.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push_str(MARK);
}

/// What stands for one event: the pod, the container, the finding.
pub(super) type Key = (Box<str>, Option<Box<str>>, Box<str>);

/// What is to be sent.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    pub(super) key: Key,
    /// With the event's name, if it is there already.
    pub(super) path: String,
    /// The object, or the fields that change.
    pub(super) body: Value,
    pub(super) create: bool,
}

/// How a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is there; how often it has happened, if the API says so.
    Sent { count: Option<u32> },
    /// It was there already.
    Exists,
    /// It is not there any more.
    Missing,
    /// Not now.
    Later,
    /// Never.
    Refused,
}

/// What is known of an event.
#[derive(Debug)]
struct Known {
    report: Report,
    /// Whether the API has it. One that it had before gotrace began has a count that is not known.
    there: Option<There>,
    /// How often it was told since it was sent.
    new: u32,
    first: Timestamp,
    last: Timestamp,
    waiting: bool,
    touched: Instant,
}

#[derive(Clone, Copy, Debug)]
struct There {
    count: Option<u32>,
}

/// See the module. Time is told to it.
#[derive(Debug)]
pub(super) struct Queue {
    node: Box<str>,
    known: FxHashMap<Key, Known>,
    waiting: VecDeque<Key>,
    tokens: u32,
    refilled: Instant,
}

impl Queue {
    pub(super) fn new(node: &str, now: Instant) -> Queue {
        Queue {
            node: node.into(),
            known: FxHashMap::default(),
            waiting: VecDeque::new(),
            tokens: BURST,
            refilled: now,
        }
    }

    /// Takes a finding; whether there was room.
    pub(super) fn push(&mut self, report: Report, now: Instant, time: Timestamp) -> bool {
        let key = (
            report.pod.uid.clone(),
            report.container.clone(),
            report.finding.clone(),
        );
        if !self.known.contains_key(&key) {
            self.known
                .retain(|_, known| known.waiting || now.duration_since(known.touched) < KEPT);
        }
        let is_known = self.known.contains_key(&key);
        let waits = self.known.get(&key).is_some_and(|known| known.waiting);
        if !waits && self.waiting.len() >= MOST_WAITING {
            return false;
        }
        if !is_known && self.known.len() >= MOST_KNOWN && !self.forget_one() {
            return false;
        }
        if !waits {
            self.waiting.push_back(key.clone());
        }
        let known = self.known.entry(key).or_insert_with(|| Known {
            report: report.clone(),
            there: None,
            new: 0,
            first: time,
            last: time,
            waiting: true,
            touched: now,
        });
        known.report = report;
        known.new += 1;
        known.last = time;
        known.waiting = true;
        true
    }

    /// Forgets the event that was sent longest ago.
    fn forget_one(&mut self) -> bool {
        let sent = self.known.iter().filter(|(_, known)| !known.waiting);
        let oldest = sent.min_by_key(|(_, known)| known.touched);
        let Some(key) = oldest.map(|(key, _)| key.clone()) else {
            return false;
        };
        self.known.remove(&key);
        true
    }

    /// When the next can be sent; `None` if none waits.
    pub(super) fn ready(&self, now: Instant) -> Option<Instant> {
        if self.waiting.is_empty() {
            return None;
        }
        Some(match self.tokens {
            0 => self.refilled + REFILL,
            _ => now,
        })
    }

    /// What is to be sent now, if anything is. [`Queue::done`] must follow.
    pub(super) fn next(&mut self, now: Instant) -> Option<Request> {
        self.refill(now);
        if self.tokens == 0 {
            return None;
        }
        let key = self.waiting.pop_front()?;
        self.tokens -= 1;
        let node = &self.node;
        let known = self.known.get(&key)?;
        Some(known.request(key, node))
    }

    /// How it went.
    pub(super) fn done(&mut self, key: &Key, outcome: Outcome, now: Instant) {
        let Some(known) = self.known.get_mut(key) else {
            return;
        };
        known.touched = now;
        match outcome {
            Outcome::Sent { count } => {
                known.there = Some(There { count });
                known.new = 0;
                known.waiting = false;
            }
            Outcome::Refused => {
                self.known.remove(key);
            }
            Outcome::Exists => {
                known.there = Some(There { count: None });
                self.waiting.push_front(key.clone());
            }
            Outcome::Missing => {
                known.there = None;
                self.waiting.push_front(key.clone());
            }
            Outcome::Later => self.waiting.push_front(key.clone()),
        }
    }

    /// How many wait, or are being sent.
    pub(super) fn waiting(&self) -> usize {
        let waiting = self.known.values().filter(|known| known.waiting);
        waiting.count()
    }

    fn refill(&mut self, now: Instant) {
        while self.tokens < BURST && now >= self.refilled + REFILL {
            self.tokens += 1;
            self.refilled += REFILL;
        }
        if self.tokens == BURST {
            // Time in which nothing was missing saves nothing up.
            self.refilled = now;
        }
    }
}

impl Known {
    fn request(&self, key: Key, node: &str) -> Request {
        let Report {
            pod,
            container,
            reason,
            note,
            ..
        } = &self.report;
        let name = event_name(&key, &pod.name);
        let path = format!("/api/v1/namespaces/{}/events", pod.namespace);
        let last = format!("{:.0}", self.last);
        let Some(there) = self.there else {
            let mut about = json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "namespace": pod.namespace,
                "name": pod.name,
                "uid": pod.uid,
            });
            if let Some(container) = container {
                about["fieldPath"] = format!("spec.containers{{{container}}}").into();
            }
            let body = json!({
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"namespace": pod.namespace, "name": name},
                "involvedObject": about,
                "type": "Warning",
                "reason": reason,
                "message": note,
                "firstTimestamp": format!("{:.0}", self.first),
                "lastTimestamp": last,
                "count": self.new,
                "source": {"component": "gotrace", "host": node},
                "reportingComponent": CONTROLLER,
                "reportingInstance": node,
            });
            return Request {
                key,
                path,
                body,
                create: true,
            };
        };
        let mut body = json!({"message": note, "lastTimestamp": last});
        if let Some(count) = there.count {
            body["count"] = count.saturating_add(self.new).into();
        }
        Request {
            key,
            path: format!("{path}/{name}"),
            body,
            create: false,
        }
    }
}

fn event_name(key: &Key, pod: &str) -> String {
    let mut hasher = FxHasher::default();
    key.hash(&mut hasher);
    let pod = pod
        .get(..MOST_NAME)
        .unwrap_or(pod)
        .trim_end_matches(['-', '.']);
    format!("{pod}.{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> Arc<Pod> {
        let object = json!({"metadata": {"name": name, "namespace": "shop", "uid": "u"}});
        let object = serde_json::from_value(object).expect("a pod");
        Arc::new(Pod::new(object).expect("a pod"))
    }

    fn report(finding: &str, note: &str) -> Report {
        Report {
            pod: pod("cart-1"),
            container: Some("app".into()),
            finding: finding.into(),
            reason: "GoroutineLeak",
            note: note.to_owned(),
        }
    }

    fn time(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
    }

    const SENT: Outcome = Outcome::Sent { count: Some(1) };

    #[test]
    fn a_finding_that_is_told_again_changes_its_event() {
        let now = Instant::now();
        let mut queue = Queue::new("node-1", now);
        assert!(queue.push(report("leak", "one"), now, time(0)));
        let first = queue.next(now).expect("it waits");
        assert!(first.create);
        assert_eq!(first.path, "/api/v1/namespaces/shop/events");
        let body = &first.body;
        assert_eq!(body["involvedObject"]["uid"], "u");
        assert_eq!(body["involvedObject"]["fieldPath"], "spec.containers{app}");
        assert_eq!(body["metadata"]["namespace"], "shop");
        assert_eq!(
            (&body["type"], &body["reason"]),
            (&json!("Warning"), &json!("GoroutineLeak"))
        );
        assert_eq!(body["firstTimestamp"], "2027-01-15T08:00:00Z");
        assert_eq!(body["count"], 1);
        queue.done(&first.key, SENT, now);
        assert_eq!(queue.next(now), None);

        // Twice while it waits is one change.
        assert!(queue.push(report("leak", "two"), now, time(5)));
        assert!(queue.push(report("leak", "three"), now, time(9)));
        let second = queue.next(now).expect("it waits");
        let name = body["metadata"]["name"].as_str().expect("a name");
        assert_eq!(
            second.path,
            format!("/api/v1/namespaces/shop/events/{name}")
        );
        assert!(!second.create);
        assert_eq!(
            second.body,
            json!({"message": "three", "lastTimestamp": "2027-01-15T08:00:09Z", "count": 3})
        );
        queue.done(&second.key, Outcome::Sent { count: Some(3) }, now);
        assert_eq!(queue.ready(now), None);
    }

    #[test]
    fn an_event_that_was_there_before_keeps_its_count() {
        let now = Instant::now();
        let mut queue = Queue::new("node-1", now);
        queue.push(report("leak", "one"), now, time(0));
        let create = queue.next(now).expect("it waits");
        queue.done(&create.key, Outcome::Exists, now);
        let patch = queue.next(now).expect("it waits");
        assert!(!patch.create);
        assert_eq!(patch.body.get("count"), None, "it is not known");
        queue.done(&patch.key, Outcome::Sent { count: Some(7) }, now);
        queue.push(report("leak", "two"), now, time(1));
        let patch = queue.next(now).expect("it waits");
        assert_eq!(patch.body["count"], 8);
        // The API has forgotten it meanwhile.
        queue.done(&patch.key, Outcome::Missing, now);
        let create = queue.next(now).expect("it waits");
        assert!(create.create);
        queue.done(&create.key, Outcome::Refused, now);
        assert!(queue.known.is_empty());
    }

    #[test]
    fn few_are_sent_at_a_time() {
        let start = Instant::now();
        let mut queue = Queue::new("node-1", start);
        let mut pushed = 0;
        while queue.push(report(&pushed.to_string(), ""), start, time(0)) {
            pushed += 1;
        }
        assert_eq!(pushed, MOST_WAITING);
        let mut sent = |now| {
            let mut sent = 0;
            while let Some(request) = queue.next(now) {
                queue.done(&request.key, SENT, now);
                sent += 1;
            }
            (sent, queue.ready(now))
        };
        assert_eq!(sent(start), (BURST, Some(start + REFILL)));
        assert_eq!(sent(start + REFILL / 2).0, 0);
        assert_eq!(sent(start + REFILL).0, 1);
        assert_eq!(sent(start + 3 * REFILL).0, 2);
        assert_eq!(sent(start + 1000 * REFILL).0, BURST, "nothing is saved up");
    }

    #[test]
    fn what_could_not_be_sent_comes_first_again() {
        let now = Instant::now();
        let mut queue = Queue::new("node-1", now);
        queue.push(report("a", ""), now, time(0));
        queue.push(report("b", ""), now, time(0));
        let a = queue.next(now).expect("it waits");
        queue.done(&a.key, Outcome::Later, now);
        assert_eq!(queue.next(now), Some(a));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_ends_with_the_event() {
        let now = Instant::now();
        let mut queue = Queue::new("node-1", now);
        queue.tokens = u32::MAX;
        for number in 0..MOST_KNOWN + 5 {
            assert!(queue.push(report(&number.to_string(), ""), now, time(0)));
            let request = queue.next(now).expect("there is a token");
            queue.done(&request.key, SENT, now);
            assert!(queue.known.len() <= MOST_KNOWN);
        }
        assert_eq!(queue.known.len(), MOST_KNOWN);
        queue.push(report("last", ""), now + KEPT, time(0));
        assert_eq!(queue.known.len(), 1);
    }

    #[test]
    fn names_and_notes_fit() {
        let key = ("u".into(), None, "f".into());
        let name = event_name(&key, &"x".repeat(253));
        assert!(name.len() <= 253 && name.starts_with("xxx"), "{name}");
        let other = ("u".into(), Some("app".into()), "f".into());
        assert_ne!(event_name(&key, "p"), event_name(&other, "p"));
        for (text, most, expected) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "…"),
            ("aéiou", 5, "a…"),
            ("aéiou", 6, "aéiou"),
        ] {
            let mut shortened = text.to_owned();
            shorten(&mut shortened, most);
            assert_eq!(shortened, expected);
        }
    }
}
