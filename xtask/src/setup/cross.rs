//! Tools that build a static arm64 binary on an x86-64 machine: Rust's standard library for it, a C
//! compiler with musl's headers for the C code in ring and mimalloc, and an emulator that starts
//! the result. Only `cargo xtask release` uses them.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{cache, debian, image};
use crate::job;
use crate::progress::Progress;

/// The target that these tools build for.
pub(crate) const TARGET: &str = "aarch64-unknown-linux-musl";
/// Debian has no musl compiler for a foreign architecture. This one with musl's headers is
/// equivalent.
const COMPILER: &str = "aarch64-linux-gnu-gcc";
const EMULATOR: &str = "qemu-aarch64";
/// The headers within the package `musl-dev` for arm64.
const HEADERS: &str = "usr/include/aarch64-linux-musl";
/// To start a compiler.
const ASK_MAX: Duration = Duration::from_secs(20);

/// Paths of the tools.
pub(crate) struct CrossTools {
    musl_headers: PathBuf,
    compiler_headers: PathBuf,
}

/// Finds or installs the tools. An error names the reason why this machine cannot have them.
pub(crate) fn ensure() -> Result<CrossTools> {
    ensure!(
        cfg!(target_arch = "x86_64"),
        "arm64 is cross-compiled only on x86-64, and this machine is {}",
        std::env::consts::ARCH
    );
    image::add_target(TARGET)?;
    image::ensure_program(COMPILER, "gcc-aarch64-linux-gnu")?;
    image::ensure_program(EMULATOR, "qemu-user")?;
    let printed = job::output(Command::new(COMPILER).arg("-print-file-name=include"), ASK_MAX);
    let compiler_headers = PathBuf::from(printed.with_context(|| format!("`{COMPILER}` does not start"))?.trim());
    Ok(CrossTools { musl_headers: musl_headers()?, compiler_headers })
}

/// Musl's headers for arm64, unpacked from Debian's package: an installed one would need a foreign
/// architecture in dpkg.
fn musl_headers() -> Result<PathBuf> {
    let folder = cache::folder()?.join("musl-dev-arm64");
    let headers = folder.join(HEADERS);
    if headers.is_dir() {
        return Ok(headers);
    }
    debian::require_bookworm().context("musl's headers for arm64 come from a Debian package")?;
    let _lock = cache::lock()?;
    // Another set-up may have fetched them while this one waited for the lock.
    if !headers.is_dir() {
        let mut progress = Progress::start(1, cache::folder()?.join("setup-musl-dev-arm64.log"))?;
        progress.step("fetch musl's headers for arm64", |log| {
            let work = tempfile::tempdir_in(cache::folder()?)?;
            let apt = debian::apt::PrivateApt::prepare_for(work.path().join("apt"), &["amd64", "arm64"], log)?;
            let unpacked = work.path().join("package");
            apt.unpack_package("musl-dev:arm64", &unpacked, log)?;
            fs::rename(&unpacked, &folder).with_context(|| format!("cannot write {}", folder.display()))
        })?;
    }
    Ok(headers)
}

// === impl CrossTools ===

impl CrossTools {
    /// Tells a cargo command which compiler and linker to use for [`TARGET`].
    pub(crate) fn configure(&self, cargo: &mut Command) {
        let key = TARGET.replace('-', "_");
        cargo.env(format!("CC_{key}"), COMPILER).env(format!("AR_{key}"), "aarch64-linux-gnu-ar");
        // The compiler's own headers describe the processor; all others are musl's. Without outline
        // atomics, because Rust links no libgcc.
        let mut flags = OsString::from("-nostdinc -mno-outline-atomics");
        for folder in [&self.musl_headers, &self.compiler_headers] {
            flags.push(" -isystem ");
            flags.push(folder);
        }
        cargo.env(format!("CFLAGS_{key}"), flags);
        // Rust brings the start files and the libc of a musl target, and a linker that knows every
        // architecture.
        cargo.env(format!("CARGO_TARGET_{}_LINKER", key.to_uppercase()), "rust-lld");
    }

    /// A command that starts an arm64 program on this machine.
    pub(crate) fn emulate(&self, program: &Path) -> Command {
        let mut command = Command::new(EMULATOR);
        command.arg(program);
        command
    }
}
