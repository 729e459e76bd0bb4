//! [`Settings`] of a backend that pulls, and their conversion for the init container.
//!
//! Each backend's committed JSON schema is derived from these types; a test of each backend
//! compares the two.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use ampoule_plugin_sdk::InitContainer;
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

use crate::Pull;

/// The settings of the injector (`injectors[].settings`). Every key is optional.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(serde::Serialize, schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Settings", bound = ""))]
#[serde(deny_unknown_fields, rename_all = "camelCase", default, bound = "")]
pub struct Settings<P: Pull> {
    /// Image of the init container that pulls a secret.
    pub image: String,
    /// Compute resources of the init container.
    pub resources: Resources,
    /// Security context of the init container. `none`, the default, leaves it to the pod, as Flyte
    /// does. `restricted` sets the requirements of the Pod Security Standard `restricted` that work
    /// with any image: no privilege escalation, no capabilities, the runtime's seccomp profile. It
    /// does not change the user (see `runAsUser`), and the image's files remain writable, because
    /// the tools keep their state in /tmp, outside the volume with the secrets.
    pub security_context: SecurityContextName,
    /// Numeric user ID of the init container, which overrides the user of the image. A value other
    /// than 0 also sets `runAsNonRoot`, which namespaces with the standard `restricted` require.
    pub run_as_user: Option<u32>,
    /// Set the environment variable of a request for a file to the path of that file. Default: the
    /// behaviour of Flyte's webhook in the profile, which is true for `aws` in the profile
    /// `flyte-v1`, otherwise false; true in the profile `plain`.
    pub path_in_env_var: Option<bool>,
    #[serde(skip)]
    backend: PhantomData<fn() -> P>,
}

/// Compute resources of Kubernetes by name, such as `cpu` and `memory`. A value for `requests` or
/// `limits` replaces its default; `{}` removes it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(serde::Serialize, schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// Resources that the scheduler reserves.
    pub requests: BTreeMap<String, Quantity>,
    /// Maximum that the container may use.
    pub limits: BTreeMap<String, Quantity>,
}

/// A Kubernetes quantity such as `200m`, `500Mi` or the number 2.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(serde::Serialize))]
pub struct Quantity(String);

/// A predefined security context of the init container.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(serde::Serialize, schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum SecurityContextName {
    /// The security context of the pod.
    #[default]
    None,
    /// No privilege escalation, no capabilities, the runtime's seccomp profile.
    Restricted,
}

/// The requirements of the Pod Security Standard `restricted` that work with any image.
/// `InitContainer::restricted` also requires a user other than root, and the default user of the
/// images is root.
const RESTRICTED: &str = concat!(
    r#"{"securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]},"#,
    r#""seccompProfile":{"type":"RuntimeDefault"}}}"#
);

// === impl Settings ===

impl<P: Pull> Default for Settings<P> {
    /// The defaults of the reference (flyte-behaviour section 8).
    fn default() -> Self {
        Self {
            image: P::IMAGE.to_owned(),
            resources: Resources::default(),
            security_context: SecurityContextName::None,
            run_as_user: None,
            path_in_env_var: None,
            backend: PhantomData,
        }
    }
}

impl<P: Pull> Settings<P> {
    /// Rejects settings that would make every pod fail.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.image.is_empty() {
            return Err("image: must not be empty; remove the key to use the default".to_owned());
        }
        Ok(())
    }

    /// Whether the settings change the security context of the init container.
    pub(crate) fn has_security_context(&self) -> bool {
        self.security_context != SecurityContextName::None || self.run_as_user.is_some()
    }

    /// Sets the security context of the init container.
    pub(crate) fn secure(&self, mut container: InitContainer) -> InitContainer {
        if let Some(user) = self.run_as_user {
            container = container.run_as_user(user);
        }
        match self.security_context {
            SecurityContextName::None => container,
            SecurityContextName::Restricted => container.merge_json(RESTRICTED),
        }
    }
}

// === impl Resources, Quantity ===

impl Default for Resources {
    /// The defaults of the reference (flyte-behaviour section 8).
    fn default() -> Self {
        let quantity = |(name, quantity): (&str, &str)| (name.to_owned(), Quantity(quantity.to_owned()));
        let quantities: BTreeMap<_, _> = [("cpu", "200m"), ("memory", "500Mi")].map(quantity).into();
        Self { requests: quantities.clone(), limits: quantities }
    }
}

impl Resources {
    pub(crate) fn quantities(&self) -> ampoule_plugin_sdk::Resources {
        ampoule_plugin_sdk::Resources::new(pairs(&self.requests), pairs(&self.limits))
    }
}

fn pairs(quantities: &BTreeMap<String, Quantity>) -> impl Iterator<Item = (&String, &String)> {
    quantities.iter().map(|(name, Quantity(text))| (name, text))
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity such as 200m, 500Mi or 2")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
                let is_allowed = |c: char| c.is_ascii_digit() || "+-.eEnumkKMGTPi".contains(c);
                if text.starts_with(|c: char| c.is_ascii_digit() || c == '.') && text.chars().all(is_allowed) {
                    return Ok(Quantity(text.to_owned()));
                }
                Err(E::invalid_value(de::Unexpected::Str(text), &self))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Quantity, E> {
                Ok(Quantity(number.to_string()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Quantity, E> {
                // In thousandths, because the code that formats a float would be a tenth of the
                // component's size.
                let thousandths = (number * 1000.0).round();
                if (0.0..=u32::MAX.into()).contains(&thousandths) {
                    return Ok(Quantity(format!("{}m", thousandths as u64)));
                }
                Err(E::invalid_value(de::Unexpected::Float(number), &self))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Quantity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A Kubernetes quantity such as `200m`, `500Mi` or the number 2.",
            "type": ["string", "number"],
        })
    }
}
