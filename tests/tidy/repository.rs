//! The files of the checkout: those that git tracks, and new ones that it does not ignore.
//!
//! Deleted files that git still lists are left out.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A text file.
pub(crate) struct File {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent folder").to_owned()
}

/// The paths that match one of the patterns of `git ls-files`, in which `*` also matches `/`.
pub(crate) fn paths(patterns: &[&str]) -> Vec<String> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-co", "--exclude-standard", "--"]).args(patterns).current_dir(root());
    let listed = git.output().expect("git lists the files").stdout;
    let listed = String::from_utf8(listed).expect("paths are UTF-8");
    listed.lines().filter(|path| root().join(path).is_file()).map(str::to_owned).collect()
}

/// The file that `wit-bindgen` writes.
const GENERATED: &str = "plugins/sdk/src/bindings/generated.rs";

/// The files that match one of the patterns, except the generated one.
pub(crate) fn files(patterns: &[&str]) -> Vec<File> {
    let written = paths(patterns).into_iter().filter(|path| path != GENERATED);
    written.map(|path| File { text: read(&path), path }).collect()
}

/// One file's text.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

// === impl File ===

impl File {
    /// The entry of a budget that the file counts towards: the first two parts of its path.
    pub(crate) fn area(&self) -> String {
        self.path.split('/').take(2).collect::<Vec<_>>().join("/")
    }

    /// Whether all of the file is test code.
    pub(crate) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| matches!(part, "tests" | "tests.rs" | "benches" | "examples"))
    }
}
