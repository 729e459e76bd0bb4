//! Section `grants` of an injector: what its plugin may reach beyond its sandbox. Nothing, if the section is left out.
//!
//! Names and paths only: values and certificates are read when the plugin is loaded.

use std::{collections::BTreeSet, path::PathBuf};

use ampoule_core::{Destination, SecretName};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    ConfigError,
    file::section,
    registration::{is_label, object_name},
};

/// What a plugin may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantsConfig {
    /// Hosts that it may call by HTTP over TLS.
    pub http: Option<HttpGrantConfig>,
    /// Kubernetes Secrets that it may read.
    pub kubernetes_secrets: BTreeSet<SecretName>,
    /// Variables of the webhook's environment that it may see.
    pub environment: BTreeSet<String>,
    /// Whether its clocks go.
    pub clock: bool,
    /// Whether its random numbers are random.
    pub randomness: bool,
}

/// Hosts that a plugin may call by HTTP over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpGrantConfig {
    /// The hosts and their ports; at least one.
    pub hosts: Vec<Destination>,
    /// Certificates in PEM that are trusted beside the public roots.
    pub ca_file: Option<PathBuf>,
}

/// Section `grants` as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct GrantsFile {
    #[serde(deserialize_with = "section")]
    http: HttpGrantFile,
    #[serde(deserialize_with = "section")]
    kubernetes_secrets: Vec<SecretsFile>,
    #[serde(deserialize_with = "section")]
    environment: Vec<String>,
    clock: bool,
    randomness: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct HttpGrantFile {
    #[serde(deserialize_with = "section")]
    hosts: Vec<String>,
    ca_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct SecretsFile {
    namespace: String,
    #[serde(deserialize_with = "section")]
    names: Vec<String>,
}

// === impl GrantsFile ===

impl GrantsFile {
    /// Checks what stands under `key`.
    pub fn check(self, key: &str) -> Result<GrantsConfig, ConfigError> {
        let Self { http, kubernetes_secrets, environment, clock, randomness } = self;
        let http = http.check(&format!("{key}.http"))?;
        let mut secrets = BTreeSet::new();
        for (i, entry) in kubernetes_secrets.into_iter().enumerate() {
            secrets.extend(entry.check(&format!("{key}.kubernetesSecrets[{i}]"))?);
        }
        for (i, name) in environment.iter().enumerate() {
            if name.is_empty() || name.contains(['=', '\0']) {
                let reason = format!("{name:?} is no name of an environment variable");
                return Err(ConfigError::at(format!("{key}.environment[{i}]"), reason));
            }
        }
        let environment = environment.into_iter().collect();
        Ok(GrantsConfig { http, kubernetes_secrets: secrets, environment, clock, randomness })
    }
}

// === impl HttpGrantFile ===

impl HttpGrantFile {
    fn check(self, key: &str) -> Result<Option<HttpGrantConfig>, ConfigError> {
        let Self { hosts, ca_file } = self;
        if hosts.is_empty() {
            return match ca_file {
                None => Ok(None),
                Some(_) => Err(ConfigError::at(format!("{key}.caFile"), "makes no sense without hosts")),
            };
        }
        let parse = |(i, host): (usize, &String)| {
            Destination::parse(host).map_err(|reason| ConfigError::at(format!("{key}.hosts[{i}]"), reason))
        };
        let hosts = hosts.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
        if ca_file.as_ref().is_some_and(|path| !path.is_absolute()) {
            return Err(ConfigError::at(format!("{key}.caFile"), "is no absolute path"));
        }
        Ok(Some(HttpGrantConfig { hosts, ca_file }))
    }
}

// === impl SecretsFile ===

impl SecretsFile {
    fn check(self, key: &str) -> Result<Vec<SecretName>, ConfigError> {
        let Self { namespace, names } = self;
        if !is_label(&namespace) {
            let reason = format!("{namespace:?} is no name of a namespace; use 1 to 63 of a-z, 0-9 and - between them");
            return Err(ConfigError::at(format!("{key}.namespace"), reason));
        }
        if names.is_empty() {
            return Err(ConfigError::at(format!("{key}.names"), "is empty; name each Secret that the plugin may read"));
        }
        let named = |(i, name)| {
            let name = object_name(&format!("{key}.names[{i}]"), name)?;
            Ok(SecretName { namespace: namespace.clone(), name })
        };
        names.into_iter().enumerate().map(named).collect()
    }
}

// === impl GrantsConfig ===

impl GrantsConfig {
    /// Whether whoever has the others has these.
    pub fn are_within(&self, others: &Self) -> bool {
        let Self { http, kubernetes_secrets, environment, clock, randomness } = self;
        let http = http.as_ref().is_none_or(|http| {
            let there = others.http.as_ref();
            there.is_some_and(|there| {
                http.hosts.iter().all(|host| there.hosts.contains(host)) && http.ca_file == there.ca_file
            })
        });
        http && kubernetes_secrets.is_subset(&others.kubernetes_secrets)
            && environment.is_subset(&others.environment)
            && *clock <= others.clock
            && *randomness <= others.randomness
    }

    /// The section that says this.
    pub(super) fn effective(&self) -> Value {
        let Self { http, kubernetes_secrets, environment, clock, randomness } = self;
        let mut by_namespace = Map::new();
        for SecretName { namespace, name } in kubernetes_secrets {
            let names = by_namespace.entry(namespace).or_insert_with(|| json!([]));
            names.as_array_mut().into_iter().for_each(|names| names.push(json!(name)));
        }
        let secrets =
            by_namespace.into_iter().map(|(namespace, names)| json!({ "namespace": namespace, "names": names }));
        let mut section = json!({
            "http": { "hosts": [] },
            "kubernetesSecrets": secrets.collect::<Vec<_>>(),
            "environment": environment,
            "clock": clock,
            "randomness": randomness,
        });
        if let Some(HttpGrantConfig { hosts, ca_file }) = http {
            section["http"]["hosts"] = hosts.iter().map(ToString::to_string).collect();
            if let Some(path) = ca_file {
                section["http"]["caFile"] = json!(path);
            }
        }
        section
    }
}
