//! Support for plugins in C: generates the bindings of the contract, and converts the compiled
//! module into a component.
//!
//! `wit-bindgen c` and `wasm-tools component new` do the same. This module uses their crates, so
//! that the versions are those of the other plugins.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use wit_bindgen_core::{Files, wit_parser::Resolve};

use crate::encode;

/// Writes the bindings for a world into a folder, and creates the folder if necessary. The files
/// are `WORLD.h`, `WORLD.c`, and `WORLD_component_type.o`, an object that the module must link for
/// [`component_of_c`].
///
/// # Errors
///
/// `wit` contains no readable contract or does not contain the world, or a file cannot be written.
pub fn c_bindings(wit: &Path, world: &str, folder: &Path) -> Result<()> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit).with_context(|| format!("cannot read {}", wit.display()))?;
    let world = resolve.select_world(&[package], Some(world))?;
    let mut files = Files::default();
    wit_bindgen_c::Opts::default().build().generate(&mut resolve, world, &mut files)?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
    for (name, content) in files.iter() {
        let path = folder.join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Converts a module that links the bindings into a component.
///
/// # Errors
///
/// The module does not link the bindings, or it imports a function outside the contract, such as
/// those of WASI for files, output or the environment.
pub fn component_of_c(module: &Path) -> Result<Vec<u8>> {
    encode(module).context(
        "cannot convert the module into a component: it must link the bindings, and must not use functions of the C \
         library for files, output or the environment",
    )
}
