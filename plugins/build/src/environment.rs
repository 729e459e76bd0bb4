//! The inner cargo's environment: what of the outer cargo's must not reach it, and the flags that make its output the same
//! everywhere.
//!
//! An outer `cargo clippy` sets a wrapper around rustc, an outer `cargo test` flags and profiles; any of them would change the
//! component, or build it with the wrong compiler.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
};

/// What begins with these names is a cargo or build-script setting that says how to compile.
const REMOVED_PREFIXES: [&str; 5] = ["CARGO", "RUSTC", "RUSTDOC", "RUSTFLAGS", "DEP_"];

/// What a build script is told about the outer build.
const REMOVED: [&str; 7] = ["OUT_DIR", "TARGET", "HOST", "PROFILE", "OPT_LEVEL", "DEBUG", "NUM_JOBS"];

/// What of the prefixes says where things are and how to fetch them, not how to compile; the job server is shared too.
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

/// The cargo that runs us, else the one on the path.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Takes from a command what an outer cargo has set.
pub(crate) fn clean(command: &mut Command) {
    for (key, _) in std::env::vars_os() {
        if is_outer(&key) {
            command.env_remove(key);
        }
    }
}

/// The compiler's flags, as `CARGO_ENCODED_RUSTFLAGS` wants them. Paths of this machine do not get into the component.
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
    fn removes_what_says_how_to_compile_and_keeps_what_says_where_things_are() {
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
