//! Builds the built-in plugins and writes `components.rs`, which `src/lib.rs` includes.
//!
//! Runs under `cargo check`, `clippy` and `doc` as well, and again only when a source of a plugin, of the SDK or of the
//! contract changes.

use std::{fmt::Write as _, fs, path::PathBuf};

use ampoule_plugin_build::{Crates, Request, TOOLCHAIN_ENV, Toolchain, build, target_dir};
use anyhow::{Context, Result};

/// The built-in plugins: the name in `builtin:NAME`, and the folder of the crate `ampoule-plugin-NAME` beside this one. The
/// first is the one that a configuration without injectors asks: `k8s`, as Flyte does, and no other, since another would
/// put things into pods that nobody set it up for.
const PLUGINS: [&str; 5] = ["k8s", "aws", "gcp", "azure", "vault"];

/// Crates that are part of plugins.
const SHARED: [&str; 2] = ["pull", "sdk"];

fn main() -> Result<()> {
    let workspace = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).canonicalize()?;
    watch(&workspace);
    let out_dir = PathBuf::from(std::env::var_os("OUT_DIR").context("cargo sets OUT_DIR for a build script")?);
    let package = |name: &str| format!("ampoule-plugin-{name}");
    let crates = Crates::Libraries(PLUGINS.map(package).to_vec());
    let request = Request { workspace, target_dir: target_dir(&out_dir), crates };
    let artifacts = build(&Toolchain::find()?, &request)?;
    let mut list =
        "/// The built-in plugins by name, as components. The first is asked where a configuration names none.\n\
                    pub const COMPONENTS: &[(&str, &[u8])] = &["
            .to_owned();
    for name in PLUGINS {
        let artifact = artifacts.iter().find(|artifact| artifact.name == package(name));
        let artifact = artifact.with_context(|| format!("the build gave no component of {}", package(name)))?;
        let file = out_dir.join(&artifact.name).with_extension("wasm");
        fs::write(&file, &artifact.component).with_context(|| format!("cannot write {}", file.display()))?;
        write!(list, "({name:?}, include_bytes!({file:?})),")?;
    }
    list.push_str("];\n");
    fs::write(out_dir.join("components.rs"), list).context("cannot write components.rs")
}

/// Tells cargo what the components are made of. Changes of the inner build itself are changes of this script.
fn watch(workspace: &std::path::Path) {
    let sources = PLUGINS.iter().chain(&SHARED).map(|name| format!("plugins/{name}"));
    for path in sources.chain(["wit", "Cargo.lock"].map(str::to_owned)) {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    for variable in [TOOLCHAIN_ENV, "RUSTUP_TOOLCHAIN"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
}
