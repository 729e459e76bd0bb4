//! What an author does with a plugin, from its first file to its figures, and what these commands share.
//!
//! A component is run by the engine that `serve` runs it with, under the limits that are the default there.

mod answer;
mod bench;
mod build;
mod case;
mod new;
mod test;
#[cfg(test)]
mod tests;

use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use ampoule_engine::{Limits, PluginEngine};

pub(crate) use self::{
    bench::plugin_bench,
    build::{Language, plugin_build},
    new::plugin_new,
    test::plugin_test,
};
use crate::{
    config::{ComponentSource, EngineSettings, RegistriesConfig},
    fetch::{Component, Fetcher, Wanted},
    metrics::Metrics,
    plugins::{self, Builtins},
};

/// The component in a plugin's folder.
const COMPONENT: &str = "plugin.wasm";
/// The cases in a plugin's folder.
const CASES: &str = "cases";

/// A component that was said on the command line: any source, or the path of a file.
pub(super) fn source(text: &str, builtins: Builtins) -> anyhow::Result<ComponentSource> {
    match text.split_once(':') {
        Some(("builtin" | "file" | "configmap" | "oci", _)) => {
            ComponentSource::parse(text, &plugins::names(builtins)).map_err(anyhow::Error::msg)
        }
        _ => Ok(ComponentSource::File(PathBuf::from(text))),
    }
}

/// As [`source`], where a plugin's folder stands for the component in it.
fn source_or_folder(text: &str, builtins: Builtins) -> anyhow::Result<ComponentSource> {
    let folder = Path::new(text);
    if folder.is_dir() { Ok(ComponentSource::File(folder.join(COMPONENT))) } else { source(text, builtins) }
}

/// A component's bytes, whoever made them.
async fn fetch(source: &ComponentSource, builtins: Builtins) -> anyhow::Result<Component> {
    let fetcher = Arc::new(Fetcher::trusting(RegistriesConfig::default(), builtins));
    let limit = Limits::default().component_bytes;
    Ok(fetcher.fetch(Wanted { source: source.clone(), limit, sha256: None, signed_by: None }).await?)
}

/// The engine that `serve` has by default, with the author's own cache: a JavaScript component takes seconds to compile.
fn engine() -> anyhow::Result<Arc<PluginEngine>> {
    let settings = EngineSettings { cache_directory: cache(), ..EngineSettings::default() };
    plugins::engine(settings, &Metrics::new())
}

/// `~/.cache/ampoule/compiled`, or what the desktop's rules have in its place; none where there is no home.
fn cache() -> Option<PathBuf> {
    let folder = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")))?;
    Some(cache.join("ampoule/compiled"))
}
