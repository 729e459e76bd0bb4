//! What the cluster's admins are told in passing: [`Events`] on the process' own Pod and on ConfigMaps with plugins, for `kubectl describe pod` and `kubectl events`.
//!
//! Only where there is such a Pod and somebody to tell. An Event that cannot be written is a warning in the log, and never more.

use std::env;

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, api::PostParams};
use tracing::warn;

use crate::{Cluster, ClusterError};

/// Who reports, as a qualified name.
const CONTROLLER: &str = "ampoule.dev/webhook";
/// What the API server takes of a text, in bytes.
const LONGEST_NOTE: usize = 1024;
/// The same for the name of who reports.
const LONGEST_INSTANCE: usize = 128;

/// Writes Events, or nothing, as by default.
#[derive(Default)]
pub struct Events(Option<Recorder>);

/// How an Event is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// As it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

struct Recorder {
    api: Api<Event>,
    pod: ObjectReference,
}

/// A ConfigMap of the process' own namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigMapReference {
    /// Its `metadata.name`.
    pub name: String,
    /// Its `metadata.uid`.
    pub uid: String,
}

// === impl Events ===

impl Events {
    /// About the Pod that the downward API names. `cluster` is there if the process has it for something else already.
    ///
    /// Without `POD_NAME`, or without a way to the API server, none are written.
    pub async fn connect(cluster: Option<&Cluster>) -> Self {
        let Some(name) = variable("POD_NAME") else { return Self(None) };
        let cluster = match cluster {
            Some(cluster) => cluster.clone(),
            // As with a certificate of others' and no token: that is no fault.
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
            uid: variable("POD_UID"),
            ..ObjectReference::default()
        };
        Self(Some(Recorder { api: cluster.namespaced(), pod }))
    }

    /// Writes one about a ConfigMap of the same namespace that brings a plugin along.
    pub async fn write_about(&self, map: &ConfigMapReference, kind: EventKind, reason: &'static str, note: &str) {
        let Some(recorder) = &self.0 else { return };
        let ConfigMapReference { name, uid } = map.clone();
        let regarding = ObjectReference {
            kind: Some("ConfigMap".to_owned()),
            name: Some(name),
            uid: Some(uid),
            ..recorder.pod.clone()
        };
        recorder.write(regarding, kind, reason, note).await;
    }

    /// Writes one. `reason` is a word for programs, such as `ConfigurationRefused`; `note` is for people, and cut where it is too long.
    pub async fn write(&self, kind: EventKind, reason: &'static str, note: &str) {
        let Some(recorder) = &self.0 else { return };
        recorder.write(recorder.pod.clone(), kind, reason, note).await;
    }
}

// === impl Recorder ===

impl Recorder {
    async fn write(&self, regarding: ObjectReference, kind: EventKind, reason: &'static str, note: &str) {
        let event = self.event(regarding, kind, reason, note);
        if let Err(error) = self.api.create(&PostParams::default(), &event).await {
            let error = ClusterError::from(error);
            warn!(%error, reason, "cannot write an Event");
        }
    }

    fn event(&self, regarding: ObjectReference, kind: EventKind, reason: &str, note: &str) -> Event {
        let name = |object: &ObjectReference| object.name.clone().unwrap_or_default();
        Event {
            // The API server makes a name of it.
            metadata: ObjectMeta { generate_name: Some(format!("{}-", name(&regarding))), ..ObjectMeta::default() },
            event_time: Some(MicroTime(Timestamp::now())),
            type_: Some(kind.as_str().to_owned()),
            reason: Some(reason.to_owned()),
            action: Some("Configure".to_owned()),
            note: Some(cut(note, LONGEST_NOTE).to_owned()),
            regarding: Some(regarding),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(cut(&name(&self.pod), LONGEST_INSTANCE).to_owned()),
            ..Event::default()
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

fn variable(name: &str) -> Option<String> {
    env::var_os(name)?.into_string().ok().filter(|value| !value.is_empty())
}

fn cut(text: &str, longest: usize) -> &str {
    &text[..text.floor_char_boundary(longest)]
}
