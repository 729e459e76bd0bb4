//! [`WithheldLog`]: the log lines of plugins, which are not shown.
//!
//! A plugin has the values of the pod, and everyone who may read the log of a pod would see what it
//! prints.

use std::sync::atomic::{AtomicU64, Ordering};

use ampoule_engine::{GuestLogLevel, PluginLog};
use tracing::warn;

/// Counts the lines.
#[derive(Default)]
pub(crate) struct WithheldLog {
    lines: AtomicU64,
}

impl PluginLog for WithheldLog {
    fn write(&self, _level: GuestLogLevel, _line: &str) {
        self.lines.fetch_add(1, Ordering::Relaxed);
    }

    fn takes_warnings_of_the_host(&self) -> bool {
        false
    }
}

impl Drop for WithheldLog {
    fn drop(&mut self) {
        let lines = *self.lines.get_mut();
        if lines > 0 {
            warn!(lines, "the log lines of plugins are withheld: they could contain a value");
        }
    }
}
