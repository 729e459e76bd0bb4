//! What each command does. All but `serve` are over in a moment; those that judge a pod use the pipeline that `serve` uses.
//!
//! Each prints its result to stdout and its errors to stderr.

mod config_check;
mod explain;
mod input;
mod inspect;
mod mutate;
mod output;
mod request;
#[cfg(test)]
mod tests;

use std::{io::Write as _, process::ExitCode, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    time::Instant,
};

use crate::{
    app::App,
    args::{ConfigArg, ServeArgs},
    config::Config,
    metrics::Metrics,
    plugins::{self, Builtins, Loaded},
    telemetry::{self, LogFormat, LogLevel},
};

pub(crate) use self::{
    config_check::config_check, explain::explain, inspect::plugin_inspect, mutate::mutate, request::request,
};

/// What the API server gives a webhook where its registration does not say.
const PATIENCE: Duration = Duration::from_secs(10);

/// `ampoule serve`.
pub(crate) fn serve(args: ServeArgs, builtins: Builtins) -> anyhow::Result<ExitCode> {
    telemetry::install(args.log_format, args.log_level);
    let runtime = Builder::new_multi_thread().thread_name("ampoule-http").enable_all().build()?;
    let served = runtime.block_on(async { App::build(args, builtins).await?.run().await });
    // Whatever is left after the drain has had its time.
    runtime.shutdown_background();
    served.map(|()| ExitCode::SUCCESS)
}

/// Writes a line to stderr.
pub(crate) fn complain(line: &str) {
    // Nobody is left to tell if this fails.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The runtime and the pipeline of a command that judges one pod.
fn pipeline(config: &ConfigArg, builtins: Builtins) -> anyhow::Result<(Runtime, Loaded)> {
    let runtime = quiet_runtime()?;
    let config = Config::load(config.path.as_deref(), &plugins::names(builtins))?;
    let loaded = runtime.block_on(plugins::load(config, builtins, &Metrics::new()))?;
    Ok((runtime, loaded))
}

fn quiet_runtime() -> anyhow::Result<Runtime> {
    telemetry::install(LogFormat::Text, LogLevel::Warn);
    Ok(Builder::new_current_thread().enable_all().build()?)
}

fn deadline() -> Instant {
    Instant::now() + PATIENCE
}
