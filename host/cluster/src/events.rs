//! Kubernetes Events about this process's Pod and about ConfigMaps with plugins: [`Events`].
//!
//! `kubectl describe pod` and `kubectl events` show them. They are written only in a Pod with
//! access to the API server, in the background: a slow API server delays no caller. If an Event
//! cannot be written, the log has a warning.

use std::env;

use ampoule_core::text::prefix;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, api::PostParams};
use tokio::sync::mpsc;
use tracing::warn;

use crate::client::{Cluster, ClusterError};

/// The reporting controller, as a qualified name.
const CONTROLLER: &str = "ampoule.dev/webhook";
/// Maximum length of a note at the API server, in bytes.
const LONGEST_NOTE: usize = 1024;
/// Maximum length of the reporting instance's name, in bytes.
const LONGEST_INSTANCE: usize = 128;

/// Maximum number of Events that wait for the API server. One change causes at most one for each
/// reported ConfigMap, of which there are 128.
const MOST_WAITING: usize = 256;

/// Writes Events. The default writes none.
#[derive(Default)]
pub struct Events(Option<EventRecorder>);

/// Type of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// An expected change.
    Normal,
    /// A problem that an operator should examine.
    Warning,
}

struct EventRecorder {
    waiting: mpsc::Sender<Event>,
    /// The process's own Pod.
    pod: ObjectReference,
}

/// Reference to a ConfigMap in the process's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigMapReference {
    /// The `metadata.name`.
    pub name: String,
    /// The `metadata.uid`.
    pub uid: String,
}

// === impl Events ===

impl Events {
    /// Creates the writer for the Pod that the downward API names, with an existing client if the
    /// process has one.
    ///
    /// Without `POD_NAME`, or without access to the API server, it writes no Events.
    pub async fn connect(cluster: Option<&Cluster>) -> Self {
        let Some(name) = env_var("POD_NAME") else { return Self(None) };
        let cluster = match cluster {
            Some(cluster) => cluster.clone(),
            // Not an error: a process that needs no API server may run without a token.
            None => match Cluster::connect().await {
                Ok(cluster) => cluster,
                Err(_) => return Self(None),
            },
        };
        let pod = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(name),
            namespace: Some(cluster.namespace().to_owned()),
            uid: env_var("POD_UID"),
            ..ObjectReference::default()
        };
        let (waiting, queue) = mpsc::channel(MOST_WAITING);
        tokio::spawn(write_all(cluster.namespaced(), queue));
        Self(Some(EventRecorder { waiting, pod }))
    }

    /// Writes an Event about a ConfigMap with a plugin, in the process's namespace.
    pub fn write_about(&self, map: &ConfigMapReference, kind: EventKind, reason: &'static str, note: &str) {
        let Some(recorder) = &self.0 else { return };
        let regarding = ObjectReference {
            kind: Some("ConfigMap".to_owned()),
            name: Some(map.name.clone()),
            uid: Some(map.uid.clone()),
            ..recorder.pod.clone()
        };
        recorder.write(regarding, kind, reason, note);
    }

    /// Writes an Event about the Pod. `reason` is a machine-readable word, such as
    /// `ConfigurationRefused`; `note` is a sentence for operators, cut at the maximum length.
    pub fn write(&self, kind: EventKind, reason: &'static str, note: &str) {
        let Some(recorder) = &self.0 else { return };
        recorder.write(recorder.pod.clone(), kind, reason, note);
    }
}

// === impl EventRecorder ===

impl EventRecorder {
    fn write(&self, regarding: ObjectReference, kind: EventKind, reason: &'static str, note: &str) {
        let event = self.event(regarding, kind, reason, note);
        if self.waiting.try_send(event).is_err() {
            warn!(reason, limit = MOST_WAITING, "too many Events wait for the API server; this one is dropped");
        }
    }

    fn event(&self, regarding: ObjectReference, kind: EventKind, reason: &str, note: &str) -> Event {
        let name = regarding.name.as_deref().unwrap_or_default();
        Event {
            metadata: ObjectMeta { generate_name: Some(format!("{name}-")), ..ObjectMeta::default() },
            event_time: Some(MicroTime(Timestamp::now())),
            type_: Some(kind.as_str().to_owned()),
            reason: Some(reason.to_owned()),
            action: Some("Configure".to_owned()),
            note: Some(prefix(note, LONGEST_NOTE).to_owned()),
            regarding: Some(regarding),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: self.pod.name.as_deref().map(|pod| prefix(pod, LONGEST_INSTANCE).to_owned()),
            ..Event::default()
        }
    }
}

/// Writes the Events in their order, until the last writer is dropped.
async fn write_all(api: Api<Event>, mut queue: mpsc::Receiver<Event>) {
    while let Some(event) = queue.recv().await {
        if let Err(error) = api.create(&PostParams::default(), &event).await {
            let (error, reason) = (ClusterError::from(error), event.reason.as_deref());
            warn!(%error, reason, "cannot write an Event");
        }
    }
}

// === impl EventKind ===

impl EventKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Returns the name of this process's Pod, if the downward API sets it.
#[must_use]
pub fn pod_name() -> Option<String> {
    env_var("POD_NAME")
}

fn env_var(name: &str) -> Option<String> {
    env::var_os(name)?.into_string().ok().filter(|value| !value.is_empty())
}
