//! The WebAssembly target, with which plugins are built: by rustup, else from Debian's packages.
//! `ampoule-plugin-build` decides what counts as found; here is only what to install when it finds nothing.

use std::process::Command;
use std::time::Duration;

use ampoule_plugin_build::{TARGET, TOOLCHAIN_ENV, Toolchain};
use anyhow::{Context, Result, bail};

use super::{cache, debian};
use crate::job;
use crate::progress::Progress;
use crate::workspace;

/// About 20 MB; a rustup that reaches no server gives up by itself long before.
const RUSTUP_MAX: Duration = Duration::from_secs(5 * 60);

/// Finds the target or installs it, and says which it is.
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
        // The variable names neither of the two; the error says so.
        return Err(missing.into());
    }
    bail!("no Rust compiler here builds for {TARGET}, and none could be installed:\n  {}", tried.join("\n  "))
}

fn by_rustup(progress: &mut Progress) -> Result<()> {
    let rustup = job::on_path("rustup").context("there is no `rustup` in PATH; see https://rustup.rs")?;
    progress.step(&format!("rustup target add {TARGET}"), |log| {
        // In the checkout, so that the target goes to the toolchain that `rust-toolchain.toml` names.
        let mut command = Command::new(rustup);
        log.run(command.args(["target", "add", TARGET]).current_dir(workspace::root()), RUSTUP_MAX)
    })
}

fn by_debian(progress: &mut Progress) -> Result<()> {
    debian::require_bookworm().context("Debian's packages are for Debian 12")?;
    debian::install(progress, &["rustc-web", "rust-web-src"])
}
