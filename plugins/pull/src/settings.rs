//! [`Settings`] of a backend that pulls, and what they become in the init container.
//!
//! `serde` and the backend's committed JSON schema read the same types; a test of each backend compares the two.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use ampoule_plugin_sdk::SecurityContext;
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

use crate::Pull;

/// What stands under `settings` in the webhook's configuration; every key may be left out.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(serde::Serialize, schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Settings", bound = ""))]
#[serde(deny_unknown_fields, rename_all = "camelCase", default, bound = "")]
pub struct Settings<P: Pull> {
    /// The image of the init container that pulls a secret.
    pub image: String,
    /// Its compute resources.
    pub resources: Resources,
    /// Its security context. `none`, the default, leaves it to the pod, as Flyte does. `restricted` sets what the Pod Security
    /// Standard of that name asks for and no image minds: no privilege escalation, no capabilities, the runtime's seccomp
    /// profile. The user stays the image's or the pod's unless `runAsUser` names one, and the image's files stay writable:
    /// the tools keep their state in /tmp, away from the secrets.
    pub security_context: SecurityContextName,
    /// The number of the user that the init container runs as, whatever its image says. Other than 0, it sets `runAsNonRoot`
    /// too, which `restricted` namespaces ask for.
    pub run_as_user: Option<u32>,
    /// Give the variable that a request for a file names the path of that file. Left out: as Flyte's webhook of the
    /// profile does it, which is true for `aws` in the profile `flyte-v1`, else false.
    pub path_in_env_var: Option<bool>,
    #[serde(skip)]
    backend: PhantomData<fn() -> P>,
}

/// Compute resources as Kubernetes has them: by name, such as `cpu` and `memory`. Of `requests` and `limits`, one that is given
/// takes the place of its default; `{}` is none.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(serde::Serialize, schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// What the scheduler sets aside.
    pub requests: BTreeMap<String, Quantity>,
    /// What the container may use at most.
    pub limits: BTreeMap<String, Quantity>,
}

/// A Kubernetes quantity such as `200m`, `500Mi` or the number 2.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(serde::Serialize))]
pub struct Quantity(String);

/// How far the init container is locked in.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(serde::Serialize, schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum SecurityContextName {
    /// As the pod is.
    #[default]
    None,
    /// No privilege escalation, no capabilities, the runtime's seccomp profile.
    Restricted,
}

// === impl Settings ===

impl<P: Pull> Default for Settings<P> {
    /// What the reference has (flyte-behaviour section 8).
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
    /// Refuses what would make every pod fail.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.image.is_empty() {
            return Err("image: must name an image; leave the key out for the default".to_owned());
        }
        Ok(())
    }

    pub(crate) fn security_context(&self) -> Option<SecurityContext> {
        let restricted = self.security_context == SecurityContextName::Restricted;
        (restricted || self.run_as_user.is_some()).then(|| SecurityContext {
            run_as_user: self.run_as_user.map(i64::from),
            run_as_group: None,
            run_as_non_root: self.run_as_user.filter(|user| *user != 0).map(|_| true),
            read_only_root_filesystem: None,
            allow_privilege_escalation: restricted.then_some(false),
            drop_all_capabilities: restricted,
            runtime_default_seccomp: restricted,
        })
    }
}

// === impl Resources, Quantity ===

impl Default for Resources {
    /// What the reference has (flyte-behaviour section 8).
    fn default() -> Self {
        let quantity = |(name, quantity): (&str, &str)| (name.to_owned(), Quantity(quantity.to_owned()));
        let quantities: BTreeMap<_, _> = [("cpu", "200m"), ("memory", "500Mi")].map(quantity).into();
        Self { requests: quantities.clone(), limits: quantities }
    }
}

impl Resources {
    pub(crate) fn quantities(&self) -> ampoule_plugin_sdk::Resources {
        let pairs = |quantities: &BTreeMap<String, Quantity>| {
            quantities.iter().map(|(name, Quantity(text))| (name.clone(), text.clone())).collect()
        };
        ampoule_plugin_sdk::Resources { requests: pairs(&self.requests), limits: pairs(&self.limits) }
    }
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
                let known = |c: char| c.is_ascii_digit() || "+-.eEnumkKMGTPi".contains(c);
                if text.starts_with(|c: char| c.is_ascii_digit() || c == '.') && text.chars().all(known) {
                    return Ok(Quantity(text.to_owned()));
                }
                Err(E::invalid_value(de::Unexpected::Str(text), &self))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Quantity, E> {
                Ok(Quantity(number.to_string()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Quantity, E> {
                // In thousandths: the code that prints a float would be a tenth of the component.
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
