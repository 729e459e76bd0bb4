//! What each command does. All but `serve` are over in a moment; those that judge a pod use the pipeline that `serve` uses.
//!
//! Each prints its result to stdout and its errors to stderr.

mod compile;
mod config_check;
mod config_convert;
mod explain;
mod init_certs;
mod input;
mod inspect;
mod list;
mod mutate;
mod output;
mod plugin;
mod push;
mod request;
#[cfg(test)]
mod tests;
mod uninstall;

use std::{io::Write as _, process::ExitCode, time::Duration};

use ampoule_admission::RequestContext;
use tokio::runtime::{Builder, Runtime};

use crate::args::{Args, Command, ConfigArg, ConfigCommand, PluginCommand, WebhookArgs, WebhookCommand};
use ampoule_components::builtins::{self, Builtins};
use ampoule_config::{Config, ConfigSource, LoadedConfig};
use ampoule_server::{
    app::{App, Start},
    plugins::{Loaded, Loader},
};
use ampoule_telemetry::{
    log::{self, LineWriter, LogFormat, LogLevel},
    metrics::Metrics,
};
use clap::Parser as _;

pub(crate) use self::{
    compile::compile,
    config_check::config_check,
    config_convert::config_convert,
    explain::explain,
    init_certs::init_certs,
    inspect::plugin_inspect,
    list::plugin_list,
    mutate::mutate,
    plugin::{plugin_bench, plugin_build, plugin_new, plugin_test},
    push::plugin_push,
    request::request,
    uninstall::uninstall,
};

/// What the API server gives a webhook where its registration does not say.
const TIMEOUT: Duration = Duration::from_secs(10);

// === impl Args ===

impl Args {
    /// Runs the program: the command line's words are its input, the exit code is its result.
    ///
    /// `builtins` are the plugins in this program: their names and components, the one that is asked by default first.
    #[must_use]
    pub fn parse_and_run(builtins: Builtins) -> ExitCode {
        let Self { command } = match Self::try_parse() {
            Ok(args) => args,
            Err(error) => {
                let usage = error.use_stderr();
                // Nobody is left to tell if even this cannot be printed.
                let _ = error.print();
                return if usage { ExitCode::from(2) } else { ExitCode::SUCCESS };
            }
        };
        let done = match command {
            Command::Serve(args) => serve(args.into(), builtins),
            Command::Webhook(args) => webhook(*args, builtins),
            Command::InitCerts(args) => init_certs(&args.into(), builtins),
            Command::Uninstall(args) => uninstall(&args.into(), builtins),
            Command::Mutate(args) => mutate(&args, builtins),
            Command::Explain(args) => explain(&args, builtins),
            Command::Request(args) => request(args),
            Command::Config(ConfigCommand::Check(args)) => config_check(&args, builtins),
            Command::Config(ConfigCommand::Convert(args)) => config_convert(args, builtins),
            Command::Plugin(PluginCommand::Inspect(args)) => plugin_inspect(&args, builtins),
            Command::Plugin(PluginCommand::List(args)) => plugin_list(&args),
            Command::Plugin(PluginCommand::New(args)) => plugin_new(&args),
            Command::Plugin(PluginCommand::Build(args)) => plugin_build(&args),
            Command::Plugin(PluginCommand::Bench(args)) => plugin_bench(&args, builtins),
            Command::Plugin(PluginCommand::Test(args)) => plugin_test(&args, builtins),
            Command::Plugin(PluginCommand::Push(args)) => plugin_push(args, builtins),
            Command::Compile(args) => compile(&args),
        };
        done.unwrap_or_else(|error| {
            complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        })
    }
}

/// `ampoule serve`.
pub(crate) fn serve(start: Start, builtins: Builtins) -> anyhow::Result<ExitCode> {
    log::install(start.process.log_format, start.process.log_level);
    let runtime = Builder::new_multi_thread().thread_name("ampoule-http").enable_all().build()?;
    let served = runtime.block_on(async { App::build(start, builtins).await?.run().await });
    // Whatever is left after the drain has had its time, and ends with the process: a guest that still runs looks at this runtime's
    // timers, which panic in one that was shut down.
    std::mem::forget(runtime);
    served.map(|()| ExitCode::SUCCESS)
}

/// `ampoule webhook` and its subcommand.
pub(crate) fn webhook(args: WebhookArgs, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let WebhookArgs { config, process, command } = args;
    let config = config.into();
    match command {
        None => serve(Start { config, self_signed: None, process }, builtins),
        Some(WebhookCommand::InitCerts) => init_certs(&config, builtins),
        Some(WebhookCommand::Uninstall) => uninstall(&config, builtins),
    }
}

/// Writes a line to stderr.
pub(crate) fn complain(line: &str) {
    // Nobody is left to tell if this fails.
    let _ = LineWriter.write_all(format!("{line}\n").as_bytes());
}

/// The runtime and the pipeline of a command that judges one pod.
fn pipeline(config: &ConfigArg, builtins: Builtins) -> anyhow::Result<(Runtime, Loaded)> {
    let runtime = quiet_runtime()?;
    let config = load(&config.clone().into(), builtins)?;
    let loaded = runtime.block_on(Loader::new(builtins, Metrics::new()).load(&config))?;
    Ok((runtime, loaded))
}

/// The configuration; what its author should know goes to stderr.
fn load(source: &ConfigSource, builtins: Builtins) -> anyhow::Result<Config> {
    let LoadedConfig { config, notices } = source.load(&builtins::names(builtins))?;
    for notice in notices {
        complain(&notice.to_string());
    }
    Ok(config)
}

fn quiet_runtime() -> anyhow::Result<Runtime> {
    log::install(LogFormat::Text, LogLevel::Warn);
    Ok(Builder::new_current_thread().enable_all().build()?)
}

fn context() -> RequestContext {
    RequestContext::untraced(TIMEOUT)
}
