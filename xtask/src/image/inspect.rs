//! Checks of a binary and of an image: its configuration, and whether its program starts on a root
//! that contains nothing else and is read-only, as the user that the configuration names. Before
//! that, the program alone.
//!
//! The root contains no library and no loader, so only a static program starts. Alone, the
//! program's header shows whether it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::job::{self, Log};

/// To unpack twenty megabytes.
const UNPACK_MAX: Duration = Duration::from_secs(60);
/// The built-in plugins compile in less than a second.
const READY_MAX: Duration = Duration::from_secs(60);
/// On free ports. No client connects.
const SERVE: [&str; 6] = ["serve", "--self-signed", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
/// The work of the kubelet and a container runtime, with the tools of any Linux.
const ENTER: &str = r#"root=$1; shift
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
exec env -i PATH=/usr/local/bin "$(command -v chroot)" --userspec=65532:65532 "$root" "$@""#;

/// To read the head of a file.
const READ_MAX: Duration = Duration::from_secs(10);

/// Checks a program alone, without a root of its own. Returns what was checked.
pub(crate) fn check_binary(binary: &Path) -> Result<String> {
    check_static(binary)?;
    let folder = tempfile::tempdir()?;
    let alone = |words: &[&str]| {
        let mut command = Command::new(binary);
        command.args(words).env_clear().current_dir(&folder);
        command
    };
    let version = printed(alone(&["--version"]))?;
    let ready = serve(alone(&SERVE), folder.path())?;
    Ok(format!("{version}ready after {} ms, static", ready.as_millis()))
}

/// Checks the program that fetches secrets: it loads a component, and ends without a value to
/// fetch. Returns what was checked.
pub(crate) fn check_fetch(binary: &Path, components: &Path) -> Result<String> {
    check_static(binary)?;
    let begun = Instant::now();
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(binary);
    command.env_clear().env("AMPOULE_FETCH", document(components)?.to_string());
    command.arg("--components").arg(components).arg("--termination-log").arg(folder.path().join("log"));
    let line = printed(command)?;
    ensure!(line.contains("fetched"), "ampoule-fetch prints {line:?}");
    Ok(format!("static, loads a component and ends after {} ms", begun.elapsed().as_millis()))
}

/// What the webhook tells `ampoule-fetch` for one of the components, without a value.
fn document(components: &Path) -> Result<Value> {
    let index = read(&components.join("index.json"))?;
    let digest = index["k8s"].as_str().context("the components have no k8s")?;
    Ok(json!({ "totalSeconds": 1, "injectors": [{ "name": "store", "values": [], "plugin": {
        "component": digest,
        "settings": {},
        "limits": {},
        "grants": {},
        "profile": "flyte-v2",
        "envPrefix": "_UNION_",
        "mountDirectory": "/etc/flyte/secrets",
    } }] }))
}

/// Checks that a program needs no loader. Returns the machine that it is built for, as `readelf`
/// names it.
pub(crate) fn check_static(binary: &Path) -> Result<String> {
    let mut readelf = Command::new("readelf");
    readelf.args(["--wide", "--file-header", "--program-headers"]).arg(binary);
    let head = job::output(&mut readelf, READ_MAX);
    let head = head.with_context(|| format!("readelf cannot read {}", binary.display()))?;
    ensure!(head.contains("LOAD") && !head.contains("INTERP"), "{} is not static", binary.display());
    let machine = head.lines().find_map(|line| line.trim().strip_prefix("Machine:"));
    Ok(machine.context("readelf prints no machine")?.trim().to_owned())
}

/// Checks an OCI archive, and starts its program. Returns what was checked.
pub(crate) fn check(archive: &Path, architecture: &str, log: &Log) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let (oci, root) = (folder.path().join("oci"), folder.path().join("root"));
    unpack(archive, &oci, log)?;
    for layer in layers(&oci, architecture)? {
        unpack(&layer, &root, log)?;
    }
    let version = printed(inside(&root, &["ampoule", "--version"]))?;
    printed(inside(&root, &["flytepropeller", "webhook", "init-certs", "--help"]))?;
    let unset = printed(inside(&root, &["ampoule-fetch"]));
    let unset = unset.err().context("ampoule-fetch starts without AMPOULE_FETCH")?;
    ensure!(unset.to_string().contains("AMPOULE_FETCH is not set"), "{unset}");
    ensure!(root.join("components").is_dir(), "the image has no components");
    let refused = printed(inside(&root, &["ampoule", "serve", "--cert-dir", "/none"]));
    let refused = refused.err().context("the server starts without a certificate")?;
    ensure!(refused.to_string().contains("tls.crt"), "{refused}");
    let ready = serve(inside(&root, &[&["ampoule"], &SERVE[..]].concat()), folder.path())?;
    Ok(format!("{}ready after {} ms, as 65532, on a read-only root", version, ready.as_millis()))
}

/// Checks the configuration of an OCI archive for a machine of another kind. Returns what was
/// checked.
pub(crate) fn check_config(archive: &Path, architecture: &str, log: &Log) -> Result<String> {
    let folder = tempfile::tempdir()?;
    unpack(archive, folder.path(), log)?;
    let count = layers(folder.path(), architecture)?.len();
    Ok(format!(
        "configuration for {architecture}, {count} layer(s); not started, because this machine is of another kind"
    ))
}

/// The files of the layers of an image whose configuration is as it should be.
fn layers(oci: &Path, architecture: &str) -> Result<Vec<PathBuf>> {
    let index = read(&oci.join("index.json"))?;
    let manifest = blob(oci, &index["manifests"][0])?;
    let image = blob(oci, &manifest["config"])?;
    let found = &image["architecture"];
    ensure!(found == architecture, "the image's architecture is {found}, not {architecture}");
    for (key, expected) in
        [("User", json!("65532:65532")), ("Entrypoint", json!(["ampoule"])), ("Cmd", json!(["serve"]))]
    {
        let found = &image["config"][key];
        ensure!(*found == expected, "the image's {key} is {found}, not {expected}");
    }
    let layers = manifest["layers"].as_array().context("the image has no layers")?;
    layers.iter().map(|layer| path_of(oci, layer)).collect()
}

/// Starts a server with its log in the folder, and waits until the log reports that it is ready.
fn serve(mut server: Command, folder: &Path) -> Result<Duration> {
    let path = folder.join("log");
    let file = fs::File::create(&path)?;
    let begun = Instant::now();
    let mut child = job::spawn(server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file))?;
    let ready = loop {
        let text = fs::read_to_string(&path)?;
        if text.contains("\"message\":\"ready\"") {
            break Ok(begun.elapsed());
        }
        if child.try_wait()?.is_some() || begun.elapsed() > READY_MAX {
            break Err(anyhow::anyhow!("the server did not become ready: {text}"));
        }
        thread::sleep(Duration::from_millis(5));
    };
    // A failed server has ended already.
    let _ = child.kill();
    child.wait()?;
    ready
}

fn printed(mut command: Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        bail!("`{}` fails: {}", words.join(" "), String::from_utf8_lossy(&output.stderr));
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

fn path_of(oci: &Path, descriptor: &Value) -> Result<PathBuf> {
    let digest = descriptor["digest"].as_str().context("a descriptor has no digest")?;
    Ok(oci.join("blobs").join(digest.replace(':', "/")))
}

fn read(path: &Path) -> Result<Value> {
    serde_json::from_slice(&fs::read(path)?).with_context(|| format!("{}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_needs_a_loader_is_not_static() {
        let own = std::env::current_exe().unwrap();
        let error = check_binary(&own).unwrap_err().to_string();
        assert_eq!(error, format!("{} is not static", own.display()));
    }
}
