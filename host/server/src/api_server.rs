//! [`until_reachable`]: repeats an action of the start until the API server responds.
//!
//! The process waits with its ports open, and is not ready: a restart would not help, and would
//! hide the reason.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use ampoule_cluster::ClusterError;
use ampoule_net::backoff::Backoff;

/// The pause after the first failure, and the longest after failures in a row.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Interval at which the log repeats the reason.
const REPEAT: Duration = Duration::from_secs(5 * 60);

/// Repeats an action with back-off while the API server is not available. `what` names what the
/// start waits for.
///
/// # Errors
///
/// The action fails for any other reason.
pub(crate) async fn until_reachable<T>(
    what: &'static str,
    action: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    repeat(what, Backoff::new(FIRST_PAUSE, LONGEST_PAUSE), action).await
}

async fn repeat<T>(
    what: &'static str,
    mut backoff: Backoff,
    mut action: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut logged: Option<Instant> = None;
    loop {
        let error = match action().await {
            Err(error) if is_temporary(&error) => error,
            result => {
                if logged.is_some() {
                    info!(what, "the API server responds; the start continues");
                }
                return result;
            }
        };
        if logged.is_none_or(|last| last.elapsed() >= REPEAT) {
            logged = Some(Instant::now());
            warn!(what, error = format!("{error:#}"), "the start waits for the API server");
        }
        sleep(backoff.pause()).await;
    }
}

/// Whether the same request may succeed later, without a change of the configuration.
fn is_temporary(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref()).any(|error| match error {
        ClusterError::Unreachable(_) => true,
        ClusterError::Refused { code, .. } => *code == 429 || *code >= 500,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    fn unreachable() -> anyhow::Error {
        anyhow::Error::from(ClusterError::Unreachable("connection refused".to_owned())).context("cannot list")
    }

    #[tokio::test]
    async fn the_start_waits_for_an_api_server_that_does_not_respond() {
        let refused = |code| ClusterError::Refused { code, message: "m".to_owned() };
        let mut failures = vec![unreachable(), refused(503).into(), refused(429).into(), unreachable()];
        let mut attempts = 0;
        let result = repeat("a test", Backoff::new(Duration::ZERO, Duration::ZERO), async || {
            attempts += 1;
            failures.pop().map_or(Ok(7), Err)
        });
        assert_eq!(result.await.unwrap(), 7);
        assert_eq!(attempts, 5);
    }

    #[tokio::test]
    async fn the_start_fails_if_the_api_server_refuses_or_none_is_configured() {
        let forbidden = ClusterError::Refused { code: 403, message: "forbidden".to_owned() };
        for error in [forbidden, ClusterError::Unreadable] {
            let expected = error.to_string();
            let mut errors = vec![error];
            let result: anyhow::Result<()> =
                until_reachable("a test", async || Err(errors.pop().expect("one attempt")).context("c")).await;
            assert_eq!(result.unwrap_err().root_cause().to_string(), expected);
        }
    }
}
