//! Logs: structured lines on stderr, at a level that is ours alone.
//!
//! Dependencies never log below `warn`, whatever level is asked for: at `debug` and below some of them print headers and
//! frames, and with them bodies; one does so at `warn`, and is not heard at all. Records of the `log` crate are not taken over for the
//! same reason. A panic is logged with its place and without its message, which may repeat a value.

mod json;
mod stderr;

use std::{io::stderr, panic};

use clap::ValueEnum;
use tracing::{Level, error, level_filters::LevelFilter, subscriber::set_global_default};
use tracing_subscriber::{Registry, filter::Targets, fmt, layer::SubscriberExt};

use self::json::JsonLine;
use crate::colour;

pub use self::stderr::LineWriter;

/// The target of the audit trail's lines.
pub const AUDIT_TARGET: &str = "audit";

/// What every target of our own crates starts with.
const OURS: &str = "ampoule";

/// Logs whole answers of the API server at `warn` where they cannot be read, and one may be a Secret. What went wrong is an error to
/// us as well.
const SPEAKS_OF_BODIES: &str = "kube_client::client";
/// The modules below it, which do not.
const SPEAKS_OF_CONNECTIONS: &str = "kube_client::client::";

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// How much is logged of our own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What needs somebody.
    Error,
    /// What may need somebody.
    Warn,
    /// One line per admission, and the life of the process.
    #[default]
    Info,
    /// Details for finding a fault.
    Debug,
    /// Everything.
    Trace,
}

/// Sends logs to stderr for the rest of the process' life. A second call changes nothing.
pub fn install(format: LogFormat, level: LogLevel) {
    let registry = Registry::default().with(filter(level));
    let layer = fmt::layer().with_writer(|| LineWriter).with_ansi(colour::wanted(&stderr()));
    // Fails only where a subscriber is there already.
    let _ = match format {
        LogFormat::Json => set_global_default(registry.with(layer.event_format(JsonLine))),
        LogFormat::Text => set_global_default(registry.with(layer)),
    };
    panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        error!(%place, "panic");
    }));
}

/// What is logged at this level, by target.
pub fn filter(level: LogLevel) -> Targets {
    let ours = LevelFilter::from(level);
    let others = ours.min(LevelFilter::WARN);
    let targets = Targets::new().with_default(others).with_target(OURS, ours);
    let targets = targets.with_target(AUDIT_TARGET, LevelFilter::INFO);
    targets.with_target(SPEAKS_OF_BODIES, LevelFilter::OFF).with_target(SPEAKS_OF_CONNECTIONS, others)
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
    fn the_module_that_logs_answers_of_the_api_server_is_not_heard() {
        let filter = filter(LogLevel::Trace);
        assert!(!filter.would_enable("kube_client::client", &Level::ERROR));
        assert!(filter.would_enable("kube_client::client::tls", &Level::WARN));
        assert!(!filter.would_enable("kube_client::client::builder", &Level::INFO));
    }

    #[test]
    fn our_own_targets_follow_the_level() {
        assert!(filter(LogLevel::Trace).would_enable("ampoule_engine::plugin", &Level::TRACE));
        assert!(!filter(LogLevel::Info).would_enable("ampoule_server", &Level::DEBUG));
        assert!(
            filter(LogLevel::Error).would_enable(AUDIT_TARGET, &Level::INFO),
            "who got which secret is told always"
        );
    }
}
