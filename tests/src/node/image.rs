//! Images of tests as archives in the layout of OCI, which containerd imports: one layer with
//! copies of the files.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{NodeImage, PATH, System, checked};
use crate::binary;

/// The programs of an image are those of this file.
const BUSYBOX: &str = "/bin/busybox";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Writes an image to an archive.
///
/// # Errors
///
/// If a file of the image cannot be read, or a program of the machine is missing.
pub(super) fn write_archive(image: &NodeImage, archive: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (root, layout) = (folder.path().join("root"), folder.path().join("layout"));
    fs::create_dir_all(layout.join("blobs/sha256"))?;
    fs::create_dir(&root)?;
    write_root(image, &root).with_context(|| format!("image {}", image.name))?;
    let layer = folder.path().join("layer");
    pack(&root, &layer)?;
    let layer = add_blob(&layout, fs::read(&layer)?, "application/vnd.oci.image.layer.v1.tar")?;
    let config = add_blob(&layout, config(image, &layer).to_string(), "application/vnd.oci.image.config.v1+json")?;
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
    let mut manifest = add_blob(&layout, manifest.to_string(), MANIFEST)?;
    manifest["annotations"] = json!({ "io.containerd.image.name": full_name(&image.name) });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(layout.join("index.json"), index.to_string())?;
    fs::write(layout.join("oci-layout"), json!({ "imageLayoutVersion": "1.0.0" }).to_string())?;
    pack(&layout, archive)
}

/// The name with its registry, as the kubelet asks for it.
fn full_name(name: &str) -> String {
    if name.contains('/') { name.to_owned() } else { format!("docker.io/library/{name}") }
}

fn config(image: &NodeImage, layer: &Value) -> Value {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    json!({
        "architecture": architecture, "os": "linux",
        "config": {
            "User": format!("{0}:{0}", image.user), "Env": [format!("PATH={PATH}")], "Entrypoint": image.command,
        },
        "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
    })
}

/// Adds a file to the layout, and returns its descriptor.
fn add_blob(layout: &Path, content: impl AsRef<[u8]>, media_type: &str) -> Result<Value> {
    let content = content.as_ref();
    let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(content));
    fs::write(layout.join("blobs/sha256").join(&hash), content)?;
    Ok(json!({ "mediaType": media_type, "digest": format!("sha256:{hash}"), "size": content.len() }))
}

/// Packs the content of a folder. Its owner is root, as in a built image.
fn pack(folder: &Path, archive: &Path) -> Result<()> {
    checked(Command::new("tar").args(["--owner=0", "--group=0", "-cf"]).arg(archive).arg("-C").arg(folder).arg("."))
}

fn write_root(image: &NodeImage, root: &Path) -> Result<()> {
    for (source, path) in &image.folders {
        copy(source, &below(root, Path::new(path)))?;
    }
    if image.system != System::Nothing {
        copy_libraries(&fetch_program()?, root)?;
    }
    if image.system == System::Programs {
        for folder in ["tmp", "run", "var", "etc"] {
            fs::create_dir_all(root.join(folder))?;
        }
        symlink("/run", root.join("var/run"))?;
        write_programs(root)?;
    }
    Ok(())
}

/// Copies busybox, makes a link for each of its programs, and copies the program that Debian's
/// busybox lacks.
fn write_programs(root: &Path) -> Result<()> {
    let folder = root.join("bin");
    copy(Path::new(BUSYBOX), &folder.join("busybox"))?;
    let list = Command::new(BUSYBOX).arg("--list").output()?;
    for name in String::from_utf8(list.stdout)?.lines().filter(|name| *name != "busybox") {
        symlink("busybox", folder.join(name))?;
    }
    let lacking = Path::new("/usr/bin/printenv");
    copy(lacking, &below(root, lacking))?;
    copy_libraries(lacking, root)
}

/// Copies the libraries that a program needs.
fn copy_libraries(program: &Path, root: &Path) -> Result<()> {
    let output = Command::new("ldd").arg(program).output().context("ldd")?;
    ensure!(output.status.success(), "ldd: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    for line in text.lines() {
        if let Some(library) = line.split_whitespace().find(|word| word.starts_with('/')) {
            copy(Path::new(library), &below(root, Path::new(library)))?;
        }
    }
    Ok(())
}

/// The program `ampoule-fetch` of this build.
///
/// # Errors
///
/// If the server's program is missing.
pub fn fetch_program() -> Result<PathBuf> {
    Ok(binary()?.with_file_name("ampoule-fetch"))
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Copies a file or a folder; follows links.
fn copy(source: &Path, target: &Path) -> Result<()> {
    let parent = target.parent().context("a path has a folder")?;
    fs::create_dir_all(parent)?;
    // `-T`: a target that exists is the copy itself, and not the folder of it.
    checked(Command::new("cp").args(["-r", "-L", "-T"]).arg(source).arg(target))
        .with_context(|| source.display().to_string())
}

/// The image of the container that has the network of a pod.
pub(super) fn pause(name: &str) -> NodeImage {
    NodeImage {
        name: name.to_owned(),
        command: ["/app/sh", "-c", "trap exit TERM INT; while :; do sleep 3600 & wait $!; done"]
            .map(str::to_owned)
            .to_vec(),
        user: 65535,
        system: System::Nothing,
        folders: vec![(PathBuf::from(BUSYBOX), "/app/sh".to_owned())],
    }
}
