//! A simulated kubelet: [`Container`], a process with the environment and the files that a pod
//! describes.
//!
//! It reads only the stored pod and the cluster's Secrets. The files have their real paths: the
//! process has a mount namespace of its own, and no network.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{
    Container as Spec, EnvVar, KeyToPath, Pod, SecretKeySelector, SecretProjection, SecretVolumeSource, Volume,
    VolumeMount,
};
use tempfile::TempDir;

use crate::{Namespace, Process};

/// Mounts read-only layers over the machine's `/etc`: one with the container's files and so the
/// mount points, and one over each folder in it, so that it shows no file of the machine. Then
/// executes the program.
const ENTER: &str = r#"root=$1; shift
mount -t overlay overlay -o "lowerdir=$root/etc:/etc" /etc
for folder in "$root"/etc/*; do
mount -t overlay overlay -o "lowerdir=$folder:$root/nothing" "/etc/${folder##*/}"
done
exec "$@""#;
/// For root, and for other users: a user namespace makes its owner root inside.
const NAMESPACES: [&[&str]; 2] = [&["--mount", "--net"], &["--user", "--map-root-user", "--mount", "--net"]];

/// A container of a pod, ready to run. Its files are removed when this value is dropped.
pub struct Container {
    name: String,
    command: Vec<String>,
    env: BTreeMap<String, String>,
    root: TempDir,
}

/// The parts of an image besides its programs.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its variables; the pod's override them.
    pub env: BTreeMap<String, String>,
    /// Its working directory.
    pub folder: PathBuf,
}

// === impl Container ===

impl Container {
    /// Every container of a stored pod, init containers first.
    ///
    /// # Errors
    ///
    /// If a container would not start, for instance because a required Secret is missing, or if the
    /// pod has a field that this simulation does not support.
    pub async fn all_of(pod: serde_json::Value, namespace: &Namespace) -> Result<Vec<Self>> {
        let spec = serde_json::from_value::<Pod>(pod)?.spec.context("a pod without a spec")?;
        let volumes = spec.volumes.unwrap_or_default();
        let mut all = Vec::new();
        for container in spec.init_containers.into_iter().flatten().chain(spec.containers) {
            let name = container.name.clone();
            all.push(Self::lay_out(container, &volumes, namespace).await.with_context(|| format!("container {name}"))?);
        }
        Ok(all)
    }

    async fn lay_out(spec: Spec, volumes: &[Volume], namespace: &Namespace) -> Result<Self> {
        let root = tempfile::Builder::new().prefix("ampoule-e2e-container-").tempdir()?;
        for folder in ["etc/flyte", "nothing"] {
            fs::create_dir_all(root.path().join(folder))?;
        }
        for mount in spec.volume_mounts.unwrap_or_default() {
            let volume = volumes.iter().find(|volume| volume.name == mount.name);
            let volume = volume.with_context(|| format!("no volume {}", mount.name))?;
            write_files(&below(root.path(), &mount)?, volume, namespace)
                .await
                .with_context(|| format!("volume {}", volume.name))?;
        }
        let mut env = BTreeMap::new();
        for all in spec.env_from.unwrap_or_default() {
            let source = all.secret_ref.context("only variables of Secrets are supported")?;
            let secret = match namespace.secret(&source.name).await? {
                Some(secret) => secret,
                None if source.optional == Some(true) => continue,
                None => bail!("secret {:?} not found", source.name),
            };
            for (key, value) in secret {
                let name = all.prefix.clone().unwrap_or_default() + &key;
                env.insert(name, String::from_utf8(value).context("the value is not UTF-8")?);
            }
        }
        for variable in spec.env.unwrap_or_default() {
            let name = variable.name.clone();
            // The last variable of a name counts, and one without a value does not hide an earlier
            // one.
            let value = value_of(variable, &env, namespace).await.with_context(|| format!("variable {name}"))?;
            if let Some(value) = value {
                env.insert(name, value);
            }
        }
        let words = spec.command.into_iter().chain(spec.args).flatten();
        let command = words.map(|word| expand(&word, &env)).collect();
        Ok(Self { name: spec.name, command, env, root })
    }

    /// The name in the pod.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs its command to the end, and returns its output.
    ///
    /// # Errors
    ///
    /// If this machine does not permit a mount namespace, or the program fails or does not end in
    /// time.
    pub async fn run(&self, image: &Image, limit: Duration) -> Result<String> {
        let mut command = in_namespaces(namespaces()?, self.root.path());
        // With `env`, because shells drop variables with names that they do not support, such as
        // `_FSEC_MY-GROUP_KEY`.
        command.arg("env").arg("-i");
        command.args(image.env.iter().chain(&self.env).map(|(name, value)| format!("{name}={value}")));
        command.args(&self.command).current_dir(&image.folder);
        let process = Process::spawn(&mut command, &self.root.path().join("output"))?;
        let status = process.wait(limit).await?;
        ensure!(status.success(), "container {}: {}", self.name, process.describe());
        process.output()
    }
}

/// The path of a volume mount below the container's own root.
fn below(root: &Path, mount: &VolumeMount) -> Result<PathBuf> {
    let VolumeMount { mount_path, sub_path, sub_path_expr, .. } = mount;
    ensure!(sub_path.is_none() && sub_path_expr.is_none(), "mount {mount_path}: sub-paths are not supported");
    let path = mount_path.strip_prefix('/').filter(|path| path.starts_with("etc/") && !path.contains(".."));
    Ok(root.join(path.with_context(|| format!("mount {mount_path}: only folders of /etc are supported"))?))
}

async fn write_files(folder: &Path, volume: &Volume, namespace: &Namespace) -> Result<()> {
    fs::create_dir_all(folder)?;
    if let Some(SecretVolumeSource { secret_name, items, optional, .. }) = volume.secret.clone() {
        return write_secret(folder, &secret_name.context("no secretName")?, items, optional, namespace).await;
    }
    let projected = volume.projected.clone().context("only volumes of Secrets are supported")?;
    for source in projected.sources.into_iter().flatten() {
        let SecretProjection { name, mut items, optional } = source.secret.context("only Secrets are supported")?;
        for item in items.iter_mut().flatten() {
            item.mode = item.mode.or(projected.default_mode);
        }
        write_secret(folder, &name, items, optional, namespace).await?;
    }
    Ok(())
}

async fn write_secret(
    folder: &Path,
    name: &str,
    items: Option<Vec<KeyToPath>>,
    optional: Option<bool>,
    namespace: &Namespace,
) -> Result<()> {
    let mut secret = match namespace.secret(name).await? {
        Some(data) => data,
        None if optional == Some(true) => return Ok(()),
        None => bail!("secret {name:?} not found"),
    };
    let Some(items) = items else {
        return secret.into_iter().try_for_each(|(key, value)| Ok(fs::write(folder.join(key), value)?));
    };
    for item in items {
        match secret.remove(&item.key) {
            Some(value) => {
                let path = folder.join(&item.path);
                fs::create_dir_all(path.parent().context("a path of nothing")?)?;
                fs::write(&path, value)?;
                if let Some(mode) = item.mode {
                    fs::set_permissions(path, fs::Permissions::from_mode(u32::try_from(mode)?))?;
                }
            }
            None if optional == Some(true) => {}
            None => bail!("secret {name:?} has no key {:?}", item.key),
        }
    }
    Ok(())
}

/// Replaces `$(NAME)` by a variable that is known, and `$$` by `$`, as the kubelet does.
fn expand(text: &str, known: &BTreeMap<String, String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let reference = after.strip_prefix('(').and_then(|after| after.split_once(')'));
        match (reference, after.strip_prefix('$')) {
            (Some((name, end)), _) => {
                expanded.push_str(known.get(name).map_or(&format!("$({name})"), |value| value));
                rest = end;
            }
            (None, Some(end)) => {
                expanded.push('$');
                rest = end;
            }
            (None, None) => {
                expanded.push('$');
                rest = after;
            }
        }
    }
    expanded + rest
}

/// The value of a variable after those that are known.
async fn value_of(variable: EnvVar, known: &BTreeMap<String, String>, namespace: &Namespace) -> Result<Option<String>> {
    let Some(source) = variable.value_from else {
        return Ok(Some(expand(&variable.value.unwrap_or_default(), known)));
    };
    let SecretKeySelector { name, key, optional } =
        source.secret_key_ref.context("only references to Secrets are supported")?;
    let mut secret = namespace.secret(&name).await?.unwrap_or_default();
    match secret.remove(&key) {
        Some(value) => Ok(Some(String::from_utf8(value).context("the value is not UTF-8")?)),
        None if optional == Some(true) => Ok(None),
        None => bail!("no key {key:?} in secret {name:?}"),
    }
}

fn in_namespaces(namespaces: &[&str], root: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(namespaces).args(["--", "sh", "-ec", ENTER, "sh"]).arg(root);
    command
}

/// The first method that this machine permits; each is tried with all steps of [`ENTER`].
fn namespaces() -> Result<&'static [&'static str]> {
    static ALLOWED: OnceLock<Result<&[&str], String>> = OnceLock::new();
    let allowed = ALLOWED.get_or_init(|| {
        let root = tempfile::tempdir().map_err(|error| error.to_string())?;
        fs::create_dir_all(root.path().join("etc/flyte")).map_err(|error| error.to_string())?;
        fs::create_dir(root.path().join("nothing")).map_err(|error| error.to_string())?;
        let mut refusals = OsString::new();
        for namespaces in NAMESPACES {
            let output = in_namespaces(namespaces, root.path()).arg("true").stdin(Stdio::null()).output();
            match output {
                Ok(output) if output.status.success() => return Ok(namespaces),
                Ok(output) => refusals.push(String::from_utf8_lossy(&output.stderr).as_ref()),
                Err(error) => refusals.push(error.to_string()),
            }
        }
        Err(format!(
            "this machine lets no process have a mount namespace of its own, in which a container's files are laid out. Inside a \
             container: start it with `--cap-add SYS_ADMIN --security-opt apparmor=unconfined`. Otherwise: allow user namespaces \
             (`sysctl kernel.apparmor_restrict_unprivileged_userns=0` on Ubuntu), or run the tests as root. It printed:\n{}",
            refusals.to_string_lossy()
        ))
    });
    allowed.as_ref().copied().map_err(|refusal| anyhow::anyhow!("{refusal}"))
}
