//! Hostile guests: each meets its own limit, gets its own error, and leaves its neighbour unharmed.
//!
//! The guests are built from `sandbox/guests/examples`; one without a row here fails [`every_guest_has_a_row`].

#[path = "sandbox/fairness.rs"]
mod fairness;
#[path = "sandbox/grants.rs"]
mod grants;
#[path = "sandbox/loading.rs"]
mod loading;
#[path = "sandbox/outbound.rs"]
mod outbound;
#[path = "sandbox/support.rs"]
mod support;
#[path = "sandbox/table.rs"]
mod table;
