//! What an image is made with: Rust's standard library for musl, a C compiler for it, and buildah.
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
/// Programs, and Debian's packages that have them.
const PROGRAMS: [(&str, &str); 2] = [("musl-gcc", "musl-tools"), ("buildah", "buildah")];

/// Installs what is missing.
pub(super) fn ensure() -> Result<String> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let missing: Vec<_> =
        PROGRAMS.iter().filter(|(program, _)| job::on_path(program).is_none()).map(|(_, package)| *package).collect();
    let mut progress = Progress::start(1 + usize::from(!missing.is_empty()), cache::folder()?.join("setup-image.log"))?;
    if !missing.is_empty() {
        debian::require_bookworm()
            .with_context(|| format!("an image is made with {}: install them", missing.join(", ")))?;
        debian::install(&mut progress, &missing)?;
    }
    let rustup = job::on_path("rustup").context("there is no `rustup` in PATH; see https://rustup.rs")?;
    progress.step(&format!("rustup target add {target}"), |log| {
        log.run(Command::new(rustup).args(["target", "add", &target]).current_dir(workspace::root()), RUSTUP_MAX)
    })?;
    Ok(format!("{target}, buildah"))
}
