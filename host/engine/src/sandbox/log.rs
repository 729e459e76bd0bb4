//! [`LogBudget`]: writes the log lines of a guest to the host's log, under the plugin's name.
//!
//! A plugin can log in a loop, and an admission can start many instances. This module bounds the
//! lines of an admission; the store bounds the number of calls.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tracing::{debug, error, info, warn};

use ampoule_core::text::clean;

/// Bytes that are kept of a line: the contract's 1 KiB.
const MAX_LINE: usize = 1 << 10;

/// Receives the log lines of plugins instead of the host's log, in tests of plugins.
pub trait PluginLog: Send + Sync {
    /// Receives a line. It is printable, and at most 1 KiB long.
    fn write(&self, level: GuestLogLevel, line: &str);

    /// Whether it also receives the warnings of the host about the plugin. They contain no value.
    fn takes_warnings_of_the_host(&self) -> bool {
        true
    }
}

/// The number of lines that the instances of a plugin can still write for one admission.
pub(crate) struct LogBudget {
    lines_left: AtomicU32,
    destination: Option<Arc<dyn PluginLog>>,
}

/// The level of a guest's log line, from the lowest to the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GuestLogLevel {
    /// For the plugin's author.
    Debug,
    /// For the cluster's admin: no action needed. Standard output has this level.
    Info,
    /// For the cluster's admin: worth a look.
    Warn,
    /// For the cluster's admin: something is broken. Standard error has this level.
    Error,
}

// === impl LogBudget ===

impl LogBudget {
    /// Creates the budget. Without a destination, the lines go to the host's log.
    pub(crate) fn new(lines: u32, destination: Option<Arc<dyn PluginLog>>) -> Self {
        Self { lines_left: AtomicU32::new(lines), destination }
    }

    /// Writes a line, cut to [`MAX_LINE`] bytes. Drops it if the budget is used up.
    pub(crate) fn write(&self, plugin: &str, level: GuestLogLevel, message: &str) {
        let counted = self.lines_left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        let Ok(left) = counted else { return };
        self.write_line(level, plugin, &clean(message, MAX_LINE));
        if left == 1 {
            self.write_line(GuestLogLevel::Warn, plugin, "further log lines of this admission are dropped");
        }
    }

    fn write_line(&self, level: GuestLogLevel, plugin: &str, message: &str) {
        match &self.destination {
            Some(destination) => destination.write(level, message),
            None => write_line(level, plugin, message),
        }
    }
}

fn write_line(level: GuestLogLevel, plugin: &str, message: &str) {
    match level {
        GuestLogLevel::Debug => debug!(target: "ampoule::plugin", plugin, "{message}"),
        GuestLogLevel::Info => info!(target: "ampoule::plugin", plugin, "{message}"),
        GuestLogLevel::Warn => warn!(target: "ampoule::plugin", plugin, "{message}"),
        GuestLogLevel::Error => error!(target: "ampoule::plugin", plugin, "{message}"),
    }
}
