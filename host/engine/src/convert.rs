//! The contract's types to the core's and back: WIT types go no further than here.
//!
//! What a guest answers is bounded on the way in ([`edits()`]), and its texts are made fit to be shown.

mod edits;

use ampoule_core::{
    ContainerKind, ContainerView, Conventions, InjectionError, MountRequirement, PodView, SecretRequest,
};

use crate::{contract::ampoule::injector::types as wit, load::PluginInfo, text::clean};

pub(crate) use self::edits::edits;

/// Bytes of an error that a guest words, as the contract says.
pub(crate) const MAX_ERROR: usize = 512;

/// Bytes of a plugin's name and of its version: more would drown a message that names it.
const MAX_NAME: usize = 64;

// === to the guest ===

pub(crate) fn request(request: &SecretRequest) -> wit::SecretRequest {
    let SecretRequest { group, group_version, key, mount, env_var } = request;
    wit::SecretRequest {
        group: group.clone(),
        group_version: group_version.clone(),
        key: key.clone(),
        mount: match mount {
            MountRequirement::Any => wit::MountRequirement::Any,
            MountRequirement::EnvVar => wit::MountRequirement::EnvVar,
            MountRequirement::File => wit::MountRequirement::File,
        },
        env_var: env_var.clone(),
    }
}

pub(crate) fn pod(pod: &PodView) -> wit::PodView {
    let PodView { namespace, name, service_account, labels, annotations, containers } = pod;
    wit::PodView {
        namespace: namespace.clone(),
        name: name.clone(),
        service_account: service_account.clone(),
        labels: labels.clone(),
        annotations: annotations.clone(),
        containers: containers.iter().map(container).collect(),
    }
}

pub(crate) fn conventions(conventions: &Conventions) -> wit::Conventions {
    // Where edits land is the host's business; a plugin takes only names from the rest.
    let Conventions { profile, env_prefix, mount_directory, env_placement: _, init_container_position: _ } =
        conventions;
    wit::Conventions {
        profile: profile.as_str().to_owned(),
        env_prefix: env_prefix.clone(),
        mount_directory: mount_directory.clone(),
    }
}

fn container(container: &ContainerView) -> wit::ContainerView {
    let ContainerView { name, kind } = container;
    wit::ContainerView {
        name: name.clone(),
        kind: match kind {
            ContainerKind::Init => wit::ContainerKind::Init,
            ContainerKind::Sidecar => wit::ContainerKind::Sidecar,
            ContainerKind::Main => wit::ContainerKind::Main,
        },
    }
}

// === from the guest ===

pub(crate) fn injection_error(error: wit::InjectionError) -> InjectionError {
    let text = |text: String| clean(&text, MAX_ERROR);
    match error {
        wit::InjectionError::NotFound(reason) => InjectionError::NotFound(text(reason)),
        wit::InjectionError::Unsupported(reason) => InjectionError::Unsupported(text(reason)),
        wit::InjectionError::InvalidRequest(reason) => InjectionError::InvalidRequest(text(reason)),
        wit::InjectionError::Denied(reason) => InjectionError::Denied(text(reason)),
        wit::InjectionError::Unavailable(reason) => InjectionError::Unavailable(text(reason)),
        wit::InjectionError::Internal(reason) => InjectionError::Internal(text(reason)),
    }
}

pub(crate) fn plugin_info(info: wit::PluginInfo) -> PluginInfo {
    let wit::PluginInfo { name, version, mounts, settings_schema } = info;
    PluginInfo {
        name: clean(&name, MAX_NAME),
        version: clean(&version, MAX_NAME),
        mounts: mounts.into_iter().map(mount_requirement).collect(),
        settings_schema,
    }
}

fn mount_requirement(mount: wit::MountRequirement) -> MountRequirement {
    match mount {
        wit::MountRequirement::Any => MountRequirement::Any,
        wit::MountRequirement::EnvVar => MountRequirement::EnvVar,
        wit::MountRequirement::File => MountRequirement::File,
    }
}
