//! `ampoule serve` and `ampoule webhook`: run the webhook until a signal.
//!
//! `webhook` is `serve` with Flyte's configuration, so that Flyte's chart can start Ampoule
//! unchanged.

use std::{io, num::NonZero, process::ExitCode, thread::available_parallelism};

use tokio::runtime::{Builder, Runtime};

use super::{init_certs::init_certs, uninstall::uninstall};
use crate::args::{WebhookArgs, WebhookCommand};
use ampoule_components::builtins::Builtins;
use ampoule_server::app::{App, StartOptions};
use ampoule_telemetry::log;

/// Threads that serve HTTP, at most. On a large node without a CPU limit, more threads would parse
/// more large bodies at once, and each thread has memory of its own.
const MAX_HTTP_THREADS: usize = 16;

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
    let threads = http_threads(available_parallelism().map_or(1, NonZero::get));
    let runtime =
        Builder::new_multi_thread().worker_threads(threads).thread_name("ampoule-http").enable_all().build()?;
    Ok(Box::leak(Box::new(runtime)))
}

/// The number of threads for `parallelism` processors, which follows the CPU limit of the
/// container.
fn http_threads(parallelism: usize) -> usize {
    parallelism.clamp(1, MAX_HTTP_THREADS)
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    #[test]
    fn the_threads_follow_the_processors_up_to_a_bound() {
        for (parallelism, threads) in [(0, 1), (1, 1), (2, 2), (16, 16), (128, 16)] {
            assert_eq!(http_threads(parallelism), threads, "{parallelism}");
        }
        let expected = http_threads(available_parallelism().unwrap().get());
        assert_eq!(process_runtime().unwrap().metrics().num_workers(), expected);
    }

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
