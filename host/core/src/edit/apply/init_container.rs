//! `add-init-container`: one container that does a piece of work, unless one does it already.
//!
//! What makes a container "one that does it already" is its work, not its name: plugins number theirs.

use std::sync::Arc;

use serde_json::Value;

use super::{ApplyError, Content, EditLog, Kind, env, mount, place, same::contains, validate, volume};
use crate::{
    InitContainerPosition,
    edit::{
        InitContainer,
        edited::{EditedContainer, EditedPod},
        list::EditedList,
    },
    pod::list,
};

impl EditLog {
    pub(super) fn add_init_container(
        &mut self,
        by: &Arc<str>,
        container: &InitContainer,
        position: InitContainerPosition,
        pod: &mut EditedPod<'_>,
    ) -> Result<(), ApplyError> {
        check(container, pod)?;
        let wanted = container.to_json().map_err(ApplyError::Invalid)?;
        if let Some(existing) = pod.init_containers.iter_mut().find(|existing| self.does(existing, &wanted)) {
            self.found(by, container, existing);
            return Ok(());
        }
        if pod.containers().any(|existing| existing.field("name") == &container.name) {
            let owner = self.owner(Kind::InitContainer, &container.name);
            return Err(ApplyError::Conflict(format!(
                "container {} of {owner} does something else than {by} wants",
                container.name
            )));
        }
        self.check_mounts(by, container)?;
        self.record(by, Kind::InitContainer, &container.name, variables(container));
        match position {
            InitContainerPosition::First => pod.init_containers.insert(0, EditedContainer::added(wanted)),
            InitContainerPosition::Last => pod.init_containers.push(EditedContainer::added(wanted)),
        }
        Ok(())
    }

    /// The work is done by a container that arrived with the pod, from an earlier review: what edits before this one did to
    /// it now, they could not do then, and it is undone, or a second review would change the pod.
    fn found(&mut self, by: &Arc<str>, wanted: &InitContainer, existing: &mut EditedContainer<'_>) {
        if let Some(arrived) = self.before_edits(existing) {
            *existing = arrived;
            self.record(by, Kind::InitContainer, existing.name(), variables(wanted));
        }
    }

    /// Whether a container of that name was added by an edit, with this variable among its own.
    pub(super) fn has_its_own(&self, container: &str, variable: &str) -> bool {
        let made = self.made(Kind::InitContainer, container).map(|entry| &entry.content);
        matches!(made, Some(Content::Variables(own)) if own.iter().any(|own| own == variable))
    }

    /// A container as it arrived, if no edit of this admission added or found it.
    fn before_edits<'a>(&self, existing: &EditedContainer<'a>) -> Option<EditedContainer<'a>> {
        existing.before_edits().filter(|_| self.made(Kind::InitContainer, existing.name()).is_none())
    }

    /// Whether a container does this work already. Edits before the one that adds it did not reach it, since it was not there.
    fn does(&self, existing: &EditedContainer<'_>, wanted: &Value) -> bool {
        does(self.before_edits(existing).as_ref().unwrap_or(existing), wanted)
    }

    /// A path that an edit before this one mounts another volume at. The container is not reached by that edit now, but would be
    /// in a second review.
    fn check_mounts(&self, by: &str, container: &InitContainer) -> Result<(), ApplyError> {
        for mount in &container.mounts {
            if let Some((volume, earlier)) = self.mounted_at(place(&mount.path))
                && container.mounts.iter().all(|mount| mount.volume != volume)
            {
                return Err(ApplyError::Conflict(format!(
                    "init container {} of {by} has volume {} at {}, where {earlier} wants volume {volume}",
                    container.name, mount.volume, mount.path
                )));
            }
        }
        Ok(())
    }
}

/// Whether a container does this work already, under any name: another webhook may have put its own in front since, and a
/// plugin that numbers its containers then gives this one another name.
fn does(existing: &EditedContainer<'_>, wanted: &Value) -> bool {
    ["image", "command", "args"].into_iter().all(|key| contains(existing.field(key), &wanted[key]))
        && all_in(list(wanted, "env"), &existing.env, env::says)
        && all_in(list(wanted, "volumeMounts"), &existing.mounts, mount::is)
}

/// Whether each has one of its name and content among the others.
fn all_in(wanted: &[Value], existing: &EditedList<'_>, is: impl Fn(&Value, &Value) -> bool) -> bool {
    wanted
        .iter()
        .all(|wanted| existing.iter().any(|existing| existing["name"] == wanted["name"] && is(existing, wanted)))
}

/// The names of its own.
fn variables(container: &InitContainer) -> Content {
    Content::Variables(container.env.iter().map(|env| env.name.clone()).collect())
}

fn check(container: &InitContainer, pod: &EditedPod<'_>) -> Result<(), ApplyError> {
    validate::dns_label("init container", &container.name)?;
    validate::require(!container.image.is_empty(), || format!("init container {} must have an image", container.name))?;
    container.env.iter().try_for_each(|env| validate::env_name(&env.name))?;
    container.mounts.iter().try_for_each(|mount| {
        mount::check(mount)?;
        validate::require(volume::exists(pod, &mount.volume), || {
            format!("init container {} mounts volume {}, which the pod does not have", container.name, mount.volume)
        })
    })
}
