//! `ampoule plugin push`: a component into a registry, in the CNCF's layout for WebAssembly.
//!
//! What could not be loaded is not pushed. What is printed is a source that names this very component.

use std::{process::ExitCode, sync::Arc};

use ampoule_engine::Limits;
use anyhow::{Context as _, bail};

use super::{output, quiet_runtime};
use crate::{
    args::PushArgs,
    config::{ComponentSource, EngineSettings, RegistriesConfig},
    fetch::{Component, Fetcher, Wanted, oci::Registry},
    metrics::Metrics,
    plugins::{self, Builtins},
};

pub(crate) fn plugin_push(args: PushArgs, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let PushArgs { file, reference, registries } = args;
    let (Some(tag), None) = (reference.tag(), reference.digest()) else {
        bail!("{reference} names a digest, which follows from the component: push to a tag");
    };
    let runtime = quiet_runtime()?;
    let registries = RegistriesConfig::from(registries);
    let registry = Registry::open(&registries, None)?;
    let fetcher = Arc::new(Fetcher::trusting(registries, builtins));
    let engine = plugins::engine(EngineSettings::default(), &Metrics::new())?;
    let source = ComponentSource::File(file);
    let wanted =
        Wanted { source: source.clone(), limit: Limits::default().component_bytes, sha256: None, signed_by: None };
    let digest = runtime.block_on(async {
        let Component { bytes, digest: _, signer: _ } = fetcher.fetch(wanted).await?;
        let inspection = engine.inspect(&bytes).await.with_context(|| source.to_string())?;
        let pushed = registry.push(&reference, tag, bytes, &inspection).await;
        pushed.with_context(|| reference.to_string())
    })?;
    output::print(&format!("oci:{}\n", reference.at(&digest)))?;
    Ok(ExitCode::SUCCESS)
}
