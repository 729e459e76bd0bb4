//! Builds the built-in plugins and writes `components.rs`, which `src/lib.rs` includes.
//!
//! It also runs for `cargo check`, `clippy` and `doc`, but only after a change in the sources of a
//! plugin, the SDK or the contract.

use std::{fmt::Write as _, fs, path::PathBuf};

use ampoule_plugin_build::{Crates, Request, TOOLCHAIN_ENV, Toolchain, build, target_dir};
use anyhow::{Context, Result};

/// The names of the built-in plugins: `NAME` in `builtin:NAME` and in the crate
/// `ampoule-plugin-NAME`, and the crate's folder. A configuration without injectors uses the first
/// plugin only: `k8s`, the default of Flyte. The other plugins would change pods without having
/// been configured.
const PLUGINS: [&str; 10] = [
    "k8s",
    "aws",
    "gcp",
    "azure",
    "vault",
    "embedded",
    "aws-secrets-manager",
    "gcp-secret-manager",
    "azure-key-vault",
    "vault-kv",
];

/// Library crates of the plugins.
const SHARED: [&str; 3] = ["pull", "sdk", "store"];

fn main() -> Result<()> {
    // Read when the script runs: checkouts that share a target folder share the compiled script.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").context("cargo did not set CARGO_MANIFEST_DIR")?;
    let workspace = PathBuf::from(package).join("../..").canonicalize()?;
    watch(&workspace);
    let out_dir = PathBuf::from(std::env::var_os("OUT_DIR").context("cargo did not set OUT_DIR")?);
    let package = |name: &str| format!("ampoule-plugin-{name}");
    let crates = Crates::Libraries(PLUGINS.map(package).to_vec());
    let request = Request { workspace, target_dir: target_dir(&out_dir), crates };
    let artifacts = build(&Toolchain::find()?, &request)?;
    let mut list = "/// The built-in plugins as components, by name. The first is the default of a\n\
                    /// configuration without injectors.\n\
                    pub const COMPONENTS: &[(&str, &[u8])] = &["
        .to_owned();
    for name in PLUGINS {
        let artifact = artifacts.iter().find(|artifact| artifact.name == package(name));
        let artifact = artifact.with_context(|| format!("the build produced no component for {}", package(name)))?;
        let file = out_dir.join(&artifact.name).with_extension("wasm");
        fs::write(&file, &artifact.component).with_context(|| format!("cannot write {}", file.display()))?;
        write!(list, "({name:?}, include_bytes!({file:?})),")?;
    }
    list.push_str("];\n");
    fs::write(out_dir.join("components.rs"), list).context("cannot write components.rs")
}

/// Declares the sources of the components to cargo. A change in `ampoule-plugin-build` rebuilds
/// this script anyway.
fn watch(workspace: &std::path::Path) {
    let sources = PLUGINS.iter().chain(&SHARED).map(|name| format!("plugins/{name}"));
    for path in sources.chain(["wit", "Cargo.lock"].map(str::to_owned)) {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    for variable in [TOOLCHAIN_ENV, "RUSTUP_TOOLCHAIN"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
}
