//! [`RuncNode`]: runs the containers of a pod in order with runc, as the kubelet would. A sidecar
//! (an init container with the restart policy `Always`) runs until the containers have ended.
//!
//! Volumes (also of images and ConfigMaps), mounts, users, security contexts, projected tokens and
//! `fileKeyRef` follow the rules of the kubelet. A memory volume is a tmpfs with the size limit of
//! the pod. The containers share the network of the test. What the pod uses beyond this list is an
//! error, and not ignored.

mod running;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::{
    api::{
        authentication::v1::TokenRequest,
        core::v1::{ConfigMap, Container, EnvVar, Pod, PodSpec, SecurityContext, Volume},
    },
    jiff::Timestamp,
};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(super) use self::running::RuncPod;
use super::{EndedContainer, NodeImage, PATH, System, checked};
use crate::Namespace;

/// Libraries of the machine, to which `ampoule-fetch` of a debug build is linked.
const LIBRARIES: [&str; 3] = ["/lib", "/lib64", "/usr/lib"];
/// Libraries and programs of the machine.
const PROGRAMS: [&str; 4] = ["/bin", "/lib", "/lib64", "/usr"];
/// Time for runc to start a container.
const START: Duration = Duration::from_secs(30);
/// The user of an image that sets none.
const ROOT: i64 = 0;

/// The node of one pod.
pub(super) struct RuncNode {
    folder: TempDir,
    images: Vec<NodeImage>,
}

/// A container that runs.
struct RunningContainer {
    name: String,
    started: Timestamp,
    /// Its identity for runc, and the directory of runc's state.
    id: String,
    state: PathBuf,
    /// The termination log.
    log: PathBuf,
    child: Child,
}

// === impl RunningContainer ===

impl RunningContainer {
    /// Waits for its end.
    fn wait(self) -> Result<EndedContainer> {
        let output = self.child.wait_with_output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(EndedContainer {
            name: self.name,
            status: output.status.code().unwrap_or(-1),
            output: text(&output.stdout),
            errors: text(&output.stderr),
            reason: fs::read_to_string(&self.log)?,
        })
    }

    /// Waits until its program runs, or has ended. A signal before that would prevent its start.
    fn wait_for_start(&mut self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < START {
            let state = Command::new("runc").arg("--root").arg(&self.state).args(["state", &self.id]).output()?;
            let state: Value = serde_json::from_slice(&state.stdout).unwrap_or_default();
            if state["status"] == "running" || self.child.try_wait()?.is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("container {} does not start", self.name)
    }

    /// Sends it a signal.
    fn send(&self, signal: &str) -> Result<()> {
        checked(Command::new("runc").arg("--root").arg(&self.state).args(["kill", &self.id, signal]))
    }
}

// === impl RuncNode ===

impl RuncNode {
    pub(super) fn new(images: Vec<NodeImage>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ampoule-node-").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        Ok(Self { folder, images })
    }

    /// The folder of a volume.
    fn volume(&self, name: &str) -> PathBuf {
        self.folder.path().join("volumes").join(name)
    }

    pub(super) fn is_runtime_state(path: &Path) -> bool {
        path.ends_with("config.json")
    }

    pub(super) fn files_with(&self, text: &str) -> Result<Vec<PathBuf>> {
        let disk = fs::metadata(self.folder.path())?.dev();
        let (mut found, mut folders) = (Vec::new(), vec![self.folder.path().to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                let metadata = fs::symlink_metadata(&path)?;
                if metadata.dev() != disk {
                    continue;
                }
                if metadata.is_dir() {
                    folders.push(path);
                } else if metadata.is_file() && String::from_utf8_lossy(&fs::read(&path)?).contains(text) {
                    found.push(path);
                }
            }
        }
        Ok(found)
    }

    pub(super) async fn run(&self, pod: Value, namespace: &Namespace) -> Result<Vec<EndedContainer>> {
        let spec = serde_json::from_value::<Pod>(pod)?.spec.context("a pod without a spec")?;
        for volume in spec.volumes.iter().flatten() {
            self.make_volume(volume, &spec, namespace).await.with_context(|| format!("volume {}", volume.name))?;
        }
        let (mut ended, mut sidecars) = (Vec::new(), Vec::new());
        for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
            let running = self.start_container(container, &spec, namespace).await;
            let mut running = running.with_context(|| format!("container {}", container.name))?;
            if container.restart_policy.as_deref() == Some("Always") {
                running.wait_for_start()?;
                sidecars.push(running);
                continue;
            }
            let result = running.wait()?;
            let is_failed = result.status != 0;
            ended.push(result);
            if is_failed {
                break;
            }
        }
        for sidecar in sidecars.into_iter().rev() {
            sidecar.send("TERM")?;
            ended.push(sidecar.wait()?);
        }
        Ok(ended)
    }

    async fn make_volume(&self, volume: &Volume, spec: &PodSpec, namespace: &Namespace) -> Result<()> {
        let folder = self.volume(&volume.name);
        fs::create_dir_all(&folder)?;
        let group = spec.security_context.as_ref().and_then(|context| context.fs_group);
        if let Some(memory) = &volume.empty_dir {
            ensure!(memory.medium.as_deref() == Some("Memory"), "only memory volumes are supported");
            let size = memory.size_limit.as_ref().context("no size limit")?;
            let size = size.0.strip_suffix("Mi").context("only sizes in Mi are supported")?;
            // Sticky: the kubelet keeps the mode of a tmpfs.
            let group = group.map(|group| format!(",gid={group},mode=3777")).unwrap_or_else(|| ",mode=1777".to_owned());
            return checked(
                Command::new("mount")
                    .args(["-t", "tmpfs", "-o", &format!("size={size}m{group}"), "tmpfs"])
                    .arg(&folder),
            );
        }
        if let Some(projected) = &volume.projected {
            for source in projected.sources.iter().flatten() {
                if let Some(config_map) = &source.config_map {
                    copy_config_map(&config_map.name, &folder, namespace).await?;
                    continue;
                }
                let token =
                    source.service_account_token.as_ref().context("only tokens and ConfigMaps are supported")?;
                let account = spec.service_account_name.as_deref().unwrap_or("default");
                let audience = token.audience.clone().context("no audience")?;
                let path = folder.join(&token.path);
                fs::write(&path, token_of(account, audience, namespace).await?)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(if group.is_some() { 0o640 } else { 0o644 }))?;
                if let Some(group) = group {
                    chown(&path, None, Some(u32::try_from(group)?))?;
                }
            }
            return Ok(());
        }
        if let Some(mounted) = &volume.image {
            let name = mounted.reference.as_deref().unwrap_or_default();
            let image = self.images.iter().find(|image| image.name == name).context("no such image")?;
            for (source, path) in &image.folders {
                let target = folder.join(path.trim_start_matches('/'));
                fs::create_dir_all(&target)?;
                checked(Command::new("mount").arg("--bind").arg(source).arg(&target))?;
            }
            return Ok(());
        }
        bail!("only memory volumes, images, projected tokens and ConfigMaps are supported")
    }

    async fn start_container(
        &self,
        container: &Container,
        spec: &PodSpec,
        namespace: &Namespace,
    ) -> Result<RunningContainer> {
        let name = container.image.as_deref().unwrap_or_default();
        let image = self.images.iter().find(|image| image.name == name).with_context(|| format!("no image {name}"))?;
        let bundle = self.folder.path().join("bundles").join(&container.name);
        if bundle.exists() {
            fs::remove_dir_all(&bundle)?;
        }
        let root = bundle.join("rootfs");
        for folder in ["proc", "dev", "tmp", "run", "etc", "var"] {
            fs::create_dir_all(root.join(folder))?;
        }
        symlink("/run", root.join("var/run"))?;
        let log = bundle.join("termination-log");
        fs::write(&log, "")?;
        fs::set_permissions(&log, fs::Permissions::from_mode(0o666))?;
        let variables = self.variables(container, namespace).await?;
        let config = self.runtime_config(container, spec, image, &variables, &log)?;
        fs::write(bundle.join("config.json"), config.to_string())?;
        let id = format!("{}-{}", self.folder.path().file_name().unwrap_or_default().to_string_lossy(), container.name);
        let state = self.folder.path().join("runc");
        let child = Command::new("runc")
            .arg("--root")
            .arg(&state)
            .args(["run", "--bundle"])
            .arg(&bundle)
            .arg(&id)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("runc does not start; `cargo xtask setup` installs it")?;
        Ok(RunningContainer { name: container.name.clone(), started: Timestamp::now(), id, state, log, child })
    }

    fn runtime_config(
        &self,
        container: &Container,
        spec: &PodSpec,
        image: &NodeImage,
        variables: &BTreeMap<String, String>,
        log: &Path,
    ) -> Result<Value> {
        let context = container.security_context.clone().unwrap_or_default();
        let pod = spec.security_context.clone().unwrap_or_default();
        let user = context.run_as_user.or(pod.run_as_user).unwrap_or(image.user);
        let must_not_be_root = context.run_as_non_root.or(pod.run_as_non_root).unwrap_or(false);
        ensure!(!(must_not_be_root && user == ROOT), "runAsNonRoot, and the image runs as root");
        // The kubelet passes the user of the image on, without its group.
        let group = context.run_as_group.or(pod.run_as_group).unwrap_or(ROOT);
        let mut mounts = vec![
            json!({ "destination": "/proc", "type": "proc", "source": "proc" }),
            json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] }),
            json!({ "destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] }),
            bind(log, "/dev/termination-log", false),
        ];
        let system = match image.system {
            System::Nothing => &[][..],
            System::Libraries => &LIBRARIES,
            System::Programs => &PROGRAMS,
        };
        mounts.extend(
            system.iter().filter(|path| Path::new(path).exists()).map(|path| bind(Path::new(path), path, true)),
        );
        mounts.extend(image.folders.iter().map(|(folder, path)| bind(folder, path, true)));
        for mount in container.volume_mounts.iter().flatten() {
            ensure!(mount.sub_path.is_none(), "sub-paths are not supported");
            // A runtime resolves links in the path of a mount.
            let path = mount.mount_path.replacen("/var/run/", "/run/", 1);
            mounts.push(bind(&self.volume(&mount.name), &path, mount.read_only == Some(true)));
        }
        let words = |own: &Option<Vec<String>>| own.clone().filter(|words| !words.is_empty());
        let mut command = words(&container.command).unwrap_or_else(|| image.command.clone());
        command.extend(words(&container.args).unwrap_or_default());
        let groups: Vec<_> = pod.fs_group.into_iter().chain(pod.supplemental_groups.into_iter().flatten()).collect();
        Ok(json!({
            "ociVersion": "1.0.0",
            "process": {
                "user": { "uid": user, "gid": group, "additionalGids": groups },
                "args": command,
                "env": variables.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
                "cwd": "/",
                "capabilities": capabilities(&context),
                "noNewPrivileges": context.allow_privilege_escalation == Some(false),
            },
            "root": { "path": "rootfs", "readonly": context.read_only_root_filesystem == Some(true) },
            "mounts": mounts,
            "linux": { "namespaces": [{ "type": "pid" }, { "type": "ipc" }, { "type": "mount" }] },
        }))
    }

    async fn variables(&self, container: &Container, namespace: &Namespace) -> Result<BTreeMap<String, String>> {
        let mut variables = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
        for variable in container.env.iter().flatten() {
            let value = self.value(variable, namespace).await.with_context(|| format!("variable {}", variable.name))?;
            if let Some(value) = value {
                variables.insert(variable.name.clone(), value);
            }
        }
        Ok(variables)
    }

    async fn value(&self, variable: &EnvVar, namespace: &Namespace) -> Result<Option<String>> {
        let Some(source) = &variable.value_from else { return Ok(Some(variable.value.clone().unwrap_or_default())) };
        if let Some(reference) = &source.file_key_ref {
            let path = self.volume(&reference.volume_name).join(&reference.path);
            let text = fs::read_to_string(&path)
                .with_context(|| format!("{} in {}", reference.path, reference.volume_name))?;
            let value = parse_variables(&text, &reference.key)?;
            ensure!(!value.is_empty() || reference.optional == Some(true), "key {} not found", reference.key);
            return Ok(Some(value).filter(|value| !value.is_empty()));
        }
        let reference = source.secret_key_ref.as_ref().context("only fileKeyRef and secretKeyRef are supported")?;
        let mut secret = namespace.secret(&reference.name).await?.context("the Secret does not exist")?;
        let value = secret.remove(&reference.key).context("the Secret has no such key")?;
        Ok(Some(String::from_utf8(value)?))
    }
}

impl Drop for RuncNode {
    fn drop(&mut self) {
        let volumes = fs::read_dir(self.folder.path().join("volumes")).into_iter().flatten().flatten();
        for volume in volumes {
            // A mount of an image is a directory below its volume; other volumes are not mounted.
            let below = fs::read_dir(volume.path()).into_iter().flatten().flatten().map(|entry| entry.path());
            for path in below.chain([volume.path()]) {
                let _ = Command::new("umount").arg("--lazy").arg(path).stderr(Stdio::null()).status();
            }
        }
    }
}

/// Writes the keys of a ConfigMap as files. The kubelet waits for one that does not exist.
async fn copy_config_map(name: &str, folder: &Path, namespace: &Namespace) -> Result<()> {
    let found = namespace.api::<ConfigMap>().get(name).await?;
    for (key, value) in found.binary_data.iter().flatten() {
        fs::write(folder.join(key), &value.0)?;
    }
    Ok(())
}

/// A token of a service account, bound to nothing.
async fn token_of(account: &str, audience: String, namespace: &Namespace) -> Result<String> {
    let accounts: kube::Api<k8s_openapi::api::core::v1::ServiceAccount> = namespace.api();
    let request = json!({ "spec": { "audiences": [audience], "expirationSeconds": 600 } });
    let request: TokenRequest = serde_json::from_value(request)?;
    let answer = accounts.create_token_request(account, &kube::api::PostParams::default(), &request).await?;
    answer.status.and_then(|status| status.token).context("a token request without a token")
}

fn capabilities(context: &SecurityContext) -> Value {
    let drops_all = context.capabilities.as_ref().and_then(|capabilities| capabilities.drop.as_ref());
    let kept: &[&str] = match drops_all {
        Some(dropped) if dropped.iter().any(|name| name == "ALL") => &[],
        _ => &["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SETGID", "CAP_SETUID", "CAP_KILL"],
    };
    json!({ "bounding": kept, "effective": kept, "permitted": kept })
}

fn bind(source: &Path, destination: &str, read_only: bool) -> Value {
    let mode = if read_only { "ro" } else { "rw" };
    json!({ "destination": destination, "type": "bind", "source": source, "options": ["rbind", mode] })
}

/// Reads one variable as the kubelet does (KEP-3721, Kubernetes 1.35): values in single quotes,
/// without escapes, and lines without their line break and a carriage return before it.
///
/// # Errors
///
/// If the file has another form.
pub fn parse_variables(text: &str, key: &str) -> Result<String> {
    let mut lines =
        text.strip_suffix('\n').unwrap_or(text).split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    while let Some(line) = lines.next() {
        let line = line.trim_start_matches([' ', '\t']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, rest) = line.split_once('=').context("missing '='")?;
        ensure!(!name.is_empty() && name.trim_end_matches([' ', '\t']) == name, "whitespace before '='");
        let mut rest = rest.strip_prefix('\'').context("value must be enclosed in single quotes")?;
        let mut value = String::new();
        let after = loop {
            if let Some((end, after)) = rest.split_once('\'') {
                value.push_str(end);
                break after;
            }
            value.push_str(rest);
            value.push('\n');
            rest = lines.next().context("unclosed single quote")?;
        };
        let after = after.trim_start_matches([' ', '\t']);
        ensure!(after.is_empty() || after.starts_with('#'), "unexpected content after closing quote");
        if name == key {
            return Ok(value);
        }
    }
    Ok(String::new())
}
