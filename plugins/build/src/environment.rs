//! The environment of the cargo that builds a plugin (the inner cargo). It removes the settings
//! that the cargo of this build (the outer cargo) exported, and sets flags that make the output
//! independent of the machine.
//!
//! An outer `cargo clippy` sets a wrapper for rustc, and an outer `cargo test` sets flags and
//! profiles. These settings would change the component, or build it with the wrong compiler.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
};

/// Prefixes of variables that control the compilation.
const REMOVED_PREFIXES: [&str; 5] = ["CARGO", "RUSTC", "RUSTDOC", "RUSTFLAGS", "DEP_"];

/// Variables that describe the outer build to a build script.
const REMOVED: [&str; 7] = ["OUT_DIR", "TARGET", "HOST", "PROFILE", "OPT_LEVEL", "DEBUG", "NUM_JOBS"];

/// Exceptions from [`REMOVED_PREFIXES`]: variables for paths, downloads and the shared job server,
/// which do not affect the compilation.
const KEPT_PREFIXES: [&str; 8] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_MAKEFLAGS",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
];

/// Returns the cargo that runs this program, or the one on the PATH.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Removes the variables of an outer cargo from a command.
pub(crate) fn clean(command: &mut Command) {
    for (key, _) in std::env::vars_os() {
        if is_outer(&key) {
            command.env_remove(key);
        }
    }
}

/// Returns the compiler's flags in the format of `CARGO_ENCODED_RUSTFLAGS`. They keep paths of this
/// machine out of the component.
pub(crate) fn rustflags(stack_size: &str, workspace: &Path) -> OsString {
    let mut flags = OsString::from(stack_size);
    let cargo_home = cargo_home().map(|folder| (folder, "/cargo"));
    for (folder, name) in [Some((workspace.to_owned(), "/plugin")), cargo_home].into_iter().flatten() {
        flags.push("\u{1f}--remap-path-prefix=");
        flags.push(folder);
        flags.push("=");
        flags.push(name);
    }
    flags
}

fn cargo_home() -> Option<PathBuf> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo"));
    std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

fn is_outer(key: &OsStr) -> bool {
    let Some(key) = key.to_str() else { return false };
    let starts_with = |prefixes: &[&str]| prefixes.iter().any(|prefix| key.starts_with(prefix));
    REMOVED.contains(&key) || starts_with(&REMOVED_PREFIXES) && !starts_with(&KEPT_PREFIXES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_variables_that_control_the_compilation_and_keeps_paths() {
        let removed = [
            "CARGO",
            "CARGO_BUILD_TARGET",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_TARGET_DIR",
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER",
            "CARGO_UNSTABLE_BUILD_STD",
            "DEP_Z_ROOT",
            "OUT_DIR",
            "RUSTC",
            "RUSTC_BOOTSTRAP",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTC_WRAPPER",
            "RUSTDOCFLAGS",
            "RUSTFLAGS",
            "TARGET",
        ];
        let kept =
            ["CARGO_HOME", "CARGO_MAKEFLAGS", "CARGO_NET_OFFLINE", "HOME", "PATH", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"];
        for key in removed {
            assert!(is_outer(OsStr::new(key)), "{key} must not reach the inner cargo");
        }
        for key in kept {
            assert!(!is_outer(OsStr::new(key)), "{key} must reach the inner cargo");
        }
    }
}
