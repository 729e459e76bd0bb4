//! cargo-deny, which checks licences, sources and versions of all crates. Another version may know
//! other keys in `deny.toml`.

use std::path::PathBuf;

use anyhow::Result;

use super::cargo_tool::CargoTool;

// renovate: crate=cargo-deny
const VERSION: &str = "0.20.2";

/// Finds the pinned version, or compiles it.
pub(super) fn ensure() -> Result<PathBuf> {
    let tool = CargoTool {
        name: "cargo-deny",
        version: VERSION,
        arguments: &[],
        purpose: "checks licences and sources of crates",
    };
    tool.ensure()
}
