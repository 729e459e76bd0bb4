//! Builds the plugins of this repository into components, and prints their paths and sizes. The
//! files are for a ConfigMap, a folder or a registry; the server's binary already contains the
//! built-in plugins.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use ampoule_plugin_build::{Crates, Request, Toolchain, build};
use anyhow::{Context, Result};
use serde_json::Value;

use crate::setup;
use crate::workspace;

/// The dependency that identifies a plugin's crate.
const SDK: &str = "ampoule-plugin-sdk";

/// Builds every plugin of the workspace to `target/plugins/NAME.wasm`.
pub(crate) fn run() -> Result<ExitCode> {
    setup::ensure(setup::Scope::Wasm)?;
    let metadata = workspace::metadata()?;
    let target = workspace::target_folder()?;
    let request = Request {
        workspace: workspace::root(),
        target_dir: target.join("components"),
        crates: Crates::Libraries(plugins(&metadata)),
    };
    let folder = target.join("plugins");
    fs::create_dir_all(&folder)?;
    for artifact in build(&Toolchain::find()?, &request)? {
        let file = folder.join(format!("{}.wasm", artifact.name.trim_start_matches("ampoule-plugin-")));
        fs::write(&file, &artifact.component).with_context(|| format!("cannot write {}", file.display()))?;
        anstream::println!("{:>4} KiB  {}", artifact.component.len().div_ceil(1024), file.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The packages below `plugins/` that use the SDK.
pub(crate) fn plugins(metadata: &Value) -> Vec<String> {
    let array = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let is_plugin = |package: &Value| {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
        manifest.starts_with(workspace::root().join("plugins"))
            && array(&package["dependencies"]).iter().any(|needed| needed["name"] == SDK && needed["kind"].is_null())
    };
    let packages = array(&metadata["packages"]);
    packages
        .iter()
        .filter(|package| is_plugin(package))
        .filter_map(|package| package["name"].as_str().map(str::to_owned))
        .collect()
}
