//! [`LogBudget`]: writes the log lines of a guest to the host's log, under the plugin's name.
//!
//! A plugin can log in a loop, and an admission can start many instances. This module bounds the
//! lines of an admission; the store bounds the number of calls.

use std::sync::atomic::{AtomicU32, Ordering};

use tracing::{debug, error, info, warn};

use ampoule_core::text::clean;

/// Bytes that are kept of a line: the contract's 1 KiB.
const MAX_LINE: usize = 1 << 10;

/// The number of lines that the instances of a plugin can still write for one admission.
pub(crate) struct LogBudget {
    lines_left: AtomicU32,
}

/// The level of a guest's log line.
#[derive(Clone, Copy)]
pub(crate) enum GuestLogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

// === impl LogBudget ===

impl LogBudget {
    pub(crate) fn new(lines: u32) -> Self {
        Self { lines_left: AtomicU32::new(lines) }
    }

    /// Writes a line, cut to [`MAX_LINE`] bytes. Drops it if the budget is used up.
    pub(crate) fn write(&self, plugin: &str, level: GuestLogLevel, message: &str) {
        let counted = self.lines_left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        let Ok(left) = counted else { return };
        write_line(level, plugin, &clean(message, MAX_LINE));
        if left == 1 {
            warn!(target: "ampoule::plugin", plugin, "further log lines of this admission are dropped");
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
