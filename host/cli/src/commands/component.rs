//! The PLUGIN argument: from a directory, file or source to a component's bytes.
//!
//! Used by every command that reads a component: `inspect`, `push`, `test` and `bench`.

use std::path::Path;

use ampoule_engine::Limits;

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
        _ if path.is_dir() => Ok(ComponentSource::File(path.join(COMPONENT))),
        Some(("builtin" | "file" | "configmap" | "oci", _)) => {
            ComponentSource::parse(text, &builtins::names(builtins)).map_err(anyhow::Error::msg)
        }
        _ => Ok(ComponentSource::File(path.to_owned())),
    }
}

/// Fetches a component without verifying a signature.
pub(super) async fn fetch_component(
    source: &ComponentSource,
    registries: RegistriesConfig,
    builtins: Builtins,
) -> anyhow::Result<Component> {
    let fetcher = Fetcher::trusting(registries, builtins);
    let limit = Limits::default().component_bytes;
    let source = source.clone();
    let request =
        ComponentRequest { source, limit, sha256: None, signed_by: None, signed_name: None, from_config_map: false };
    Ok(fetcher.fetch(request).await?)
}
