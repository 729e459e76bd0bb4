//! Logs: structured lines on stderr. The configured level applies to this program's crates only.
//!
//! Dependencies log at `warn` and above, regardless of the configured level: at `debug` and below
//! some of them print headers and frames, and with them bodies. One module does so at `warn`, and
//! is disabled. Records of the `log` crate are not collected for the same reason. The log line of a
//! panic has its location but not its message, which may contain a value.

mod json;
mod stderr;

use std::{io::stderr, panic};

use clap::ValueEnum;
use tracing::{Level, error, level_filters::LevelFilter, subscriber::set_global_default};
use tracing_subscriber::{Registry, filter::Targets, fmt, layer::SubscriberExt};

use self::json::JsonLine;
use crate::colour;

pub use self::stderr::{LineWriter, together};

/// The target of the audit trail.
pub const AUDIT_TARGET: &str = "audit";

/// Prefix of the targets of this program's crates.
const OWN_CRATES: &str = "ampoule";

/// Logs API server responses that it cannot parse at `warn`, and a response may be a Secret.
/// Callers get the same failure as an error.
const LOGS_BODIES: &str = "kube_client::client";
/// Its submodules, which log no bodies.
const LOGS_CONNECTIONS: &str = "kube_client::client::";

/// Format of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// Human-readable text.
    Text,
}

/// Minimum level of this program's log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Failures that an operator must fix.
    Error,
    /// Problems that an operator may have to fix.
    Warn,
    /// One line per admission, and the life cycle of the process.
    #[default]
    Info,
    /// Details for debugging.
    Debug,
    /// Everything.
    Trace,
}

/// Sends logs to stderr until the process ends. A second call has no effect.
pub fn install(format: LogFormat, level: LogLevel) {
    let registry = Registry::default().with(filter(level));
    let layer = fmt::layer().with_writer(|| LineWriter).with_ansi(colour::wanted(&stderr()));
    // This fails only if a subscriber is already installed.
    let _ = match format {
        LogFormat::Json => set_global_default(registry.with(layer.event_format(JsonLine))),
        LogFormat::Text => set_global_default(registry.with(layer)),
    };
    panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        error!(%place, "panic");
    }));
}

/// Returns the filter for this level, by target.
pub fn filter(level: LogLevel) -> Targets {
    let own = LevelFilter::from(level);
    let dependencies = own.min(LevelFilter::WARN);
    let targets = Targets::new().with_default(dependencies).with_target(OWN_CRATES, own);
    let targets = targets.with_target(AUDIT_TARGET, LevelFilter::INFO);
    targets.with_target(LOGS_BODIES, LevelFilter::OFF).with_target(LOGS_CONNECTIONS, dependencies)
}

// === impl LogLevel ===

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        Self::from_level(match level {
            LogLevel::Error => Level::ERROR,
            LogLevel::Warn => Level::WARN,
            LogLevel::Info => Level::INFO,
            LogLevel::Debug => Level::DEBUG,
            LogLevel::Trace => Level::TRACE,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_stay_at_warn_at_any_level() {
        for level in LogLevel::value_variants() {
            let filter = filter(*level);
            for target in ["hyper::proto::h1::io", "h2::codec", "rustls::conn", "wasmtime", "tokio_rustls"] {
                assert!(!filter.would_enable(target, &Level::INFO), "{target} at {level:?}");
            }
            let at_warn = *level != LogLevel::Error;
            assert_eq!(filter.would_enable("hyper", &Level::WARN), at_warn, "{level:?}");
        }
    }

    #[test]
    fn the_module_that_logs_responses_of_the_api_server_is_disabled() {
        let filter = filter(LogLevel::Trace);
        assert!(!filter.would_enable("kube_client::client", &Level::ERROR));
        assert!(filter.would_enable("kube_client::client::tls", &Level::WARN));
        assert!(!filter.would_enable("kube_client::client::builder", &Level::INFO));
    }

    #[test]
    fn own_targets_follow_the_level() {
        assert!(filter(LogLevel::Trace).would_enable("ampoule_engine::plugin", &Level::TRACE));
        assert!(!filter(LogLevel::Info).would_enable("ampoule_server", &Level::DEBUG));
        assert!(
            filter(LogLevel::Error).would_enable(AUDIT_TARGET, &Level::INFO),
            "the audit trail does not depend on the level"
        );
    }
}
