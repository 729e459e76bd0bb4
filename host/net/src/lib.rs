//! The network without Kubernetes: listening sockets, TLS, outbound HTTP, back-off, and reading and
//! watching files.
//!
//! This crate does not depend on the configuration, a metric registry or the API server; callers
//! pass what it needs.

pub mod background;
pub mod backoff;
pub mod cgroup;
pub mod file;
pub mod listener;
pub mod outbound;
pub mod tls;
pub mod watch;
