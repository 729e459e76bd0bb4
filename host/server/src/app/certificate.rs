//! The first certificate of a process, and who follows it: [`Certificate`].
//!
//! It is that of the folder, or of the Secret in the cluster, or one that is made on the spot for development.

use std::{sync::Arc, time::SystemTime};

use anyhow::Context as _;
use tokio::task::JoinSet;
use tracing::warn;

use ampoule_cluster::{
    Cluster,
    certs::{self, CertFolder, CertIssuer, CertKeeper, FolderSource, SecretSource},
    registration::Trust,
};
use ampoule_config::{CertificateMode, CertificatesConfig, Config};
use ampoule_net::tls::ServingCert;
use ampoule_telemetry::{metrics::Metrics, readiness::ReadinessGate};

/// What a certificate needs of the process.
pub(super) struct Certificate<'a> {
    pub(super) config: &'a Config,
    /// The further names of a certificate to make if the folder has none; none makes none.
    pub(super) self_signed: Option<&'a [String]>,
    pub(super) cert: Arc<ServingCert>,
    pub(super) part: ReadinessGate,
    pub(super) metrics: &'a Metrics,
    /// Where the API server is, if the process is registered.
    pub(super) cluster: Option<&'a Cluster>,
    /// How it comes to trust a certificate.
    pub(super) trust: Option<Trust>,
}

// === impl Certificate ===

impl Certificate<'_> {
    /// Serves the first one, and starts to follow those that come after it. Gives the CA of one that was made on the spot.
    pub(super) async fn start(self, tasks: &mut JoinSet<()>) -> anyhow::Result<Option<String>> {
        let Self { config, self_signed, cert, part, metrics, cluster, trust } = self;
        let mut keeper = CertKeeper::new(cert, part, metrics.clone(), trust);
        let service = &config.registration.service_name;
        let CertificatesConfig { mode, secret_name, copy_to_cert_dir: _, validity } = &config.certificates;
        if let (CertificateMode::Cluster, Some(cluster)) = (mode, cluster) {
            let (service, secret) = (service.clone(), secret_name.clone());
            let issuer = CertIssuer { service, secret, validity: *validity };
            let (pair, source) = SecretSource::start(issuer, cluster.clone(), metrics.clone()).await?;
            keeper.serve(pair);
            tasks.spawn(keeper.follow(source));
            return Ok(None);
        }
        let folder = CertFolder::read(&config.server.cert_dir);
        if let Some(names) = self_signed.filter(|_| folder.is_empty()) {
            let pair = certs::self_signed(names).context("cannot make a self-signed certificate")?;
            warn!("serving a self-signed certificate: for development only");
            keeper.serve(pair.stored().check(None, SystemTime::now()).expect("it was just made"));
            return Ok(Some(pair.ca_pem));
        }
        let host = cluster.map(|cluster| cluster.host(service));
        keeper.serve(folder.load(host.as_deref(), SystemTime::now())?);
        tasks.spawn(keeper.follow(FolderSource::new(folder, host, metrics.clone())));
        Ok(None)
    }
}
