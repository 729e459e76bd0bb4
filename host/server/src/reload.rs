//! Applies changes of the configuration and of components to the running process: [`Reloader`].
//!
//! A change is read, checked and loaded in the background, and then replaces the pipeline
//! atomically. What the change removes takes effect before anything is loaded; the required plugins
//! take effect together, and each of the others once it is loaded. If the configuration is invalid,
//! the previous pipeline stays in use. If a plugin does not load, its predecessor stays in use.
//! [`Reporter`] reports both.

mod report;

use std::{sync::Arc, time::Duration};

use anyhow::bail;
use tokio::time::sleep;
use tracing::{info, warn};

pub(crate) use self::report::Reporter;
use self::report::{PluginProblem, ReloadOutcome};
use crate::{
    api_server::until_reachable,
    plugins::{LoadedPipeline, Loader, LoaderEvent, PluginStates, PluginStatus},
};
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
    /// The last configuration that was accepted.
    accepted: Config,
    /// Whether the current configuration is refused.
    is_refused: bool,
    loader: Loader,
    serving: Arc<ServingPipeline>,
    states: PluginStates,
    reporter: Reporter,
    retry: bool,
    /// Whether the plugins of the start are being loaded.
    is_first_load: bool,
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
        let begun = async || loader.begin(&at_start).await;
        until_reachable("the ConfigMaps with injectors", begun).await?;
        let loaded = match loader.next_step().await {
            LoaderEvent::Loaded(loaded) => *loaded,
            LoaderEvent::Refused(error) => return Err(error),
            LoaderEvent::SourceChanged | LoaderEvent::Done => bail!(
                "the first load ended before the required plugins were loaded; this is a defect of Ampoule, report it"
            ),
        };
        reporter.report_start(problems(&loaded.plugins));
        reporter.report_plugins(&loaded.plugins);
        states.set(loaded.plugins);
        let serving = Arc::new(ServingPipeline::new(loaded.pipeline));
        let configured = Ok(first);
        let watch = Watch::new(configured.clone(), read);
        Ok(Self {
            watch,
            configured,
            accepted: at_start.clone(),
            is_refused: false,
            at_start,
            loader,
            serving,
            states,
            reporter,
            retry: false,
            is_first_load: true,
        })
    }

    /// Returns the pipeline that serves, which each reload replaces.
    pub(crate) fn serving(&self) -> Arc<ServingPipeline> {
        Arc::clone(&self.serving)
    }

    /// Follows the sources of the pipeline. Never ends.
    pub(crate) async fn run(mut self) {
        loop {
            let is_retry = self.retry && !self.loader.is_loading();
            tokio::select! {
                read = self.watch.changed() => {
                    if let Ok(loaded) = &read {
                        loaded.notices.iter().for_each(log_notice);
                    }
                    self.configured = read;
                    self.apply().await;
                }
                event = self.loader.next() => self.handle(event).await,
                () = sleep(RETRY_DELAY), if is_retry => self.apply().await,
            }
        }
    }

    async fn handle(&mut self, event: LoaderEvent) {
        match event {
            // Also during a load: plugins whose sources are the same continue.
            LoaderEvent::SourceChanged => self.apply().await,
            LoaderEvent::Loaded(loaded) => self.install(*loaded),
            LoaderEvent::Refused(error) => self.refuse(&error),
            LoaderEvent::Done => self.finish(),
        }
    }

    /// Puts removals of the configuration into effect, and starts to load the rest.
    async fn apply(&mut self) {
        self.retry = false;
        self.is_first_load = false;
        if let Err(error) = self.accept() {
            self.is_refused = true;
            // A ConfigMap may have been removed; the rest waits for a valid configuration.
            self.remove();
            return self.reporter.report(&ReloadOutcome::refused(&error.into()));
        }
        self.is_refused = false;
        self.remove();
        // The features of the API server that `delivery` needs were checked at the start.
        let config = Config { delivery: self.at_start.delivery.clone(), ..self.accepted.clone() };
        if let Err(error) = self.loader.begin(&config).await {
            self.refuse(&error);
        }
    }

    /// Accepts the current configuration, or returns why it is refused.
    fn accept(&mut self) -> Result<(), ConfigError> {
        let config = self.configured.clone()?.config;
        // The clients are authenticated as they were at the start.
        config.check_values(&self.at_start.server.clients)?;
        self.accepted = config;
        Ok(())
    }

    /// Removes from the pipeline what the accepted configuration and the ConfigMaps no longer
    /// permit.
    fn remove(&mut self) {
        if let Some(reduced) = self.loader.reduce(&self.accepted) {
            info!("removals of the configuration are in effect");
            self.install(reduced);
        }
    }

    fn install(&mut self, loaded: LoadedPipeline) {
        self.serving.install(loaded.pipeline);
        self.states.set(loaded.plugins);
        self.reporter.report_plugins(&self.states.get());
    }

    fn refuse(&mut self, error: &anyhow::Error) {
        self.retry = true;
        self.reporter.report(&ReloadOutcome::refused(error));
    }

    /// Reports the result of a load after its last plugin.
    fn finish(&mut self) {
        let plugins = self.states.get();
        let problems = problems(&plugins);
        self.retry = !problems.is_empty();
        // The start reports plugins that do not load, and no applied change.
        let is_reported = !std::mem::take(&mut self.is_first_load) || self.retry;
        // The refusal of a later configuration stays visible.
        if is_reported && !self.is_refused {
            let fixed = changed_fixed_keys(&self.at_start, &self.accepted);
            self.reporter.report(&ReloadOutcome::Applied { fixed, problems });
        }
    }
}

fn problems(plugins: &[PluginStatus]) -> Vec<PluginProblem> {
    plugins.iter().filter_map(PluginProblem::from_status).collect()
}

/// Logs a notice about the configuration.
pub(crate) fn log_notice(notice: &Notice) {
    match notice {
        Notice::Info(text) => info!(%text, "configuration"),
        Notice::Warning(text) => warn!(%text, "configuration"),
    }
}
