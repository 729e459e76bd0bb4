//! What is in an image, and whether it starts: its own words about itself, and then its program in a root that holds nothing else,
//! that cannot be written, as the user that it names. Before that, the program alone.
//!
//! The root has no library and no loader, so a program that is not static would not start. Alone it is read for that.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::job::{self, Log};

/// To unpack twenty megabytes.
const UNPACK_MAX: Duration = Duration::from_secs(60);
/// Built-in plugins compile in well under a second.
const READY_MAX: Duration = Duration::from_secs(60);
/// On free ports, which nobody asks.
const SERVE: [&str; 6] = ["serve", "--self-signed", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
/// What the kubelet and a container runtime do, with the tools of any Linux.
const ENTER: &str = r#"root=$1; shift
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
exec env -i PATH=/usr/local/bin "$(command -v chroot)" --userspec=65532:65532 "$root" "$@""#;

/// To read the head of a file.
const READ_MAX: Duration = Duration::from_secs(10);

/// Checks the program that goes into an image, without a root of its own, and tells what was seen.
pub(super) fn check_binary(binary: &Path) -> Result<String> {
    let mut readelf = Command::new("readelf");
    let head = job::output(readelf.args(["--wide", "--program-headers"]).arg(binary), READ_MAX);
    let head = head.with_context(|| format!("readelf cannot read {}", binary.display()))?;
    ensure!(head.contains("LOAD") && !head.contains("INTERP"), "{} is not static", binary.display());
    let folder = tempfile::tempdir()?;
    let alone = |words: &[&str]| {
        let mut command = Command::new(binary);
        command.args(words).env_clear().current_dir(&folder);
        command
    };
    let version = said(alone(&["--version"]))?;
    let ready = serve(alone(&SERVE), folder.path())?;
    Ok(format!("{version}ready after {} ms, static", ready.as_millis()))
}

/// Checks an OCI archive, and tells what was seen.
pub(super) fn check(archive: &Path, log: &Log) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let (oci, root) = (folder.path().join("oci"), folder.path().join("root"));
    unpack(archive, &oci, log)?;
    let index = read(&oci.join("index.json"))?;
    let manifest = blob(&oci, &index["manifests"][0])?;
    let config = blob(&oci, &manifest["config"])?["config"].clone();
    for (key, expected) in
        [("User", json!("65532:65532")), ("Entrypoint", json!(["ampoule"])), ("Cmd", json!(["serve"]))]
    {
        ensure!(config[key] == expected, "the image's {key} is {}, not {expected}", config[key]);
    }
    for layer in manifest["layers"].as_array().context("an image has layers")? {
        unpack(&path_of(&oci, layer)?, &root, log)?;
    }
    let version = said(inside(&root, &["ampoule", "--version"]))?;
    said(inside(&root, &["flytepropeller", "webhook", "init-certs", "--help"]))?;
    let refused = said(inside(&root, &["ampoule", "serve", "--cert-dir", "/none"]));
    let refused = refused.err().context("it serves without a certificate")?;
    ensure!(refused.to_string().contains("tls.crt"), "{refused}");
    let ready = serve(inside(&root, &[&["ampoule"], &SERVE[..]].concat()), folder.path())?;
    Ok(format!("{}ready after {} ms, as 65532, on a read-only root", version, ready.as_millis()))
}

/// Starts a server, whose log goes into the folder, and waits for its word that it is ready.
fn serve(mut server: Command, folder: &Path) -> Result<Duration> {
    let path = folder.join("log");
    let file = fs::File::create(&path)?;
    let begun = Instant::now();
    let mut child = job::spawn(server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file))?;
    let ready = loop {
        let said = fs::read_to_string(&path)?;
        if said.contains("\"message\":\"ready\"") {
            break Ok(begun.elapsed());
        }
        if child.try_wait()?.is_some() || begun.elapsed() > READY_MAX {
            break Err(anyhow::anyhow!("it did not become ready: {said}"));
        }
        thread::sleep(Duration::from_millis(5));
    };
    // It has ended already if it failed.
    let _ = child.kill();
    child.wait()?;
    ready
}

fn said(mut command: Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        bail!("`{}` says: {}", words.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn inside(root: &Path, words: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--", "sh", "-ec", ENTER, "sh"]).arg(root).args(words);
    command
}

fn unpack(archive: &Path, target: &Path, log: &Log) -> Result<()> {
    fs::create_dir_all(target)?;
    log.run(Command::new("tar").arg("--extract").arg("--file").arg(archive).arg("--directory").arg(target), UNPACK_MAX)
}

fn blob(oci: &Path, descriptor: &Value) -> Result<Value> {
    read(&path_of(oci, descriptor)?)
}

fn path_of(oci: &Path, descriptor: &Value) -> Result<std::path::PathBuf> {
    let digest = descriptor["digest"].as_str().context("a descriptor has a digest")?;
    Ok(oci.join("blobs").join(digest.replace(':', "/")))
}

fn read(path: &Path) -> Result<Value> {
    serde_json::from_slice(&fs::read(path)?).with_context(|| format!("{}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_wants_a_loader_is_not_static() {
        let own = std::env::current_exe().unwrap();
        let error = check_binary(&own).unwrap_err().to_string();
        assert_eq!(error, format!("{} is not static", own.display()));
    }
}
