//! Tests of the core by its public face: edits into pods, the chain of injectors, the patch.
//!
//! One binary, so that it links once; every area is a module with its table.

#![allow(clippy::needless_pass_by_value, reason = "`json!` makes owned values, and a `&` before each would be noise")]
#![allow(clippy::unwrap_used, reason = "helpers of tests stop at the first surprise, as tests do")]

#[path = "core/chain.rs"]
mod chain;
#[path = "core/conflicts.rs"]
mod conflicts;
#[path = "core/edits.rs"]
mod edits;
#[path = "core/generate.rs"]
mod generate;
#[path = "core/laws.rs"]
mod laws;
#[path = "core/patch.rs"]
mod patch;
#[path = "core/pods.rs"]
mod pods;
#[path = "core/properties.rs"]
mod properties;
#[path = "core/support.rs"]
mod support;
#[path = "core/warnings.rs"]
mod warnings;
