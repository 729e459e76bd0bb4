//! Writes lines to the host's log, under the plugin's name.
//!
//! The host cuts a line at 1 KiB and keeps the first 64 lines of an admission. Never log the value
//! of a secret. In tests, [`testing::logs`](crate::testing::logs) returns the lines.

/// The severity of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For the plugin's author.
    Debug,
    /// For the cluster's admin: no action needed.
    Info,
    /// For the cluster's admin: worth a look.
    Warn,
    /// For the cluster's admin: something is broken.
    Error,
}

/// Logs a line for the plugin's author.
pub fn debug(message: &str) {
    log(Level::Debug, message);
}

/// Logs a line for the cluster's admin: no action needed.
pub fn info(message: &str) {
    log(Level::Info, message);
}

/// Logs a line for the cluster's admin: worth a look.
pub fn warn(message: &str) {
    log(Level::Warn, message);
}

/// Logs a line for the cluster's admin: something is broken.
pub fn error(message: &str) {
    log(Level::Error, message);
}

/// Logs a line at a level.
pub fn log(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    {
        use crate::bindings::ampoule::injector::log::{self, Level as HostLevel};
        let level = match level {
            Level::Debug => HostLevel::Debug,
            Level::Info => HostLevel::Info,
            Level::Warn => HostLevel::Warn,
            Level::Error => HostLevel::Error,
        };
        log::log(level, message);
    }
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::record(level, message);
}
