//! Fetches one value, and tries again while its store does not answer.
//!
//! A pod waits for its store: a failed init container would wait longer, because the kubelet starts
//! it again after a pause that grows to five minutes.

use std::time::{Duration, Instant};

use ampoule_core::{FailureKind, InjectionError, InjectorFailure, PromisedValue, SecretValue};
use ampoule_engine::{FetchedValue, PluginEngine, PluginInjector};
use ampoule_net::backoff::Backoff;
use tokio::time::sleep;
use tracing::warn;

use crate::error::PodFetchError;

/// The pauses between two attempts: at first, and after many failures.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(15)];

/// The end of the time for all values together.
pub(crate) struct Deadline {
    end: Instant,
    seconds: u64,
}

/// The result of one attempt.
enum FetchAttempt {
    Done(SecretValue),
    /// A further attempt does not help.
    Failed(PodFetchError),
    /// The store may answer later.
    Unavailable {
        reason: String,
        retry_after: Option<Duration>,
    },
}

/// Fetches a value. The error names the secret.
pub(crate) async fn fetch(
    engine: &PluginEngine,
    plugin: &PluginInjector,
    value: &PromisedValue,
    deadline: &Deadline,
) -> Result<SecretValue, PodFetchError> {
    let [first, longest] = PAUSES;
    let mut backoff = Backoff::new(first, longest);
    loop {
        let (reason, retry_after) = match attempt(engine, plugin, value).await {
            FetchAttempt::Done(value) => return Ok(value),
            FetchAttempt::Failed(error) => return Err(error),
            FetchAttempt::Unavailable { reason, retry_after } => (reason, retry_after),
        };
        let pause = backoff.pause().max(retry_after.unwrap_or_default());
        if deadline.left() <= pause {
            let (secret, injector) = (value.secret.clone(), plugin.name().to_owned());
            return Err(PodFetchError::Late { secret, injector, seconds: deadline.seconds, reason });
        }
        warn!(secret = value.secret, injector = plugin.name(), reason, "the store does not answer; trying again");
        sleep(pause).await;
    }
}

async fn attempt(engine: &PluginEngine, plugin: &PluginInjector, value: &PromisedValue) -> FetchAttempt {
    let (secret, injector) = (value.secret.clone(), plugin.name().to_owned());
    let (called, promise) = (plugin.clone(), value.promise.clone());
    let answer = match engine.run(async move { called.fetch(&promise).await }).await {
        Ok(answer) => answer,
        Err(error) => {
            return FetchAttempt::Failed(PodFetchError::Declined { secret, injector, reason: error.to_string() });
        }
    };
    match answer {
        Ok(Ok(FetchedValue { value, expires_in: _ })) => FetchAttempt::Done(value),
        Ok(Err(InjectionError::Unavailable(unavailable))) => FetchAttempt::Unavailable {
            reason: unavailable.text,
            retry_after: unavailable.retry_after.map(|seconds| Duration::from_secs(seconds.into())),
        },
        Ok(Err(reason)) => {
            FetchAttempt::Failed(PodFetchError::Declined { secret, injector, reason: reason.to_string() })
        }
        Err(failure) if may_pass(&failure) => {
            FetchAttempt::Unavailable { reason: failure.to_string(), retry_after: None }
        }
        Err(failure) => FetchAttempt::Failed(PodFetchError::Failed { secret, injector, failure }),
    }
}

fn may_pass(failure: &InjectorFailure) -> bool {
    matches!(failure.kind, FailureKind::Deadline | FailureKind::Busy)
}

// === impl Deadline ===

impl Deadline {
    pub(crate) fn start(seconds: u64) -> Self {
        Self { end: Instant::now() + Duration::from_secs(seconds), seconds }
    }

    fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }
}
