//! Applies edits to a pod's JSON, and refuses edits that contradict the pod or each other.
//!
//! All edits of an answer are validated before the first one is applied ([`prepare`]). Every edit
//! first checks whether the pod already has the requested content, including defaults
//! that the API server filled in. Therefore a second review changes nothing.

mod annotation;
mod env;
mod env_from;
mod init_container;
mod mount;
mod prepare;
mod pull_secret;
mod same;
mod validate;
mod volume;
mod write_file;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use self::{prepare::PreparedEdit, write_file::FileReference};
pub(crate) use self::{
    prepare::check as check_edit,
    validate::env_name as check_variable_name,
    write_file::{check as check_file, memory_volume_name},
};
use super::{
    EnvVar, FileSource, PodEdit,
    budget::{BudgetError, EditBudget},
    edited::EditedPod,
    index::normalized_path,
};
use crate::{
    profile::Conventions,
    request::{ContainerScope, RequestOptions},
};

/// The origin of content that no edit added, in messages.
const THE_POD: &str = "the pod";

/// The containers that had an injected variable with a different value, by the variable's name.
pub(crate) type VariableCollisions = BTreeMap<String, Vec<String>>;

/// Applies the edits of one admission, and records the names that they claim and their origins, to
/// detect two injectors that need one name for different content.
pub(crate) struct EditApplier<'a> {
    budget: EditBudget<'a>,
    /// The claims of a name have different containers.
    claims: BTreeMap<ClaimKind, BTreeMap<String, Vec<Claim>>>,
    /// The containers that the edits of the current answer reach.
    scope: ContainerScope,
    /// The value of the variables that these edits replace in their places.
    replaces: Option<Arc<str>>,
    /// The variables of the pod that differ from injected ones.
    pub(crate) variable_collisions: VariableCollisions,
    /// The image pull secrets that the edits of this admission added.
    pull_secrets: BTreeSet<String>,
}

/// An edit that cannot be applied. The pod may be partially changed; the caller discards it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApplyError {
    /// The edit contradicts the pod or an earlier edit. The message names both sides.
    #[error("{0}")]
    Conflict(String),
    /// The edit is invalid for any pod: the plugin has a bug.
    #[error("{0}")]
    Invalid(String),
    /// The edits of the admission exceed a limit of the pod.
    #[error("{0}")]
    TooLarge(String),
    /// Other admissions use the memory that the edits need.
    #[error("the memory is in use by other admissions")]
    MemoryExhausted,
}

/// Kinds of names that an edit can claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ClaimKind {
    Env,
    Volume,
    /// The name is a path without trailing slashes.
    Mount,
    /// The name is the path of a file that the pod fetches.
    FetchedFile,
    InitContainer,
    Annotation,
}

/// A name that an edit claimed.
struct Claim {
    /// The injector and the annotation of the edit, as in messages.
    origin: Arc<str>,
    /// The containers for which the name is claimed.
    scope: ContainerScope,
    content: ClaimContent,
}

/// The content of a claimed name, as far as later edits need it.
enum ClaimContent {
    Any,
    Variable(EnvVar),
    /// The volume that is mounted at a path.
    MountedVolume(String),
    /// The promise of a file.
    Promise(String),
    /// The variables that an init container sets itself. Every later variable is searched here.
    OwnVariables(BTreeSet<String>),
}

/// Returns a copy of an element for one container, or the element itself for the last container.
fn for_container(element: &mut Value, is_last: bool) -> Value {
    if is_last { element.take() } else { element.clone() }
}

// === impl ClaimKind ===

impl ClaimKind {
    /// Whether containers can have different content under one name.
    fn is_per_container(self) -> bool {
        match self {
            Self::Env | Self::Mount => true,
            Self::Volume | Self::FetchedFile | Self::InitContainer | Self::Annotation => false,
        }
    }
}

// === impl ApplyError ===

impl ApplyError {
    /// The error for a value that only a Secret can carry.
    fn undelivered() -> Self {
        Self::Invalid("a fetched file or image pull secret needs a Secret".to_owned())
    }
}

impl From<BudgetError> for ApplyError {
    fn from(error: BudgetError) -> Self {
        match error {
            BudgetError::TooLarge(reason) => Self::TooLarge(reason),
            BudgetError::MemoryExhausted => Self::MemoryExhausted,
        }
    }
}

// === impl EditApplier ===

impl<'a> EditApplier<'a> {
    pub(crate) fn new(budget: EditBudget<'a>) -> Self {
        Self {
            budget,
            claims: BTreeMap::new(),
            scope: ContainerScope::default(),
            replaces: None,
            variable_collisions: VariableCollisions::new(),
            pull_secrets: BTreeSet::new(),
        }
    }

    /// Applies all edits of an answer to the containers of its request. `origin` names the injector
    /// and the annotation in messages: `injector k8s for flyte.secrets/s0`.
    ///
    /// # Errors
    ///
    /// After [`ApplyError::Invalid`], the pod is unchanged. After other errors, a part of the edits
    /// may have been applied, and the pod must not be used.
    pub(crate) fn apply_all(
        &mut self,
        (origin, options): (&Arc<str>, &RequestOptions),
        edits: &[PodEdit],
        pod: &mut EditedPod<'_>,
        conventions: &Conventions,
    ) -> Result<(), ApplyError> {
        self.scope = options.containers.clone();
        self.replaces.clone_from(&options.replaces);
        let prepared = prepare::all(edits, pod)?;
        prepared.into_iter().try_for_each(|edit| self.apply(origin, edit, pod, conventions))
    }

    fn apply(
        &mut self,
        origin: &Arc<str>,
        PreparedEdit { edit, json }: PreparedEdit<'_>,
        pod: &mut EditedPod<'_>,
        conventions: &Conventions,
    ) -> Result<(), ApplyError> {
        match edit {
            PodEdit::SetEnv(env) if self.replaces.is_some() => self.replace_env(origin, env, &json, pod),
            PodEdit::SetEnv(env) => self.set_env(origin, env, json, pod, conventions.env_placement),
            PodEdit::SetEnvFrom(_) => self.set_env_from(json, pod, conventions.env_placement),
            PodEdit::AddVolume(volume) => self.add_volume(origin, volume, json, pod),
            PodEdit::MountVolume(mount) => self.mount_volume(origin, mount, json, pod),
            PodEdit::AddInitContainer(container) => {
                let position = container.position.unwrap_or(conventions.init_container_position);
                self.add_init_container(origin, container, json, position, pod)
            }
            PodEdit::SetAnnotation(annotation) => self.set_annotation(origin, annotation, json, pod),
            PodEdit::AddImagePullSecret(name) => self.add_pull_secret(name, json, pod),
            PodEdit::WriteFile(file) => match &file.source {
                FileSource::SecretKey(source) => {
                    self.write_file(origin, &FileReference { path: &file.path, mode: file.mode, source }, pod)
                }
                FileSource::Promise(promise) => self.write_fetched_file(origin, &file.path, promise, pod),
                FileSource::SecretValue(_) => Err(ApplyError::undelivered()),
            },
            PodEdit::AddPullSecretValue(_) => Err(ApplyError::undelivered()),
        }
    }

    fn record(&mut self, origin: &Arc<str>, kind: ClaimKind, name: &str, content: ClaimContent) {
        let scope = if kind.is_per_container() { self.scope.clone() } else { ContainerScope::default() };
        let claim = Claim { origin: Arc::clone(origin), scope, content };
        self.claims.entry(kind).or_default().entry(name.to_owned()).or_default().push(claim);
    }

    /// Returns the first claim of a name for a container of the current scope.
    fn claim(&self, kind: ClaimKind, name: &str) -> Option<&Claim> {
        self.overlapping_claims(kind, name).next()
    }

    fn overlapping_claims(&self, kind: ClaimKind, name: &str) -> impl Iterator<Item = &Claim> {
        let claims = self.claims.get(&kind).and_then(|claims| claims.get(name));
        claims.into_iter().flatten().filter(|claim| claim.scope.overlaps(&self.scope))
    }

    /// Whether earlier claims of a name are for all containers of the current scope.
    fn is_claimed_everywhere(&self, kind: ClaimKind, name: &str) -> bool {
        self.overlapping_claims(kind, name).any(|claim| claim.scope.includes(&self.scope))
    }

    /// The variables that edits set in a container.
    pub(crate) fn variables_of(&self, container: &str) -> impl Iterator<Item = &str> {
        let claims = self.claims.get(&ClaimKind::Env).into_iter().flatten();
        let set = claims.filter(move |(_, claims)| claims.iter().any(|claim| claim.scope.covers(container)));
        set.map(|(name, _)| name.as_str())
    }

    /// The variables that edits set in other containers only.
    pub(crate) fn variables_outside(&self, container: &str) -> impl Iterator<Item = &str> {
        let claims = self.claims.get(&ClaimKind::Env).into_iter().flatten();
        let set = claims.filter(move |(_, claims)| !claims.iter().any(|claim| claim.scope.covers(container)));
        set.map(|(name, _)| name.as_str())
    }

    /// Returns the origin of a name in the pod, for messages: that of an edit, or the pod itself.
    fn owner(&self, kind: ClaimKind, name: &str) -> &str {
        self.claim(kind, name).map_or(THE_POD, |claim| &claim.origin)
    }

    /// Whether an edit added the container, and the container sets the variable itself.
    fn is_own_variable(&self, container: &str, variable: &str) -> bool {
        match self.claim(ClaimKind::InitContainer, container).map(|claim| &claim.content) {
            Some(ClaimContent::OwnVariables(names)) => names.contains(variable),
            _ => false,
        }
    }

    /// Returns the volumes that edits mount at a normalized path in a container of the current
    /// scope, each with the origin of the edit.
    fn volumes_mounted_at(&self, path: &str) -> impl Iterator<Item = (&str, &str)> {
        self.overlapping_claims(ClaimKind::Mount, path).filter_map(|claim| match &claim.content {
            ClaimContent::MountedVolume(volume) => Some((volume.as_str(), &*claim.origin)),
            ClaimContent::Any
            | ClaimContent::Variable(_)
            | ClaimContent::Promise(_)
            | ClaimContent::OwnVariables(_) => None,
        })
    }
}
