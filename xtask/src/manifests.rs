//! Plain manifests for whoever has no helm: what the chart gives for `deploy/kubernetes/values.yaml`, committed as files.

use std::fs;

use anyhow::{Result, ensure};
use clap::Args;
use xshell::cmd;

use crate::{kubernetes, workspace};

/// What is done with the manifests.
#[derive(Args)]
pub(crate) struct Options {
    /// Only compare the committed files with what the chart gives.
    #[arg(long)]
    pub(crate) check: bool,
}

/// Where the chart is.
pub(crate) const CHART: &str = "deploy/helm/gotrace";
const VALUES: &str = "deploy/kubernetes/values.yaml";
/// Files, and what helm is told for each beside the values.
const FILES: [(&str, &[&str]); 2] = [
    ("deploy/kubernetes/gotrace.yaml", &[]),
    (
        "deploy/kubernetes/monitoring/gotrace.yaml",
        &[
            "--set=monitor.enabled=true,rules.enabled=true",
            "--show-only=templates/monitor.yaml",
            "--show-only=templates/rules.yaml",
        ],
    ),
];

/// Renders them; writes, or compares.
///
/// # Errors
/// Helm refuses the chart, or the committed files are others.
pub(crate) fn run(options: &Options) -> Result<()> {
    let shell = workspace::shell()?;
    let helm = kubernetes::helm()?;
    for (file, more) in FILES {
        let rendered = cmd!(
            shell,
            "{helm} template gotrace {CHART} --namespace gotrace --values {VALUES} {more...}"
        )
        .quiet()
        .ignore_stderr()
        .read()?;
        let text = plain(&rendered);
        let path = workspace::root().join(file);
        if options.check {
            ensure!(
                fs::read_to_string(&path).is_ok_and(|committed| committed == text),
                "{file} is not what the chart gives\n\
                 next: run `cargo xtask manifests` and commit {file}"
            );
            println!("manifests: {file} is what {CHART} gives");
        } else {
            fs::write(&path, text)?;
            println!("manifests: {file}");
        }
    }
    Ok(())
}

/// Without what only helm puts there: it manages nothing here.
fn plain(rendered: &str) -> String {
    let mut text = format!("# Made by `cargo xtask manifests` of {CHART} and {VALUES}.\n");
    for line in rendered.lines() {
        let of_helm = [
            "helm.sh/chart:",
            "app.kubernetes.io/managed-by:",
            "# Source:",
        ]
        .iter()
        .any(|begin| line.trim_start().starts_with(begin));
        if !of_helm && !line.is_empty() {
            // Of an empty line in a block helm leaves the indentation.
            text += line.trim_end();
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn nothing_is_said_to_be_managed_by_helm() {
        let rendered = "---\n# Source: gotrace/templates/service.yaml\nkind: Service\nlabels:\n    \
                        app.kubernetes.io/managed-by: Helm\n    helm.sh/chart: gotrace-1\n    a: b\n\n---\n";
        let (_, rest) = plain(rendered)
            .split_once('\n')
            .map(|(first, rest)| (first.to_owned(), rest.to_owned()))
            .expect("it has a first line");
        assert_eq!(rest, "---\nkind: Service\nlabels:\n    a: b\n---\n");
    }
}
