//! Builds every example of this package into a component and writes `guests.rs`, which `src/lib.rs` includes.
//!
//! The inner build compiles this package too, since examples may use its library; there the list is empty.

use std::{fmt::Write as _, fs, path::Path, path::PathBuf};

use ampoule_plugin_build::{Artifact, Crates, Request, TARGET, TOOLCHAIN_ENV, Toolchain, build, target_dir};
use anyhow::{Context, Result};

fn main() -> Result<()> {
    let out_dir = variable("OUT_DIR")?;
    let is_inner = variable("TARGET")?.as_os_str() == TARGET;
    let guests = if is_inner { Vec::new() } else { guests(&out_dir)? };
    let mut list = "/// Every guest: the name of its file without `.rs`, and its component.\n".to_owned();
    list.push_str("pub const GUESTS: &[(&str, &[u8])] = &[");
    for Artifact { name, component } in guests {
        let file = out_dir.join(&name).with_extension("wasm");
        fs::write(&file, &component).with_context(|| format!("cannot write {}", file.display()))?;
        write!(list, "({name:?}, include_bytes!({file:?})),")?;
    }
    list.push_str("];\n");
    fs::write(out_dir.join("guests.rs"), list).context("cannot write guests.rs")
}

fn guests(out_dir: &Path) -> Result<Vec<Artifact>> {
    let workspace = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../..")).canonicalize()?;
    for source in ["tests/sandbox/guests/examples", "tests/sandbox/guests/src", "plugins/sdk", "wit", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }
    for variable in [TOOLCHAIN_ENV, "RUSTUP_TOOLCHAIN"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let crates = Crates::Examples("ampoule-test-guests".to_owned());
    build(&Toolchain::find()?, &Request { workspace, target_dir: target_dir(out_dir), crates })
}

fn variable(name: &str) -> Result<PathBuf> {
    let value = std::env::var_os(name).with_context(|| format!("cargo sets {name} for a build script"))?;
    Ok(value.into())
}
