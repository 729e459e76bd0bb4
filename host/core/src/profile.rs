//! What differs between the webhooks that Ampoule takes the place of: [`Profile`], and the [`Conventions`] that it stands for.
//!
//! Everything in which the references differ for a client is a field here, so that no code asks which profile it is.

use std::fmt;

use crate::InitContainerPosition;

/// A set of defaults, after the reference whose behaviour it keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// `flyte-pod-webhook` 1.x.
    #[default]
    FlyteV1,
    /// The webhook of Flyte 2.
    FlyteV2,
}

/// How edits land in a pod. A profile gives the defaults, each is a key of its own in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conventions {
    /// The profile these came from; plugins see its name.
    pub profile: Profile,
    /// What the names of injected environment variables start with.
    pub env_prefix: String,
    /// The folder that secret files are mounted below.
    pub mount_directory: String,
    /// Where an injected environment variable goes, and whether it replaces the pod's own.
    pub env_placement: EnvPlacement,
    /// Where an init container goes whose plugin does not say.
    pub init_container_position: InitContainerPosition,
}

/// Where an injected environment variable goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvPlacement {
    /// At the end; a variable of that name that the pod has already is kept.
    AppendIfAbsent,
    /// At the front; a variable of that name that the pod has already is removed.
    ReplaceAndPrepend,
}

// === impl Profile ===

impl Profile {
    /// Its name in configuration and contract.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FlyteV1 => "flyte-v1",
            Self::FlyteV2 => "flyte-v2",
        }
    }

    /// What the profile stands for (flyte-behaviour sections 0 and 3).
    #[must_use]
    pub fn conventions(self) -> Conventions {
        let (env_prefix, env_placement) = match self {
            Self::FlyteV1 => ("_FSEC_", EnvPlacement::AppendIfAbsent),
            Self::FlyteV2 => ("_UNION_", EnvPlacement::ReplaceAndPrepend),
        };
        Conventions {
            profile: self,
            env_prefix: env_prefix.to_owned(),
            mount_directory: "/etc/flyte/secrets".to_owned(),
            env_placement,
            init_container_position: InitContainerPosition::Last,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
