//! `ampoule config check`: reads the configuration, loads its plugins as `serve` would, and prints what is in effect.
//!
//! What is printed is a configuration itself, with every key at its value.

use std::{fmt::Write as _, process::ExitCode};

use super::{load, output, quiet_runtime};
use crate::{
    args::ConfigArg,
    metrics::{Metrics, PluginLabels},
    plugins::{Builtins, Loader},
};

pub(crate) fn config_check(args: &ConfigArg, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let runtime = quiet_runtime()?;
    let config = load(&args.clone().into(), builtins)?;
    let mut text = output::yaml(&config.effective())?;
    let loaded = runtime.block_on(Loader::new(builtins, Metrics::new()).load(&config))?;
    text += "# plugins loaded:\n";
    for PluginLabels { plugin, version, digest, source, signer } in &loaded.plugins {
        let signed = if signer.is_empty() { String::new() } else { format!(", signed by {signer}") };
        let _ = writeln!(text, "#   {plugin}: {source}, version {version}, sha256:{digest}{signed}");
    }
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
