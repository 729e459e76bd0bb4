//! End to end: the real binary as a process, behind a real API server.
//!
//! Every test has a namespace and a process of its own; the API server is shared. `cargo xtask test` gets what they need.

#[path = "e2e/harness.rs"]
mod harness;
