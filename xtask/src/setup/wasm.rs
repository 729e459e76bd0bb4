//! The WebAssembly target for plugins: from rustup, otherwise from Debian's packages.
//! `ampoule-plugin-build` finds a toolchain; this module only installs one if none is found.

use std::process::Command;
use std::time::Duration;

use ampoule_plugin_build::{TARGET, TOOLCHAIN_ENV, Toolchain};
use anyhow::{Context, Result, bail};

use super::{cache, debian};
use crate::job;
use crate::progress::Progress;
use crate::workspace;

/// The download is about 20 MB. Without a network, rustup fails long before this limit.
const RUSTUP_MAX: Duration = Duration::from_secs(5 * 60);

/// Finds or installs the target, and returns a description of the toolchain.
pub(super) fn ensure() -> Result<String> {
    let missing = match Toolchain::find() {
        Ok(toolchain) => return Ok(toolchain.describe()),
        Err(missing) => missing,
    };
    let _lock = cache::lock()?;
    let forced = std::env::var_os(TOOLCHAIN_ENV).filter(|value| !value.is_empty());
    let mut tried = Vec::new();
    for (name, install) in [("rustup", by_rustup as fn(&mut Progress) -> Result<()>), ("debian", by_debian)] {
        if forced.as_ref().is_some_and(|forced| forced != name) {
            continue;
        }
        let mut progress = Progress::start(1, cache::folder()?.join("setup-wasm.log"))?;
        match install(&mut progress).and_then(|()| Ok(Toolchain::find()?)) {
            Ok(toolchain) => return Ok(toolchain.describe()),
            Err(error) => tried.push(format!("{name}: {error:#}")),
        }
    }
    if tried.is_empty() {
        // The variable has an unknown value, which the error reports.
        return Err(missing.into());
    }
    bail!("found no Rust compiler for {TARGET}, and could not install one:\n  {}", tried.join("\n  "))
}

fn by_rustup(progress: &mut Progress) -> Result<()> {
    let rustup = job::on_path("rustup").context("`rustup` is not on the PATH; see https://rustup.rs")?;
    progress.step(&format!("rustup target add {TARGET}"), |log| {
        // In the checkout, so that rustup adds the target to the toolchain in
        // `rust-toolchain.toml`.
        let mut command = Command::new(rustup);
        log.run(command.args(["target", "add", TARGET]).current_dir(workspace::root()), RUSTUP_MAX)
    })
}

fn by_debian(progress: &mut Progress) -> Result<()> {
    debian::require_bookworm().context("Debian's packages require Debian 12")?;
    debian::install(progress, &["rustc-web", "rust-web-src"])
}
