//! The engine of `plugin test` and `plugin bench`: [`Workbench`].
//!
//! It has the defaults of `serve`, and a case's answers in place of HTTP hosts and a cluster.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use ampoule_engine::{EngineConfig, GuestLogLevel, Limits, LoadError, PluginEngine, PluginInjector, PluginLog};

use super::{case::Case, given::GivenServices};
use crate::commands::progress::Progress;
use ampoule_components::fetch::Component;
use ampoule_config::ComponentSource;

/// An engine with the services of the current case.
pub(super) struct Workbench {
    pub(super) engine: PluginEngine,
    pub(super) services: Arc<GivenServices>,
    pub(super) lines: Arc<LogLines>,
    /// The step that is shown while a component is loaded.
    loading: &'static str,
}

/// A line that a plugin logged or printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogLine {
    pub(super) level: GuestLogLevel,
    pub(super) text: String,
}

/// The lines of the plugins of an engine.
#[derive(Default)]
pub(super) struct LogLines(Mutex<Vec<LogLine>>);

// === impl Workbench ===

impl Workbench {
    pub(super) fn new(cache_dir: Option<PathBuf>) -> anyhow::Result<Self> {
        let services = Arc::<GivenServices>::default();
        let lines = Arc::<LogLines>::default();
        let loading = match cache_dir {
            Some(_) => "loading the component (its compilation is cached for the next run)",
            None => "compiling the component without the cache",
        };
        let config = EngineConfig {
            cache_dir,
            log: Some(Arc::<LogLines>::clone(&lines)),
            secrets: Arc::<GivenServices>::clone(&services),
            http: Some(Arc::<GivenServices>::clone(&services)),
            // Each case calls the plugin.
            reuse_answers: false,
            ..EngineConfig::default()
        };
        Ok(Self { engine: PluginEngine::new(config)?, services, lines, loading })
    }

    /// Loads a component with the settings, grants and services of a case. The services of the last
    /// loaded case are in effect.
    pub(super) async fn load(
        &self,
        case: &Case,
        source: &ComponentSource,
        component: &Component,
        limits: Limits,
    ) -> Result<PluginInjector, LoadError> {
        let _progress = Progress::start(self.loading);
        self.services.set(Arc::clone(&case.given));
        self.engine.load(case.plugin(source, component, limits)).await
    }
}

/// The start of the line before the frames of WebAssembly in the report of a trap.
const BACKTRACE: &str = "error while executing at wasm backtrace";

/// The report of a trap without the frames of WebAssembly, which are those of an interpreter, if
/// the plugin itself wrote a reason such as an exception.
pub(super) fn without_frames(report: &str) -> &str {
    match report.find(BACKTRACE) {
        Some(at) if at > 0 => report[..at].trim_end(),
        _ => report,
    }
}

// === impl LogLine, LogLines ===

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            GuestLogLevel::Debug => "debug",
            GuestLogLevel::Info => "info",
            GuestLogLevel::Warn => "warn",
            GuestLogLevel::Error => "error",
        };
        write!(f, "{level:<5} {}", self.text)
    }
}

impl LogLines {
    /// Takes the lines since the last call.
    pub(super) fn take(&self) -> Vec<LogLine> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl PluginLog for LogLines {
    fn write(&self, level: GuestLogLevel, line: &str) {
        let line = LogLine { level, text: line.to_owned() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}
