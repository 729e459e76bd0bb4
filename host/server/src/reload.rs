//! Whatever is configured serves, also while it changes: [`Reloader`] follows the configuration and every component in it.
//!
//! A change is read, checked and loaded beside what serves, and takes its place whole. If the configuration is wrong, it does not, and
//! what was there before serves on; if a plugin is, the one before serves on in its place. [`Reporter`] tells either.

mod fixed;
mod report;

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tracing::{info, warn};

use self::report::Outcome;
pub(crate) use self::report::Reporter;
use crate::plugins::{Loaded, Loader, PluginStates, PluginStatus};
use ampoule_admission::pipeline::ServingPipeline;
use ampoule_config::{Config, ConfigError, LoadedConfig, Notice};
use ampoule_net::watch::Watch;

/// Between two tries of a change that was refused for what a plugin did: it may only have been short of time.
const SECOND_TRY: Duration = Duration::from_secs(60);

/// What is configured, or what is wrong with that.
type Read = Result<LoadedConfig, ConfigError>;

/// Makes what is configured serve.
pub(crate) struct Reloader {
    watch: Watch<Read>,
    /// As the watch gave it last.
    configured: Read,
    at_start: Config,
    loader: Loader,
    serving: Arc<ServingPipeline>,
    states: PluginStates,
    reporter: Reporter,
    try_again: bool,
}

// === impl Reloader ===

impl Reloader {
    /// With the first pipeline, of a configuration that `read` gave. `read` reads and checks all of it, with what flags say instead;
    /// it may block.
    ///
    /// # Errors
    ///
    /// If a required plugin does not load.
    pub(crate) async fn start(
        first: LoadedConfig,
        read: impl Fn() -> Read + Send + Sync + 'static,
        mut loader: Loader,
        states: PluginStates,
        mut reporter: Reporter,
    ) -> anyhow::Result<Self> {
        let at_start = first.config.clone();
        let Loaded { pipeline, plugins } = loader.load(&at_start).await?;
        let problems = problems(&plugins);
        let try_again = !problems.is_empty();
        reporter.started(problems).await;
        reporter.tell_plugins(&plugins).await;
        states.set(plugins);
        let serving = Arc::new(ServingPipeline::new(pipeline));
        let configured = Ok(first);
        let watch = Watch::new(configured.clone(), read);
        Ok(Self { watch, configured, at_start, loader, serving, states, reporter, try_again })
    }

    /// What serves.
    pub(crate) fn serving(&self) -> Arc<ServingPipeline> {
        Arc::clone(&self.serving)
    }

    /// Follows whatever the pipeline is made of. Never ends.
    pub(crate) async fn run(mut self) {
        loop {
            self.changed().await;
            let outcome = self.apply().await;
            self.reporter.tell(outcome).await;
            self.reporter.tell_plugins(&self.states.get()).await;
        }
    }

    async fn changed(&mut self) {
        let Self { watch, configured, loader, try_again, .. } = self;
        tokio::select! {
            read = watch.changed() => {
                if let Ok(LoadedConfig { notices, .. }) = &read {
                    notices.iter().for_each(log);
                }
                *configured = read;
            }
            () = loader.changed() => {}
            () = sleep(SECOND_TRY), if *try_again => {}
        }
    }

    async fn apply(&mut self) -> Outcome {
        self.try_again = false;
        let config = match &self.configured {
            Ok(LoadedConfig { config, notices: _ }) => config,
            Err(error) => return Outcome::refused(&error.clone().into()),
        };
        match self.loader.load(config).await {
            Ok(Loaded { pipeline, plugins }) => {
                self.serving.install(pipeline);
                let problems = problems(&plugins);
                self.try_again = !problems.is_empty();
                self.states.set(plugins);
                Outcome::Applied { fixed: fixed::changed(&self.at_start, config), problems }
            }
            Err(error) => {
                self.try_again = true;
                Outcome::refused(&error)
            }
        }
    }
}

fn problems(plugins: &[PluginStatus]) -> Vec<String> {
    plugins.iter().filter_map(PluginStatus::problem).collect()
}

/// Tells the author of a configuration what is not as it may seem.
pub(crate) fn log(notice: &Notice) {
    match notice {
        Notice::Info(text) => info!(%text, "configuration"),
        Notice::Warning(text) => warn!(%text, "configuration"),
    }
}
