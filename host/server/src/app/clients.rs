//! The authentication of the webhook's clients: [`ClientAuth`].
//!
//! It reads the CAs of clients from a file, or from the API server, and follows their changes. A
//! change that is not usable is reported, and the previous CAs stay.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use ampoule_admission::clients::{ClientRule, FrontProxy, FrontProxyRules};
use ampoule_cluster::{
    Cluster,
    request_header::{RequestHeaderError, RequestHeaderFollower, RequestHeaderSettings},
};
use ampoule_config::{ClientMode, ClientsConfig};
use ampoule_net::{
    file,
    tls::{self, ClientCas, ServingCert},
    watch::Watch,
};
use ampoule_telemetry::{
    metrics::{ClientRefusal, Metrics},
    readiness::{Readiness, ReadinessGate},
};

/// The content of `caFile`, or why it cannot be read.
type CaFileContent = Result<Vec<u8>, String>;

/// How clients are authenticated.
pub(super) struct ClientAuth {
    /// The rule for the head of a request.
    pub(super) rule: ClientRule,
    /// The CAs for the handshake; `None` if clients need no certificate.
    cas: Option<Arc<ClientCas>>,
}

/// Applies the identity of the front proxy.
struct FrontProxyKeeper {
    cas: Arc<ClientCas>,
    proxy: Arc<FrontProxy>,
    gate: ReadinessGate,
    /// Whether the identity is known.
    known: bool,
}

// === impl ClientAuth ===

impl ClientAuth {
    /// Prepares the authentication, and starts to follow the CAs.
    ///
    /// # Errors
    ///
    /// The file with the CAs is not usable, or no API server is configured.
    pub(super) async fn start(
        clients: &ClientsConfig,
        cluster: Option<&Cluster>,
        readiness: &Readiness,
        metrics: &Metrics,
        followers: &mut JoinSet<()>,
    ) -> anyhow::Result<Self> {
        let cas = Arc::new(ClientCas::new(metrics.refused_clients(ClientRefusal::UnknownCertificate)));
        let rule = match clients.mode {
            ClientMode::Open => return Ok(Self { rule: ClientRule::Open, cas: None }),
            ClientMode::Certificate => {
                let path = clients.ca_file.clone().unwrap_or_default();
                follow_file(path, Arc::clone(&cas), followers)?;
                ClientRule::Certificate { allowed_names: clients.allowed_names.clone() }
            }
            ClientMode::RequestHeader => {
                let cluster = match cluster {
                    Some(cluster) => cluster.clone(),
                    None => Cluster::connect().await.context("server.clients.mode requestHeader")?,
                };
                let proxy = Arc::new(FrontProxy::default());
                let gate = readiness.add_gate("clients", "the API server's front proxy is not known yet");
                let keeper = FrontProxyKeeper { cas: Arc::clone(&cas), proxy: Arc::clone(&proxy), gate, known: false };
                followers.spawn(keeper.run(RequestHeaderFollower::new(&cluster)));
                ClientRule::RequestHeader { proxy, allowed_users: clients.allowed_users.clone() }
            }
        };
        Ok(Self { rule, cas: Some(cas) })
    }

    /// Returns the TLS configuration with this certificate.
    pub(super) fn tls(&self, cert: Arc<ServingCert>) -> TlsAcceptor {
        let config = match &self.cas {
            Some(cas) => tls::server_config_for_clients(cert, Arc::clone(cas)),
            None => tls::server_config(cert),
        };
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Installs the CAs of a file, and follows its changes.
fn follow_file(path: PathBuf, cas: Arc<ClientCas>, followers: &mut JoinSet<()>) -> anyhow::Result<()> {
    let key = format!("server.clients.caFile: {}", path.display());
    let read = move || file::read(&path, file::SMALL).map_err(|error| error.to_string());
    let first: CaFileContent = read();
    install_file(&cas, &first).map_err(|reason| anyhow::anyhow!("{key}: {reason}"))?;
    let mut watch = Watch::new(first, read);
    followers.spawn(async move {
        loop {
            match install_file(&cas, &watch.changed().await) {
                Ok(()) => info!("the CAs of clients were replaced (server.clients.caFile)"),
                Err(reason) => warn!(reason, "the CAs of clients stay: server.clients.caFile cannot be used"),
            }
        }
    });
    Ok(())
}

fn install_file(cas: &ClientCas, content: &CaFileContent) -> Result<(), String> {
    let pem = content.as_ref().map_err(Clone::clone)?;
    cas.install(pem).map_err(|error| error.to_string())
}

// === impl FrontProxyKeeper ===

impl FrontProxyKeeper {
    /// Follows the identity. Never returns.
    async fn run(mut self, follower: RequestHeaderFollower) {
        match follower.run(move |found| self.apply(found)).await {}
    }

    fn apply(&mut self, found: Result<RequestHeaderSettings, RequestHeaderError>) {
        match found.map_err(|error| error.to_string()).and_then(|settings| self.install(settings)) {
            Ok(()) => {
                self.known = true;
                self.gate.ready();
                info!("the API server's front proxy may send reviews");
            }
            Err(reason) => {
                warn!(%reason, "the API server's front proxy is not known");
                if !self.known {
                    self.gate.unready(reason);
                }
            }
        }
    }

    fn install(&self, settings: RequestHeaderSettings) -> Result<(), String> {
        let RequestHeaderSettings { ca_pem, allowed_names, username_headers } = settings;
        self.cas.install(ca_pem.as_bytes()).map_err(|error| format!("requestheader-client-ca-file: {error}"))?;
        self.proxy.install(FrontProxyRules { allowed_names, username_headers });
        Ok(())
    }
}
