//! Tools for static binaries and images: Rust's standard library for musl, a C compiler for it,
//! buildah and containerd. Only `cargo xtask image`, `budget` and `release` use them.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{cache, debian};
use crate::job;
use crate::progress::Progress;
use crate::workspace;

/// About 20 MB.
const RUSTUP_MAX: Duration = Duration::from_secs(5 * 60);

/// Finds or installs the tools for a static binary, and returns its target.
pub(super) fn ensure_musl() -> Result<String> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    ensure_program("musl-gcc", "musl-tools")?;
    add_target(&target)?;
    Ok(target)
}

/// Adds a target to the toolchain of the checkout.
pub(super) fn add_target(target: &str) -> Result<()> {
    let rustup = job::on_path("rustup").context("there is no `rustup` in PATH; see https://rustup.rs")?;
    let mut progress = Progress::start(1, cache::folder()?.join("setup-musl.log"))?;
    progress.step(&format!("rustup target add {target}"), |log| {
        log.run(Command::new(rustup).args(["target", "add", target]).current_dir(workspace::root()), RUSTUP_MAX)
    })
}

/// Finds or installs buildah.
pub(super) fn ensure_buildah() -> Result<String> {
    ensure_program("buildah", "buildah")
}

/// Finds or installs containerd with `ctr` and runc.
pub(super) fn ensure_containerd() -> Result<String> {
    ensure_program("ctr", "containerd")?;
    ensure_program("containerd", "containerd")
}

/// Finds a program, or installs the Debian package that contains it.
pub(super) fn ensure_program(name: &str, package: &str) -> Result<String> {
    if job::on_path(name).is_none() {
        debian::require_bookworm().with_context(|| format!("`{name}` is missing: install it"))?;
        let mut progress = Progress::start(1, cache::folder()?.join(format!("setup-{package}.log")))?;
        debian::install(&mut progress, &[package])?;
    }
    let path = job::on_path(name).with_context(|| format!("{package} is installed, but {name} is not in PATH"))?;
    Ok(path.display().to_string())
}
