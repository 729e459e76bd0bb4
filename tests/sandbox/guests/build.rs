//! Builds every example of this package, and the example plugins in Rust, into components, and
//! writes `guests.rs`, which `src/lib.rs` includes.
//!
//! The inner build compiles this package too, because examples may use its library; its list of
//! guests is empty.

use std::{fmt::Write as _, fs, path::Path, path::PathBuf};

use ampoule_plugin_build::{Artifact, Crates, Request, TARGET, TOOLCHAIN_ENV, Toolchain, build, target_dir};
use anyhow::{Context, Result};

/// The example plugins that tests run.
const PLUGINS: [&str; 2] = ["ampoule-plugin-http-json", "ampoule-plugin-onepassword-connect"];

fn main() -> Result<()> {
    let out_dir = variable("OUT_DIR")?;
    let is_inner = variable("TARGET")?.as_os_str() == TARGET;
    let build = |crates| if is_inner { Ok(Vec::new()) } else { components(&out_dir, crates) };
    let guests = build(Crates::Examples("ampoule-test-guests".to_owned()))?;
    let plugins = build(Crates::Libraries(PLUGINS.map(str::to_owned).to_vec()))?;
    let mut list = String::new();
    for (name, what, components) in [
        ("GUESTS", "Every guest: the name of its file without `.rs`, and its component.", guests),
        ("PLUGINS", "The example plugins in Rust: the name of the package, and its component.", plugins),
    ] {
        write!(list, "/// {what}\npub const {name}: &[(&str, &[u8])] = &[")?;
        for Artifact { name, component } in components {
            let file = out_dir.join(&name).with_extension("wasm");
            fs::write(&file, &component).with_context(|| format!("cannot write {}", file.display()))?;
            write!(list, "({name:?}, include_bytes!({file:?})),")?;
        }
        list.push_str("];\n");
    }
    fs::write(out_dir.join("guests.rs"), list).context("cannot write guests.rs")
}

fn components(out_dir: &Path, crates: Crates) -> Result<Vec<Artifact>> {
    // Read when the script runs: checkouts that share a target folder share the compiled script.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").context("cargo did not set CARGO_MANIFEST_DIR")?;
    let workspace = PathBuf::from(package).join("../../..").canonicalize()?;
    for source in [
        "tests/sandbox/guests/examples",
        "tests/sandbox/guests/src",
        "plugins/examples/http-json",
        "plugins/examples/onepassword-connect",
        "plugins/sdk",
        "wit",
        "Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }
    for variable in [TOOLCHAIN_ENV, "RUSTUP_TOOLCHAIN"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    build(&Toolchain::find()?, &Request { workspace, target_dir: target_dir(out_dir), crates })
}

fn variable(name: &str) -> Result<PathBuf> {
    let value = std::env::var_os(name).with_context(|| format!("cargo sets {name} for a build script"))?;
    Ok(value.into())
}
