//! The package of the Rust SDK, as crates.io would get it: complete, and built outside the
//! workspace.
//!
//! Authors without a clone of this repository use only the files in the package, and a file that is
//! missing there is in the checkout.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::job;
use crate::workspace;

/// The crate that authors use.
const CRATE: &str = "ampoule-plugin-sdk";
/// Files that no crate needs to build, and the files of the contract.
const REQUIRED: [&str; 6] =
    ["LICENSE", "README.md", "src/lib.rs", "wit/admission.wit", "wit/plugin.wit", "wit/world.wit"];
const LIST_MAX: Duration = Duration::from_secs(60);

/// The command that packs the crate, and builds it from the package for the target of plugins.
///
/// `--offline`: the lints before it have downloaded every crate, and cargo would read the index
/// again. `--allow-dirty`: a contributor runs the checks before the commit.
pub(super) fn verify() -> Command {
    let mut cargo = workspace::cargo();
    cargo.args(["package", "--package", CRATE, "--offline", "--locked", "--allow-dirty", "--all-features"]);
    cargo.args(["--target", "wasm32-unknown-unknown"]);
    cargo
}

/// Checks the list of files in the package.
pub(super) fn check_files() -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["package", "--package", CRATE, "--offline", "--locked", "--allow-dirty", "--list"]);
    let list = job::output(&mut cargo, LIST_MAX).with_context(|| format!("{} failed", job::shown(&cargo)))?;
    check_list(&list)
}

fn check_list(list: &str) -> Result<()> {
    for required in REQUIRED {
        ensure!(list.lines().any(|file| file == required), "the package of {CRATE} has no file {required}");
    }
    let outside = list.lines().find(|file| file.contains("..") || file.starts_with("target/"));
    ensure!(outside.is_none(), "the package of {CRATE} contains {}", outside.unwrap_or_default());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_without_the_licence_or_the_contract_is_refused() {
        assert!(check_list(&REQUIRED.join("\n")).is_ok());
        for missing in REQUIRED {
            let others: Vec<_> = REQUIRED.into_iter().filter(|file| *file != missing).collect();
            let error = check_list(&others.join("\n")).unwrap_err();
            assert_eq!(error.to_string(), format!("the package of {CRATE} has no file {missing}"));
        }
    }
}
