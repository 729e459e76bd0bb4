//! Lines into the host's log, under the plugin's name.
//!
//! The host cuts a line at 1 KiB and keeps the first 64 of an instance. Never log a secret's value. In tests the lines go
//! to [`testing::logs`](crate::testing::logs).

pub use crate::bindings::ampoule::injector::log::Level;

/// For the plugin's author.
pub fn debug(message: &str) {
    log(Level::Debug, message);
}

/// For the cluster's admin, nothing to do.
pub fn info(message: &str) {
    log(Level::Info, message);
}

/// For the cluster's admin, something to look at.
pub fn warn(message: &str) {
    log(Level::Warn, message);
}

/// For the cluster's admin, something is broken.
pub fn error(message: &str) {
    log(Level::Error, message);
}

/// A line at a level.
pub fn log(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::bindings::ampoule::injector::log::log(level, message);
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::record(level, message);
}
