//! `ampoule plugin inspect`: what a component is, what it wants, and what it says of itself.
//!
//! The component is checked as at load, so a plugin that can be inspected can be loaded.

use std::{fmt::Write as _, process::ExitCode};

use ampoule_engine::{Grant, Inspection, PluginInfo};
use anyhow::Context as _;
use serde_json::{Value, json};

use super::{output, plugin, quiet_runtime};
use crate::args::{InspectArgs, PluginArg, TextOutput};
use ampoule_components::{builtins::Builtins, fetch::Component};
use ampoule_config::{ComponentSource, EngineSettings};
use ampoule_server::plugins;
use ampoule_telemetry::metrics::Metrics;

pub(crate) fn plugin_inspect(args: &InspectArgs, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let InspectArgs { plugin: PluginArg { source, registries }, output } = args;
    let runtime = quiet_runtime()?;
    let source = plugin::source(source, builtins)?;
    let engine = plugins::engine(EngineSettings::default(), &Metrics::new())?;
    let inspection = runtime.block_on(async {
        let Component { bytes, digest: _, signer: _ } =
            plugin::fetch(&source, registries.clone().into(), builtins).await?;
        engine.inspect(bytes).await.with_context(|| source.to_string())
    })?;
    output::print(&match output {
        TextOutput::Text => text(&source, &inspection),
        TextOutput::Json => output::json(&as_json(&source, &inspection))?,
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn text(source: &ComponentSource, inspection: &Inspection) -> String {
    let Inspection { digest, size, contract_version, imports, exports, grants, info } = inspection;
    let PluginInfo { name, version, mounts, settings_schema } = info;
    let mounts: Vec<_> = mounts.iter().map(ToString::to_string).collect();
    let mut text = String::new();
    let _ = writeln!(text, "{name} {version}");
    let _ = writeln!(text, "component  {source}, {size} bytes");
    let _ = writeln!(text, "sha256     {digest}");
    let _ = writeln!(text, "contract   ampoule:injector@{contract_version}");
    let _ = writeln!(text, "mounts     {}", mounts.join(", "));
    let _ = writeln!(text, "imports    {}", one_per_line(imports));
    let _ = writeln!(text, "exports    {}", one_per_line(exports));
    let _ = writeln!(text, "grants     {}", one_per_line(&grants.iter().map(grant).collect::<Vec<_>>()));
    let schema = serde_json::from_str(settings_schema).ok().and_then(|schema: Value| output::json(&schema).ok());
    text + "settings   " + schema.as_deref().unwrap_or("no readable JSON schema\n")
}

fn as_json(source: &ComponentSource, inspection: &Inspection) -> Value {
    let Inspection { digest, size, contract_version, imports, exports, grants, info } = inspection;
    let PluginInfo { name, version, mounts, settings_schema } = info;
    json!({
        "name": name,
        "version": version,
        "source": source.to_string(),
        "size": size,
        "sha256": digest,
        "contract": format!("ampoule:injector@{contract_version}"),
        "mounts": mounts,
        "imports": imports,
        "exports": exports,
        "grants": grants.iter().map(|grant| json!({ "grant": grant.key(), "required": grant.is_required() })).collect::<Vec<_>>(),
        // As text where it is no JSON.
        "settingsSchema": serde_json::from_str(settings_schema).unwrap_or_else(|_| Value::from(settings_schema.as_str())),
    })
}

/// A grant that its imports are about.
fn grant(grant: &Grant) -> String {
    let without = if grant.is_required() { "required: it is not loaded without" } else { "optional: empty without" };
    format!("{grant} ({without})")
}

fn one_per_line(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join("\n           ") }
}
