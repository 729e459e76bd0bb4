//! Builds the built-in plugins and writes `components.rs`, which `src/lib.rs` includes.
//!
//! Runs under `cargo check`, `clippy` and `doc` as well, and again only when a source of a plugin, of the SDK or of the
//! contract changes.

use std::{fmt::Write as _, fs, path::PathBuf};

use ampoule_plugin_build::{Crates, Request, TOOLCHAIN_ENV, Toolchain, build, target_dir};
use anyhow::{Context, Result};

/// The built-in plugins: the name in `builtin:NAME`, and the folder of the crate `ampoule-plugin-NAME` beside this one.
const PLUGINS: [&str; 1] = ["k8s"];

fn main() -> Result<()> {
    let workspace = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).canonicalize()?;
    watch(&workspace);
    let out_dir = PathBuf::from(std::env::var_os("OUT_DIR").context("cargo sets OUT_DIR for a build script")?);
    let packages = PLUGINS.map(|name| format!("ampoule-plugin-{name}")).to_vec();
    let request = Request { workspace, target_dir: target_dir(&out_dir), crates: Crates::Libraries(packages) };
    let mut list =
        "/// The built-in plugins by name, as components.\npub const COMPONENTS: &[(&str, &[u8])] = &[".to_owned();
    for artifact in build(&Toolchain::find()?, &request)? {
        let file = out_dir.join(&artifact.name).with_extension("wasm");
        fs::write(&file, &artifact.component).with_context(|| format!("cannot write {}", file.display()))?;
        let name = artifact.name.trim_start_matches("ampoule-plugin-");
        write!(list, "({name:?}, include_bytes!({file:?})),")?;
    }
    list.push_str("];\n");
    fs::write(out_dir.join("components.rs"), list).context("cannot write components.rs")
}

/// Tells cargo what the components are made of. Changes of the inner build itself are changes of this script.
fn watch(workspace: &std::path::Path) {
    let sources = PLUGINS.iter().map(|name| format!("plugins/{name}"));
    for path in sources.chain(["plugins/sdk", "wit", "Cargo.lock"].map(str::to_owned)) {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    for variable in [TOOLCHAIN_ENV, "RUSTUP_TOOLCHAIN"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
}
