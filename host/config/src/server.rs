//! Section `server`: ports, connections and shutdown.
//!
//! These keys take effect when the process starts.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{
    ClientsConfig, ConfigError,
    section::{seconds, section},
};

/// Ports, certificate folder, connections and shutdown of the process.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("x-takes-effect" = "restart"))]
pub struct ServerConfig {
    /// IP address and port of the webhook.
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
}

// === impl ServerConfig ===

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: ([0, 0, 0, 0], 9443).into(),
            admin: ([0, 0, 0, 0], 10254).into(),
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
        }
    }
}

impl ServerConfig {
    pub(crate) fn check(self) -> Result<Self, ConfigError> {
        if self.listen.port() != 0 && self.listen.port() == self.admin.port() {
            let reason = format!("port {} is already used by server.listen", self.admin.port());
            return Err(ConfigError::at("server.admin", reason));
        }
        self.clients.check()?;
        Ok(self)
    }
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        D::Error::custom(format!("{text:?} is not an IP address with a port, such as 0.0.0.0:9443 or [::]:9443"))
    })
}
