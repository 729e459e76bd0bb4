//! Selects a compiler for WebAssembly: that of the active toolchain if it has the target installed,
//! otherwise Debian's.
//!
//! Debian 12 has no compiled standard library for the target, only the compiler (`rustc-web`) and
//! the library's source (`rust-web-src`). With these packages, the library is built together with
//! the plugin, and linked with the active toolchain's `rust-lld`.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{TARGET, output};

/// The environment variable that selects a toolchain: `rustup` or `debian`.
pub const TOOLCHAIN_ENV: &str = "AMPOULE_WASM_TOOLCHAIN";

/// Path of Debian's compiler, independent of the PATH.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// A compiler that builds for [`TARGET`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// The compiler on the PATH, with the target's standard library.
    Active { version: String },
    /// Debian's compiler, which builds the standard library from its source.
    Debian { version: String, linker: PathBuf },
}

/// No compiler for [`TARGET`] is available. The message describes what is missing and which command
/// to run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ToolchainMissing {
    /// [`TOOLCHAIN_ENV`] has an unknown value.
    Unknown(String),
    /// No toolchain was found. Contains the reason for each, in the order of the search.
    NotFound(Vec<String>),
}

// === impl Toolchain ===

impl Toolchain {
    /// Finds a toolchain: the one that [`TOOLCHAIN_ENV`] selects, otherwise the active one,
    /// otherwise Debian's.
    ///
    /// # Errors
    ///
    /// No toolchain was found.
    pub fn find() -> Result<Self, ToolchainMissing> {
        let forced = std::env::var_os(TOOLCHAIN_ENV).map(|value| value.to_string_lossy().into_owned());
        Self::find_as(forced.as_deref())
    }

    /// Returns a description in one line.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.0 {
            Kind::Active { version } => format!("{version} with target {TARGET}"),
            Kind::Debian { version, .. } => {
                format!("Debian's {version} with the standard library built from rust-web-src")
            }
        }
    }

    fn find_as(forced: Option<&str>) -> Result<Self, ToolchainMissing> {
        let finders: &[fn() -> Result<Self, String>] = match forced {
            None | Some("") => &[active, debian],
            Some("rustup") => &[active],
            Some("debian") => &[debian],
            Some(other) => return Err(ToolchainMissing::Unknown(other.to_owned())),
        };
        let mut reasons = Vec::new();
        for find in finders {
            match find() {
                Ok(toolchain) => return Ok(toolchain),
                Err(reason) => reasons.push(reason),
            }
        }
        Err(ToolchainMissing::NotFound(reasons))
    }

    /// Configures the inner cargo to use this toolchain.
    pub(crate) fn configure(&self, command: &mut Command) {
        if let Kind::Debian { version: _, linker } = &self.0 {
            // The outer cargo sets it to the libraries of its own compiler.
            command.env_remove("LD_LIBRARY_PATH");
            command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
            command.arg("-Zbuild-std=std,panic_abort");
        }
    }
}

// === impl ToolchainMissing ===

impl ToolchainMissing {
    /// Returns the message for the author of a plugin, who has no checkout of this repository.
    #[must_use]
    pub fn author_message(&self) -> String {
        match self {
            Self::Unknown(value) => format!("{TOOLCHAIN_ENV} is `{value}`; it must be `rustup`, `debian` or not set"),
            Self::NotFound(reasons) => {
                let reasons = reasons.join("; ");
                format!("no Rust compiler for {TARGET} found ({reasons}); run `rustup target add {TARGET}`")
            }
        }
    }
}

impl fmt::Display for ToolchainMissing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.author_message())?;
        match self {
            Self::Unknown(_) => Ok(()),
            Self::NotFound(_) => f.write_str(", or `cargo xtask setup` in a checkout of Ampoule"),
        }
    }
}

impl std::error::Error for ToolchainMissing {}

fn active() -> Result<Toolchain, String> {
    let version = output("rustc", &["--version"]).ok_or("rustc is not on the PATH")?;
    let folder = output("rustc", &["--print", "target-libdir", "--target", TARGET]).unwrap_or_default();
    if !has_file(Path::new(&folder), |name| name.starts_with("libstd-")) {
        return Err(format!("{version} has no standard library for it"));
    }
    Ok(Toolchain(Kind::Active { version }))
}

fn debian() -> Result<Toolchain, String> {
    let version = output(DEBIAN_RUSTC, &["--version"]).ok_or("Debian's rustc-web is not installed")?;
    let sysroot = output(DEBIAN_RUSTC, &["--print", "sysroot"]).unwrap_or_default();
    let library = Path::new(&sysroot).join("lib/rustlib/src/rust/library");
    if !library.join("std/Cargo.toml").exists() {
        return Err("Debian's rust-web-src is not installed".to_owned());
    }
    let linker =
        linker().ok_or("found no linker for Debian's rustc: neither rust-lld of the active toolchain nor wasm-ld")?;
    Ok(Toolchain(Kind::Debian { version, linker }))
}

/// Finds a WebAssembly linker for Debian's compiler, which has none: that of the active toolchain,
/// otherwise LLVM's on the PATH.
fn linker() -> Option<PathBuf> {
    let rustlib = Path::new(&output("rustc", &["--print", "sysroot"])?).join("lib/rustlib");
    let hosts = std::fs::read_dir(rustlib).into_iter().flatten().flatten();
    let rust_lld = hosts.map(|host| host.path().join("bin/rust-lld")).find(|linker| linker.exists());
    rust_lld.or_else(|| output("wasm-ld", &["--version"]).map(|_| PathBuf::from("wasm-ld")))
}

fn has_file(folder: &Path, matches: fn(&str) -> bool) -> bool {
    let mut entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_str().is_some_and(matches))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_an_unknown_toolchain() {
        let missing = Toolchain::find_as(Some("nix")).expect_err("the name is unknown");
        assert_eq!(missing.to_string(), "AMPOULE_WASM_TOOLCHAIN is `nix`; it must be `rustup`, `debian` or not set");
    }

    #[test]
    fn the_error_lists_the_missing_toolchains_and_the_command() {
        let reasons = ["rustc 1.95.0 has no standard library for it", "Debian's rustc-web is not installed"];
        let missing = ToolchainMissing::NotFound(reasons.map(str::to_owned).to_vec());
        let message = "no Rust compiler for wasm32-unknown-unknown found (rustc 1.95.0 has no standard library for it; \
                       Debian's rustc-web is not installed); run `rustup target add wasm32-unknown-unknown`";
        assert_eq!(missing.author_message(), message);
        assert_eq!(missing.to_string(), format!("{message}, or `cargo xtask setup` in a checkout of Ampoule"));
    }

    #[test]
    fn describes_the_toolchain_in_one_line() {
        let active = Toolchain(Kind::Active { version: "rustc 1.95.0".to_owned() });
        assert_eq!(active.describe(), "rustc 1.95.0 with target wasm32-unknown-unknown");
        let debian = Toolchain(Kind::Debian { version: "rustc 1.96.0".to_owned(), linker: "wasm-ld".into() });
        assert_eq!(debian.describe(), "Debian's rustc 1.96.0 with the standard library built from rust-web-src");
    }
}
