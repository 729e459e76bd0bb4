//! Waiting with a limit: [`eventually`] tries until something holds, and says what did not when the time is up.
//!
//! There is no other wait for a state in these tests, and no sleep that hopes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Tries until an attempt succeeds, and gives its result.
///
/// # Errors
///
/// The last attempt's, once `limit` has passed; it names `what` was waited for.
pub async fn eventually<T>(what: &str, limit: Duration, attempt: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    eventually_every(PAUSE, what, limit, attempt).await
}

/// The same, with another pause between two attempts.
pub(crate) async fn eventually_every<T>(
    pause: Duration,
    what: &str,
    limit: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= end => {
                return Err(error).with_context(|| format!("{what}: not within {} s", limit.as_secs()));
            }
            Err(_) => tokio::time::sleep(pause).await,
        }
    }
}
