//! The contract's `log`: what a plugin says, in the host's log under the plugin's name.
//!
//! A plugin may log as fast as it runs. What is kept is bounded here; how often it may call at all is bounded by the store.

use tracing::{debug, error, info, warn};

use crate::{
    contract::ampoule::injector::log::{Host, Level},
    store::PluginState,
    text::clean,
};

/// Bytes of a line that are kept: the contract's 1 KiB.
const MAX_LINE: usize = 1 << 10;

/// The lines that one instance may still write.
pub(crate) struct LogBudget(u32);

// === impl LogBudget ===

impl LogBudget {
    pub(crate) fn new(lines: u32) -> Self {
        Self(lines)
    }
}

// === impl PluginState ===

impl Host for PluginState {
    fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        let LogBudget(left) = &mut self.log;
        let Some(rest) = left.checked_sub(1) else { return Ok(()) };
        *left = rest;
        write(level, &self.plugin.name, &clean(&message, MAX_LINE));
        if rest == 0 {
            warn!(target: "ampoule::plugin", plugin = self.plugin.name, "further lines of this instance are dropped");
        }
        Ok(())
    }
}

fn write(level: Level, plugin: &str, message: &str) {
    match level {
        Level::Debug => debug!(target: "ampoule::plugin", plugin, "{message}"),
        Level::Info => info!(target: "ampoule::plugin", plugin, "{message}"),
        Level::Warn => warn!(target: "ampoule::plugin", plugin, "{message}"),
        Level::Error => error!(target: "ampoule::plugin", plugin, "{message}"),
    }
}
