//! `ampoule serve` and `ampoule webhook`: run the webhook until a signal.
//!
//! `webhook` is `serve` with Flyte's configuration, so that Flyte's chart can start Ampoule
//! unchanged.

use std::{io, process::ExitCode};

use tokio::runtime::{Builder, Runtime};

use super::{init_certs::init_certs, uninstall::uninstall};
use crate::args::{WebhookArgs, WebhookCommand};
use ampoule_components::builtins::Builtins;
use ampoule_server::app::{App, StartOptions};
use ampoule_telemetry::log;

/// `ampoule serve`.
pub(crate) fn serve(options: StartOptions, builtins: Builtins) -> anyhow::Result<ExitCode> {
    log::install(options.process.log_format, options.process.log_level);
    process_runtime()?.block_on(async { App::build(options, builtins).await?.run().await })?;
    Ok(ExitCode::SUCCESS)
}

/// `ampoule webhook` and its subcommands.
pub(crate) fn webhook(args: WebhookArgs, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let config = args.config.into();
    match args.command {
        None => serve(StartOptions { config, self_signed: None, process: args.process }, builtins),
        Some(WebhookCommand::InitCerts) => init_certs(&config, builtins),
        Some(WebhookCommand::Uninstall) => uninstall(&config, builtins),
    }
}

/// A runtime that lives until the process exits.
///
/// It is never shut down, for two reasons. A guest that still runs after the drain uses the
/// runtime's timers, which panic after a shutdown. A shutdown also waits for threads that block.
/// The end of the process ends both.
fn process_runtime() -> io::Result<&'static Runtime> {
    let runtime = Builder::new_multi_thread().thread_name("ampoule-http").enable_all().build()?;
    Ok(Box::leak(Box::new(runtime)))
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    #[test]
    fn the_runtime_outlives_serving_without_waiting_for_a_blocked_task() {
        let (release, blocked) = mpsc::channel();
        let runtime = process_runtime().unwrap();
        let (running, started) = mpsc::channel();
        let guest = runtime.spawn(async move {
            running.send(()).unwrap();
            blocked.recv().unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        });
        runtime.block_on(async {});
        started.recv().unwrap();
        // `block_on` returns although the guest blocks a thread.
        runtime.block_on(async {});
        assert!(!guest.is_finished());
        release.send(()).unwrap();
        runtime.block_on(guest).expect("timers of the runtime still run");
    }
}
