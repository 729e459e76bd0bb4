//! What the process reports about itself: metrics, logs, traces and readiness.
//!
//! No value of a secret, no pod and no request body reaches any of them.

pub mod colour;
pub mod log;
pub mod metrics;
pub mod plugin_state;
pub mod readiness;
pub mod reason;
pub mod record;
pub mod trace;
