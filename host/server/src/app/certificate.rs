//! The serving certificate at the start of a process: [`CertificateSetup`].
//!
//! The certificate comes from the directory, from the Secret in the cluster, or is self-signed for
//! development.

use std::{sync::Arc, time::SystemTime};

use anyhow::Context as _;
use tokio::task::JoinSet;
use tracing::warn;

use crate::api_server::until_reachable;
use ampoule_cluster::{
    Cluster,
    certs::{self, CertFolder, CertIssuer, CertKeeper, FolderSource, SecretRestorer, SecretSource},
    registration::Trust,
};
use ampoule_config::{CertificateMode, Config};
use ampoule_net::tls::ServingCert;
use ampoule_telemetry::{metrics::Metrics, readiness::ReadinessGate};

/// The inputs of the first certificate.
pub(super) struct CertificateSetup<'a> {
    pub(super) config: &'a Config,
    /// The additional names of a self-signed certificate. `None` disables self-signed certificates.
    pub(super) self_signed: Option<&'a [String]>,
    pub(super) cert: Arc<ServingCert>,
    pub(super) part: ReadinessGate,
    pub(super) metrics: &'a Metrics,
    /// The API server, if the process registers itself.
    pub(super) cluster: Option<&'a Cluster>,
    /// The API server's trust in certificates, if the process registers itself.
    pub(super) trust: Option<Trust>,
}

// === impl CertificateSetup ===

impl CertificateSetup<'_> {
    /// Serves the first certificate and starts to follow renewals. Returns the CA of a self-signed
    /// certificate.
    pub(super) async fn start(self, followers: &mut JoinSet<()>) -> anyhow::Result<Option<String>> {
        let issuer = self.issuer();
        let mut keeper = CertKeeper::new(self.cert, self.part, self.metrics.clone(), self.trust);
        let certificates = &self.config.certificates;
        if let (CertificateMode::Cluster, Some(cluster)) = (certificates.mode, self.cluster) {
            let started = until_reachable("the certificate's Secret", async || {
                Ok(SecretSource::start(issuer.clone(), cluster.clone(), self.metrics.clone()).await?)
            });
            let (pair, source) = started.await?;
            keeper.serve(pair);
            followers.spawn(keeper.follow(source));
            return Ok(None);
        }
        let folder = CertFolder::read(&self.config.server.cert_dir);
        if let Some(names) = self.self_signed.filter(|_| folder.is_empty()) {
            let pair = certs::self_signed(names).context("cannot issue a self-signed certificate")?;
            warn!("serving a self-signed certificate: for development only");
            keeper.serve(pair.stored().check(None, SystemTime::now()).expect("a new certificate is valid"));
            return Ok(Some(pair.ca_pem));
        }
        let host = self.cluster.map(|cluster| cluster.host(&self.config.registration.service_name));
        if let (true, Some(cluster)) = (certificates.copy_to_cert_dir, self.cluster) {
            let folder = folder.dir().to_owned();
            let restorer = SecretRestorer { issuer, folder, cluster: cluster.clone() };
            followers.spawn(restorer.run());
        }
        keeper.serve(folder.load(host.as_deref(), SystemTime::now())?);
        followers.spawn(keeper.follow(FolderSource::new(folder, host, self.metrics.clone())));
        Ok(None)
    }

    /// The Secret with the pair that this program issues.
    fn issuer(&self) -> CertIssuer {
        let certificates = &self.config.certificates;
        CertIssuer {
            service: self.config.registration.service_name.clone(),
            secret: certificates.secret_name.clone(),
            validity: certificates.validity,
        }
    }
}
