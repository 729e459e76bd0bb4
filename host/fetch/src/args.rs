//! [`FetchArgs`]: the command line of `ampoule-fetch`.
//!
//! The defaults are those of its image; tests use other paths.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use ampoule_core::{FETCH_VARIABLE, FetchDocument, IMAGE_COMPONENTS, SHIPPED_DIRECTORY, VARIABLES_PATH};
use clap::Parser;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

use crate::{
    changes::ChangeLog, error::PodFetchError, fetcher::Deadline, plugins::ComponentFolders, refresh, report,
    secrets::PodSecrets,
};

/// The directory of the components in the image of the program.
const IMAGE: &str = "/components";

/// Fetches the secrets of a pod.
#[derive(Debug, Parser)]
#[command(name = "ampoule-fetch", version)]
pub struct FetchArgs {
    /// Directory of components and their code that only an image can change (repeatable).
    #[arg(long, default_values_t = [IMAGE.to_owned(), IMAGE_COMPONENTS.to_owned()])]
    components: Vec<String>,
    /// Directory of components and code from ConfigMaps.
    #[arg(long, default_value = SHIPPED_DIRECTORY)]
    shipped_components: PathBuf,
    /// File that gets the reason of a failure.
    #[arg(long, default_value = "/dev/termination-log")]
    termination_log: PathBuf,
}

// === impl FetchArgs ===

impl FetchArgs {
    /// Parses the command line and runs the program.
    #[must_use]
    pub fn parse_and_run() -> ExitCode {
        let args = Self::parse();
        report::start_log();
        match args.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                report::failure(&error, &args.termination_log);
                ExitCode::FAILURE
            }
        }
    }

    fn run(&self) -> Result<(), PodFetchError> {
        let begun = Instant::now();
        let document = read_document()?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| PodFetchError::Engine(error.into()))?;
        runtime.block_on(async {
            // The program is the first process of its container, for which the system has no
            // default action.
            let mut stop = signal(SignalKind::terminate()).map_err(|error| PodFetchError::Engine(error.into()))?;
            match document.refresh_seconds {
                None => tokio::select! {
                    fetched = self.fetch(&document, begun) => fetched,
                    _ = stop.recv() => Err(PodFetchError::Stopped),
                },
                Some(seconds) => tokio::select! {
                    failed = self.refresh(&document, seconds) => failed,
                    _ = stop.recv() => Ok(()),
                },
            }
        })
    }

    fn folders(&self) -> ComponentFolders {
        let trusted = self.components.iter().map(PathBuf::from).collect();
        ComponentFolders { trusted, shipped: self.shipped_components.clone() }
    }

    /// Fetches the values once.
    async fn fetch(&self, document: &FetchDocument, begun: Instant) -> Result<(), PodFetchError> {
        let deadline = Deadline::start(document.total_seconds);
        let secrets = PodSecrets::load(document, &self.folders()).await?;
        secrets.fetch(&deadline, None).await?;
        report::fetched(document, begun.elapsed());
        Ok(())
    }

    /// Fetches the values again and again, until the pod ends or variables changed.
    async fn refresh(&self, document: &FetchDocument, seconds: u64) -> Result<(), PodFetchError> {
        let mut log = document.report_changes.then(|| ChangeLog::beside(Path::new(VARIABLES_PATH)));
        let report = |log: &ChangeLog| {
            let report = log.report(document)?;
            report::changes(&report, &self.termination_log);
            Some(report)
        };
        log.as_ref().and_then(report);
        let secrets = PodSecrets::load(document, &self.folders()).await?;
        refresh::until_report(&secrets, Duration::from_secs(seconds), log.as_mut()).await;
        log.as_ref().and_then(report).iter().for_each(report::variables_changed);
        Ok(())
    }
}

fn read_document() -> Result<FetchDocument, PodFetchError> {
    #[expect(clippy::disallowed_methods, reason = "the webhook passes the document as a variable of the container")]
    let text = std::env::var(FETCH_VARIABLE).map_err(|_| PodFetchError::Document("is not set".to_owned()))?;
    serde_json::from_str(&text).map_err(|error| PodFetchError::Document(format!("is not valid: {error}")))
}
