//! Follows the pods of one node: all are listed, then the API tells each change from that list's version on.
//!
//! A watch ends after some minutes, as it asked for, and goes on from the last version that it heard of; bookmarks
//! keep that one young where nothing changes. Where the API has forgotten a version (410), all are listed anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::{sleep, timeout};

use super::Shared;
use super::backoff::Backoff;
use super::cache::MOST;
use super::client::{Client, Error, Question};
use super::object::{Change, PodList, PodObject, Status};
use super::pod::Pod;

/// Pods on one page of a list.
const PAGE: usize = 100;
/// How long the API is asked to keep a watch, seconds: not all nodes come again at once.
const WATCH_SECONDS: std::ops::RangeInclusive<u64> = 240..=300;
/// How much longer one may last until it is taken for dead.
const GRACE: Duration = Duration::from_secs(30);
/// A watch that lasted so many pauses did not end at once.
const LONG: u32 = 10;
/// The code of a version that is too old.
const GONE: u16 = 410;

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// List all; `latest`: as the store has it, not as the server remembers it.
    List { latest: bool },
    /// Hear of changes since this version.
    Watch(String),
}

/// What chooses the pods of a node, in a query.
pub(super) fn on_node(node: &str) -> String {
    let node = utf8_percent_encode(node, NON_ALPHANUMERIC);
    format!("fieldSelector=spec.nodeName%3D{node}")
}

/// See the module.
pub(super) struct Watcher {
    client: Client,
    selector: String,
    pause: Duration,
    shared: Arc<Shared>,
}

impl Watcher {
    pub(super) fn new(client: Client, node: &str, pause: Duration, shared: Arc<Shared>) -> Watcher {
        Watcher {
            client,
            selector: on_node(node),
            pause,
            shared,
        }
    }

    /// Does so without an end.
    pub(super) async fn run(self) -> std::convert::Infallible {
        let mut backoff = Backoff::new(self.pause);
        // What a server remembers is found by node without a look at all pods of the cluster, and is new enough: the
        // watch tells what came since.
        let mut step = Step::List { latest: false };
        loop {
            let done = match &mut step {
                Step::List { latest } => self.list(*latest).await.map(Step::Watch),
                Step::Watch(version) => self.watch(version, &mut backoff).await,
            };
            match done {
                Ok(next) => {
                    match step {
                        Step::List { .. } => backoff.reset(),
                        // One that ends at once must not be asked for without a rest.
                        Step::Watch(_) => sleep(backoff.pause(None)).await,
                    }
                    step = next;
                }
                Err(error) => {
                    if error.code() == Some(GONE) {
                        // The next page of a list was asked for too late.
                        step = Step::List { latest: true };
                    }
                    if self.shared.connection().failed(error.to_string()) {
                        tracing::warn!(
                            "the Kubernetes API is not followed: {error}{}",
                            advice(&error)
                        );
                    }
                    sleep(backoff.pause(error.retry_after())).await;
                }
            }
        }
    }

    /// Lists all; the version of the list.
    async fn list(&self, latest: bool) -> Result<String, Error> {
        let mut pods = Vec::new();
        let mut next: Option<String> = None;
        let mut left_out = 0;
        loop {
            let mut path = format!("/api/v1/pods?{}&limit={PAGE}", self.selector);
            match &next {
                None if latest => {}
                None => path += "&resourceVersion=0",
                Some(next) => {
                    path += "&continue=";
                    path.extend(utf8_percent_encode(next, NON_ALPHANUMERIC));
                }
            }
            let list: PodList = self
                .client
                .ask(Question::get(&path))
                .await?
                .object()
                .await?;
            let found = list.items.unwrap_or_default();
            let found = found.into_iter().filter_map(Pod::new);
            for pod in found {
                match pods.len() < MOST {
                    true => pods.push(pod),
                    false => left_out += 1,
                }
            }
            let more = list.metadata.next.filter(|next| !next.is_empty());
            if more.is_some() && left_out == 0 {
                next = more;
                continue;
            }
            let version = list.metadata.resource_version;
            let version = version.filter(|version| !version.is_empty());
            let version =
                version.ok_or_else(|| Error::Malformed("a list without a version".to_owned()))?;
            self.shared.cache().replace(pods, left_out, Instant::now());
            self.heard();
            return Ok(version);
        }
    }

    /// Hears of changes until the watch ends; what is to be done then. `version` moves along.
    async fn watch(&self, version: &mut String, backoff: &mut Backoff) -> Result<Step, Error> {
        let relist = |error: Error| match error.code() {
            Some(GONE) => Ok(Step::List { latest: true }),
            _ => Err(error),
        };
        let seconds = fastrand::u64(WATCH_SECONDS);
        let path = format!(
            "/api/v1/pods?{}&watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={}",
            self.selector,
            utf8_percent_encode(version, NON_ALPHANUMERIC),
        );
        let mut answer = match self.client.ask(Question::get(&path)).await {
            Ok(answer) => answer,
            Err(error) => return relist(error),
        };
        self.heard();
        let began = Instant::now();
        let longest = Duration::from_secs(seconds) + GRACE;
        let all = async {
            while let Some(line) = answer.line().await? {
                if line.trim_ascii().is_empty() {
                    continue;
                }
                let Some(new) = self.change(&line)? else {
                    continue;
                };
                *version = new;
                backoff.reset();
            }
            Ok::<(), Error>(())
        };
        let ended = timeout(longest, all).await;
        if began.elapsed() > LONG * self.pause {
            backoff.reset();
        }
        match ended {
            Ok(Ok(())) => Ok(Step::Watch(version.clone())),
            Ok(Err(error)) => relist(error),
            Err(_) => Err(Error::Silent(longest)),
        }
    }

    /// Takes one change; the version that it makes.
    fn change(&self, line: &[u8]) -> Result<Option<String>, Error> {
        let malformed = |error: serde_json::Error| Error::Malformed(error.to_string());
        let change: Change<'_> = serde_json::from_slice(line).map_err(malformed)?;
        if change.kind == "ERROR" {
            let status: Status = serde_json::from_str(change.object.get()).unwrap_or_default();
            return Err(Error::refused(status, 0));
        }
        let mut object: PodObject = serde_json::from_str(change.object.get()).map_err(malformed)?;
        let version = object.metadata.resource_version.take();
        let now = Instant::now();
        match change.kind {
            "ADDED" | "MODIFIED" => {
                if let Some(pod) = Pod::new(object) {
                    self.shared.cache().put(pod, now);
                }
            }
            "DELETED" => {
                if let Some(uid) = &object.metadata.uid {
                    self.shared.cache().remove(uid, now);
                }
            }
            // A bookmark, or what is told one day: it has a version.
            _ => {}
        }
        Ok(version.filter(|version| !version.is_empty()))
    }

    fn heard(&self) {
        if self.shared.connection().heard() {
            tracing::info!(
                "the Kubernetes API tells of {} pods",
                self.shared.cache().len()
            );
        }
    }
}

/// What a person can do.
fn advice(error: &Error) -> &'static str {
    match error.code() {
        Some(401) => "; check the token of the service account",
        Some(403) => "; the service account needs `list` and `watch` of `pods` in all namespaces",
        _ => "",
    }
}
