//! `add-init-container`: one container that does a piece of work, unless one does it already.
//!
//! What makes a container "one that does it already" is its work, not its name: plugins number theirs.

use serde_json::Value;

use super::{
    ApplyError, CONTAINER_LISTS, EditLog, Made, list, list_mut, mount, name_of, named,
    same::{contains, contains_each},
    validate, volume,
};
use crate::{InitContainerPosition, edit::InitContainer};

impl EditLog<'_> {
    pub(super) fn add_init_container(
        &mut self,
        injector: &str,
        container: &InitContainer,
        position: InitContainerPosition,
        pod: &mut Value,
    ) -> Result<(), ApplyError> {
        check(container, pod)?;
        let wanted = container.to_json().map_err(ApplyError::Invalid)?;
        if let Some(index) = list(&pod["spec"], "initContainers").iter().position(|existing| does(existing, &wanted)) {
            self.found(injector, &mut list_mut(&mut pod["spec"], "initContainers")[index]);
            return Ok(());
        }
        let made = Made::InitContainer(container.name.clone());
        if CONTAINER_LISTS.iter().any(|key| named(list(&pod["spec"], key), &container.name).is_some()) {
            let owner = self.owner(&made);
            return Err(ApplyError::Conflict(format!(
                "container {} is {owner}'s and does something else than injector {injector} wants",
                container.name
            )));
        }
        let containers = list_mut(&mut pod["spec"], "initContainers");
        match position {
            InitContainerPosition::First => containers.insert(0, wanted),
            InitContainerPosition::Last => containers.push(wanted),
        }
        self.record(injector, made, Value::Null);
        Ok(())
    }

    /// The work is done by a container that arrived with the pod, from an earlier review: what edits before this one did to
    /// it now, they could not do then, and it is undone, or a second review would change the pod.
    fn found(&mut self, injector: &str, existing: &mut Value) {
        let name = name_of(existing).to_owned();
        let arrived = named(list(&self.arrived["spec"], "initContainers"), &name);
        let made = Made::InitContainer(name);
        if let (Some(arrived), false) = (arrived, self.made.contains_key(&made)) {
            existing.clone_from(arrived);
            self.record(injector, made, Value::Null);
        }
    }
}

/// Whether a container does this work already, under any name: another webhook may have put its own in front since, and a
/// plugin that numbers its containers then gives this one another name.
fn does(existing: &Value, wanted: &Value) -> bool {
    ["image", "command", "args"].into_iter().all(|key| contains(&existing[key], &wanted[key]))
        && ["env", "volumeMounts"].into_iter().all(|key| contains_each(list(existing, key), list(wanted, key)))
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
