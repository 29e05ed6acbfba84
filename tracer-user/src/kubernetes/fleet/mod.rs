//! The agents of a cluster, asked for the processes of chosen pods by somebody who is no agent. docs/cluster.md.
//!
//! Each is asked at the address of its pod. The API server's own way to a pod (`pods/NAME/proxy`) would work from
//! everywhere, but it takes the token for its own and does not hand it on, and it checks no certificate of the pod's.

mod answer;
mod roster;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use tempfile::NamedTempFile;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, sleep_until, timeout};

use super::client::{Client, Error, Question};
use super::config::Api;
use super::object::PodList;
use crate::cli::FleetArgs;
use crate::document::cluster::{Agent, Process, Survey, Unseen};
use crate::failure::Failure;
use crate::progress;
use crate::serve::Token;
use roster::{Placed, Post, Roster, Said};

/// Pods on one page of a list.
const PAGE: usize = 100;
/// Chosen pods at most.
const MOST_PODS: usize = 2048;
/// By which label agents are found.
const AGENTS: &str = "app.kubernetes.io/name=gotrace";
/// The port of agents whose pods name none.
const PORT: u16 = 9477;
/// A larger snapshot is none, bytes.
const MOST_SNAPSHOT: u64 = 4 << 30;

/// Agents that have said what they follow.
pub(crate) struct Fleet {
    runtime: Runtime,
    /// Who is asked for which of the processes.
    posts: Vec<(Client, Vec<usize>)>,
    parallel: usize,
    timeout: Duration,
    pub(crate) survey: Survey,
}

/// A snapshot's file, which is deleted with the value.
pub(crate) struct Taken {
    pub(crate) file: NamedTempFile,
    pub(crate) bytes: u64,
}

/// One round of snapshots of all processes.
pub(crate) struct Round<T> {
    /// The directory for the files.
    pub(crate) folder: PathBuf,
    /// Before when a process is not to be looked at, by its index; empty: all at once.
    pub(crate) due: Vec<Option<Instant>>,
    /// Makes something of a snapshot, or says why it cannot. It is called for one at a time.
    pub(crate) each: Arc<Make<T>>,
}

type Make<T> = dyn Fn(&Process, Taken) -> Result<T, String> + Send + Sync;

impl Fleet {
    /// Asks the API for the chosen pods and the agents of their nodes, and these for the processes.
    ///
    /// # Errors
    /// The API does not answer, or what was typed is wrong. An agent that does not answer is no error.
    pub(crate) fn find(args: &FleetArgs) -> Result<Fleet, Failure> {
        let api = Api::of(&args.api)?;
        check(args)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new("cannot wait for answers").because(error))?;
        let mut fleet = Fleet {
            runtime,
            posts: Vec::new(),
            parallel: args.parallel.into(),
            timeout: args.timeout,
            survey: Survey::default(),
        };
        let asked = async {
            let roster = roster(args, &api).await?;
            let asked = roster.posts.into_iter().map(|post| {
                let client = client(&post.agent, args);
                let patience = args.timeout;
                async move {
                    let said = match &client {
                        Ok(client) => said(client, &post, patience).await,
                        Err(why) => Err(why.clone()),
                    };
                    (client, post, said)
                }
            });
            let posts = at_most(fleet.parallel, asked).await;
            Ok::<_, Failure>((roster.pods, roster.unseen, posts))
        };
        let (pods, unseen, posts) = fleet.runtime.block_on(uninterrupted(asked))??;
        fleet.survey.pods = pods;
        fleet.survey.unseen = unseen;
        for (client, post, said) in posts {
            fleet.add(client.ok(), &post, said);
        }
        let found = fleet.survey.processes.len();
        if found > args.most {
            return Err(Failure::new(format!("{found} processes are chosen"))
                .because(format!(
                    "each snapshot reads one's memory, so that no more than {} are taken",
                    args.most
                ))
                .next("choose fewer with --selector, or give --most"));
        }
        Ok(fleet)
    }

    /// Takes in what an agent said.
    fn add(&mut self, client: Option<Client>, post: &Post, said: Result<Said, String>) {
        let survey = &mut self.survey;
        survey.agents.push(Agent {
            node: post.node.clone(),
            name: post.agent.name(),
            failed: said.as_ref().err().cloned(),
        });
        match (client, said) {
            (Some(client), Ok(said)) => {
                let first = survey.processes.len();
                survey.processes.extend(said.processes);
                survey.refused.extend(said.refused);
                survey.not_followed.extend(said.not_followed);
                let all = (first..survey.processes.len()).collect();
                self.posts.push((client, all));
            }
            (_, said) => {
                let why = said.err().unwrap_or_default();
                survey.unseen.extend(post.names().map(|name| Unseen {
                    name,
                    node: Some(post.node.clone()),
                    why: format!("the agent of {} did not answer: {why}", post.node),
                }));
            }
        }
    }

    /// Lets each agent take a snapshot of its processes, one after the other, and makes something of each, by index.
    /// Why there is none is kept in the survey; such a process is not asked for again.
    ///
    /// # Errors
    /// Somebody interrupts it.
    pub(crate) fn visit<T: Send + 'static>(
        &mut self,
        round: &Round<T>,
    ) -> Result<Vec<Option<T>>, Failure> {
        let desk = Arc::new(Semaphore::new(1));
        let visits = self.posts.iter().map(|(client, all)| {
            let processes: Vec<(usize, Process, Option<Instant>)> = all
                .iter()
                .filter_map(|&index| {
                    let process = self.survey.processes.get(index)?;
                    let due = round.due.get(index).copied().flatten();
                    (process.failed.is_none()).then(|| (index, process.clone(), due))
                })
                .collect();
            let (client, patience) = (client.clone(), self.timeout);
            let (folder, each) = (round.folder.clone(), Arc::clone(&round.each));
            let desk = Arc::clone(&desk);
            async move {
                let mut made = Vec::new();
                for (index, process, due) in processes {
                    if let Some(due) = due {
                        sleep_until(due.into()).await;
                    }
                    let taken = snapshot(&client, process.pid, &folder, patience).await;
                    let one = match taken {
                        Ok(taken) => at_desk(&desk, &each, process, taken).await,
                        Err(error) => {
                            let why = error.to_string();
                            progress::line(&format!("{}: {why}", process.title()));
                            Err(why)
                        }
                    };
                    made.push((index, one));
                }
                made
            }
        });
        let visits = at_most(self.parallel, visits.collect::<Vec<_>>());
        let visits = self.runtime.block_on(uninterrupted(visits))?;
        let mut all: Vec<Option<T>> = self.survey.processes.iter().map(|_| None).collect();
        for (index, one) in visits.into_iter().flatten() {
            let places = (all.get_mut(index), self.survey.processes.get_mut(index));
            match (one, places) {
                (Ok(one), (Some(place), _)) => *place = Some(one),
                (Err(why), (_, Some(process))) => process.failed = Some(why),
                _ => {}
            }
        }
        Ok(all)
    }
}

/// Whether agents can be asked in the way that was typed.
fn check(args: &FleetArgs) -> Result<(), Failure> {
    let remote = &args.remote;
    // Once, and not by each agent that is asked.
    if let Some(file) = &remote.token_file {
        Token::read(file)?;
    }
    match (&remote.tls_ca, &remote.token_file) {
        (None, _) if !args.insecure_agents => Err(Failure::new("no agent's certificate can be trusted")
            .because("a cluster's are not signed by a public authority")
            .next("give that of the agents with --tls-ca FILE (in the chart's Secret it is ca.crt), or --insecure-agents if they speak HTTP")),
        (None, Some(_)) => {
            tracing::warn!("the token goes to the agents in the clear (--insecure-agents)");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Who asks an agent; or why nobody can.
fn client(agent: &Placed, args: &FleetArgs) -> Result<Client, String> {
    let address = agent.address.ok_or("its pod has no address")?;
    let port = args.agents_port.unwrap_or_else(|| agent.port(PORT));
    let workload = &agent.pod.workload;
    let name = args.agents_name.clone().unwrap_or_else(|| {
        // So the chart names its Service.
        format!("{}.{}.svc", workload.name, agent.pod.namespace)
    });
    let remote = &args.remote;
    let tls = remote.tls_ca.as_deref().map(|ca| (name.as_str(), ca));
    let api = Api::of_agent(
        SocketAddr::new(address, port),
        tls,
        remote.token_file.as_deref(),
    );
    Ok(Client::patient(api, args.timeout))
}

/// The chosen pods and their agents.
async fn roster(args: &FleetArgs, api: &Api) -> Result<Roster, Failure> {
    let client = Client::new(api.clone());
    let failed = |error: Error| {
        Failure::new("the Kubernetes API does not tell of pods")
            .because(&error)
            .next(match error.code() {
                Some(401) => "check the token for it, or `kubectl proxy`",
                Some(403) => "who runs this needs `list` of `pods`, in the chosen namespaces and in that of the agents",
                _ => "check --kube-api",
            })
    };
    let selector = args.selector.as_deref().unwrap_or_default();
    let namespace = args.pods.namespace.as_deref();
    let pods = list(&client, namespace, selector, |_| true).await;
    let pods = pods.map_err(failed)?;
    if pods.len() > MOST_PODS {
        return Err(
            Failure::new(format!("more than {MOST_PODS} pods are chosen"))
                .next("choose fewer with --selector or --namespace"),
        );
    }
    let nodes: BTreeSet<String> = pods.iter().filter_map(|pod| pod.node.clone()).collect();
    let is_needed = |agent: &Placed| agent.node.as_ref().is_some_and(|node| nodes.contains(node));
    let agents = list(&client, Some(&args.agents_namespace), AGENTS, is_needed).await;
    Ok(Roster::new(pods, agents.map_err(failed)?))
}

/// Lists pods, in pages; not many more than [`MOST_PODS`] of those that are kept.
async fn list(
    client: &Client,
    namespace: Option<&str>,
    selector: &str,
    keep: impl Fn(&Placed) -> bool,
) -> Result<Vec<Placed>, Error> {
    let place = match namespace {
        Some(namespace) => format!("/namespaces/{}", encoded(namespace)),
        None => String::new(),
    };
    let mut pods = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let mut path = format!("/api/v1{place}/pods?limit={PAGE}");
        for (name, value) in [
            ("labelSelector", Some(selector)),
            ("continue", next.as_deref()),
        ] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                path += &format!("&{name}={}", encoded(value));
            }
        }
        let page: PodList = client.ask(Question::get(&path)).await?.object().await?;
        let found = page.items.unwrap_or_default();
        pods.extend(found.into_iter().filter_map(Placed::new).filter(&keep));
        next = page.metadata.next.filter(|next| !next.is_empty());
        if next.is_none() || pods.len() > MOST_PODS {
            return Ok(pods);
        }
    }
}

fn encoded(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

/// What an agent says of its pods; or why it says nothing.
async fn said(client: &Client, post: &Post, patience: Duration) -> Result<Said, String> {
    let asked = async {
        let answer = client.ask(Question::get("/api/v1/processes")).await?;
        let list: answer::Processes = answer.object().await?;
        match list.schema == answer::SCHEMA {
            true => Ok(list),
            false => Err(Error::Malformed("it is no list of processes".to_owned())),
        }
    };
    let answered = timeout(patience, asked).await;
    let list = answered.unwrap_or(Err(Error::Silent(patience)));
    Ok(post.take(list.map_err(|error| error.to_string())?))
}

/// Lets an agent take a snapshot.
async fn snapshot(
    client: &Client,
    pid: u32,
    folder: &Path,
    patience: Duration,
) -> Result<Taken, Error> {
    let path = format!("/api/v1/processes/{pid}/snapshot");
    let mut busy = None;
    let taking = async {
        loop {
            let error = match client.ask(Question::get(&path)).await {
                Err(error) => error,
                Ok(answer) => {
                    let mut file = NamedTempFile::with_prefix_in(".gotrace-", folder)
                        .map_err(Error::Unkept)?;
                    let bytes = answer.save(file.as_file_mut(), MOST_SNAPSHOT).await?;
                    return Ok(Taken { file, bytes });
                }
            };
            // Somebody else has one taken.
            let Some(pause) = error.retry_after() else {
                return Err(error);
            };
            busy = Some(error);
            sleep(pause).await;
        }
    };
    let taken = timeout(patience, taking).await;
    taken.unwrap_or_else(|_| Err(busy.unwrap_or(Error::Silent(patience))))
}

/// Makes something of a snapshot when it is its turn: one at a time takes memory.
async fn at_desk<T: Send + 'static>(
    desk: &Semaphore,
    each: &Arc<Make<T>>,
    process: Process,
    taken: Taken,
) -> Result<T, String> {
    let _seat = desk.acquire().await;
    let each = Arc::clone(each);
    let (title, bytes) = (process.title(), taken.bytes);
    let made = spawn_blocking(move || each(&process, taken)).await;
    let made = made.unwrap_or_else(|_| Err("what it sent cannot be read".to_owned()));
    progress::line(&match &made {
        Ok(_) => format!("{title}: {bytes} bytes"),
        Err(why) => format!("{title}: {why}"),
    });
    made
}

/// Does all of it, so many at a time; the outcomes in the order of the tasks.
async fn at_most<F>(parallel: usize, tasks: impl IntoIterator<Item = F>) -> Vec<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let seats = Arc::new(Semaphore::new(parallel));
    let mut all = JoinSet::new();
    for (index, task) in tasks.into_iter().enumerate() {
        let seats = Arc::clone(&seats);
        all.spawn(async move {
            let _seat = seats.acquire().await;
            (index, task.await)
        });
    }
    let mut outcomes = all.join_all().await;
    outcomes.sort_by_key(|(index, _)| *index);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Does it unless somebody interrupts: then files that are half there are deleted.
async fn uninterrupted<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::select! {
        done = work => Ok(done),
        _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted")),
    }
}
