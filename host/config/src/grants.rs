//! Section `grants` of an injector: the accesses of its plugin beyond the sandbox. By default it
//! has no access.
//!
//! The section has names and paths only: values and certificates are read when the plugin is
//! loaded.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use ampoule_core::{Grant, LabelledSecrets, SecretName, is_dns_label};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ConfigError, CredentialConfig, GrantedHost,
    granted_host::{HostEntry, PermittedHost, check_hosts},
    names::check_object_name,
    section::section,
};

/// The accesses of a plugin beyond its sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantsConfig {
    /// Hosts that the plugin may call by HTTP over TLS.
    pub http: Option<HttpGrantConfig>,
    /// Kubernetes Secrets that the plugin may read.
    pub kubernetes_secrets: BTreeSet<SecretName>,
    /// Kubernetes Secrets that the plugin may read, by their labels.
    pub labelled_secrets: BTreeSet<LabelledSecrets>,
    /// Whether the plugin has a memory that outlives an admission.
    pub cache: bool,
    /// Variables of the webhook's environment that the plugin may read.
    pub environment: BTreeSet<String>,
    /// Whether the plugin's clocks advance.
    pub clock: bool,
    /// Whether the plugin's random numbers are random.
    pub randomness: bool,
}

/// Hosts that a plugin may call by HTTP over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpGrantConfig {
    /// The hosts, their ports and their credentials; at least one.
    pub hosts: Vec<GrantedHost>,
    /// CA certificates in PEM form, in addition to the public roots.
    pub ca_file: Option<PathBuf>,
}

/// The accesses of a plugin beyond its sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct GrantsFile {
    #[serde(deserialize_with = "section")]
    http: HttpGrantSection,
    /// Kubernetes Secrets that the plugin may read.
    #[serde(deserialize_with = "section")]
    kubernetes_secrets: Vec<SecretsEntry>,
    /// Whether the plugin has a memory that outlives an admission, such as for a token. Its
    /// instances for different pods share it.
    cache: bool,
    /// Names of variables of the webhook's environment that the plugin may read.
    #[serde(deserialize_with = "section")]
    environment: Vec<String>,
    /// Whether the plugin's clocks advance.
    clock: bool,
    /// Whether the plugin's random numbers are random.
    randomness: bool,
}

/// Calls by HTTP over TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct HttpGrantSection {
    /// Hosts that the plugin may call: `host`, `host:port` or `[IPv6 address]:port`. The default
    /// port is 443. An entry with a credential is a mapping.
    #[serde(deserialize_with = "section")]
    hosts: Vec<HostEntry>,
    /// File with CA certificates in PEM form, in addition to the public roots. Requires `hosts`.
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<PathBuf>,
}

/// Secrets of one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct SecretsEntry {
    /// The namespace. Required.
    namespace: String,
    /// Names of the Secrets. Either these or `matchLabels` are required.
    #[serde(deserialize_with = "section", skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
    /// Labels that a Secret must have, all of them. A user who may label Secrets of the namespace
    /// decides what the plugin can read. The webhook's role must allow `get` on all Secrets of the
    /// namespace.
    #[serde(deserialize_with = "section", skip_serializing_if = "BTreeMap::is_empty")]
    match_labels: BTreeMap<String, String>,
}

/// The Secrets of one entry.
enum GrantedSecrets {
    Named(Vec<SecretName>),
    Labelled(LabelledSecrets),
}

// === impl GrantsFile ===

impl GrantsFile {
    /// Adds the Secrets of a namespace with these labels.
    pub(crate) fn with_labelled_secrets(mut self, namespace: &str, labels: &[(&str, &str)]) -> Self {
        let match_labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let entry = SecretsEntry { namespace: namespace.to_owned(), names: Vec::new(), match_labels };
        self.kubernetes_secrets.push(entry);
        self
    }

    /// Adds a host with its credential.
    pub(crate) fn with_host(mut self, host: &str, credential: CredentialConfig) -> Self {
        self.http.hosts.push(HostEntry::with_credential(host, credential));
        self
    }

    /// Checks the section, which is the value of `key`.
    ///
    /// # Errors
    ///
    /// The first error in the section.
    pub fn check(self, key: &str) -> Result<GrantsConfig, ConfigError> {
        let (mut kubernetes_secrets, mut labelled_secrets) = (BTreeSet::new(), BTreeSet::new());
        for (i, entry) in self.kubernetes_secrets.into_iter().enumerate() {
            match entry.check(&format!("{key}.kubernetesSecrets[{i}]"))? {
                GrantedSecrets::Named(names) => kubernetes_secrets.extend(names),
                GrantedSecrets::Labelled(selector) => drop(labelled_secrets.insert(selector)),
            }
        }
        for (i, name) in self.environment.iter().enumerate() {
            if name.is_empty() || name.contains(['=', '\0']) {
                let reason = format!("{name:?} is not a valid name of an environment variable");
                return Err(ConfigError::at(format!("{key}.environment[{i}]"), reason));
            }
        }
        Ok(GrantsConfig {
            http: self.http.check(&format!("{key}.http"))?,
            kubernetes_secrets,
            labelled_secrets,
            cache: self.cache,
            environment: self.environment.into_iter().collect(),
            clock: self.clock,
            randomness: self.randomness,
        })
    }
}

impl From<&GrantsConfig> for GrantsFile {
    fn from(config: &GrantsConfig) -> Self {
        let GrantsConfig { http, kubernetes_secrets, labelled_secrets, cache, environment, clock, randomness } =
            config.clone();
        let mut by_namespace = BTreeMap::<_, Vec<_>>::new();
        for SecretName { namespace, name } in kubernetes_secrets {
            by_namespace.entry(namespace).or_default().push(name);
        }
        let http = http.map(|HttpGrantConfig { hosts, ca_file }| HttpGrantSection {
            hosts: hosts.into_iter().map(HostEntry::from).collect(),
            ca_file,
        });
        Self {
            http: http.unwrap_or_default(),
            kubernetes_secrets: by_namespace
                .into_iter()
                .map(|(namespace, names)| SecretsEntry { namespace, names, ..SecretsEntry::default() })
                .chain(labelled_secrets.into_iter().map(SecretsEntry::from))
                .collect(),
            cache,
            environment: environment.into_iter().collect(),
            clock,
            randomness,
        }
    }
}

// === impl HttpGrantSection ===

impl HttpGrantSection {
    fn check(self, key: &str) -> Result<Option<HttpGrantConfig>, ConfigError> {
        let ca_file = |reason| Err(ConfigError::at(format!("{key}.caFile"), reason));
        if self.hosts.is_empty() {
            return if self.ca_file.is_none() { Ok(None) } else { ca_file("has no effect without hosts") };
        }
        let hosts = check_hosts(&format!("{key}.hosts"), self.hosts)?;
        if self.ca_file.as_ref().is_some_and(|path| !path.is_absolute()) {
            return ca_file("is not an absolute path");
        }
        Ok(Some(HttpGrantConfig { hosts, ca_file: self.ca_file }))
    }
}

// === impl SecretsEntry ===

impl SecretsEntry {
    fn check(self, key: &str) -> Result<GrantedSecrets, ConfigError> {
        let namespace = self.namespace;
        if !is_dns_label(&namespace) {
            let reason = "is not a valid name of a namespace; use 1 to 63 of a-z, 0-9 and -, and start and end with a \
                          letter or digit";
            return Err(ConfigError::at(format!("{key}.namespace"), format!("{namespace:?} {reason}")));
        }
        match (self.names.is_empty(), self.match_labels.is_empty()) {
            (true, true) => {
                let reason = "is empty; list each Secret that the plugin may read, or set matchLabels";
                return Err(ConfigError::at(format!("{key}.names"), reason));
            }
            (false, false) => {
                let reason = "cannot be combined with names; use two entries";
                return Err(ConfigError::at(format!("{key}.matchLabels"), reason));
            }
            (true, false) => {
                return Ok(GrantedSecrets::Labelled(LabelledSecrets { namespace, labels: self.match_labels }));
            }
            (false, true) => {}
        }
        let checked = |(i, name): (usize, String)| {
            check_object_name(&format!("{key}.names[{i}]"), &name)?;
            Ok(SecretName { namespace: namespace.clone(), name })
        };
        self.names.into_iter().enumerate().map(checked).collect::<Result<_, _>>().map(GrantedSecrets::Named)
    }
}

impl From<LabelledSecrets> for SecretsEntry {
    fn from(LabelledSecrets { namespace, labels }: LabelledSecrets) -> Self {
        Self { namespace, names: Vec::new(), match_labels: labels }
    }
}

// === impl GrantsConfig ===

impl GrantsConfig {
    /// Returns the key of the first grant by which a plugin reads something that it could answer
    /// with.
    #[must_use]
    pub fn first_that_reads(&self) -> Option<&'static str> {
        // Taken apart once, so that a new grant does not compile until it is decided here.
        // The cache only holds what other grants read.
        let Self { http, kubernetes_secrets, labelled_secrets, cache: _, environment, clock: _, randomness: _ } = self;
        let grants = [
            (Grant::Http, http.is_some()),
            (Grant::KubernetesSecrets, !kubernetes_secrets.is_empty() || !labelled_secrets.is_empty()),
            (Grant::Environment, !environment.is_empty()),
        ];
        grants.into_iter().find_map(|(grant, given)| given.then(|| grant.key()))
    }

    /// Returns the first host with a credential that this list does not permit.
    #[must_use]
    pub fn first_credential_beyond(&self, permitted: &[PermittedHost]) -> Option<&GrantedHost> {
        let HttpGrantConfig { hosts, ca_file } = self.http.as_ref()?;
        let is_permitted = |host: &GrantedHost| permitted.iter().any(|one| one.permits(host, ca_file.as_ref()));
        hosts.iter().find(|host| host.credential.is_some() && !is_permitted(host))
    }

    /// Whether `others` contains all of these grants.
    #[must_use]
    pub fn are_within(&self, others: &Self) -> bool {
        let http = self.http.as_ref().is_none_or(|http| {
            others.http.as_ref().is_some_and(|other| {
                http.hosts.iter().all(|host| other.hosts.contains(host)) && http.ca_file == other.ca_file
            })
        });
        http && self.kubernetes_secrets.is_subset(&others.kubernetes_secrets)
            && self.labelled_secrets.is_subset(&others.labelled_secrets)
            && self.cache <= others.cache
            && self.environment.is_subset(&others.environment)
            && self.clock <= others.clock
            && self.randomness <= others.randomness
    }
}
