//! What commands need before they can work: a runtime, the configuration, the pipeline.
//!
//! Log lines below `warn` are suppressed: a command's output is its result.

use std::time::Duration;

use ampoule_admission::RequestContext;
use tokio::runtime::{Builder, Runtime};

use super::output::eprint_line;
use crate::args::ConfigArg;
use ampoule_components::builtins::{self, Builtins};
use ampoule_config::{Config, ConfigSource};
use ampoule_server::{
    plugins::{LoadedPipeline, Loader},
    policy,
};
use ampoule_telemetry::{
    log::{self, LogFormat, LogLevel},
    metrics::Metrics,
};

/// Kubernetes' default for `timeoutSeconds` in a webhook's registration.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Installs the log and builds a runtime of one thread.
pub(super) fn quiet_runtime() -> anyhow::Result<Runtime> {
    log::install(LogFormat::Text, LogLevel::Warn);
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// Loads the configuration and prints its notices to stderr.
pub(super) fn load_config(source: &ConfigSource, builtins: Builtins) -> anyhow::Result<Config> {
    let loaded = source.load(&builtins::names(builtins))?;
    for notice in loaded.notices {
        eprint_line(&notice.to_string());
    }
    policy::compile(&loaded.config).map_err(|error| source.locate(error))?;
    Ok(loaded.config)
}

/// Loads the pipeline, for commands that process one pod.
pub(super) fn load_pipeline(config: &ConfigArg, builtins: Builtins) -> anyhow::Result<(Runtime, LoadedPipeline)> {
    let runtime = quiet_runtime()?;
    let config = load_config(&config.clone().into(), builtins)?;
    let loaded = runtime.block_on(Loader::new(builtins, Metrics::new()).load(&config))?;
    Ok((runtime, loaded))
}

/// The context of a request with the default timeout.
pub(super) fn request_context() -> RequestContext {
    RequestContext::untraced(TIMEOUT)
}
