//! Observability of the process: metrics, logs, traces and readiness.
//!
//! None of them contains a secret's value, a pod or a request body.

pub mod colour;
pub mod decisions;
pub mod log;
pub mod metrics;
pub mod plugin_state;
pub mod readiness;
pub mod reason;
pub mod record;
pub mod trace;
