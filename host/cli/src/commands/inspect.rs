//! `ampoule plugin inspect`: prints a component's metadata, imports, exports and grants.
//!
//! The component is validated as during loading, so a plugin that can be inspected can be loaded.

use std::{fmt::Write as _, process::ExitCode};

use ampoule_engine::{Grant, Inspection};
use anyhow::Context as _;
use serde_json::{Value, json};

use super::{
    component::{fetch_component, parse_source},
    output,
    progress::Progress,
    setup::{compile_cache, quiet_runtime},
};
use crate::args::{InspectArgs, TextOutput};
use ampoule_components::builtins::Builtins;
use ampoule_config::{ComponentSource, EngineSettings};
use ampoule_server::plugins;
use ampoule_telemetry::metrics::Metrics;

pub(crate) fn plugin_inspect(args: &InspectArgs, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let runtime = quiet_runtime()?;
    let source = parse_source(&args.plugin.source, builtins)?;
    let settings = EngineSettings { cache_directory: compile_cache(), ..EngineSettings::default() };
    let engine = plugins::engine(settings, &Metrics::new())?;
    let inspection = runtime.block_on(async {
        let registries = args.plugin.registries.clone().into();
        let component = fetch_component(&source, registries, builtins).await?;
        let _progress = Progress::start("compiling the component");
        engine.inspect(component.bytes).await.with_context(|| source.to_string())
    })?;
    output::print(&match args.output {
        TextOutput::Text => text(&source, &inspection),
        TextOutput::Json => output::json(&as_json(&source, &inspection))?,
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn text(source: &ComponentSource, inspection: &Inspection) -> String {
    let info = &inspection.info;
    let mounts: Vec<_> = info.mounts.iter().map(ToString::to_string).collect();
    let grants: Vec<_> = inspection.grants.iter().map(describe_grant).collect();
    let mut text = String::new();
    let _ = writeln!(text, "{} {}", info.name, info.version);
    let _ = writeln!(text, "component  {source}, {} bytes", inspection.size);
    let _ = writeln!(text, "sha256     {}", inspection.digest);
    let _ = writeln!(text, "contract   ampoule:injector@{}", inspection.contract_version);
    let _ = writeln!(text, "mounts     {}", mounts.join(", "));
    let _ = writeln!(text, "imports    {}", one_per_line(&inspection.imports));
    let _ = writeln!(text, "exports    {}", one_per_line(&inspection.exports));
    let _ = writeln!(text, "grants     {}", one_per_line(&grants));
    let schema: Option<Value> = serde_json::from_str(&info.settings_schema).ok();
    let schema = schema.and_then(|schema| output::json(&schema).ok());
    text + "settings   " + schema.as_deref().unwrap_or("no valid JSON Schema\n")
}

fn as_json(source: &ComponentSource, inspection: &Inspection) -> Value {
    let info = &inspection.info;
    let grants: Vec<_> = inspection.grants.iter().map(grant_as_json).collect();
    // A schema that is not JSON is printed as text.
    let schema =
        serde_json::from_str(&info.settings_schema).unwrap_or_else(|_| Value::from(info.settings_schema.as_str()));
    json!({
        "name": info.name,
        "version": info.version,
        "source": source.to_string(),
        "size": inspection.size,
        "sha256": inspection.digest,
        "contract": format!("ampoule:injector@{}", inspection.contract_version),
        "mounts": info.mounts,
        "imports": inspection.imports,
        "exports": inspection.exports,
        "grants": grants,
        "settingsSchema": schema,
    })
}

fn grant_as_json(grant: &Grant) -> Value {
    json!({ "grant": grant.key(), "required": grant.is_required() })
}

/// Describes a grant that the component's imports need.
fn describe_grant(grant: &Grant) -> String {
    let without = if grant.is_required() {
        "without it, calls are denied; plugins.strictGrants refuses the plugin"
    } else {
        "without it, the import is empty"
    };
    format!("{grant} ({without})")
}

fn one_per_line(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join("\n           ") }
}
