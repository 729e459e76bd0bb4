//! The rules of this repository that a machine can see: file heads and sizes, which crate may know which, what the docs promise.
//!
//! A rule that fails says which file and what to do.

#[path = "tidy/docs.rs"]
mod docs;
#[path = "tidy/edges.rs"]
mod edges;
#[path = "tidy/files.rs"]
mod files;
#[path = "tidy/fuzz.rs"]
mod fuzz;
#[path = "tidy/pins.rs"]
mod pins;

use std::path::{Path, PathBuf};

/// The root of the checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ stands below the root").to_owned()
}
