//! `ampoule plugin push`: pushes a component to a registry as an OCI artifact, in the CNCF's layout
//! for WebAssembly.
//!
//! A component that cannot be loaded is not pushed. The output is a component source with the
//! digest of the pushed component.

use std::process::ExitCode;

use ampoule_engine::Inspection;
use anyhow::{Context as _, bail};

use super::{
    component::{fetch_component, parse_source},
    output,
    progress::Progress,
    setup::{compile_cache, quiet_runtime},
};
use crate::args::PushArgs;
use ampoule_components::builtins::Builtins;
use ampoule_config::{EngineSettings, RegistriesConfig};
use ampoule_oci::{ComponentDescription, Registry};
use ampoule_server::plugins;
use ampoule_telemetry::metrics::Metrics;

pub(crate) fn plugin_push(args: &PushArgs, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let reference = &args.reference;
    let (Some(tag), None) = (reference.tag(), reference.digest()) else {
        bail!("{reference} must be a tag without a digest: the registry computes the digest");
    };
    let runtime = quiet_runtime()?;
    let registries = RegistriesConfig::from(args.plugin.registries.clone());
    let registry = Registry::open(&registries, None)?;
    let settings = EngineSettings { cache_directory: compile_cache(), ..EngineSettings::default() };
    let engine = plugins::engine(settings, &Metrics::new())?;
    let source = parse_source(&args.plugin.source, builtins)?;
    let digest = runtime.block_on(async {
        let component = fetch_component(&source, registries, builtins).await?;
        let progress = Progress::start("compiling the component (cached for the next run)");
        let inspection = engine.inspect(component.bytes.clone()).await.with_context(|| source.to_string())?;
        drop(progress);
        let _progress = Progress::start("pushing the component");
        let pushed = registry.push(reference, tag, component.bytes.into(), describe(&inspection)).await;
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
