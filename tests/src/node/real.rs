//! [`KubeletNode`]: the pods run on the kubelet of [`Machine`]. Their ends are those of their
//! status in the API server, and their output is that of the kubelet's logs.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Container, ContainerStateTerminated, ContainerStatus, Pod, PodSpec, PodStatus};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    EndedContainer, NodeImage,
    log::ContainerLog,
    machine::{self, Machine},
};
use crate::{Namespace, eventually};

/// Time for a pod to end. A test with a longer outage of the store takes five minutes; the limit of
/// most tests is shorter.
const ENDED: Duration = Duration::from_secs(600);
/// Time for containers to start.
const STARTED: Duration = Duration::from_secs(60);
/// Keeps a pod in the API server until the test has read the ends of its containers.
const FINALIZER: &str = "ampoule.dev/tests";
/// States of a container that the kubelet cannot start.
const CANNOT_START: [&str; 6] = [
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "ErrImagePull",
    "ErrImageNeverPull",
    "ImageInspectError",
];

/// A node with these images for the pods of a test.
pub(super) struct KubeletNode {
    images: Vec<NodeImage>,
    /// The time of the first pod, in seconds since 1970.
    first_pod: AtomicI64,
}

/// A pod whose containers run until they are stopped.
pub(super) struct KubeletPod {
    placed: PlacedPod,
    /// The containers that run, by their names, with their identities.
    running: BTreeMap<String, String>,
    status: PodStatus,
}

/// A pod of the API server that belongs to the node.
struct PlacedPod {
    machine: &'static Machine,
    pods: Api<Pod>,
    name: String,
}

// === impl KubeletNode ===

impl KubeletNode {
    pub(super) fn new(images: Vec<NodeImage>) -> Self {
        Self { images, first_pod: AtomicI64::new(i64::MAX) }
    }

    /// Runs a pod that does not restart its containers. One that the API server does not have yet
    /// gets this restart policy here.
    pub(super) async fn run(&self, mut pod: Value, namespace: &Namespace) -> Result<Vec<EndedContainer>> {
        if !is_stored(&pod, namespace).await? {
            pod["spec"]["restartPolicy"] = json!("Never");
        }
        ensure!(pod["spec"]["restartPolicy"] == "Never", "a stored pod that restarts its containers does not end");
        let placed = self.place(pod, namespace).await?;
        let pod = placed.wait_for_end().await?;
        let ended = placed.ends(&pod)?;
        placed.pods.delete(&placed.name, &DeleteParams::default()).await?;
        placed.wait_until_absent(&pod).await?;
        Ok(ended)
    }

    /// Starts the containers of a pod that does not end.
    pub(super) async fn start(&self, pod: Value, namespace: &Namespace) -> Result<KubeletPod> {
        let placed = self.place(pod, namespace).await?;
        let status = eventually("running containers", STARTED, async || {
            let status = placed.status().await?;
            let running = running_containers(&status);
            let all = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
            let is_started = |found: &ContainerStatus| {
                running.contains_key(&found.name) || terminated(found).is_some_and(|end| end.exit_code == 0)
            };
            ensure!(status.container_statuses.is_some(), "no container: {status:?}");
            ensure!(all.into_iter().all(is_started), "{status:?}");
            Ok(status)
        });
        let status = status.await.with_context(|| placed.machine.describe())?;
        Ok(KubeletPod { running: running_containers(&status), placed, status })
    }

    /// The files of the node's disk that contain a text, and that were written after the start of
    /// the first pod: earlier ones are images. Memory volumes are not on the disk.
    pub(super) async fn files_with(&self, text: &str, namespace: &Namespace) -> Result<Vec<PathBuf>> {
        let machine = Machine::shared(namespace.server()).await?;
        let first_pod = self.first_pod.load(Ordering::Relaxed);
        let (mut found, mut folders) = (Vec::new(), vec![machine.folder().to_owned()]);
        while let Some(folder) = folders.pop() {
            // The programs of the node remove files at any time.
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
                if metadata.is_dir() {
                    folders.push(path);
                } else if metadata.is_file() && metadata.ctime() >= first_pod {
                    let content = fs::read(&path).unwrap_or_default();
                    if String::from_utf8_lossy(&content).contains(text) {
                        found.push(path);
                    }
                }
            }
        }
        Ok(found)
    }

    /// Whether a file belongs to the database or the state of containerd. The writable layer of a
    /// container does not.
    pub(super) fn is_runtime_state(path: &Path) -> bool {
        let text = path.to_string_lossy();
        ["/containerd/io.containerd.metadata.", "/state/io.containerd.runtime."].iter().any(|part| text.contains(part))
    }

    /// Creates a pod on the node, or binds one that the API server has.
    async fn place(&self, mut pod: Value, namespace: &Namespace) -> Result<PlacedPod> {
        let machine = Machine::shared(namespace.server()).await?;
        let text = pod.to_string();
        for image in self.images.iter().filter(|image| text.contains(&format!("\"{}\"", image.name))) {
            machine.import(image)?;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        self.first_pod.fetch_min(i64::try_from(now)?, Ordering::Relaxed);
        let pods = namespace.api::<Pod>();
        let name = name_of(&pod)?.to_owned();
        if is_stored(&pod, namespace).await? {
            let binding = json!({ "metadata": { "name": name }, "target": { "kind": "Node", "name": machine::NAME } });
            pods.create_subresource::<Value, Value>("binding", &name, &PostParams::default(), &binding).await?;
        } else {
            pod["spec"]["nodeName"] = json!(machine::NAME);
            if pod["spec"]["serviceAccountName"].is_null() {
                // As the admission plugin does that the API server of the tests lacks.
                pod["spec"]["serviceAccountName"] = json!("default");
            }
            namespace.create_pod(&pod).await?;
        }
        Ok(PlacedPod { machine, pods, name })
    }
}

// === impl KubeletPod ===

impl KubeletPod {
    /// The containers that have ended and that the kubelet has started again.
    pub(super) async fn restart_ended(&mut self) -> Result<Vec<EndedContainer>> {
        let pod = self.placed.pods.get(&self.placed.name).await?;
        let status = pod.status.clone().context("no status")?;
        let mut all = Vec::new();
        for (name, identity) in running_containers(&status) {
            if self.running.get(&name) == Some(&identity) {
                continue;
            }
            let found = status_of(&status, &name).context("a container of the pod")?;
            let last = found.last_state.as_ref().and_then(|state| state.terminated.as_ref());
            let last = last.with_context(|| format!("container {name} has no last state"))?;
            all.push(ended(found, last, &self.placed.log(&pod, &name, found.restart_count - 1))?);
            self.running.insert(name, identity);
        }
        self.status = status;
        Ok(all)
    }

    pub(super) fn send(&self, name: &str, signal: &str) -> Result<()> {
        self.placed.machine.send(self.running.get(name).context("no container")?, signal)
    }

    /// The status as the kubelet wrote it before the last start or restart that the test has seen.
    pub(super) fn status(&self) -> Result<Value> {
        Ok(serde_json::to_value(&self.status)?)
    }

    pub(super) fn name(&self) -> &str {
        &self.placed.name
    }

    /// Deletes the pod, as a user does: the kubelet stops the containers, the sidecars at last.
    /// Returns their ends in this order.
    pub(super) async fn stop(self) -> Result<Vec<EndedContainer>> {
        let placed = self.placed;
        placed.set_finalizers(&[FINALIZER]).await?;
        let pod = placed.pods.get(&placed.name).await?;
        // The kubelet removes the logs together with the containers: the copies are other names of
        // the same files.
        let copies = tempfile::tempdir_in(placed.machine.folder())?;
        let copy = |name: &str| copies.path().join(name);
        for container in all_statuses(pod.status.as_ref().context("no status")?) {
            if self.running.contains_key(&container.name) {
                let log = placed.log(&pod, &container.name, container.restart_count);
                fs::hard_link(log, copy(&container.name))?;
            }
        }
        placed.pods.delete(&placed.name, &DeleteParams::default()).await?;
        let status = placed.wait_until_stopped().await?;
        let mut all = Vec::new();
        for container in in_order_of_ends(pod.spec.as_ref().context("no spec")?) {
            let found = status_of(&status, &container.name).filter(|found| self.running.contains_key(&found.name));
            if let Some((found, end)) = found.and_then(|found| Some((found, terminated(found)?))) {
                all.push(ended(found, end, &copy(&found.name))?);
            }
        }
        placed.set_finalizers(&[]).await?;
        placed.wait_until_absent(&pod).await?;
        Ok(all)
    }
}

// === impl PlacedPod ===

impl PlacedPod {
    async fn status(&self) -> Result<PodStatus> {
        let pod = self.pods.get(&self.name).await?;
        pod.status.context("no status")
    }

    async fn wait_for_end(&self) -> Result<Pod> {
        let ended = eventually("the end of the pod", ENDED, async || {
            let pod = self.pods.get(&self.name).await?;
            let status = pod.status.as_ref().context("no status")?;
            if let Some(reason) = cannot_start(status) {
                return Ok(Err(reason));
            }
            ensure!(matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")), "{status:?}");
            Ok(Ok(pod))
        });
        match ended.await.with_context(|| self.machine.describe())? {
            Ok(pod) => Ok(pod),
            Err(reason) => bail!("pod {}: {reason}", self.name),
        }
    }

    async fn wait_until_stopped(&self) -> Result<PodStatus> {
        let stopped = eventually("the end of the containers", STARTED, async || {
            let status = self.status().await?;
            ensure!(running_containers(&status).is_empty(), "{status:?}");
            Ok(status)
        });
        stopped.await.with_context(|| self.machine.describe())
    }

    /// The ends of the containers of a pod that has ended.
    fn ends(&self, pod: &Pod) -> Result<Vec<EndedContainer>> {
        let (spec, status) = (pod.spec.as_ref().context("no spec")?, pod.status.as_ref().context("no status")?);
        let mut all = Vec::new();
        for container in in_order_of_ends(spec) {
            let found = status_of(status, &container.name);
            // A container that has not started has no identity.
            if let Some((found, end)) = found.and_then(|found| Some((found, terminated(found)?)))
                && end.container_id.is_some()
            {
                all.push(ended(found, end, &self.log(pod, &found.name, found.restart_count))?);
            }
        }
        Ok(all)
    }

    /// The log of a container after a number of restarts.
    fn log(&self, pod: &Pod, container: &str, restarts: i32) -> PathBuf {
        let metadata = &pod.metadata;
        let [namespace, uid] = [&metadata.namespace, &metadata.uid].map(|text| text.as_deref().unwrap_or_default());
        let folder = self.machine.logs().join(format!("{namespace}_{}_{uid}", self.name));
        folder.join(container).join(format!("{restarts}.log"))
    }

    /// Waits until neither the API server nor the node has the pod. Before that, the kubelet gives
    /// the objects of this pod to the next one without reading them again, if they are immutable.
    async fn wait_until_absent(&self, pod: &Pod) -> Result<()> {
        let uid = pod.metadata.uid.as_deref().context("a pod without an identity")?;
        let folder = self.machine.folder().join("kubelet/pods").join(uid);
        let absent = eventually("the removal of the pod", STARTED, async || {
            ensure!(self.pods.get_opt(&self.name).await?.is_none(), "the API server has it");
            ensure!(!folder.exists(), "the kubelet has {}", folder.display());
            Ok(())
        });
        absent.await.with_context(|| self.machine.describe())
    }

    async fn set_finalizers(&self, finalizers: &[&str]) -> Result<()> {
        let patch = Patch::Merge(json!({ "metadata": { "finalizers": finalizers } }));
        self.pods.patch(&self.name, &PatchParams::default(), &patch).await?;
        Ok(())
    }
}

/// The init containers, the containers, and then the sidecars.
fn in_order_of_ends(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    let inits = spec.init_containers.iter().flatten();
    let (sidecars, inits): (Vec<_>, Vec<_>) =
        inits.partition(|container| container.restart_policy.as_deref() == Some("Always"));
    inits.into_iter().chain(&spec.containers).chain(sidecars.into_iter().rev())
}

/// The end of a container, with its log.
fn ended(container: &ContainerStatus, end: &ContainerStateTerminated, log: &Path) -> Result<EndedContainer> {
    let log = ContainerLog::read(log)?;
    Ok(EndedContainer {
        name: container.name.clone(),
        status: end.exit_code,
        output: log.output,
        errors: log.errors,
        reason: end.message.clone().unwrap_or_default(),
    })
}

async fn is_stored(pod: &Value, namespace: &Namespace) -> Result<bool> {
    namespace.has_pod(name_of(pod)?).await
}

fn name_of(pod: &Value) -> Result<&str> {
    pod["metadata"]["name"].as_str().context("a pod without a name")
}

fn all_statuses(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    let inits = status.init_container_statuses.iter().flatten();
    inits.chain(status.container_statuses.iter().flatten())
}

fn status_of<'a>(status: &'a PodStatus, name: &str) -> Option<&'a ContainerStatus> {
    all_statuses(status).find(|container| container.name == name)
}

fn terminated(container: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    container.state.as_ref()?.terminated.as_ref()
}

/// The containers that run, by their names, with their identities for containerd.
fn running_containers(status: &PodStatus) -> BTreeMap<String, String> {
    let running =
        all_statuses(status).filter(|container| container.state.as_ref().is_some_and(|state| state.running.is_some()));
    let identity = |container: &ContainerStatus| {
        let identity = container.container_id.as_deref()?.strip_prefix("containerd://")?;
        Some((container.name.clone(), identity.to_owned()))
    };
    running.filter_map(identity).collect()
}

/// Why a container cannot start.
fn cannot_start(status: &PodStatus) -> Option<String> {
    all_statuses(status).find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref().filter(|reason| CANNOT_START.contains(reason))?;
        Some(format!("container {}: {reason}: {}", container.name, waiting.message.as_deref().unwrap_or_default()))
    })
}
