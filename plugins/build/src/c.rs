//! What a plugin in C needs beside a compiler: the bindings for the contract, and a component made of the module that came of it.
//!
//! `wit-bindgen c` and `wasm-tools component new` do the same; as crates they are of the versions that the other plugins are built with.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use wit_bindgen_core::{Files, wit_parser::Resolve};

use crate::encode;

/// Writes the bindings for a world into a folder, which is made if need be: `WORLD.h`, `WORLD.c`, and `WORLD_component_type.o`, an
/// object that must be linked for [`component_of_c`].
///
/// # Errors
///
/// There is no readable contract in `wit`, or no such world in it; or a file cannot be written.
pub fn c_bindings(wit: &Path, world: &str, folder: &Path) -> Result<()> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit).with_context(|| format!("cannot read {}", wit.display()))?;
    let world = resolve.select_world(&[package], Some(world))?;
    let mut files = Files::default();
    wit_bindgen_c::Opts::default().build().generate(&mut resolve, world, &mut files)?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for (name, content) in files.iter() {
        let path = folder.join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Makes a component of a module that was linked with the bindings.
///
/// # Errors
///
/// It was not, or it imports what the contract does not have: WASI's functions for files, output or the environment.
pub fn component_of_c(module: &Path) -> Result<Vec<u8>> {
    encode(module).context(
        "the module makes no component: it may use the contract and, of the C library, what asks nothing of a system",
    )
}
