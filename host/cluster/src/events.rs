//! Kubernetes Events about this process's Pod and about ConfigMaps with plugins: [`Events`].
//!
//! `kubectl describe pod` and `kubectl events` show them. They are written only in a Pod with
//! access to the API server, in the background: a slow API server delays no caller. If an Event
//! cannot be written, the log has a warning.
//!
//! Replicas report the same state of a ConfigMap under the same name, so that only the first one
//! creates the Event.

use std::{
    env,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

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
/// Maximum length of the object's name in the name of its Event, in bytes. A name has at most 253.
const LONGEST_NAME: usize = 200;

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

    /// Writes an Event about a ConfigMap with a plugin, in the process's namespace, and names the
    /// replica. `position` is the number of Events that this process has written about it.
    ///
    /// Another replica that writes the same at the same position, or a new one that replaces this
    /// one, adds no Event.
    pub fn write_about(
        &self,
        map: &ConfigMapReference,
        position: u64,
        (kind, reason, note): (EventKind, &'static str, &str),
    ) {
        let Some(recorder) = &self.0 else { return };
        let regarding = ObjectReference {
            kind: Some("ConfigMap".to_owned()),
            name: Some(map.name.clone()),
            uid: Some(map.uid.clone()),
            ..recorder.pod.clone()
        };
        let mut event = recorder.event(regarding, kind, reason, &recorder.with_replica(note));
        event.metadata = ObjectMeta { name: Some(shared_name(map, position, reason, note)), ..ObjectMeta::default() };
        recorder.send(event, reason);
    }

    /// Writes an Event about the Pod. `reason` is a machine-readable word, such as
    /// `ConfigurationRefused`; `note` is a sentence for operators, cut at the maximum length.
    pub fn write(&self, kind: EventKind, reason: &'static str, note: &str) {
        let Some(recorder) = &self.0 else { return };
        recorder.send(recorder.event(recorder.pod.clone(), kind, reason, note), reason);
    }
}

// === impl EventRecorder ===

impl EventRecorder {
    fn send(&self, event: Event, reason: &'static str) {
        if self.waiting.try_send(event).is_err() {
            warn!(reason, limit = MOST_WAITING, "too many Events wait for the API server; this one is dropped");
        }
    }

    /// Adds the name of this replica to a note.
    fn with_replica(&self, note: &str) -> String {
        let replica = prefix(self.pod.name.as_deref().unwrap_or_default(), LONGEST_INSTANCE);
        let suffix = format!(" (replica {replica})");
        format!("{}{suffix}", prefix(note, LONGEST_NOTE - suffix.len()))
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

/// The name of an Event that replicas share.
fn shared_name(map: &ConfigMapReference, position: u64, reason: &str, note: &str) -> String {
    let mut hasher = DefaultHasher::new();
    (&map.uid, position, reason, note).hash(&mut hasher);
    // A cut name may end with a character that is not valid before the hyphen.
    let name = prefix(&map.name, LONGEST_NAME).trim_end_matches(['-', '.']);
    format!("{name}-{:016x}", hasher.finish())
}

/// Writes the Events in their order, until the last writer is dropped.
async fn write_all(api: Api<Event>, mut queue: mpsc::Receiver<Event>) {
    while let Some(event) = queue.recv().await {
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => {}
            // Another replica has reported the same.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => {
                let (error, reason) = (ClusterError::from(error), event.reason.as_deref());
                warn!(%error, reason, "cannot write an Event");
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder(pod: &str) -> EventRecorder {
        let pod = ObjectReference { name: Some(pod.to_owned()), ..ObjectReference::default() };
        EventRecorder { waiting: mpsc::channel(1).0, pod }
    }

    #[test]
    fn the_name_of_an_event_is_equal_only_for_the_same_report() {
        let map = |name: &str, uid: &str| ConfigMapReference { name: name.to_owned(), uid: uid.to_owned() };
        let first = || shared_name(&map("mine", "1"), 0, "PluginLoaded", "note");
        assert_eq!(first(), first());
        for (what, other) in [
            ("another object of the name", shared_name(&map("mine", "2"), 0, "PluginLoaded", "note")),
            ("a later report", shared_name(&map("mine", "1"), 1, "PluginLoaded", "note")),
            ("another reason", shared_name(&map("mine", "1"), 0, "PluginRefused", "note")),
            ("another note", shared_name(&map("mine", "1"), 0, "PluginLoaded", "note 2")),
        ] {
            assert_ne!(other, first(), "{what}");
        }
        let long = shared_name(&map(&format!("{}.{}", "a".repeat(199), "b".repeat(53)), "1"), 0, "", "");
        assert_eq!((long.len(), &long[198..200]), (216, "a-"), "{long}");
    }

    #[test]
    fn a_note_names_the_replica_however_long_it_is() {
        let recorder = recorder("ampoule-7d9f");
        assert_eq!(recorder.with_replica("mine loaded"), "mine loaded (replica ampoule-7d9f)");
        let note = recorder.with_replica(&"n".repeat(5000));
        assert!(note.len() == LONGEST_NOTE && note.ends_with("n (replica ampoule-7d9f)"), "{note}");
    }
}
