//! Hostile guests: each reaches its own limit, gets its own error, and does not affect its
//! neighbour.
//!
//! The guests are built from `sandbox/guests/examples`; [`every_guest_has_a_row`] fails for a guest
//! without a row.

#[path = "sandbox/credentials.rs"]
mod credentials;
#[path = "sandbox/fairness.rs"]
mod fairness;
#[path = "sandbox/grants.rs"]
mod grants;
#[path = "sandbox/loading.rs"]
mod loading;
#[path = "sandbox/outbound.rs"]
mod outbound;
#[path = "sandbox/reuse.rs"]
mod reuse;
#[path = "sandbox/support.rs"]
mod support;
#[path = "sandbox/table.rs"]
mod table;
