//! mdbook, which builds the book in `docs/`. Another version may render the book differently.
//!
//! It is compiled without its web server and file watcher, which are most of its dependencies.

use std::path::PathBuf;

use anyhow::Result;

use super::cargo_tool::CargoTool;

// renovate: crate=mdbook
const VERSION: &str = "0.5.4";

/// Finds the pinned version, or compiles it.
pub(super) fn ensure() -> Result<PathBuf> {
    let tool = CargoTool {
        name: "mdbook",
        version: VERSION,
        arguments: &["--no-default-features", "--features", "search"],
        purpose: "builds the book",
    };
    tool.ensure()
}
