//! Where the Kubernetes API is and which node this is.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::Uri;
use tracer_model::detect::Verdict;

use super::selection::Selection;
use crate::cli::{ApiArgs, Events, KubernetesArgs};
use crate::failure::Failure;

/// Where a pod finds its service account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Where the API is, and how to speak to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Api {
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// As the `Host` header has it.
    pub(super) authority: String,
    /// For whom its certificate must be.
    pub(super) name: String,
    /// What comes before each path; empty if nothing does.
    pub(super) path: String,
    /// Certificates (PEM) that the server's must be signed by; `None`: there is no TLS.
    pub(super) ca: Option<PathBuf>,
    pub(super) token_file: Option<PathBuf>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(super) api: Api,
    /// This node's name.
    pub(super) node: String,
    /// The least sure finding that becomes an event; `None`: none does.
    pub(super) events: Option<Verdict>,
    /// How long the first pause after a failure is; the longest is [`LONGEST`] of these.
    pub(super) pause: Duration,
    pub(crate) selection: Selection,
}

/// So many times longer than the first is the longest pause.
pub(super) const LONGEST: u32 = 60;

impl Config {
    /// What was typed, and where a pod is told of its cluster. `None` if no node is named: then there is no cluster.
    ///
    /// # Errors
    /// The API is nowhere, or what was typed of it is none.
    pub(crate) fn new(args: &KubernetesArgs) -> Result<Option<Config>, Failure> {
        Config::from(args, |name| std::env::var(name).ok())
    }

    /// This node's name.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    fn from(
        args: &KubernetesArgs,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Config>, Failure> {
        let Some(node) = args.node.clone().filter(|node| !node.is_empty()) else {
            return Ok(None);
        };
        let api = match &args.kube_api {
            Some(url) => Api::at(
                url,
                args.kube_token_file.as_deref(),
                args.kube_ca.as_deref(),
            )?,
            None => Api::of_pod(
                variable,
                "give --kube-api URL, or no --node (NODE_NAME) to do without",
            )?,
        };
        Ok(Some(Config {
            api,
            node,
            events: match args.events {
                Events::Off => None,
                Events::Proven => Some(Verdict::Proven),
                Events::Likely => Some(Verdict::Likely),
                Events::Suspect => Some(Verdict::Suspect),
            },
            pause: Duration::from_secs(1),
            selection: Selection {
                namespaces: args.namespace.clone(),
                deny_namespaces: args.deny_namespace.clone(),
                selector: args.selector.clone().unwrap_or_default(),
            },
        }))
    }
}

impl Api {
    /// Of who is no agent: what was typed, or where a pod is told.
    ///
    /// # Errors
    /// The API is nowhere, or what was typed of it is none.
    pub(super) fn of(args: &ApiArgs) -> Result<Api, Failure> {
        match &args.kube_api {
            Some(url) => Api::at(
                url,
                args.kube_token_file.as_deref(),
                args.kube_ca.as_deref(),
            ),
            None => Api::of_pod(
                |name| std::env::var(name).ok(),
                "run `kubectl proxy` and give --kube-api http://127.0.0.1:8001, or run this in a pod",
            ),
        }
    }

    /// At an address that somebody typed.
    fn at(url: &str, token_file: Option<&Path>, ca: Option<&Path>) -> Result<Api, Failure> {
        let wrong = |cause: &str| {
            Failure::new(format!("`{url}` is not the address of a Kubernetes API"))
                .because(cause)
                .next("give one such as https://10.0.0.1:6443, or that of `kubectl proxy`, http://127.0.0.1:8001")
        };
        let uri: Uri = url.parse().map_err(|_| wrong("it is no URL"))?;
        let (tls, usual) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            _ => return Err(wrong("it begins neither with https:// nor with http://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        if uri.query().is_some() || authority.as_str().contains('@') {
            return Err(wrong("there is more in it than a host, a port and a path"));
        }
        let ca = match (tls, ca) {
            (true, None) => {
                return Err(
                    Failure::new(format!("no certificate of {url} can be trusted"))
                        .because("clusters sign their own")
                        .next("give the cluster's authority with --kube-ca FILE"),
                );
            }
            (false, Some(_)) => return Err(wrong("--kube-ca needs https://")),
            (_, ca) => ca.map(Path::to_path_buf),
        };
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        let is_here = host == "localhost"
            || host
                .parse()
                .is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        if token_file.is_some() && !tls && !is_here {
            return Err(wrong("a token would go there in the clear"));
        }
        Ok(Api {
            host: host.to_owned(),
            name: host.to_owned(),
            port: authority.port_u16().unwrap_or(usual),
            authority: authority.to_string(),
            path: uri.path().trim_end_matches('/').to_owned(),
            ca,
            token_file: token_file.map(Path::to_path_buf),
        })
    }

    /// Of an agent: by TLS if it is said for whom its certificate must be, and by whom that must be signed (PEM).
    pub(super) fn of_agent(
        address: SocketAddr,
        tls: Option<(&str, &Path)>,
        token_file: Option<&Path>,
    ) -> Api {
        let host = address.ip().to_string();
        Api {
            name: tls.map_or_else(|| host.clone(), |(name, _)| name.to_owned()),
            host,
            port: address.port(),
            authority: address.to_string(),
            path: String::new(),
            ca: tls.map(|(_, ca)| ca.to_path_buf()),
            token_file: token_file.map(Path::to_path_buf),
        }
    }

    /// Where each pod is told that it is.
    fn of_pod(variable: impl Fn(&str) -> Option<String>, next: &str) -> Result<Api, Failure> {
        let get = |name: &str| {
            variable(name)
                .filter(|value| !value.is_empty())
                .ok_or_else(|| {
                    Failure::new("no Kubernetes API is known")
                        .because(format!("{name} is not set, so this is no pod of a cluster"))
                        .next(next)
                })
        };
        let (host, port) = (
            get("KUBERNETES_SERVICE_HOST")?,
            get("KUBERNETES_SERVICE_PORT")?,
        );
        let authority = match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let account = Path::new(ACCOUNT);
        Api::at(
            &format!("https://{authority}"),
            Some(&account.join("token")),
            Some(&account.join("ca.crt")),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_cluster(host: &str) -> Result<Option<Config>, Failure> {
        let args = KubernetesArgs {
            node: Some("node-1".to_owned()),
            ..KubernetesArgs::default()
        };
        Config::from(&args, |name| match name {
            "KUBERNETES_SERVICE_HOST" => Some(host.to_owned()),
            "KUBERNETES_SERVICE_PORT" => Some("443".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn a_pod_is_told_where_its_api_is() {
        for (host, authority) in [("10.96.0.1", "10.96.0.1:443"), ("fd00::1", "[fd00::1]:443")] {
            let config = in_cluster(host).expect("it is known").expect("it is on");
            let api = config.api;
            assert_eq!(
                (&*api.host, &*api.authority, api.port),
                (host, authority, 443)
            );
            assert_eq!(
                api.ca.as_deref(),
                Some(Path::new(ACCOUNT).join("ca.crt").as_path())
            );
            assert_eq!(
                api.token_file.as_deref(),
                Some(Path::new(ACCOUNT).join("token").as_path())
            );
            assert_eq!(config.events, Some(Verdict::Proven));
        }
        assert!(in_cluster("").is_err());
    }

    #[test]
    fn without_a_node_there_is_no_cluster() {
        let config = Config::from(&KubernetesArgs::default(), |_| None).expect("nothing is wrong");
        assert!(config.is_none());
    }

    #[test]
    fn an_address_is_taken_apart_or_refused() {
        let file = Some(Path::new("file"));
        let api = Api::at("https://a.example/k8s/clusters/c1/", file, file).expect("an address");
        assert_eq!(
            (&*api.host, api.port, &*api.path),
            ("a.example", 443, "/k8s/clusters/c1")
        );
        let api = Api::at("http://127.0.0.1:8001", None, None).expect("an address");
        assert_eq!((api.port, &*api.path, api.ca), (8001, "", None));
        for (url, token, ca) in [
            ("https://a", None, None),
            ("http://a", None, file),
            ("http://a", file, None),
            ("http://a?x=1", None, None),
            ("http://user:secret@a", None, None),
            ("ftp://a", None, None),
            ("a:6443", None, None),
            ("", None, None),
        ] {
            let refused = Api::at(url, token, ca);
            assert!(refused.is_err(), "{url}: {refused:?}");
        }
    }
}
