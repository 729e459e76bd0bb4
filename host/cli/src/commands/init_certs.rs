//! `ampoule init-certs` and `ampoule webhook init-certs`: ensure that the webhook's Secret holds a
//! certificate for its Service before the webhook starts.
//!
//! A valid certificate is kept, so every replica can run this command at each start. The output
//! contains no secret.

use std::{process::ExitCode, time::SystemTime};

use anyhow::Context as _;

use super::{
    output,
    setup::{load_config, quiet_runtime},
};
use ampoule_cluster::{
    Cluster,
    certs::{self, CertIssuer},
};
use ampoule_components::builtins::Builtins;
use ampoule_config::ConfigSource;

pub(crate) fn init_certs(source: &ConfigSource, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let runtime = quiet_runtime()?;
    let config = load_config(source, builtins)?;
    let issuer = CertIssuer {
        service: config.registration.service_name,
        secret: config.certificates.secret_name,
        validity: config.certificates.validity,
    };
    let (ensured, namespace) = runtime.block_on(async {
        let cluster = Cluster::connect().await?;
        anyhow::Ok((issuer.ensure(&cluster, SystemTime::now()).await?, cluster.namespace().to_owned()))
    })?;
    output::print(&format!("secret {namespace}/{}: {}\n", issuer.secret, ensured.outcome))?;
    if config.certificates.copy_to_cert_dir {
        let dir = config.server.cert_dir.display();
        certs::write(&config.server.cert_dir, &ensured.pair)
            .with_context(|| format!("cannot write to {dir} (server.certDir)"))?;
        output::print(&format!("files {dir}: written\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
