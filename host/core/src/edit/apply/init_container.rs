//! `add-init-container`: one container that does a piece of work, unless one does it already.
//!
//! What makes a container "one that does it already" is its work, not its name: plugins number theirs.

use serde_json::Value;

use super::{
    ApplyError, CONTAINER_LISTS, EditLog, Kind, env, list, list_mut, mount, name_of, named, place, same::contains,
    validate, volume,
};
use crate::{InitContainerPosition, edit::InitContainer};

impl<'a> EditLog<'a> {
    pub(super) fn add_init_container(
        &mut self,
        by: &str,
        container: &InitContainer,
        position: InitContainerPosition,
        pod: &mut Value,
    ) -> Result<(), ApplyError> {
        check(container, pod)?;
        let wanted = container.to_json().map_err(ApplyError::Invalid)?;
        let containers = list(&pod["spec"], "initContainers");
        if let Some(index) = containers.iter().position(|existing| does(self.before_edits(existing), &wanted)) {
            self.found(by, &wanted, &mut list_mut(&mut pod["spec"], "initContainers")[index]);
            return Ok(());
        }
        if CONTAINER_LISTS.iter().any(|key| named(list(&pod["spec"], key), &container.name).is_some()) {
            let owner = self.owner(Kind::InitContainer, &container.name);
            return Err(ApplyError::Conflict(format!(
                "container {} of {owner} does something else than {by} wants",
                container.name
            )));
        }
        self.check_mounts(by, container)?;
        let containers = list_mut(&mut pod["spec"], "initContainers");
        self.record(by, Kind::InitContainer, &container.name, wanted["env"].clone());
        match position {
            InitContainerPosition::First => containers.insert(0, wanted),
            InitContainerPosition::Last => containers.push(wanted),
        }
        Ok(())
    }

    /// The work is done by a container that arrived with the pod, from an earlier review: what edits before this one did to
    /// it now, they could not do then, and it is undone, or a second review would change the pod.
    fn found(&mut self, by: &str, wanted: &Value, existing: &mut Value) {
        if self.made(Kind::InitContainer, name_of(existing)).is_none() {
            let arrived = self.before_edits(existing).clone();
            *existing = arrived;
            self.record(by, Kind::InitContainer, name_of(existing), wanted["env"].clone());
        }
    }

    /// Whether a container of that name was added by an edit, with this variable among its own.
    pub(super) fn has_its_own(&self, container: &str, variable: &str) -> bool {
        let made = self.made(Kind::InitContainer, container);
        made.and_then(|entry| entry.content.as_array()).is_some_and(|env| named(env, variable).is_some())
    }

    /// The container as edits before the one that adds it left it: they did not reach it, since it was not there.
    fn before_edits<'c>(&self, existing: &'c Value) -> &'c Value
    where
        'a: 'c,
    {
        let name = name_of(existing);
        let arrived = named(list(&self.arrived["spec"], "initContainers"), name);
        arrived.filter(|_| self.made(Kind::InitContainer, name).is_none()).unwrap_or(existing)
    }

    /// A path that an edit before this one mounts another volume at. The container is not reached by that edit now, but would be
    /// in a second review.
    fn check_mounts(&self, by: &str, container: &InitContainer) -> Result<(), ApplyError> {
        for mount in &container.mounts {
            if let Some(earlier) = self.made(Kind::Mount, place(&mount.path)) {
                let volume = earlier.content.as_str().unwrap_or_default();
                if container.mounts.iter().all(|mount| mount.volume != volume) {
                    return Err(ApplyError::Conflict(format!(
                        "init container {} of {by} has volume {} at {}, where {} wants volume {volume}",
                        container.name, mount.volume, mount.path, earlier.by
                    )));
                }
            }
        }
        Ok(())
    }
}

/// Whether a container does this work already, under any name: another webhook may have put its own in front since, and a
/// plugin that numbers its containers then gives this one another name.
fn does(existing: &Value, wanted: &Value) -> bool {
    ["image", "command", "args"].into_iter().all(|key| contains(&existing[key], &wanted[key]))
        && all_in(list(wanted, "env"), list(existing, "env"), env::says)
        && all_in(list(wanted, "volumeMounts"), list(existing, "volumeMounts"), mount::is)
}

/// Whether each has one of its name and content among the others.
fn all_in(wanted: &[Value], existing: &[Value], is: impl Fn(&Value, &Value) -> bool) -> bool {
    wanted
        .iter()
        .all(|wanted| existing.iter().any(|existing| existing["name"] == wanted["name"] && is(existing, wanted)))
}

fn check(container: &InitContainer, pod: &Value) -> Result<(), ApplyError> {
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
