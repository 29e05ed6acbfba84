//! What the API lets an agent do, asked once: for `gotrace doctor`.

use serde_json::json;

use super::client::{Client, Error, Question};
use super::config::Config;
use super::object::{AccessReview, PodList};
use super::watch::on_node;

/// Where the API is asked what one may do. Whoever it knows may ask that.
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
/// Pods that are listed at most: a node has about a hundred.
const MOST: usize = 500;
/// What an agent asks for beside that list: verb and resource, of all namespaces.
const NEEDED: [(&str, &str); 4] = [
    ("list", "pods"),
    ("watch", "pods"),
    ("create", "events"),
    ("patch", "events"),
];

/// What came of the questions.
#[derive(Clone, Debug)]
pub(crate) struct Rights {
    /// Where the API is.
    pub(crate) api: String,
    /// How many pods it says are on this node, or why it does not say.
    pub(crate) pods: Result<usize, String>,
    /// Nothing if it was not reached.
    pub(crate) reviews: Vec<Review>,
}

/// Whether something may be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Review {
    pub(crate) verb: &'static str,
    pub(crate) resource: &'static str,
    /// Or why it is not known.
    pub(crate) allowed: Result<bool, String>,
}

impl Rights {
    /// Asks, and waits for the answers.
    ///
    /// # Errors
    /// There is no runtime to be had.
    pub(crate) fn ask(config: &Config) -> std::io::Result<Rights> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let client = Client::new(config.api.clone());
        Ok(runtime.block_on(async {
            let pods = pods(&client, &config.node).await;
            let mut reviews = Vec::new();
            // Who refuses one thing was reached, and answers whether it refuses another.
            if pods.as_ref().is_ok() || pods.as_ref().is_err_and(|error| error.code().is_some()) {
                for (verb, resource) in NEEDED {
                    reviews.push(Review {
                        verb,
                        resource,
                        allowed: review(&client, verb, resource)
                            .await
                            .map_err(|error| error.to_string()),
                    });
                }
            }
            Rights {
                api: config.api.authority.clone(),
                pods: pods.map_err(|error| error.to_string()),
                reviews,
            }
        }))
    }
}

async fn pods(client: &Client, node: &str) -> Result<usize, Error> {
    let path = format!(
        "/api/v1/pods?{}&limit={MOST}&resourceVersion=0",
        on_node(node)
    );
    let answer = client.ask(Question::get(&path)).await?;
    let list: PodList = answer.object().await?;
    Ok(list.items.map_or(0, |items| items.len()))
}

async fn review(client: &Client, verb: &str, resource: &str) -> Result<bool, Error> {
    let question = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": verb, "group": "", "resource": resource}},
    });
    let answer = client.ask(Question::create(REVIEWS, &question)).await?;
    let review: AccessReview = answer.object().await?;
    Ok(review.status.allowed)
}
