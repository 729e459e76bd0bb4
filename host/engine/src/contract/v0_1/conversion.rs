//! Conversions between the contract's types and those of the core.
//!
//! [`edits::convert_edits`] bounds the answer of a guest. Texts that a guest wrote are made
//! printable and cut.

pub(crate) mod edits;

use ampoule_core::{
    ContainerKind, ContainerView, Conventions, InjectionError, MountRequirement, PodView, SecretRequest, text::clean,
};

use super::bindings::ampoule::injector::types as wit;
use crate::contract::info::PluginInfo;

/// Bytes of an error text that a guest wrote, as the contract specifies.
const MAX_ERROR: usize = 512;

/// Bytes of a plugin's name and of its version. A longer one would dominate every message.
const MAX_NAME: usize = 64;

// === to the guest ===

pub(crate) fn to_wit_request(request: &SecretRequest) -> wit::SecretRequest {
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

pub(crate) fn to_wit_pod(pod: &PodView) -> wit::PodView {
    let PodView { namespace, name, service_account, labels, annotations, containers } = pod;
    wit::PodView {
        namespace: namespace.clone(),
        name: name.clone(),
        service_account: service_account.clone(),
        labels: labels.clone(),
        annotations: annotations.clone(),
        containers: containers.iter().map(to_wit_container).collect(),
    }
}

pub(crate) fn to_wit_conventions(conventions: &Conventions) -> wit::Conventions {
    // A plugin gets only the names. The host decides where edits are placed in the pod.
    let Conventions { profile, env_prefix, mount_directory, env_placement: _, init_container_position: _ } =
        conventions;
    wit::Conventions {
        profile: profile.as_str().to_owned(),
        env_prefix: env_prefix.clone(),
        mount_directory: mount_directory.clone(),
    }
}

fn to_wit_container(container: &ContainerView) -> wit::ContainerView {
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

pub(crate) fn from_wit_error(error: wit::InjectionError) -> InjectionError {
    match error {
        wit::InjectionError::NotFound(reason) => InjectionError::NotFound(clean_error(&reason)),
        wit::InjectionError::Unsupported(reason) => InjectionError::Unsupported(clean_error(&reason)),
        wit::InjectionError::InvalidRequest(reason) => InjectionError::InvalidRequest(clean_error(&reason)),
        wit::InjectionError::Denied(reason) => InjectionError::Denied(clean_error(&reason)),
        wit::InjectionError::Unavailable(reason) => InjectionError::Unavailable(clean_error(&reason)),
        wit::InjectionError::Internal(reason) => InjectionError::Internal(clean_error(&reason)),
    }
}

/// The text of an error that a guest returned, printable and at most [`MAX_ERROR`] bytes long.
pub(crate) fn clean_error(reason: &str) -> String {
    clean(reason, MAX_ERROR)
}

pub(crate) fn from_wit_info(info: wit::PluginInfo) -> PluginInfo {
    let wit::PluginInfo { name, version, mounts, settings_schema } = info;
    PluginInfo {
        name: clean(&name, MAX_NAME),
        version: clean(&version, MAX_NAME),
        mounts: mounts.into_iter().map(from_wit_mount).collect(),
        settings_schema,
    }
}

fn from_wit_mount(mount: wit::MountRequirement) -> MountRequirement {
    match mount {
        wit::MountRequirement::Any => MountRequirement::Any,
        wit::MountRequirement::EnvVar => MountRequirement::EnvVar,
        wit::MountRequirement::File => MountRequirement::File,
    }
}
