//! [`RuncPod`]: a pod whose containers run until they are stopped. The test plays the kubelet:
//! it starts containers that have ended again, and writes the status of the pod.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use serde_json::{Value, json};

use super::{EndedContainer, RuncNode, RunningContainer};
use crate::Namespace;

/// A pod whose containers run until they are stopped.
pub(in crate::node) struct RuncPod<'a> {
    node: &'a RuncNode,
    spec: PodSpec,
    namespace: &'a Namespace,
    /// The sidecars and the containers of the pod, each with its last end.
    containers: Vec<(RunningContainer, Option<EndedContainer>)>,
}

// === impl RuncNode ===

impl RuncNode {
    /// Runs the init containers, and starts the sidecars and the containers.
    ///
    /// # Errors
    ///
    /// If an init container fails, a container cannot start, or the pod uses what this node does
    /// not support.
    pub(in crate::node) async fn start<'a>(&'a self, pod: Value, namespace: &'a Namespace) -> Result<RuncPod<'a>> {
        let spec = serde_json::from_value::<Pod>(pod)?.spec.context("a pod without a spec")?;
        for volume in spec.volumes.iter().flatten() {
            self.make_volume(volume, &spec, namespace).await.with_context(|| format!("volume {}", volume.name))?;
        }
        let mut containers = Vec::new();
        for container in spec.init_containers.iter().flatten() {
            let mut running = self.start_container(container, &spec, namespace).await?;
            if container.restart_policy.as_deref() == Some("Always") {
                running.wait_for_start()?;
                containers.push((running, None));
                continue;
            }
            let ended = running.wait()?;
            ensure!(ended.status == 0, "{ended:?}");
        }
        for container in &spec.containers {
            let mut running = self.start_container(container, &spec, namespace).await?;
            running.wait_for_start()?;
            containers.push((running, None));
        }
        Ok(RuncPod { node: self, spec, namespace, containers })
    }
}

// === impl RuncPod ===

impl RuncPod<'_> {
    /// Starts the containers that have ended again, as the kubelet does. Returns those that ended.
    ///
    /// # Errors
    ///
    /// If a container cannot start.
    pub(in crate::node) async fn restart_ended(&mut self) -> Result<Vec<EndedContainer>> {
        let mut all = Vec::new();
        for (mut running, last) in std::mem::take(&mut self.containers) {
            if running.child.try_wait()?.is_none() {
                self.containers.push((running, last));
                continue;
            }
            let ended = running.wait()?;
            let mut specs = self.spec.init_containers.iter().flatten().chain(&self.spec.containers);
            let spec = specs.find(|container| container.name == ended.name).context("a container of the pod")?;
            let mut running = self.node.start_container(spec, &self.spec, self.namespace).await?;
            running.wait_for_start()?;
            self.containers.push((running, Some(ended.clone())));
            all.push(ended);
        }
        Ok(all)
    }

    /// Sends a container a signal.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub(in crate::node) fn send(&self, name: &str, signal: &str) -> Result<()> {
        let (running, _) = self.containers.iter().find(|(running, _)| running.name == name).context("no container")?;
        running.send(signal)
    }

    /// The status of the pod, as the kubelet writes it.
    #[must_use]
    pub(in crate::node) fn status(&self) -> Value {
        let is_sidecar = |name: &str| self.spec.init_containers.iter().flatten().any(|init| init.name == name);
        let statuses = |of_sidecars: bool| -> Vec<Value> {
            let containers = self.containers.iter().filter(|(running, _)| is_sidecar(&running.name) == of_sidecars);
            containers.map(|(running, last)| status_of(running, last.as_ref())).collect()
        };
        json!({ "phase": "Running", "initContainerStatuses": statuses(true), "containerStatuses": statuses(false) })
    }

    /// Stops all containers, the sidecars at last.
    ///
    /// # Errors
    ///
    /// If a container does not run.
    pub(in crate::node) fn stop(mut self) -> Result<Vec<EndedContainer>> {
        let mut ended = Vec::new();
        for (running, _) in self.containers.drain(..).rev() {
            running.send("TERM")?;
            ended.push(running.wait()?);
        }
        Ok(ended)
    }
}

impl Drop for RuncPod<'_> {
    fn drop(&mut self) {
        for (running, _) in &self.containers {
            let _ = running.send("KILL");
        }
    }
}

fn status_of(running: &RunningContainer, last: Option<&EndedContainer>) -> Value {
    let started = running.started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let end = |ended: &EndedContainer| json!({ "exitCode": ended.status, "reason": "Ended", "message": ended.reason });
    json!({
        "name": running.name, "image": "", "imageID": "", "ready": true,
        "restartCount": usize::from(last.is_some()),
        "state": { "running": { "startedAt": started } },
        "lastState": last.map_or_else(|| json!({}), |ended| json!({ "terminated": end(ended) })),
    })
}
