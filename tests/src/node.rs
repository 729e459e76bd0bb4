//! A node: [`Node`] runs the containers of a pod and returns their ends.
//!
//! Where `$KUBEBUILDER_ASSETS` has a kubelet and containerd, the pods run on them ([`real`]).
//! Elsewhere runc runs the containers, and the test follows the rules of the kubelet ([`runc`]). A
//! line of the report names the node.

mod image;
mod log;
mod machine;
mod real;
mod runc;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Once,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

pub use self::{image::fetch_program, runc::parse_variables};
use self::{
    machine::NodePrograms,
    real::{KubeletNode, KubeletPod},
    runc::{RuncNode, RuncPod},
};
use crate::{
    Namespace,
    report::{PODS, report},
};

/// The variable `PATH` of an image.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// An image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeImage {
    /// Its name in pods.
    pub name: String,
    /// Its command.
    pub command: Vec<String>,
    /// Its user.
    pub user: i64,
    /// Its part of an operating system.
    pub system: System,
    /// Directories and files of the machine by their path in the image.
    pub folders: Vec<(PathBuf, String)>,
}

/// The part of an operating system that an image has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Nothing.
    Nothing,
    /// The libraries that `ampoule-fetch` of a debug build needs.
    Libraries,
    /// These libraries, a shell and its usual programs.
    Programs,
}

/// A node for the pods of a test.
pub struct Node {
    kind: Kind,
}

enum Kind {
    Kubelet(KubeletNode),
    Runc(RuncNode),
}

/// A container that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedContainer {
    /// Its name.
    pub name: String,
    /// Its exit status.
    pub status: i32,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub errors: String,
    /// The message in the termination log.
    pub reason: String,
}

/// A pod whose containers run until they are stopped.
pub struct RunningPod<'a> {
    kind: RunningKind<'a>,
}

enum RunningKind<'a> {
    Kubelet(Box<KubeletPod>),
    Runc(Box<RuncPod<'a>>),
}

// === impl Node ===

impl Node {
    /// A node with these images.
    ///
    /// # Errors
    ///
    /// If its folder cannot be made.
    pub fn new(images: Vec<NodeImage>) -> Result<Self> {
        static REPORTED: Once = Once::new();
        let programs = NodePrograms::found();
        REPORTED.call_once(|| match programs {
            Ok(programs) => report(PODS, &programs.versions),
            Err(reason) => report(PODS, &format!("containers of runc, without a kubelet: {reason}")),
        });
        if programs.is_ok() {
            return Ok(Self { kind: Kind::Kubelet(KubeletNode::new(images)) });
        }
        Self::without_kubelet(images)
    }

    /// A node with these images whose containers runc runs.
    ///
    /// # Errors
    ///
    /// If its folder cannot be made.
    pub fn without_kubelet(images: Vec<NodeImage>) -> Result<Self> {
        Ok(Self { kind: Kind::Runc(RuncNode::new(images)?) })
    }

    /// The files of the node's disk that contain a text. Memory volumes are not on the disk. A file
    /// that is older than the first pod is not searched.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub async fn files_with(&self, text: &str, namespace: &Namespace) -> Result<Vec<PathBuf>> {
        match &self.kind {
            Kind::Kubelet(node) => node.files_with(text, namespace).await,
            Kind::Runc(node) => node.files_with(text),
        }
    }

    /// Whether a file of the node's disk belongs to the state of the container runtime.
    #[must_use]
    pub fn is_runtime_state(&self, path: &Path) -> bool {
        match &self.kind {
            Kind::Kubelet(_) => KubeletNode::is_runtime_state(path),
            Kind::Runc(_) => RuncNode::is_runtime_state(path),
        }
    }

    /// Runs the init containers in order, and then the containers, once. Ends with the first
    /// container that fails, and then with the sidecars, which get SIGTERM.
    ///
    /// # Errors
    ///
    /// If a container cannot start, or the pod uses a feature that the node does not support.
    pub async fn run(&self, pod: Value, namespace: &Namespace) -> Result<Vec<EndedContainer>> {
        match &self.kind {
            Kind::Kubelet(node) => node.run(pod, namespace).await,
            Kind::Runc(node) => node.run(pod, namespace).await,
        }
    }

    /// Runs the init containers, and starts the sidecars and the containers.
    ///
    /// # Errors
    ///
    /// If an init container fails, a container cannot start, or the pod uses a feature that the
    /// node does not support.
    pub async fn start<'a>(&'a self, pod: Value, namespace: &'a Namespace) -> Result<RunningPod<'a>> {
        let kind = match &self.kind {
            Kind::Kubelet(node) => RunningKind::Kubelet(Box::new(node.start(pod, namespace).await?)),
            Kind::Runc(node) => RunningKind::Runc(Box::new(node.start(pod, namespace).await?)),
        };
        Ok(RunningPod { kind })
    }
}

// === impl RunningPod ===

impl RunningPod<'_> {
    /// Returns the containers that have ended since the last call and that run again.
    ///
    /// # Errors
    ///
    /// If a container cannot start.
    pub async fn restart_ended(&mut self) -> Result<Vec<EndedContainer>> {
        match &mut self.kind {
            RunningKind::Kubelet(pod) => pod.restart_ended().await,
            RunningKind::Runc(pod) => pod.restart_ended().await,
        }
    }

    /// Sends a container a signal.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn send(&self, name: &str, signal: &str) -> Result<()> {
        match &self.kind {
            RunningKind::Kubelet(pod) => pod.send(name, signal),
            RunningKind::Runc(pod) => pod.send(name, signal),
        }
    }

    /// The status of the pod after the last start of a container.
    ///
    /// # Errors
    ///
    /// If it has no JSON.
    pub fn status(&self) -> Result<Value> {
        match &self.kind {
            RunningKind::Kubelet(pod) => pod.status(),
            RunningKind::Runc(pod) => Ok(pod.status()),
        }
    }

    /// Whether a kubelet writes the status of the pod with this name.
    #[must_use]
    pub fn writes_status_of(&self, name: &str) -> bool {
        matches!(&self.kind, RunningKind::Kubelet(pod) if pod.name() == name)
    }

    /// Stops all containers, the sidecars at last. A kubelet removes the pod from the API server.
    ///
    /// # Errors
    ///
    /// If a container does not run.
    pub async fn stop(self) -> Result<Vec<EndedContainer>> {
        match self.kind {
            RunningKind::Kubelet(pod) => pod.stop().await,
            RunningKind::Runc(pod) => pod.stop(),
        }
    }
}

/// Runs a program.
///
/// # Errors
///
/// If it fails, with its errors.
fn checked(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| name.clone())?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
