//! The world of a plugin, read from its WIT.
//!
//! Every language but Rust gets its bindings from a world, so this module serves them all.

use std::path::Path;

use anyhow::{Context, Result};
use wit_bindgen_core::wit_parser::{Resolve, WorldId};

/// Reads a folder of WIT and finds a world in it.
pub(crate) fn read_world(wit: &Path, world: &str) -> Result<(Resolve, WorldId)> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit).with_context(|| format!("cannot read {}", wit.display()))?;
    let world = resolve.select_world(&[package], Some(world))?;
    Ok((resolve, world))
}

/// Returns the imports of a world, such as `ampoule:injector/log@0.2.0`.
///
/// # Errors
///
/// `wit` contains no readable WIT or does not contain the world.
pub fn world_imports(wit: &Path, world: &str) -> Result<Vec<String>> {
    let (resolve, world) = read_world(wit, world)?;
    Ok(resolve.worlds[world].imports.keys().map(|key| resolve.name_world_key(key)).collect())
}
