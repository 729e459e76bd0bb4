//! Section `server.clients`: who may send a review, and whether an answer may contain a value.
//!
//! A review states a pod, a namespace and a user. Only the identity of the client shows that these
//! statements come from the API server.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Config, ConfigError, section::section};

/// The API group, version and resource under which an API server reaches the webhook in the mode
/// `requestHeader`.
pub const API_GROUP: &str = "admission.ampoule.dev";
/// The version of [`API_GROUP`].
pub const API_VERSION: &str = "v1";
/// The resource of [`API_GROUP`].
pub const API_RESOURCE: &str = "mutations";
/// The path on which the webhook serves reviews in the mode `requestHeader`.
pub const AGGREGATED_PATH: &str = "/apis/admission.ampoule.dev/v1/mutations";

/// The user as which the API server calls itself.
const API_SERVER_USER: &str = "system:apiserver";

/// Authentication of the webhook's clients.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("x-takes-effect" = "restart"))]
pub struct ClientsConfig {
    /// How a client proves its identity.
    pub mode: ClientMode,
    /// File with the CA certificates of clients in PEM form. A change takes effect at once.
    /// Required for `certificate`, and only allowed there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Names of the clients: the common name of the certificate's subject, or one of its
    /// alternative names (DNS or URI). At least one for `certificate`, and only allowed there.
    #[serde(deserialize_with = "section")]
    pub allowed_names: Vec<String>,
    /// Users who may send reviews through the API server. Only allowed for `requestHeader`.
    #[serde(deserialize_with = "section")]
    pub allowed_users: Vec<String>,
    /// Whether any client that reaches the port may read global secrets and the values that plugins
    /// fetch. Only allowed for `open`.
    pub accept_values_to_anyone: bool,
}

/// How a client proves its identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ClientMode {
    /// Not at all. Answers contain no values, unless `acceptValuesToAnyone` is true.
    #[default]
    Open,
    /// With a certificate of a CA in `caFile`. The API server needs an admission configuration
    /// whose `kubeConfigFile` has this certificate.
    Certificate,
    /// With the front-proxy certificate of the API server, which forwards reviews to an
    /// `APIService`.
    RequestHeader,
}

// === impl ClientsConfig ===

impl Default for ClientsConfig {
    fn default() -> Self {
        Self {
            mode: ClientMode::default(),
            ca_file: None,
            allowed_names: Vec::new(),
            allowed_users: default_users(),
            accept_values_to_anyone: false,
        }
    }
}

impl ClientsConfig {
    /// Whether an answer may contain a value.
    #[must_use]
    pub fn allow_values(&self) -> bool {
        self.mode != ClientMode::Open || self.accept_values_to_anyone
    }

    /// Whether values are answered to clients that are not authenticated.
    #[must_use]
    pub fn allow_values_to_anyone(&self) -> bool {
        self.mode == ClientMode::Open && self.accept_values_to_anyone
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let at = |key: &str, reason: &str| Err(ConfigError::at(format!("server.clients.{key}"), reason));
        let is_certificate = self.mode == ClientMode::Certificate;
        match &self.ca_file {
            Some(_) if !is_certificate => return at("caFile", "has an effect only with mode certificate"),
            None if is_certificate => return at("caFile", "is missing; mode certificate requires it"),
            Some(path) if !path.is_absolute() => return at("caFile", "is not an absolute path"),
            _ => {}
        }
        if is_certificate && self.allowed_names.is_empty() {
            return at("allowedNames", "is empty; list the names of the API server's certificate");
        }
        if !is_certificate && !self.allowed_names.is_empty() {
            return at("allowedNames", "has an effect only with mode certificate");
        }
        if self.mode != ClientMode::RequestHeader && self.allowed_users != default_users() {
            return at("allowedUsers", "has an effect only with mode requestHeader");
        }
        if self.allowed_users.is_empty() {
            return at("allowedUsers", "is empty: no user could send a review");
        }
        for (key, names) in [("allowedNames", &self.allowed_names), ("allowedUsers", &self.allowed_users)] {
            if let Some(i) = names.iter().position(|name| name.trim().is_empty()) {
                return at(&format!("{key}[{i}]"), "is empty");
            }
        }
        if self.accept_values_to_anyone && self.mode != ClientMode::Open {
            return at("acceptValuesToAnyone", "has an effect only with mode open");
        }
        Ok(())
    }
}

// === impl Config ===

impl Config {
    /// Checks that no part of the configuration puts values into answers if `clients`, the section
    /// in effect since the start of the process, does not allow that.
    ///
    /// # Errors
    ///
    /// The key of the first part that would do so.
    pub fn check_values(&self, clients: &ClientsConfig) -> Result<(), ConfigError> {
        if clients.allow_values() {
            return Ok(());
        }
        if self.global_secrets.is_some() {
            return Err(ConfigError::at("globalSecrets.enabled", format!("true {}", values_remedy())));
        }
        for (i, injector) in self.injectors.iter().enumerate() {
            if let Some(grant) = injector.first_that_reads() {
                let reason =
                    format!("injector {} could answer with what it reads, which {}", injector.name, values_remedy());
                return Err(ConfigError::at(format!("injectors[{i}].grants.{grant}"), reason));
            }
            if injector.delivers_component(&self.delivery.pod) {
                return Err(ConfigError::at(format!("injectors[{i}].delivery"), components_remedy()));
            }
        }
        Ok(())
    }
}

/// What is wrong with a value in the mode `open`, and what to change.
#[must_use]
pub fn values_remedy() -> &'static str {
    "is not allowed while server.clients.mode is open: anyone who reaches the port could read the values; set \
     server.clients.mode to certificate or requestHeader and restart, or set server.clients.acceptValuesToAnyone"
}

/// What is wrong with components in ConfigMaps in the mode `open`, and what to change.
#[must_use]
pub fn components_remedy() -> &'static str {
    "pod with delivery.pod.components.source: config-map is not allowed while server.clients.mode is open: anyone who \
     reaches the port could fill every namespace with ConfigMaps; set server.clients.mode to certificate or \
     requestHeader and restart, or use an image"
}

fn default_users() -> Vec<String> {
    vec![API_SERVER_USER.to_owned()]
}
