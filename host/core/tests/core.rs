//! Tests of the core through its public API: pods, edits, the chain of injectors and the patch.
//!
//! One binary, so that it links once. Each area is a module.

#![allow(clippy::needless_pass_by_value, reason = "`json!` creates owned values")]
#![allow(clippy::unwrap_used, reason = "test helpers fail at the first unexpected value, as tests do")]

#[path = "core/chain.rs"]
mod chain;
#[path = "core/conflicts.rs"]
mod conflicts;
#[path = "core/delivery.rs"]
mod delivery;
#[path = "core/edits.rs"]
mod edits;
#[path = "core/generate.rs"]
mod generate;
#[path = "core/groups.rs"]
mod groups;
#[path = "core/laws.rs"]
mod laws;
#[path = "core/limits.rs"]
mod limits;
#[path = "core/patch.rs"]
mod patch;
#[path = "core/pod_fetch.rs"]
mod pod_fetch;
#[path = "core/pods.rs"]
mod pods;
#[path = "core/policy.rs"]
mod policy;
#[path = "core/properties.rs"]
mod properties;
#[path = "core/references.rs"]
mod references;
#[path = "core/requested.rs"]
mod requested;
#[path = "core/shadow.rs"]
mod shadow;
#[path = "core/shapes.rs"]
mod shapes;
#[path = "core/support.rs"]
mod support;
#[path = "core/warnings.rs"]
mod warnings;
