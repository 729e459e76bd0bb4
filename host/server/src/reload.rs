//! Applies changes of the configuration and of components to the running process: [`Reloader`].
//!
//! A change is read, checked and loaded in the background, and then replaces the pipeline
//! atomically. If the configuration is invalid, the previous pipeline stays in use. If a plugin
//! does not load, its predecessor stays in use. [`Reporter`] reports both.

mod report;

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tracing::{info, warn};

use self::report::ReloadOutcome;
pub(crate) use self::report::Reporter;
use crate::plugins::{Loader, PluginStates, PluginStatus};
use ampoule_admission::pipeline::ServingPipeline;
use ampoule_config::{Config, ConfigError, LoadedConfig, Notice, changed_fixed_keys};
use ampoule_net::watch::Watch;

/// Delay before a retry after a plugin failed to load. The cause may be temporary, such as a
/// timeout.
const RETRY_DELAY: Duration = Duration::from_secs(60);

/// The current configuration or its error.
type ConfigRead = Result<LoadedConfig, ConfigError>;

/// Keeps the serving pipeline up to date with its sources.
pub(crate) struct Reloader {
    watch: Watch<ConfigRead>,
    /// The last value of the watch.
    configured: ConfigRead,
    at_start: Config,
    loader: Loader,
    serving: Arc<ServingPipeline>,
    states: PluginStates,
    reporter: Reporter,
    retry: bool,
}

// === impl Reloader ===

impl Reloader {
    /// Loads the first pipeline. `read` reads and checks the configuration including flags; it may
    /// block.
    ///
    /// # Errors
    ///
    /// A required plugin does not load.
    pub(crate) async fn start(
        first: LoadedConfig,
        read: impl Fn() -> ConfigRead + Send + Sync + 'static,
        mut loader: Loader,
        states: PluginStates,
        mut reporter: Reporter,
    ) -> anyhow::Result<Self> {
        let at_start = first.config.clone();
        let loaded = loader.load(&at_start).await?;
        let problems = problems(&loaded.plugins);
        let retry = !problems.is_empty();
        reporter.report_start(problems).await;
        reporter.report_plugins(&loaded.plugins).await;
        states.set(loaded.plugins);
        let serving = Arc::new(ServingPipeline::new(loaded.pipeline));
        let configured = Ok(first);
        let watch = Watch::new(configured.clone(), read);
        Ok(Self { watch, configured, at_start, loader, serving, states, reporter, retry })
    }

    /// Returns the pipeline that serves, which each reload replaces.
    pub(crate) fn serving(&self) -> Arc<ServingPipeline> {
        Arc::clone(&self.serving)
    }

    /// Follows the sources of the pipeline. Never ends.
    pub(crate) async fn run(mut self) {
        loop {
            self.wait_for_change().await;
            let outcome = self.apply().await;
            self.reporter.report(outcome).await;
            self.reporter.report_plugins(&self.states.get()).await;
        }
    }

    async fn wait_for_change(&mut self) {
        tokio::select! {
            read = self.watch.changed() => {
                if let Ok(loaded) = &read {
                    loaded.notices.iter().for_each(log_notice);
                }
                self.configured = read;
            }
            () = self.loader.changed() => {}
            () = sleep(RETRY_DELAY), if self.retry => {}
        }
    }

    async fn apply(&mut self) -> ReloadOutcome {
        self.retry = false;
        let config = match &self.configured {
            Ok(loaded) => &loaded.config,
            Err(error) => return ReloadOutcome::refused(&error.clone().into()),
        };
        // The clients are authenticated as they were at the start.
        if let Err(error) = config.check_values(&self.at_start.server.clients) {
            return ReloadOutcome::refused(&error.into());
        }
        match self.loader.load(config).await {
            Ok(loaded) => {
                self.serving.install(loaded.pipeline);
                let problems = problems(&loaded.plugins);
                self.retry = !problems.is_empty();
                self.states.set(loaded.plugins);
                ReloadOutcome::Applied { fixed: changed_fixed_keys(&self.at_start, config), problems }
            }
            Err(error) => {
                self.retry = true;
                ReloadOutcome::refused(&error)
            }
        }
    }
}

fn problems(plugins: &[PluginStatus]) -> Vec<String> {
    plugins.iter().filter_map(PluginStatus::problem).collect()
}

/// Logs a notice about the configuration.
pub(crate) fn log_notice(notice: &Notice) {
    match notice {
        Notice::Info(text) => info!(%text, "configuration"),
        Notice::Warning(text) => warn!(%text, "configuration"),
    }
}
