//! Carries edits out on a pod's JSON, and refuses those that contradict it or each other.
//!
//! Every edit first looks whether the pod has what it wants already, defaults that an API server filled in included: this
//! is what makes a second review change nothing.

mod annotation;
mod env;
mod init_container;
mod mount;
mod pull_secret;
mod same;
mod validate;
mod volume;

use std::{collections::BTreeMap, sync::Arc};

use super::{EnvVar, PodEdit, edited::EditedPod};
use crate::{Conventions, mutator::warnings::OwnVariables};

/// What the edits of one admission did so far, and for whom: two injectors that want one name for different things are found here.
#[derive(Default)]
pub(crate) struct EditLog {
    made: BTreeMap<Kind, BTreeMap<String, Entry>>,
    /// Those that the pod had already.
    pub(crate) own_variables: OwnVariables,
}

/// An edit that cannot be carried out. The pod may be half changed then: the caller drops it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ApplyError {
    /// It contradicts the pod or an earlier edit. Names both sides.
    Conflict(String),
    /// No pod could take it: the plugin is at fault.
    Invalid(String),
}

/// What an edit can claim a name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Env,
    Volume,
    /// Its name is the path, as [`place`] writes it.
    Mount,
    InitContainer,
    Annotation,
}

struct Entry {
    by: Arc<str>,
    content: Content,
}

/// What a name was claimed for, as far as that has to be known.
enum Content {
    Any,
    Variable(EnvVar),
    /// A path, for the volume of that name.
    Volume(String),
    /// An init container, with these variables of its own.
    Variables(Vec<String>),
}

// === impl EditLog ===

impl EditLog {
    /// Carries one edit out. `by` is the injector and what it does it for, as messages say it: `injector k8s for flyte.secrets/s0`.
    pub(crate) fn apply(
        &mut self,
        by: &Arc<str>,
        edit: &PodEdit,
        pod: &mut EditedPod<'_>,
        conventions: &Conventions,
    ) -> Result<(), ApplyError> {
        match edit {
            PodEdit::SetEnv(env) => self.set_env(by, env, pod, conventions.env_placement),
            PodEdit::AddVolume(volume) => self.add_volume(by, volume, pod),
            PodEdit::MountVolume(mount) => self.mount_volume(by, mount, pod),
            PodEdit::AddInitContainer(container) => {
                let position = container.position.unwrap_or(conventions.init_container_position);
                self.add_init_container(by, container, position, pod)
            }
            PodEdit::SetAnnotation(annotation) => self.set_annotation(by, annotation, pod),
            PodEdit::AddImagePullSecret(name) => pull_secret::add(name, pod),
        }
    }

    fn record(&mut self, by: &Arc<str>, kind: Kind, name: &str, content: Content) {
        self.made.entry(kind).or_default().insert(name.to_owned(), Entry { by: Arc::clone(by), content });
    }

    /// What an edit claimed that name for.
    fn made(&self, kind: Kind, name: &str) -> Option<&Entry> {
        self.made.get(&kind)?.get(name)
    }

    /// Who put that name into the pod: an injector and what for, or the pod's author.
    fn owner(&self, kind: Kind, name: &str) -> &str {
        self.made(kind, name).map_or("the pod itself", |entry| &entry.by)
    }
}

/// A path without slashes at its end: where a volume is mounted, however it is spelt.
fn place(path: &str) -> &str {
    path.trim_end_matches('/')
}
