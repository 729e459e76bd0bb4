//! The PLUGIN argument: from a directory, file or source to a component's bytes.
//!
//! Used by every command that reads a component: `inspect`, `push`, `test` and `bench`.

use std::path::Path;

use ampoule_engine::Limits;
use anyhow::ensure;

use super::stale::warn_if_stale;

use ampoule_components::{
    builtins::{self, Builtins},
    fetch::{Component, ComponentRequest, Fetcher},
};
use ampoule_config::{ComponentSource, RegistriesConfig};

/// The component's file name in a plugin directory.
pub(super) const COMPONENT: &str = "plugin.wasm";

/// Parses a PLUGIN argument: a component source, the path of a file, or a plugin directory.
pub(super) fn parse_source(text: &str, builtins: Builtins) -> anyhow::Result<ComponentSource> {
    let path = Path::new(text);
    match text.split_once(':') {
        _ if path.is_dir() => {
            let component = path.join(COMPONENT);
            ensure!(component.exists(), "{text} contains no {COMPONENT}: run `ampoule plugin build {text}`");
            Ok(ComponentSource::File(component))
        }
        Some(("builtin" | "file" | "configmap" | "oci", _)) => {
            ComponentSource::parse(text, &builtins::names(builtins)).map_err(anyhow::Error::msg)
        }
        _ => {
            ensure!(path.exists(), "{text} does not exist: name a plugin directory, a component file or a source");
            Ok(ComponentSource::File(path.to_owned()))
        }
    }
}

/// Fetches a component without verifying a signature.
pub(super) async fn fetch_component(
    source: &ComponentSource,
    registries: RegistriesConfig,
    builtins: Builtins,
) -> anyhow::Result<Component> {
    match source {
        ComponentSource::File(path) if path.ends_with(COMPONENT) => warn_if_stale(path),
        _ => {}
    }
    let fetcher = Fetcher::trusting(registries, builtins);
    let limit = Limits::default().component_bytes;
    let source = source.clone();
    let request =
        ComponentRequest { source, limit, sha256: None, signed_by: None, signed_name: None, from_config_map: false };
    Ok(fetcher.fetch(request).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_that_was_not_built_is_named_with_the_command() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().to_str().unwrap();
        let error = parse_source(folder, &[]).unwrap_err().to_string();
        assert_eq!(error, format!("{folder} contains no plugin.wasm: run `ampoule plugin build {folder}`"));
        let error = parse_source("../nope", &[]).unwrap_err().to_string();
        assert_eq!(error, "../nope does not exist: name a plugin directory, a component file or a source");
    }
}
