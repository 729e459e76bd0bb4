//! The commands: dispatch and exit codes.
//!
//! Each command prints its result to stdout and errors to stderr. `mutate`, `explain` and `config
//! check` use the pipeline that `serve` uses.

mod compile;
mod component;
mod config_check;
mod config_convert;
mod config_schema;
mod console;
mod explain;
mod export_policy;
mod init_certs;
mod input;
mod inspect;
mod list;
mod mutate;
mod output;
mod plugin;
mod portable;
mod progress;
mod push;
mod request;
mod serve;
mod setup;
mod stale;
#[cfg(test)]
mod tests;
mod uninstall;
mod webhook_call;

use std::process::ExitCode;

use self::{
    compile::compile,
    config_check::config_check,
    config_convert::config_convert,
    config_schema::config_schema,
    console::console,
    explain::explain,
    export_policy::export_policy,
    init_certs::init_certs,
    inspect::plugin_inspect,
    list::plugin_list,
    mutate::mutate,
    output::eprint_line,
    plugin::{plugin_bench, plugin_build, plugin_new, plugin_test},
    portable::portable,
    push::plugin_push,
    request::request,
    serve::{serve, webhook},
    uninstall::uninstall,
};
use crate::args::{Args, Command, ConfigCommand, PluginCommand};
use ampoule_components::builtins::Builtins;

// === impl Args ===

impl Args {
    /// Parses the process' arguments, runs the command and returns its exit code.
    ///
    /// `builtins` are the names and components of the built-in plugins. The first one is the
    /// default plugin.
    #[must_use]
    pub fn parse_and_run(builtins: Builtins) -> ExitCode {
        let args = match Self::parse_words(std::env::args_os()) {
            Ok(args) => args,
            Err(error) => {
                let usage = error.use_stderr();
                // If printing fails, no other output is available to report the failure.
                let _ = error.print();
                return if usage { ExitCode::from(2) } else { ExitCode::SUCCESS };
            }
        };
        run_command(args.command, builtins).unwrap_or_else(|error| {
            eprint_line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        })
    }
}

fn run_command(command: Command, builtins: Builtins) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(args) => serve(args.into(), builtins),
        Command::Webhook(args) => webhook(*args, builtins),
        Command::InitCerts(args) => init_certs(&args.into(), builtins),
        Command::Uninstall(args) => uninstall(&args.into(), builtins),
        Command::Mutate(args) => mutate(&args, builtins),
        Command::Explain(args) => explain(&args, builtins),
        Command::Request(args) => request(args),
        Command::ExportPolicy(args) => export_policy(&args, builtins),
        Command::Console(args) => console(&args),
        Command::Config(ConfigCommand::Check(args)) => config_check(&args, builtins),
        Command::Config(ConfigCommand::Convert(args)) => config_convert(args, builtins),
        Command::Config(ConfigCommand::Schema) => config_schema(),
        Command::Plugin(PluginCommand::Inspect(args)) => plugin_inspect(&args, builtins),
        Command::Plugin(PluginCommand::List(args)) => plugin_list(&args),
        Command::Plugin(PluginCommand::New(args)) => plugin_new(&args),
        Command::Plugin(PluginCommand::Build(args)) => plugin_build(&args),
        Command::Plugin(PluginCommand::Bench(args)) => plugin_bench(&args, builtins),
        Command::Plugin(PluginCommand::Test(args)) => plugin_test(&args, builtins),
        Command::Plugin(PluginCommand::Push(args)) => plugin_push(&args, builtins),
        Command::Compile(args) => compile(&args),
        Command::Portable(args) => portable(&args, builtins),
    }
}
