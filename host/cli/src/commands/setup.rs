//! What commands need before they can work: a runtime, the configuration, the pipeline.
//!
//! Log lines below `warn` are suppressed: a command's output is its result.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use ampoule_admission::RequestContext;
use tokio::runtime::{Builder, Runtime};

use super::output::eprint_line;
use crate::args::ConfigArg;
use ampoule_components::builtins::{self, Builtins};
use ampoule_config::{Config, ConfigSource, RegistrationConfig};
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

/// Loads the pipeline, for commands that process one pod, and the registration that selects pods.
pub(super) fn load_pipeline(
    config: &ConfigArg,
    builtins: Builtins,
) -> anyhow::Result<(Runtime, LoadedPipeline, RegistrationConfig)> {
    let runtime = quiet_runtime()?;
    let source = ConfigSource::from(config.clone());
    let mut config = load_config(&source, builtins)?;
    warn_about_values(&config, &source);
    use_compile_cache(&mut config);
    let loaded = runtime.block_on(Loader::new(builtins, Metrics::new()).load(&config))?;
    Ok((runtime, loaded, config.registration))
}

/// Prints a warning for a configuration that `serve` refuses because of its clients. A command that
/// processes one pod has no clients.
fn warn_about_values(config: &Config, source: &ConfigSource) {
    if let Err(error) = config.check_values(&config.server.clients) {
        eprint_line(&format!("warning: `ampoule serve` refuses this configuration: {}", source.locate(error)));
    }
}

/// Uses the user's cache for compiled components, unless the configuration has its own.
fn use_compile_cache(config: &mut Config) {
    let directory = &mut config.engine.cache_directory;
    // A file system of another machine, such as that of a container.
    if directory.as_ref().is_none_or(|directory| !directory.exists()) {
        *directory = compile_cache().or(directory.take());
    }
}

/// The cache directory for compiled components: `ampoule/compiled` in `$XDG_CACHE_HOME` or
/// `~/.cache`. `None` without a home directory.
///
/// Compiling a JavaScript component takes seconds.
pub(super) fn compile_cache() -> Option<PathBuf> {
    let cache = absolute_path("XDG_CACHE_HOME").or_else(|| Some(absolute_path("HOME")?.join(".cache")))?;
    Some(cache.join("ampoule/compiled"))
}

fn absolute_path(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| Path::is_absolute(path))
}

/// The context of a request with the default timeout.
pub(super) fn request_context() -> RequestContext {
    RequestContext::untraced(TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiled_components_are_cached_for_the_user_unless_the_configuration_has_a_directory() {
        let mut config = Config::parse("globalSecrets: { enabled: true }", &[]).unwrap();
        use_compile_cache(&mut config);
        assert_eq!(config.engine.cache_directory, compile_cache());
        let own = Some(env::temp_dir());
        config.engine.cache_directory.clone_from(&own);
        use_compile_cache(&mut config);
        assert_eq!(config.engine.cache_directory, own);
    }
}
