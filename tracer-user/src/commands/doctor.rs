//! `gotrace doctor`.

use std::io::Write as _;

use super::Verdict;
use super::oneshot::print_json;
use crate::cli::{DoctorArgs, Format, KubernetesArgs};
use crate::doctor::facts::Facts;
use crate::doctor::node::Node;
use crate::doctor::{Document, host, kubernetes, target};
use crate::failure::Failure;
use crate::kubernetes::Config;
use crate::text;

/// Tells what this host can do, and with a process.
pub(super) fn doctor(args: &DoctorArgs) -> anyhow::Result<Verdict> {
    let facts = Facts::gather();
    let checks = host::checks(&facts);
    let (target, target_checks) = args.pid.map(target::checks).unwrap_or_default();
    let node = args.kubernetes.then(|| Node::gather(&facts, api(args)));
    let node = node.as_ref().map(kubernetes::checks);
    let document = Document::new(checks, target, target_checks, node);
    if args.json || args.format == Format::Json {
        print_json(&document)?;
    } else {
        write!(
            anstream::stdout().lock(),
            "{}",
            text::doctor::render(&document)
        )?;
    }
    Ok(match document.is_well() {
        true => Verdict::Clean,
        false => Verdict::Findings,
    })
}

/// Where an agent that is told so would ask.
fn api(args: &DoctorArgs) -> Result<Option<Config>, Failure> {
    Config::new(&KubernetesArgs {
        node: args.node.clone(),
        kube_api: args.kube_api.clone(),
        kube_token_file: args.kube_token_file.clone(),
        kube_ca: args.kube_ca.clone(),
        ..KubernetesArgs::default()
    })
}
