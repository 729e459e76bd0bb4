//! `ampoule plugin push`: a component into a registry, in the CNCF's layout for WebAssembly.
//!
//! What could not be loaded is not pushed. What is printed is a source that names this very component.

use std::process::ExitCode;

use ampoule_engine::Inspection;
use anyhow::{Context as _, bail};

use super::{output, plugin, quiet_runtime};
use crate::args::{PluginArg, PushArgs};
use ampoule_components::{builtins::Builtins, fetch::Component};
use ampoule_config::{EngineSettings, RegistriesConfig};
use ampoule_oci::{ComponentDescription, Registry};
use ampoule_server::plugins;
use ampoule_telemetry::metrics::Metrics;

pub(crate) fn plugin_push(args: PushArgs, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let PushArgs { plugin: PluginArg { source, registries }, reference } = args;
    let (Some(tag), None) = (reference.tag(), reference.digest()) else {
        bail!("{reference} names a digest, which follows from the component: push to a tag");
    };
    let runtime = quiet_runtime()?;
    let registries = RegistriesConfig::from(registries);
    let registry = Registry::open(&registries, None)?;
    let engine = plugins::engine(EngineSettings::default(), &Metrics::new())?;
    let source = plugin::source(&source, builtins)?;
    let digest = runtime.block_on(async {
        let Component { bytes, digest: _, signer: _ } = plugin::fetch(&source, registries, builtins).await?;
        let inspection = engine.inspect(bytes.clone()).await.with_context(|| source.to_string())?;
        let pushed = registry.push(&reference, tag, bytes.into(), describe(&inspection)).await;
        pushed.with_context(|| reference.to_string())
    })?;
    output::print(&format!("oci:{}\n", reference.at(&digest)))?;
    Ok(ExitCode::SUCCESS)
}

fn describe(inspection: &Inspection) -> ComponentDescription<'_> {
    ComponentDescription {
        name: &inspection.info.name,
        version: &inspection.info.version,
        imports: &inspection.imports,
        exports: &inspection.exports,
    }
}
