//! `ampoule init-certs` and `ampoule webhook init-certs`: a certificate for the webhook's Service, in its Secret, before the webhook
//! starts.
//!
//! A good one is kept, so that every replica may run this at each of its starts. Nothing is printed that is secret.

use std::{process::ExitCode, time::SystemTime};

use anyhow::Context as _;

use super::{load, output, quiet_runtime};
use ampoule_cluster::{
    Cluster,
    certs::{self, CertIssuer, Ensured},
};
use ampoule_components::builtins::Builtins;
use ampoule_config::{CertificatesConfig, Config, ConfigSource};

pub(crate) fn init_certs(source: &ConfigSource, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let runtime = quiet_runtime()?;
    let Config { server, registration, certificates, .. } = load(source, builtins)?;
    let CertificatesConfig { mode: _, secret_name, copy_to_cert_dir, validity } = certificates;
    let issuer = CertIssuer { service: registration.service_name, secret: secret_name, validity };
    let (Ensured { pair, outcome }, namespace) = runtime.block_on(async {
        let cluster = Cluster::connect().await?;
        anyhow::Ok((issuer.ensure(&cluster, SystemTime::now()).await?, cluster.namespace().to_owned()))
    })?;
    output::print(&format!("secret {namespace}/{}: {outcome}\n", issuer.secret))?;
    if copy_to_cert_dir {
        let dir = server.cert_dir.display();
        certs::write(&server.cert_dir, &pair).with_context(|| format!("cannot write to {dir} (server.certDir)"))?;
        output::print(&format!("files {dir}: written\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
