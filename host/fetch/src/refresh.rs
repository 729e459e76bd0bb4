//! [`until_report`]: fetches the values of a running pod again, as its sidecar.
//!
//! A failure changes nothing: the pod keeps the values that it has, and the log has the reason. The
//! processes of the pod notice a new value by the change of its file. They cannot notice that of a
//! variable: the sidecar ends to report it, and the kubelet starts it again.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tracing::warn;

use crate::{changes::ChangeLog, fetcher::Deadline, report, secrets::PodSecrets};

/// The longest time before the first fetch. Only a fetch tells when the values expire.
const FIRST: Duration = Duration::from_secs(60);
/// The longest time before the next fetch after one that failed.
const RETRY: Duration = Duration::from_secs(60);
/// The shortest time between two fetches, also of values that expire earlier.
const SHORTEST: Duration = Duration::from_secs(10);

/// Fetches the values at this interval. Ends when the log has a change of variables to report;
/// never without a log.
pub(crate) async fn until_report(secrets: &PodSecrets<'_>, interval: Duration, mut log: Option<&mut ChangeLog>) {
    let mut pause = jitter(interval.min(FIRST));
    loop {
        sleep(pause).await;
        let begun = Instant::now();
        match secrets.fetch(&Deadline::start(secrets.document.total_seconds), log.as_deref_mut()).await {
            Ok(round) => {
                if round.changed {
                    report::refreshed(secrets.document);
                }
                if log.as_deref_mut().is_some_and(is_due) {
                    return;
                }
                // The values live from the begin of their fetch at the earliest.
                let expires_in = round.expires_in.map(|expires_in| expires_in.saturating_sub(begun.elapsed()));
                pause = next_pause(interval, expires_in);
            }
            Err(error) => {
                warn!(reason = %error, "the values of the pod cannot be fetched again; it keeps those that it has");
                pause = jitter(interval.min(RETRY));
            }
        }
    }
}

/// Whether the log has a change to report now. If it cannot be written, the report would be
/// repeated without end.
fn is_due(log: &mut ChangeLog) -> bool {
    log.take_due().unwrap_or_else(|error| {
        warn!(%error, "the changes of variables cannot be recorded, so they are not reported");
        false
    })
}

/// The time until the next fetch: the interval, or less if a value expires before its end.
fn next_pause(interval: Duration, expires_in: Option<Duration>) -> Duration {
    let until_expiry = expires_in.map_or(interval, |expires_in| expires_in.mul_f64(0.8));
    jitter(interval.min(until_expiry)).max(SHORTEST.min(interval))
}

/// Between three quarters and all of a duration, so that the pods of a workload do not ask a store
/// at the same time.
fn jitter(duration: Duration) -> Duration {
    duration.mul_f64(0.75 + 0.25 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_fetched_again_before_it_expires_and_not_more_often_than_every_ten_seconds() {
        for (interval, expires_in, [shortest, longest]) in [
            (300, None, [225, 300]),
            (300, Some(1000), [225, 300]),
            (300, Some(100), [60, 80]),
            (300, Some(1), [10, 10]),
            (10, None, [10, 10]),
        ] {
            let expires_in = expires_in.map(Duration::from_secs);
            for _ in 0..50 {
                let pause = next_pause(Duration::from_secs(interval), expires_in).as_secs_f64();
                let range = f64::from(shortest)..=f64::from(longest);
                assert!(range.contains(&pause), "{interval} {expires_in:?}: {pause}");
            }
        }
    }
}
