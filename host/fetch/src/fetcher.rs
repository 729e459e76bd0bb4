//! Fetches the values, and tries again while a store does not answer.
//!
//! A pod waits for its store: a failed init container would wait longer, because the kubelet starts
//! it again after a pause that grows to five minutes.

use std::time::{Duration, Instant};

use ampoule_core::{FailureKind, InjectionError, InjectorFailure, PromisedValue};
use ampoule_engine::{FetchFailure, FetchedValue, PluginEngine, PluginInjector};
use ampoule_net::backoff::Backoff;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::{error::PodFetchError, plugins::CALLS};

/// The pauses between two attempts: at first, and after many failures.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(15)];

/// The end of the time for all values together.
pub(crate) struct Deadline {
    end: Instant,
    seconds: u64,
}

/// The fetches of one injector.
pub(crate) struct PodFetcher<'a> {
    pub(crate) engine: &'a PluginEngine,
    pub(crate) plugin: &'a PluginInjector,
    pub(crate) deadline: &'a Deadline,
}

/// The result of one attempt.
enum FetchAttempt {
    Done(FetchedValue),
    /// The store does not have the value.
    Absent(PodFetchError),
    /// A further attempt does not help.
    Failed(PodFetchError),
    /// The store may answer later.
    Unavailable {
        reason: String,
        retry_after: Option<Duration>,
    },
}

// === impl PodFetcher ===

impl PodFetcher<'_> {
    /// Fetches all values, a few at a time, and returns them in their order; `None` for an optional
    /// value that the store does not have. The error is the first one, and names the secret.
    pub(crate) async fn fetch_all(&self, values: &[PromisedValue]) -> Result<Vec<Option<FetchedValue>>, PodFetchError> {
        let mut fetches = Vec::with_capacity(values.len());
        for value in values {
            fetches.push(self.fetch(value));
        }
        stream::iter(fetches).buffered(CALLS).try_collect().await
    }

    async fn fetch(&self, value: &PromisedValue) -> Result<Option<FetchedValue>, PodFetchError> {
        let [first, longest] = PAUSES;
        let mut backoff = Backoff::new(first, longest);
        loop {
            let (reason, retry_after) = match self.attempt(value).await {
                FetchAttempt::Done(value) => return Ok(Some(value)),
                FetchAttempt::Absent(reason) if value.optional => {
                    warn!(%reason, "the pod starts without this secret, because it is optional");
                    return Ok(None);
                }
                FetchAttempt::Absent(error) | FetchAttempt::Failed(error) => return Err(error),
                FetchAttempt::Unavailable { reason, retry_after } => (reason, retry_after),
            };
            let pause = backoff.pause().max(retry_after.unwrap_or_default());
            if self.deadline.left() <= pause {
                let (secret, injector) = (value.secret.clone(), self.plugin.name().to_owned());
                return Err(PodFetchError::Late { secret, injector, seconds: self.deadline.seconds, reason });
            }
            let injector = self.plugin.name();
            warn!(secret = value.secret, injector, reason, "the store does not answer; trying again");
            sleep(pause).await;
        }
    }

    async fn attempt(&self, value: &PromisedValue) -> FetchAttempt {
        let (secret, injector) = (value.secret.clone(), self.plugin.name().to_owned());
        let (called, promise) = (self.plugin.clone(), value.promise.clone());
        let call = self.engine.run(async move { called.fetch(&promise).await });
        match timeout(self.deadline.left(), call).await {
            Ok(Ok(answer)) => classify(answer, secret, injector),
            Ok(Err(_)) => {
                let reason = "the program has a defect; see its log".to_owned();
                FetchAttempt::Failed(PodFetchError::Declined { secret, injector, reason })
            }
            Err(_) => FetchAttempt::Unavailable { reason: "no answer".to_owned(), retry_after: None },
        }
    }
}

fn classify(answer: Result<FetchedValue, FetchFailure>, secret: String, injector: String) -> FetchAttempt {
    match answer {
        Ok(fetched) => FetchAttempt::Done(fetched),
        Err(FetchFailure::Declined(InjectionError::Unavailable(unavailable))) => FetchAttempt::Unavailable {
            reason: unavailable.text,
            retry_after: unavailable.retry_after.map(|seconds| Duration::from_secs(seconds.into())),
        },
        Err(FetchFailure::Declined(InjectionError::NotFound(text))) => {
            let reason = InjectionError::NotFound(text).to_string();
            FetchAttempt::Absent(PodFetchError::Declined { secret, injector, reason })
        }
        Err(FetchFailure::Declined(reason)) => {
            FetchAttempt::Failed(PodFetchError::Declined { secret, injector, reason: reason.to_string() })
        }
        Err(FetchFailure::LoginRefused(reason)) => {
            FetchAttempt::Failed(PodFetchError::Login { secret, injector, reason: reason.to_string() })
        }
        Err(FetchFailure::Failed(failure)) if may_pass(&failure) => {
            FetchAttempt::Unavailable { reason: failure.to_string(), retry_after: None }
        }
        Err(FetchFailure::Failed(failure)) => FetchAttempt::Failed(PodFetchError::Failed { secret, injector, failure }),
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
