//! [`GrantedHost`]: an entry of `grants.http.hosts`, with or without a credential.
//!
//! `plugins.configMapCredentials` has the same entries: those that ConfigMaps may use.

use std::{borrow::Cow, fmt, path::PathBuf};

use ampoule_core::Destination;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{ConfigError, CredentialConfig, credential::CredentialSection};

/// A host that a plugin may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantedHost {
    /// The host and its port.
    pub destination: Destination,
    /// How the host of the plugin logs in for it; `None` if it does not.
    pub credential: Option<CredentialConfig>,
}

/// An entry of a list of hosts: a text, or a section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum HostEntry {
    /// Host and port.
    Name(String),
    /// Host, port and credential.
    Section(Box<HostSection>),
}

/// A host with a credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct HostSection {
    /// Host that the plugin may call, in the form of an entry without a credential. Required.
    pub(crate) host: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) credential: Option<CredentialSection>,
}

/// A host with a credential that the injectors of ConfigMaps may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermittedHost {
    /// The host and its credential.
    pub host: GrantedHost,
    /// The only CA certificates, beside the public roots, that may identify the host and the login
    /// server.
    pub ca_file: Option<PathBuf>,
}

/// A host with a credential that the injectors of ConfigMaps may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct PermittedSection {
    /// Host that the plugin may call, in the form of an entry without a credential. Required.
    pub(crate) host: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) credential: Option<CredentialSection>,
    /// The only `grants.http.caFile` with which a ConfigMap may use the credential. By default, it
    /// may have none, because the owner of a CA of that file could receive the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
}

/// Checks a list of hosts, which is the value of `key`. A host has one credential.
pub(crate) fn check_hosts(key: &str, entries: Vec<HostEntry>) -> Result<Vec<GrantedHost>, ConfigError> {
    let mut hosts = Vec::<GrantedHost>::new();
    for (i, entry) in entries.into_iter().enumerate() {
        let key = format!("{key}[{i}]");
        let host = entry.check(&key)?;
        let other = hosts.iter().find(|other| other.destination == host.destination);
        if other.is_some_and(|other| other.credential != host.credential) {
            let reason = format!("{} is listed before with another credential; list it once", host.destination);
            return Err(ConfigError::at(key, reason));
        }
        hosts.push(host);
    }
    Ok(hosts)
}

/// Checks the list of hosts that may have a credential in a ConfigMap.
pub(crate) fn check_permitted(key: &str, sections: Vec<PermittedSection>) -> Result<Vec<PermittedHost>, ConfigError> {
    let checked = |(i, section): (usize, PermittedSection)| {
        let key = format!("{key}[{i}]");
        let PermittedSection { host, credential, ca_file } = section;
        if credential.is_none() {
            return Err(ConfigError::at(format!("{key}.credential"), "is required"));
        }
        if ca_file.as_ref().is_some_and(|path| !path.is_absolute()) {
            return Err(ConfigError::at(format!("{key}.caFile"), "is not an absolute path"));
        }
        Ok(PermittedHost { host: HostSection { host, credential }.check(&key)?, ca_file })
    };
    sections.into_iter().enumerate().map(checked).collect()
}

// === impl HostEntry, HostSection ===

impl HostEntry {
    pub(crate) fn with_credential(host: &str, credential: CredentialConfig) -> Self {
        Self::Section(Box::new(HostSection { host: host.to_owned(), credential: Some(credential.into()) }))
    }

    fn check(self, key: &str) -> Result<GrantedHost, ConfigError> {
        match self {
            Self::Name(host) => Ok(GrantedHost { destination: parse(key, &host)?, credential: None }),
            Self::Section(section) => section.check(key),
        }
    }
}

impl HostSection {
    fn check(self, key: &str) -> Result<GrantedHost, ConfigError> {
        let destination = parse(&format!("{key}.host"), &self.host)?;
        let credential = self.credential.map(|credential| credential.check(&format!("{key}.credential")));
        Ok(GrantedHost { destination, credential: credential.transpose()? })
    }
}

impl From<GrantedHost> for HostEntry {
    fn from(host: GrantedHost) -> Self {
        match host.credential {
            None => Self::Name(host.destination.to_string()),
            Some(_) => Self::Section(Box::new(host.into())),
        }
    }
}

impl From<GrantedHost> for HostSection {
    fn from(GrantedHost { destination, credential }: GrantedHost) -> Self {
        Self { host: destination.to_string(), credential: credential.map(CredentialSection::from) }
    }
}

impl From<PermittedHost> for PermittedSection {
    fn from(PermittedHost { host, ca_file }: PermittedHost) -> Self {
        let HostSection { host, credential } = host.into();
        Self { host, credential, ca_file }
    }
}

// === impl PermittedHost ===

impl PermittedHost {
    /// Whether a plugin with these CA certificates may use this host with this credential.
    pub(crate) fn permits(&self, host: &GrantedHost, ca_file: Option<&PathBuf>) -> bool {
        self.host == *host && (ca_file.is_none() || ca_file == self.ca_file.as_ref())
    }
}

fn parse(key: &str, host: &str) -> Result<Destination, ConfigError> {
    Destination::parse(host).map_err(|reason| ConfigError::at(key, reason))
}

impl<'de> Deserialize<'de> for HostEntry {
    /// Written by hand: the error of serde's untagged enums does not name the key.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = HostEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a host, or a mapping with the keys host and credential")
    }

    fn visit_str<E>(self, host: &str) -> Result<HostEntry, E> {
        Ok(HostEntry::Name(host.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<HostEntry, A::Error> {
        HostSection::deserialize(MapAccessDeserializer::new(map)).map(|section| HostEntry::Section(Box::new(section)))
    }
}

impl JsonSchema for HostEntry {
    fn schema_name() -> Cow<'static, str> {
        "HostEntry".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let section = generator.subschema_for::<HostSection>();
        json_schema!({ "anyOf": [{ "type": "string" }, section] })
    }
}
