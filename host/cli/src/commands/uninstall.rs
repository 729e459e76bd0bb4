//! `ampoule uninstall`: removes the webhook's registration (with its `APIService` in the mode
//! `requestHeader`), and nothing else.
//!
//! Running replicas notice the removal and do not register again. No replica removes the
//! registration when it ends, because the other replicas still use it.

use std::process::ExitCode;

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
