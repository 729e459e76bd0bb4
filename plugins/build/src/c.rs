//! Support for plugins in C: generates the bindings of the contract, and converts the compiled
//! module into a component.
//!
//! `wit-bindgen c` and `wasm-tools component new` do the same. This module uses their crates, so
//! that the versions are those of the other plugins.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use wit_bindgen_core::Files;

use crate::{encode, wit::read_world};

/// Writes the bindings for a world into a folder, and creates the folder if necessary. The files
/// are `WORLD.h`, `WORLD.c`, and `WORLD_component_type.o`, an object that the module must link for
/// [`component_of_c`].
///
/// # Errors
///
/// `wit` contains no readable contract or does not contain the world, or a file cannot be written.
pub fn c_bindings(wit: &Path, world: &str, folder: &Path) -> Result<()> {
    let (mut resolve, world) = read_world(wit, world)?;
    let mut files = Files::default();
    // The component model requires that a call drops the handles that it borrowed.
    let opts = wit_bindgen_c::Opts { autodrop_borrows: wit_bindgen_c::Enabled::Yes, ..Default::default() };
    opts.build().generate(&mut resolve, world, &mut files)?;
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
