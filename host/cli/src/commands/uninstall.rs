//! `ampoule uninstall`: takes the registration back, and nothing else.
//!
//! Replicas that run are told of it, and serve on without it. None does this at its own end, as the others serve on with it.

use std::process::ExitCode;

use super::{load, output, quiet_runtime};
use ampoule_cluster::{Cluster, registration};
use ampoule_components::builtins::Builtins;
use ampoule_config::ConfigSource;

pub(crate) fn uninstall(source: &ConfigSource, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let runtime = quiet_runtime()?;
    let name = load(source, builtins)?.registration.name;
    let removed = runtime.block_on(async {
        let cluster = Cluster::connect().await?;
        anyhow::Ok(registration::remove(&cluster, &name).await?)
    })?;
    let what = if removed { "removed" } else { "was not there" };
    output::print(&format!("mutatingwebhookconfiguration {name}: {what}\n"))?;
    Ok(ExitCode::SUCCESS)
}
