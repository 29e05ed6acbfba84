//! Debian packages, made by Debian's own dpkg-deb: what goes in is built already, for both architectures, and has no
//! script that runs as root when it is installed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use super::{Help, VERSION};
use crate::portable::Arch;
use crate::workspace;

const UNIT: &str = "deploy/systemd/gotrace-agent.service";
/// A file of settings, which is kept as its owner left it.
const SETTINGS: (&str, &str) = (
    "deploy/systemd/gotrace-agent.default",
    "etc/default/gotrace-agent",
);

/// Makes the package of an architecture.
pub(super) fn build(
    shell: &Shell,
    arch: Arch,
    program: &Path,
    help: &Help,
    date: u64,
    dist: &Path,
) -> Result<()> {
    let staged = shell.create_temp_dir()?;
    let root = staged.path();
    let put = |from: &Path, to: &str, mode: u32| -> Result<()> {
        let to = root.join(to);
        shell.create_dir(to.parent().context("a file lies somewhere")?)?;
        shell.copy_file(from, &to)?;
        Ok(fs::set_permissions(&to, fs::Permissions::from_mode(mode))?)
    };
    put(program, "usr/bin/gotrace", 0o755)?;
    put(
        UNIT.as_ref(),
        "usr/lib/systemd/system/gotrace-agent.service",
        0o644,
    )?;
    put(SETTINGS.0.as_ref(), SETTINGS.1, 0o644)?;
    for (file, name) in [
        ("LICENSE", "copyright"),
        ("README.md", "README.md"),
        ("CHANGELOG.md", "changelog"),
    ] {
        put(
            file.as_ref(),
            &format!("usr/share/doc/gotrace/{name}"),
            0o644,
        )?;
    }
    for page in shell.read_dir(workspace::root().join("docs"))? {
        if page.extension().is_some_and(|it| it == "md") {
            let name = page.file_name().context("a file has a name")?;
            let name = name.to_string_lossy();
            put(&page, &format!("usr/share/doc/gotrace/docs/{name}"), 0o644)?;
        }
    }
    for (name, file) in &help.completions {
        let place = match *name {
            "bash" => "usr/share/bash-completion/completions/gotrace",
            "zsh" => "usr/share/zsh/vendor-completions/_gotrace",
            _ => "usr/share/fish/vendor_completions.d/gotrace.fish",
        };
        put(file, place, 0o644)?;
    }
    for page in shell.read_dir(&help.man)? {
        let name = page.file_name().context("a file has a name")?;
        let name = format!("usr/share/man/man1/{}", name.to_string_lossy());
        put(&page, &name, 0o644)?;
        let page = root.join(name);
        cmd!(shell, "gzip --no-name -9 {page}").quiet().run()?;
    }
    let changelog = root.join("usr/share/doc/gotrace/changelog");
    cmd!(shell, "gzip --no-name -9 {changelog}").quiet().run()?;

    let control = root.join("DEBIAN");
    shell.create_dir(&control)?;
    let kib = cmd!(
        shell,
        "du --summarize --apparent-size --block-size=1024 {root}"
    )
    .quiet()
    .read()?;
    let kib = kib.split_whitespace().next().unwrap_or_default();
    fs::write(control.join("control"), fields(arch, kib))?;
    fs::write(control.join("conffiles"), format!("/{}\n", SETTINGS.1))?;
    let sums = cmd!(
        shell,
        "sh -c 'cd \"$1\" && find usr etc -type f -print0 | sort -z | xargs -0 md5sum' sh {root}"
    )
    .quiet()
    .read()?;
    fs::write(control.join("md5sums"), sums + "\n")?;
    cmd!(shell, "chmod -R u+rwX,go+rX,go-w {root}")
        .quiet()
        .run()?;
    let file = dist.join(format!("gotrace_{VERSION}_{}.deb", arch.short()));
    cmd!(shell, "dpkg-deb --root-owner-group --build {root} {file}")
        .env("SOURCE_DATE_EPOCH", date.to_string())
        .quiet()
        .ignore_stdout()
        .run()
        .context("there is no package\nnext: install dpkg (Debian: dpkg-dev)")
}

/// What dpkg asks of a package. It depends on nothing: the program is static.
fn fields(arch: Arch, kib: &str) -> String {
    format!(
        "Package: gotrace
Version: {VERSION}
Architecture: {}
Maintainer: The gotrace authors <authors@gotrace.invalid>
Installed-Size: {kib}
Section: devel
Priority: optional
Suggests: bash-completion
Description: continuous, non-stop tracer for Go programs
 gotrace attaches to a running, unmodified Go process and shows what every
 goroutine does, how full every channel is, who waits for whom, and which
 goroutines can never run again. The process is not stopped, not restarted
 and not changed.
 .
 The service gotrace-agent, which follows all Go processes of the host, is
 installed but neither enabled nor started.
",
        arch.short()
    )
}
