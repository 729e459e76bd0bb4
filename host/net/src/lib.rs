//! The network below Kubernetes: listening sockets, TLS, outbound HTTP, and files that are read safely and followed.
//!
//! This crate knows no configuration, no metric registry and no API server; callers pass what it needs.

pub mod file;
pub mod listener;
pub mod outbound;
pub mod tls;
pub mod watch;
