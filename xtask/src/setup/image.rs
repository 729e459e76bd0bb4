//! What an image is made with: Rust's standard library for musl and a C compiler for it, for the binary, and buildah.
//! Only `cargo xtask image` needs them.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{cache, debian};
use crate::job;
use crate::progress::Progress;
use crate::workspace;

/// About 20 MB.
const RUSTUP_MAX: Duration = Duration::from_secs(5 * 60);

/// Finds or installs what a static binary is built with.
pub(super) fn ensure_musl() -> Result<String> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    ensure_program("musl-gcc", "musl-tools")?;
    let mut progress = Progress::start(1, cache::folder()?.join("setup-musl.log"))?;
    let rustup = job::on_path("rustup").context("there is no `rustup` in PATH; see https://rustup.rs")?;
    progress.step(&format!("rustup target add {target}"), |log| {
        log.run(Command::new(rustup).args(["target", "add", &target]).current_dir(workspace::root()), RUSTUP_MAX)
    })?;
    Ok(target)
}

/// Finds or installs buildah.
pub(super) fn ensure_buildah() -> Result<String> {
    ensure_program("buildah", "buildah")
}

/// Finds a program, or installs Debian's package that has it.
fn ensure_program(name: &str, package: &str) -> Result<String> {
    if job::on_path(name).is_none() {
        debian::require_bookworm().with_context(|| format!("an image is made with {name}: install it"))?;
        let mut progress = Progress::start(1, cache::folder()?.join(format!("setup-{package}.log")))?;
        debian::install(&mut progress, &[package])?;
    }
    let path = job::on_path(name).with_context(|| format!("{package} is installed, and {name} is not in PATH"))?;
    Ok(path.display().to_string())
}
