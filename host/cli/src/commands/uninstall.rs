//! `ampoule uninstall`: removes the webhook's registration (with its `APIService` in the mode
//! `requestHeader`), and nothing else.
//!
//! Running replicas notice the removal and do not register again. No replica removes the
//! registration when it ends, because the other replicas still use it.
//!
//! Without `registration.create`, Helm or kubectl created the object and deletes it. Only a process
//! with `registration.create` would restore it.

use std::process::ExitCode;

use anyhow::bail;

use super::{
    output,
    setup::{load_config, quiet_runtime},
};
use ampoule_cluster::{Cluster, registration};
use ampoule_components::builtins::Builtins;
use ampoule_config::{ClientMode, ConfigSource};

pub(crate) fn uninstall(source: &ConfigSource, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let runtime = quiet_runtime()?;
    let config = load_config(source, builtins)?;
    let name = config.registration.name;
    if !config.registration.create {
        bail!(
            "registration.create is false: delete the MutatingWebhookConfiguration {name} with the program that \
             created it, for example with helm uninstall or kubectl delete"
        );
    }
    let removed = runtime.block_on(async {
        let cluster = Cluster::connect().await?;
        let removed = registration::remove(&cluster, &name).await?;
        // Afterwards: no replica restores it once the registration is removed.
        if config.server.clients.mode == ClientMode::RequestHeader {
            registration::remove_api_service(&cluster).await?;
        }
        anyhow::Ok(removed)
    })?;
    let result = if removed { "removed" } else { "not found" };
    output::print(&format!("mutatingwebhookconfiguration {name}: {result}\n"))?;
    Ok(ExitCode::SUCCESS)
}
