//! Waiting with a limit: [`eventually`] retries until a condition holds, and reports the last
//! failure after the limit.
//!
//! The tests wait for a state in no other way, and never sleep in the hope that it is reached.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Interval between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Retries until an attempt succeeds, and returns its result.
///
/// # Errors
///
/// The last attempt's error once `limit` has passed; it names the awaited condition, `what`.
pub async fn eventually<T>(what: &str, limit: Duration, attempt: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    eventually_every(PAUSE, what, limit, attempt).await
}

/// Like [`eventually`], with another interval between attempts.
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
