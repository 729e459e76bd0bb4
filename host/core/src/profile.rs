//! The differences between the webhooks that Ampoule replaces, and the defaults without Flyte:
//! [`Profile`] and its [`Conventions`].
//!
//! Every client-visible difference is a field of [`Conventions`], so that no other code of the host
//! branches on the profile.

use std::fmt;

use serde::Serialize;

use crate::reference_syntax::ReferenceSyntax;

/// The directory of secret files in the references.
const FLYTE_DIRECTORY: &str = "/etc/flyte/secrets";

/// A set of defaults: Ampoule's own, or those of the reference implementation that it reproduces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// `flyte-pod-webhook` 1.x.
    #[default]
    FlyteV1,
    /// The webhook of Flyte 2.
    FlyteV2,
    /// Ampoule without Flyte: no name in the pod is Flyte's.
    Plain,
}

/// How edits are placed in a pod. The profile gives the defaults; the configuration can override
/// each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conventions {
    /// The profile that gave the defaults. Plugins receive its name.
    pub profile: Profile,
    /// The prefix of the names of injected environment variables.
    pub env_prefix: String,
    /// The directory that contains all mounted secret files.
    pub mount_directory: String,
    /// The position of an injected environment variable, and whether it replaces the pod's own.
    pub env_placement: EnvPlacement,
    /// The position of an init container if the plugin sets none.
    pub init_container_position: InitContainerPosition,
    /// Which of a plugin's names and variables reach the pod.
    pub names: InjectedNames,
    /// The values of variables that are references to secrets.
    pub references: ReferenceSyntax,
}

/// Which names and variables reach the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InjectedNames {
    /// Those of the plugin: Flyte's, in addition to the requested one.
    Plugin,
    /// Only the requested one, without the variables of Flyte's SDKs.
    Requested,
}

/// The position of an injected environment variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvPlacement {
    /// At the end. A variable of the same name in the pod stays.
    AppendIfAbsent,
    /// At the front. A variable of the same name in the pod is removed.
    ReplaceAndPrepend,
    /// At the front. A variable of the same name in the pod stays.
    PrependIfAbsent,
}

/// The position of an injected init container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InitContainerPosition {
    /// Before all other init containers.
    First,
    /// After all other init containers.
    Last,
}

// === impl Profile ===

impl Profile {
    /// Returns the name of the profile in the configuration and in the plugin contract.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FlyteV1 => "flyte-v1",
            Self::FlyteV2 => "flyte-v2",
            Self::Plain => "plain",
        }
    }

    /// Returns the defaults of the profile (flyte-behaviour sections 0 and 3).
    #[must_use]
    pub fn conventions(self) -> Conventions {
        let (env_prefix, mount_directory, env_placement, names) = match self {
            Self::FlyteV1 => ("_FSEC_", FLYTE_DIRECTORY, EnvPlacement::AppendIfAbsent, InjectedNames::Plugin),
            Self::FlyteV2 => ("_UNION_", FLYTE_DIRECTORY, EnvPlacement::ReplaceAndPrepend, InjectedNames::Plugin),
            Self::Plain => ("", "/etc/secrets", EnvPlacement::PrependIfAbsent, InjectedNames::Requested),
        };
        Conventions {
            profile: self,
            env_prefix: env_prefix.to_owned(),
            mount_directory: mount_directory.to_owned(),
            env_placement,
            init_container_position: InitContainerPosition::Last,
            names,
            references: ReferenceSyntax::default(),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
