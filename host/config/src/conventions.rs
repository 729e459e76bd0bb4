//! Keys `profile`, `conventions` and `onFailure`: how edits change a pod.
//!
//! The defaults depend on the profile.

use ampoule_core::{Conventions, EnvPlacement, InitContainerPosition, OnFailure, Profile, ReferenceSyntax};
use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ConfigError, section::section};

/// Declares an enum of the file for an enum of the core, and converts in both directions.
///
/// The core depends on neither schemars nor clap.
macro_rules! mirror {
    (
        $(#[$attribute:meta])*
        $vis:vis enum $name:ident for $core:ident { $($(#[$doc:meta])* $variant:ident = $core_variant:ident,)+ }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
        #[serde(rename_all = "kebab-case")]
        $vis enum $name { $($(#[$doc])* $variant,)+ }

        impl From<$name> for $core {
            fn from(name: $name) -> Self {
                match name { $($name::$variant => Self::$core_variant,)+ }
            }
        }

        impl From<$core> for $name {
            fn from(core: $core) -> Self {
                match core { $($core::$core_variant => Self::$variant,)+ }
            }
        }
    };
}

pub(crate) use mirror;

mirror! {
    /// The defaults of `conventions`: those without Flyte, or those of a webhook of Flyte.
    #[derive(Default, ValueEnum)]
    pub enum ProfileName for Profile {
        /// `flyte-pod-webhook` 1.x.
        #[default]
        FlyteV1 = FlyteV1,
        /// The webhook of Flyte 2.
        FlyteV2 = FlyteV2,
        /// No names of Flyte: variables have the requested name or `GROUP_KEY`, and files are below
        /// `/etc/secrets`. A Secret that does not exist keeps the pod from starting.
        Plain = Plain,
    }
}

mirror! {
    /// The treatment of a pod whose secrets cannot be injected.
    #[derive(Default)]
    pub(crate) enum OnFailureName for OnFailure {
        /// The pod is refused.
        #[default]
        Deny = Deny,
        /// The pod is admitted without its secrets, with a warning.
        Admit = Admit,
    }
}

mirror! {
    /// The position of an injected environment variable.
    pub(crate) enum EnvPlacementName for EnvPlacement {
        /// After the pod's own variables; a variable of the same name in the pod is kept.
        Append = AppendIfAbsent,
        /// Before the pod's own variables; a variable of the same name in the pod is removed.
        Prepend = ReplaceAndPrepend,
        /// Before the pod's own variables, which can therefore refer to it by `$(NAME)`; a variable
        /// of the same name in the pod is kept.
        PrependIfAbsent = PrependIfAbsent,
    }
}

mirror! {
    /// The position of an init container.
    pub(crate) enum PositionName for InitContainerPosition {
        /// Before every other init container.
        First = First,
        /// After every other init container.
        Last = Last,
    }
}

/// Conventions that differ from those of the profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct ConventionsSection {
    /// Prefix of the names of injected environment variables. The profile `flyte-v1` has `_FSEC_`,
    /// `flyte-v2` has `_UNION_`. `plain` has none.
    pub(crate) env_prefix: Option<String>,
    /// Absolute path of the folder in which secret files are mounted. Flyte's profiles have
    /// `/etc/flyte/secrets`, `plain` has `/etc/secrets`.
    pub(crate) mount_directory: Option<String>,
    /// Position of an injected environment variable, and whether it replaces the pod's own. The
    /// profile `flyte-v1` has `append`, `flyte-v2` has `prepend`, and `plain` has
    /// `prepend-if-absent`.
    pub(crate) env_placement: Option<EnvPlacementName>,
    /// Position of an init container for which the plugin gives no position.
    pub(crate) init_container_position: Option<PositionName>,
    /// References in the values of variables.
    #[serde(deserialize_with = "section")]
    pub(crate) references: ReferencesSection,
}

/// Values of variables that the pod's author wrote as references. Such a variable becomes the
/// secret, at its place.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct ReferencesSection {
    /// Scheme of a reference: `secret` for `secret://GROUP/KEY`. At most 32 of a-z, 0-9, +, - and
    /// `.`, with a letter first.
    pub(crate) scheme: String,
    /// Another software whose references are read as well.
    pub(crate) compat: ReferenceCompat,
}

/// A software whose references are read as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ReferenceCompat {
    /// None.
    #[default]
    None,
    /// `vault:PATH#KEY` of bank-vaults. `MOUNT/data/` at the start of the path is left out, because
    /// the injector has the mount.
    BankVaults,
}

// === impl ConventionsSection ===

impl ConventionsSection {
    /// Checks the section and completes it with the conventions of the profile.
    pub(crate) fn check(self, profile: ProfileName) -> Result<Conventions, ConfigError> {
        let defaults = Profile::from(profile).conventions();
        if let Some(prefix) = &self.env_prefix {
            check_env_prefix(prefix)?;
        }
        if let Some(directory) = &self.mount_directory {
            check_mount_directory(directory)?;
        }
        let references = self.references.check()?;
        Ok(Conventions {
            profile: defaults.profile,
            env_prefix: self.env_prefix.unwrap_or(defaults.env_prefix),
            mount_directory: self.mount_directory.unwrap_or(defaults.mount_directory),
            env_placement: self.env_placement.map_or(defaults.env_placement, Into::into),
            init_container_position: self.init_container_position.map_or(defaults.init_container_position, Into::into),
            names: defaults.names,
            references,
        })
    }
}

impl From<&Conventions> for ConventionsSection {
    fn from(conventions: &Conventions) -> Self {
        Self {
            env_prefix: Some(conventions.env_prefix.clone()),
            mount_directory: Some(conventions.mount_directory.clone()),
            env_placement: Some(conventions.env_placement.into()),
            init_container_position: Some(conventions.init_container_position.into()),
            references: ReferencesSection::from(&conventions.references),
        }
    }
}

// === impl ReferencesSection ===

impl Default for ReferencesSection {
    fn default() -> Self {
        Self::from(&ReferenceSyntax::default())
    }
}

impl From<&ReferenceSyntax> for ReferencesSection {
    fn from(syntax: &ReferenceSyntax) -> Self {
        let compat = if syntax.bank_vaults { ReferenceCompat::BankVaults } else { ReferenceCompat::None };
        Self { scheme: syntax.scheme.clone(), compat }
    }
}

impl ReferencesSection {
    fn check(self) -> Result<ReferenceSyntax, ConfigError> {
        let scheme = &self.scheme;
        let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.');
        if scheme.len() > 32 || !scheme.starts_with(|c: char| c.is_ascii_lowercase()) || !scheme.chars().all(is_inner) {
            let reason =
                format!("{scheme:?} is no scheme; use at most 32 of a-z, 0-9, +, - and ., with a letter first");
            return Err(ConfigError::at("conventions.references.scheme", reason));
        }
        Ok(ReferenceSyntax { scheme: self.scheme, bank_vaults: self.compat == ReferenceCompat::BankVaults })
    }
}

fn check_env_prefix(prefix: &str) -> Result<(), ConfigError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if prefix.chars().all(allowed) && !prefix.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(());
    }
    let reason = format!("{prefix:?} cannot start the name of a variable; use letters, digits and _, no digit first");
    Err(ConfigError::at("conventions.envPrefix", reason))
}

fn check_mount_directory(directory: &str) -> Result<(), ConfigError> {
    let leaves = directory.split('/').any(|part| part == "..");
    if directory.starts_with('/') && !directory.contains(':') && !leaves {
        return Ok(());
    }
    let reason = format!("{directory:?} is not an absolute path without .. and :");
    Err(ConfigError::at("conventions.mountDirectory", reason))
}
