//! `ampoule config check`: reads the configuration, loads its plugins as `serve` does, and prints
//! the effective configuration.
//!
//! The output is itself a configuration, with the value of every key. The exit code is 1 if any
//! plugin fails to load, even an optional one.

use std::{fmt::Write as _, process::ExitCode};

use super::{
    output::{self, eprint_line},
    setup::{load_config, quiet_runtime},
};
use crate::args::ConfigArg;
use ampoule_cluster::Cluster;
use ampoule_components::builtins::Builtins;
use ampoule_server::plugins::{Loader, PluginStatus};
use ampoule_telemetry::metrics::Metrics;

pub(crate) fn config_check(args: &ConfigArg, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let runtime = quiet_runtime()?;
    let source = args.clone().into();
    let config = load_config(&source, builtins)?;
    config.check_values(&config.server.clients).map_err(|error| source.locate(error))?;
    let mut text = output::yaml(&config.effective())?;
    if config.server.clients.allow_values_to_anyone() {
        text += "# any client that reaches the port can read values: server.clients.acceptValuesToAnyone\n";
    }
    let loaded = runtime.block_on(Loader::new(builtins, Metrics::new()).load(&config))?;
    text += "# plugins loaded:\n";
    for plugin in &loaded.plugins {
        let Some(serving) = &plugin.serving else { continue };
        let (name, version, digest) = (&plugin.name, &serving.version, &serving.digest);
        let _ = write!(text, "#   {name}: {}, version {version}, sha256:{digest}", plugin.source);
        if let Some(signer) = &serving.signer {
            let _ = write!(text, ", signed by {signer}");
        }
        text.push('\n');
        for warning in serving.warning.iter().chain(&plugin.shadow_note()) {
            eprint_line(&format!("warning: plugin {name}: {warning}"));
        }
    }
    if let Some(warning) = config.rotation_warning() {
        eprint_line(&format!("warning: {warning}"));
    }
    if config.pods.warn_missing_secrets
        && let Err(error) = runtime.block_on(Cluster::connect())
    {
        eprint_line(&format!("warning: pods.warnMissingSecrets has no effect here: {error}"));
    }
    output::print(&text)?;
    let problems: Vec<_> = loaded.plugins.iter().filter_map(PluginStatus::problem).collect();
    problems.iter().for_each(|problem| eprint_line(&format!("error: {problem}")));
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
