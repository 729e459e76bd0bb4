//! `add-init-container`: adds one container for a task, unless a container already does the task.
//!
//! Containers are compared by their task (image, command, arguments, variables and mounts) and not
//! by name, because plugins number their containers.

use std::sync::Arc;

use serde_json::Value;

use super::{ApplyError, ClaimContent, ClaimKind, EditApplier, env, mount, normalized_path, same::contains, validate};
use crate::{
    edit::{
        FETCH_CONTAINER, FETCH_VARIABLE, InitContainer, REFRESH_CONTAINER,
        budget::operation_length,
        edited::{EditedContainer, EditedPod},
        list::EditedList,
    },
    pod::list,
    profile::InitContainerPosition,
};

impl EditApplier<'_> {
    pub(super) fn add_init_container(
        &mut self,
        origin: &Arc<str>,
        container: &InitContainer,
        requested: Value,
        position: InitContainerPosition,
        pod: &mut EditedPod<'_>,
    ) -> Result<(), ApplyError> {
        self.budget.visit(comparisons(pod, container))?;
        self.budget.visit(repetitions(pod, &requested))?;
        if let Some(existing) = pod.init_containers.iter_mut().find(|existing| self.does_task(existing, &requested)) {
            return self.adopt(origin, container, &requested, existing);
        }
        if pod.init_containers.iter().any(|existing| is_outdated(existing, &container.name)) {
            return Err(ApplyError::Conflict(format!(
                "the pod has the init container {} of another configuration or version; remove it, or create the pod \
                 from its template",
                container.name
            )));
        }
        if pod.containers().any(|existing| existing.field("name") == &container.name) {
            let owner = self.owner(ClaimKind::InitContainer, &container.name);
            return Err(ApplyError::Conflict(format!(
                "container {} has different definitions from {owner} and {origin}",
                container.name
            )));
        }
        self.check_mounts(origin, container)?;
        self.budget.add(operation_length(&requested))?;
        self.record(origin, ClaimKind::InitContainer, &container.name, own_variables(container));
        match position {
            InitContainerPosition::First => pod.init_containers.insert(0, EditedContainer::added(requested)),
            InitContainerPosition::Last => pod.init_containers.push(EditedContainer::added(requested)),
        }
        Ok(())
    }

    /// Adopts a container that an earlier review added. Earlier edits of this admission changed the
    /// container now, but did not reach it in the first review. Their changes are undone; otherwise
    /// a second review would change the pod.
    fn adopt(
        &mut self,
        origin: &Arc<str>,
        container: &InitContainer,
        requested: &Value,
        existing: &mut EditedContainer<'_>,
    ) -> Result<(), ApplyError> {
        if self.before_edits(existing).is_some() {
            // The claim keeps a copy of the names.
            self.budget.add(operation_length(requested))?;
            existing.undo_edits();
            self.record(origin, ClaimKind::InitContainer, existing.name(), own_variables(container));
        }
        Ok(())
    }

    /// Returns a container as received; `None` if an edit of this admission added or adopted it.
    fn before_edits<'c, 'a>(&self, existing: &'c EditedContainer<'a>) -> Option<&'c EditedContainer<'a>> {
        existing.before_edits().filter(|_| self.claim(ClaimKind::InitContainer, existing.name()).is_none())
    }

    /// Whether a container already does the task. Ignores earlier edits of this admission, which
    /// did not reach the container when it was added.
    fn does_task(&self, existing: &EditedContainer<'_>, requested: &Value) -> bool {
        does_task(self.before_edits(existing).unwrap_or(existing), requested)
    }

    /// Refuses a mount at a path where an earlier edit mounts a different volume. That edit does
    /// not reach the container in this review, but would reach it in a second one.
    fn check_mounts(&self, origin: &str, container: &InitContainer) -> Result<(), ApplyError> {
        for mount in &container.mounts {
            let mut mounted = self.volumes_mounted_at(normalized_path(&mount.path));
            let is_missing = |volume: &str| container.mounts.iter().all(|mount| mount.volume != volume);
            if let Some((volume, earlier)) = mounted.find(|(volume, _)| is_missing(volume)) {
                return Err(ApplyError::Conflict(format!(
                    "init container {} from {origin} mounts volume {} at {}, \
                     where {earlier} mounts volume {volume}; request one of them at another path",
                    container.name, mount.volume, mount.path
                )));
            }
        }
        Ok(())
    }
}

/// Whether a container fetches values for an earlier configuration or version: a pod that was
/// restored from a backup has it.
fn is_outdated(existing: &EditedContainer<'_>, name: &str) -> bool {
    [FETCH_CONTAINER, REFRESH_CONTAINER].contains(&name)
        && existing.name() == name
        && existing.env.named(FETCH_VARIABLE).is_some()
}

/// Whether a container does the task under any name. Another webhook may have added a container in
/// front since, and a plugin that numbers its containers then uses a different name.
fn does_task(existing: &EditedContainer<'_>, requested: &Value) -> bool {
    ["image", "command", "args"].into_iter().all(|key| contains(existing.field(key), &requested[key]))
        && contains_all(&existing.env, list(requested, "env"), env::has_same_value)
        && contains_all(&existing.mounts, list(requested, "volumeMounts"), mount::is_same_mount)
}

/// Whether the list contains every requested element, by name and content.
fn contains_all(existing: &EditedList<'_>, requested: &[Value], is_same: impl Fn(&Value, &Value) -> bool) -> bool {
    requested.iter().all(|requested| {
        let name = requested["name"].as_str().unwrap_or_default();
        existing.all_named(name).any(|existing| is_same(existing, requested))
    })
}

fn own_variables(container: &InitContainer) -> ClaimContent {
    ClaimContent::OwnVariables(container.env.iter().map(|env| env.name.clone()).collect())
}

/// Checks the names and paths of an init container.
pub(super) fn check(container: &InitContainer) -> Result<(), ApplyError> {
    validate::dns_label("init container", &container.name)?;
    validate::require(!container.image.is_empty(), || format!("init container {} must have an image", container.name))?;
    container.env.iter().try_for_each(|env| validate::env_name(&env.name))?;
    container.mounts.iter().try_for_each(mount::check)
}

/// The elements that the search for an equal container compares, and those of the containers.
fn comparisons(pod: &EditedPod<'_>, container: &InitContainer) -> usize {
    let elements = container.env.len() + container.mounts.len();
    (pod.container_count() + container.mounts.len()) * (1 + elements)
}

/// The elements of the pod's init containers that repeat a requested name. A received list may
/// have a name many times, and each of its elements is compared.
fn repetitions(pod: &EditedPod<'_>, requested: &Value) -> usize {
    let count = |existing: &EditedList<'_>, key: &str| -> usize {
        let names = list(requested, key).iter().filter_map(|element| element["name"].as_str());
        names.map(|name| existing.count_named(name).saturating_sub(1)).sum()
    };
    let containers = pod.init_containers.iter();
    containers.map(|existing| count(&existing.env, "env") + count(&existing.mounts, "volumeMounts")).sum()
}
