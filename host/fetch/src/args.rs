//! [`FetchArgs`]: the command line of `ampoule-fetch`.
//!
//! The defaults are those of its image; tests use other paths.

use std::{path::PathBuf, process::ExitCode, time::Instant};

use ampoule_core::{FETCH_VARIABLE, FetchDocument, VARIABLES_PATH};
use clap::Parser;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

use crate::{
    error::PodFetchError,
    fetcher::{Deadline, PodFetcher},
    output::Outputs,
    plugins, report,
};

/// Fetches the secrets of a pod.
#[derive(Debug, Parser)]
#[command(name = "ampoule-fetch", version)]
pub struct FetchArgs {
    /// Directory of the components and their compiled code.
    #[arg(long, default_value = "/components")]
    components: PathBuf,
    /// File that gets the reason of a failure.
    #[arg(long, default_value = "/dev/termination-log")]
    termination_log: PathBuf,
}

// === impl FetchArgs ===

impl FetchArgs {
    /// Parses the command line and runs the program.
    #[must_use]
    pub fn parse_and_run() -> ExitCode {
        let begun = Instant::now();
        let args = Self::parse();
        report::start_log();
        match args.run() {
            Ok(document) => {
                report::success(&document, begun.elapsed());
                ExitCode::SUCCESS
            }
            Err(error) => {
                report::failure(&error, &args.termination_log);
                ExitCode::FAILURE
            }
        }
    }

    fn run(&self) -> Result<FetchDocument, PodFetchError> {
        let document = read_document()?;
        let deadline = Deadline::start(document.total_seconds);
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| PodFetchError::Engine(error.into()))?;
        runtime.block_on(self.fetch_until_stopped(&document, &deadline))?;
        Ok(document)
    }

    /// Ends at SIGTERM: the program is the first process of its container, for which the system has
    /// no default action.
    async fn fetch_until_stopped(&self, document: &FetchDocument, deadline: &Deadline) -> Result<(), PodFetchError> {
        let mut stop = signal(SignalKind::terminate()).map_err(|error| PodFetchError::Engine(error.into()))?;
        tokio::select! {
            fetched = self.fetch(document, deadline) => fetched,
            _ = stop.recv() => Err(PodFetchError::Stopped),
        }
    }

    async fn fetch(&self, document: &FetchDocument, deadline: &Deadline) -> Result<(), PodFetchError> {
        let loaded = plugins::load(document, &self.components).await?;
        let mut outputs = Outputs::new(VARIABLES_PATH);
        for (injector, plugin) in document.injectors.iter().zip(&loaded.plugins) {
            let fetcher = PodFetcher { engine: &loaded.engine, plugin, deadline };
            let fetched = fetcher.fetch_all(&injector.values).await?;
            for (value, bytes) in injector.values.iter().zip(&fetched) {
                outputs.write(value, bytes)?;
            }
        }
        outputs.finish()
    }
}

fn read_document() -> Result<FetchDocument, PodFetchError> {
    #[expect(clippy::disallowed_methods, reason = "the webhook passes the document as a variable of the container")]
    let text = std::env::var(FETCH_VARIABLE).map_err(|_| PodFetchError::Document("is not set".to_owned()))?;
    serde_json::from_str(&text).map_err(|error| PodFetchError::Document(format!("is not valid: {error}")))
}
