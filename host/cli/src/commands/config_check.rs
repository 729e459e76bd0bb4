//! `ampoule config check`: reads the configuration, loads its plugins as `serve` would, and prints what is in effect.
//!
//! What is printed is a configuration itself, with every key at its value. A plugin that does not load is a failure, required or not.

use std::{fmt::Write as _, process::ExitCode};

use super::{complain, load, output, quiet_runtime};
use crate::args::ConfigArg;
use ampoule_components::builtins::Builtins;
use ampoule_server::plugins::{Loader, PluginStatus, Serving};
use ampoule_telemetry::metrics::Metrics;

pub(crate) fn config_check(args: &ConfigArg, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let runtime = quiet_runtime()?;
    let config = load(&args.clone().into(), builtins)?;
    let mut text = output::yaml(&config.effective())?;
    let loaded = runtime.block_on(Loader::new(builtins, Metrics::new()).load(&config))?;
    text += "# plugins loaded:\n";
    for PluginStatus { name, source, serving, .. } in &loaded.plugins {
        let Some(Serving { version, digest, signer, warning }) = serving else { continue };
        let signed = signer.as_ref().map_or_else(String::new, |signer| format!(", signed by {signer}"));
        let _ = writeln!(text, "#   {name}: {source}, version {version}, sha256:{digest}{signed}");
        if let Some(warning) = warning {
            complain(&format!("warning: plugin {name}: {warning}"));
        }
    }
    output::print(&text)?;
    let problems: Vec<_> = loaded.plugins.iter().filter_map(PluginStatus::problem).collect();
    problems.iter().for_each(|problem| complain(&format!("error: {problem}")));
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
