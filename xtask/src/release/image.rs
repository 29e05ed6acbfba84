//! The image, made without a container engine: one layer with the program, for each architecture, as an OCI layout in a
//! tar archive, which podman, skopeo, nerdctl, ctr and Docker read. `deploy/Containerfile` gives the same root file system.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};
use xshell::{Shell, cmd};

use super::{VERSION, hex};
use crate::portable::Arch;
use crate::{debian, workspace};

/// What is done with it.
#[derive(Args)]
pub(crate) struct Options {
    /// Only for this architecture (more than once for several).
    #[arg(long)]
    arch: Vec<Arch>,
    /// Unpack it as a runtime would (by umoci) and let `gotrace doctor` run in it, with what a container has (as root).
    #[arg(long)]
    enter: bool,
}

/// The root file system: where each file of it lies, and what may be done with it. Mount points are made by who runs it.
fn contents(program: &Path) -> [(&'static str, u32, PathBuf); 2] {
    [
        ("gotrace", 0o755, program.to_owned()),
        ("LICENSE", 0o644, workspace::root().join("LICENSE")),
    ]
}

/// Makes the image alone.
///
/// # Errors
/// The program does not build, or does not run in the image.
pub(crate) fn run(options: &Options) -> Result<()> {
    let shell = workspace::shell()?;
    let dist = workspace::target().join("dist");
    shell.create_dir(&dist)?;
    let both = [Arch::X86_64, Arch::Aarch64];
    let architectures = match options.arch.is_empty() {
        true => &both[..],
        false => &options.arch,
    };
    let layout = build(&shell, architectures, super::date(&shell)?, &dist)?;
    if options.enter {
        enter(&shell, &layout)?;
    }
    Ok(())
}

/// Writes the layout, its archive and the context of the Containerfile; returns the layout.
pub(super) fn build(
    shell: &Shell,
    architectures: &[Arch],
    date: u64,
    dist: &Path,
) -> Result<PathBuf> {
    let layout = dist.join("image");
    let context = dist.join("context");
    for directory in [&layout, &context] {
        shell.remove_path(directory)?;
    }
    let blobs = Blobs::create(&layout)?;
    let mut images = Vec::new();
    for &arch in architectures {
        let program = super::program(shell, arch)?;
        let files = contents(&program);
        let layer = layer(&files, date)?;
        for (name, mode, file) in &files {
            let bytes = fs::metadata(file)?.len();
            println!(
                "image: {:<6} {mode:o} {bytes:>10} bytes  /{name}",
                arch.short()
            );
            let place = context.join(format!("linux-{}", arch.short())).join(name);
            shell.create_dir(place.parent().context("a file lies somewhere")?)?;
            shell.copy_file(file, place)?;
        }
        let layer = blobs.put(&layer, "application/vnd.oci.image.layer.v1.tar")?;
        let config = json!({
            "architecture": arch.short(),
            "os": "linux",
            "config": {
                "Entrypoint": ["/gotrace"],
                "WorkingDir": "/",
                "Labels": {
                    "org.opencontainers.image.title": "gotrace",
                    "org.opencontainers.image.version": VERSION,
                    "org.opencontainers.image.licenses": "MIT",
                },
            },
            // What is not compressed has one digest.
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        });
        let config = blobs.put_json(&config, "application/vnd.oci.image.config.v1+json")?;
        let mut image = blobs.put_json(
            &json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}),
            MANIFEST,
        )?;
        image["platform"] = json!({"architecture": arch.short(), "os": "linux"});
        images.push(image);
    }
    let mut index = blobs.put_json(
        &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": images}),
        INDEX,
    )?;
    index["annotations"] = json!({"org.opencontainers.image.ref.name": VERSION});
    let top = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [index]});
    fs::write(layout.join("index.json"), top.to_string())?;
    fs::write(
        layout.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )?;
    let (file, date) = (
        dist.join(format!("gotrace-{VERSION}-image.tar")),
        format!("@{date}"),
    );
    cmd!(
        shell,
        "tar --create --directory {layout} --sort name --mtime {date} --owner 0 --group 0
         --numeric-owner --file {file} oci-layout index.json blobs"
    )
    .quiet()
    .run()?;
    println!(
        "image: {} bytes  {}",
        fs::metadata(&file)?.len(),
        file.display()
    );
    Ok(layout)
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Files that are named by their digests.
struct Blobs {
    directory: PathBuf,
}

impl Blobs {
    fn create(layout: &Path) -> Result<Blobs> {
        let directory = layout.join("blobs/sha256");
        fs::create_dir_all(&directory)?;
        Ok(Blobs { directory })
    }

    /// Keeps bytes; returns what points to them.
    fn put(&self, bytes: &[u8], kind: &str) -> Result<Value> {
        let digest = hex(bytes);
        fs::write(self.directory.join(&digest), bytes)?;
        Ok(json!({
            "mediaType": kind,
            "digest": format!("sha256:{digest}"),
            "size": bytes.len(),
        }))
    }

    fn put_json(&self, value: &Value, kind: &str) -> Result<Value> {
        self.put(value.to_string().as_bytes(), kind)
    }
}

/// A tar archive of files in the root, all root's.
fn layer(files: &[(&str, u32, PathBuf)], date: u64) -> Result<Vec<u8>> {
    let mut archive = Builder::new(Vec::new());
    for (name, mode, file) in files {
        let file = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(*mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(date);
        header.set_size(file.metadata()?.len());
        archive.append_data(&mut header, name, file)?;
    }
    Ok(archive.into_inner()?)
}

/// Lets the program say what it can do where it is alone, with the capabilities of deploy/ and nothing to write to.
fn enter(shell: &Shell, layout: &Path) -> Result<()> {
    // Those of deploy/, and the one that chroot itself needs.
    const CAPABILITIES: &str = "-all,+bpf,+perfmon,+sys_ptrace,+dac_read_search,+sys_chroot";
    let home = workspace::cache()?.join("umoci");
    let umoci = home.join("usr/bin/umoci");
    if !umoci.exists() {
        println!("setup: unpacking umoci into {}", home.display());
        debian::unpack("umoci", &home)?;
    }
    let directory = shell.create_temp_dir()?;
    let bundle = directory.path().join("bundle");
    let image = format!("{}:{VERSION}", layout.display());
    cmd!(shell, "{umoci} unpack --image {image} {bundle}")
        .quiet()
        .run()?;
    let root = bundle.join("rootfs");
    let found = cmd!(shell, "find {root} -mindepth 1 -printf '%M %u %s /%P\\n'")
        .quiet()
        .read()?;
    println!("image, unpacked:\n{found}");
    for directory in ["proc", "sys"] {
        shell.create_dir(root.join(directory))?;
    }
    // As with hostPID: the machine's processes, and nothing of its files.
    let script = "set -e; root=$1 capabilities=$2; shift 2
        mount --bind $root $root; mount -t proc proc $root/proc; mount --rbind /sys $root/sys
        mount -o remount,bind,ro $root
        exec setpriv --no-new-privs --inh-caps=-all --bounding-set $capabilities chroot $root /gotrace \"$@\"";
    for arguments in [&["--version"][..], &["doctor"]] {
        let said = cmd!(
            shell,
            "unshare --mount sh -c {script} sh {root} {CAPABILITIES} {arguments...}"
        )
        .quiet()
        .ignore_status()
        .read()?;
        println!("$ gotrace {}\n{said}", arguments.join(" "));
        ensure!(!said.is_empty(), "the program says nothing in the image");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_layer_is_root_s_and_the_same_whoever_makes_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("some-program");
        fs::write(&file, "a program").unwrap();
        let files = [("gotrace", 0o755, file)];
        let made = layer(&files, 7).unwrap();
        assert_eq!(layer(&files, 7).unwrap(), made);
        let mut archive = tar::Archive::new(&made[..]);
        let mut entries = archive.entries().unwrap();
        let mut entry = entries.next().unwrap().unwrap();
        let header = entry.header();
        let facts = (
            header.uid().unwrap(),
            header.mode().unwrap(),
            header.mtime().unwrap(),
        );
        assert_eq!(facts, (0, 0o755, 7));
        assert_eq!(entry.path().unwrap().to_str(), Some("gotrace"));
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        assert_eq!(text, "a program");
        assert!(entries.next().is_none());
    }

    #[test]
    fn what_points_to_a_blob_has_its_digest_and_size() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::create(directory.path()).unwrap();
        let pointer = blobs.put(b"abc", "a/kind").unwrap();
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(
            pointer,
            json!({"mediaType": "a/kind", "digest": format!("sha256:{digest}"), "size": 3})
        );
        assert_eq!(fs::read(blobs.directory.join(digest)).unwrap(), b"abc");
    }
}
