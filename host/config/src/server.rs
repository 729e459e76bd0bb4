//! Section `server`: ports, connections and shutdown.
//!
//! These keys take effect when the process starts.

use std::{
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{
    ClientMode, ClientsConfig, ConfigError,
    section::{seconds, section},
};

/// The port of Flyte's webhook for the same requests.
const INVALIDATION_PORT: u16 = 9444;
/// The port of the console.
const CONSOLE_PORT: u16 = 9445;

/// Ports, certificate folder, connections and shutdown of the process.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("x-takes-effect" = "restart"))]
pub struct ServerConfig {
    /// IP address and port of the webhook. `[::]` stands for all addresses of IPv6 and IPv4, or of
    /// IPv4 alone on a node without IPv6.
    #[serde(deserialize_with = "address")]
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// IP address and port that serve the health checks, the metrics and the plugin list. The port
    /// must differ from that of `listen`.
    #[serde(deserialize_with = "address")]
    #[schemars(with = "String")]
    pub admin: SocketAddr,
    /// The folder with `tls.crt` and `tls.key`.
    pub cert_dir: PathBuf,
    /// Time for which the process continues to serve after a termination signal, while the cluster
    /// removes it from its load balancers.
    // Kubernetes' own grace period is 30 s: more than an hour is a mistake in the unit.
    #[serde(rename = "shutdownDelaySeconds", with = "seconds")]
    #[schemars(with = "u64", range(max = 3600))]
    pub shutdown_delay: Duration,
    /// Maximum time for open requests after `shutdownDelaySeconds`.
    #[serde(rename = "shutdownGraceSeconds", with = "seconds")]
    #[schemars(with = "u64", range(max = 3600))]
    pub shutdown_grace: Duration,
    /// Maximum number of open connections to the webhook. One address has at most half of them.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: usize,
    /// Maximum age of a connection to the webhook. The actual age varies by a tenth.
    // A longer life is no different from an unlimited one.
    #[serde(rename = "maxConnectionAgeSeconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 1, max = 86_400))]
    pub max_connection_age: Duration,
    /// Maximum number of concurrent admissions, including those that wait for a plugin.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_admissions: usize,
    /// Authentication of the webhook's clients.
    #[serde(deserialize_with = "section")]
    pub clients: ClientsConfig,
    /// The port on which another program reports that values of a store have changed. By default,
    /// the process does not open it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invalidation: Option<InvalidationConfig>,
    /// The port with the console and its API, which act with the rights of the caller. By default,
    /// the process does not open it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console: Option<ConsoleConfig>,
}

/// The port with `POST /invalidate-secret`, which clears the caches with
/// `injectors[].cache.invalidation`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct InvalidationConfig {
    /// IP address and port. On a loopback address, the port serves plain HTTP. On another one, it
    /// serves TLS to the clients of `server.clients`, whose mode must be `certificate`.
    #[serde(deserialize_with = "address")]
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// Whether the port serves plain HTTP to every client that reaches it, as in Flyte. A client
    /// can then clear the caches once a second.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub accept_anyone: bool,
}

/// The port with the console and its API. Callers send their own token of the Kubernetes API.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ConsoleConfig {
    /// IP address and port. A loopback address is reachable by `kubectl port-forward`.
    #[serde(deserialize_with = "address")]
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// Whether the port serves plain HTTP instead of TLS with the webhook's certificate. The
    /// default is `true` on a loopback address. It is refused on other ones, because requests
    /// contain tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plain_http: Option<bool>,
}

// === impl ServerConfig ===

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: (Ipv6Addr::UNSPECIFIED, 9443).into(),
            admin: (Ipv6Addr::UNSPECIFIED, 10254).into(),
            cert_dir: "/etc/webhook/certs".into(),
            shutdown_delay: Duration::from_secs(5),
            shutdown_grace: Duration::from_secs(20),
            max_connections: 1024,
            // One handshake a minute costs nothing, and a new replica has its share of the load
            // within two minutes.
            max_connection_age: Duration::from_secs(60),
            // API servers call over HTTP/1.1: half of the connections remain for refusals. Three
            // API servers have at most 600 pods in flight over all replicas
            // (--max-mutating-requests-inflight).
            max_admissions: 512,
            clients: ClientsConfig::default(),
            invalidation: None,
            console: None,
        }
    }
}

impl Default for InvalidationConfig {
    fn default() -> Self {
        Self { listen: ([127, 0, 0, 1], INVALIDATION_PORT).into(), accept_anyone: false }
    }
}

impl Default for ConsoleConfig {
    fn default() -> Self {
        Self { listen: ([127, 0, 0, 1], CONSOLE_PORT).into(), plain_http: None }
    }
}

impl ServerConfig {
    pub(crate) fn check(self) -> Result<Self, ConfigError> {
        if self.listen.port() != 0 && self.listen.port() == self.admin.port() {
            let reason = format!("port {} is already used by server.listen", self.admin.port());
            return Err(ConfigError::at("server.admin", reason));
        }
        self.clients.check()?;
        if let Some(invalidation) = &self.invalidation {
            invalidation.check(&self)?;
        }
        if let Some(console) = &self.console {
            console.check(&self)?;
        }
        Ok(self)
    }
}

impl InvalidationConfig {
    /// Whether the port serves plain HTTP, to every client that reaches it.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.accept_anyone || self.listen.ip().is_loopback()
    }

    fn check(&self, server: &ServerConfig) -> Result<(), ConfigError> {
        let port = self.listen.port();
        if port != 0 && [server.listen.port(), server.admin.port()].contains(&port) {
            let reason = format!("port {port} is already used by server.listen or server.admin");
            return Err(ConfigError::at("server.invalidation.listen", reason));
        }
        if !self.is_plain() && server.clients.mode != ClientMode::Certificate {
            let reason = format!(
                "{} accepts clients of other machines, which only server.clients.mode: certificate authenticates; use \
                 127.0.0.1, or set server.invalidation.acceptAnyone",
                self.listen
            );
            return Err(ConfigError::at("server.invalidation.listen", reason));
        }
        Ok(())
    }
}

impl ConsoleConfig {
    /// Whether the port serves plain HTTP.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.plain_http.unwrap_or_else(|| self.listen.ip().is_loopback())
    }

    fn check(&self, server: &ServerConfig) -> Result<(), ConfigError> {
        let port = self.listen.port();
        let invalidation = server.invalidation.as_ref().map(|invalidation| invalidation.listen.port());
        let others = [Some(server.listen.port()), Some(server.admin.port()), invalidation];
        if port != 0 && others.contains(&Some(port)) {
            let reason = format!("port {port} is already used by another key of server");
            return Err(ConfigError::at("server.console.listen", reason));
        }
        if self.is_plain() && !self.listen.ip().is_loopback() {
            let reason = format!(
                "is not allowed on {}: requests contain tokens, which only TLS protects on the network; use 127.0.0.1, \
                 or remove the key",
                self.listen
            );
            return Err(ConfigError::at("server.console.plainHttp", reason));
        }
        Ok(())
    }
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        D::Error::custom(format!("{text:?} is not an IP address with a port, such as [::]:9443 or 0.0.0.0:9443"))
    })
}
