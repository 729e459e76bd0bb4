//! The result of a load: [`Report`], counts and a histogram, which can be added over rounds.
//!
//! Latencies include only answered requests: quote a quantile together with [`Report::failed`].

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;

use crate::Failure;

/// Significant digits of a latency: an error of a thousandth.
const DIGITS: u8 = 3;

/// The result of a load.
#[derive(Clone, Debug)]
pub struct Report {
    /// Number of scheduled requests, without the warm-up.
    pub sent: u64,
    /// Number of requests with a valid answer.
    pub answered: u64,
    /// Number of other requests, by reason.
    pub failed: BTreeMap<Failure, u64>,
    /// Time from the first request to the last answer; the sum for added reports.
    pub elapsed: Duration,
    /// Nanoseconds to the last byte of each answer.
    pub latencies: Histogram<u64>,
    /// Nanoseconds by which the generator sent each request late: its own error, which the
    /// latencies include.
    pub lateness: Histogram<u64>,
}

// === impl Report ===

impl Default for Report {
    fn default() -> Self {
        let empty = || Histogram::new(DIGITS).expect("a histogram can have three digits");
        Self {
            sent: 0,
            answered: 0,
            failed: BTreeMap::new(),
            elapsed: Duration::ZERO,
            latencies: empty(),
            lateness: empty(),
        }
    }
}

impl Report {
    /// Answers per second.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a count of requests is far below 2^52")]
    pub fn rate(&self) -> f64 {
        self.answered as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that this share of the answers, between 0 and 1, did not exceed.
    #[must_use]
    pub fn latency(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.latencies.value_at_quantile(quantile))
    }

    /// Adds another round of the same load.
    pub fn add(&mut self, other: &Self) {
        self.absorb(other);
        self.elapsed += other.elapsed;
    }

    /// Verifies that every request got a valid answer.
    ///
    /// # Errors
    ///
    /// The number of failed requests, by reason.
    pub fn ensure_no_failure(&self) -> Result<()> {
        let reasons: Vec<_> = self.failed.iter().map(|(failure, count)| format!("{count}: {failure}")).collect();
        ensure!(
            reasons.is_empty(),
            "of {} requests {} were answered; {}",
            self.sent,
            self.answered,
            reasons.join(", ")
        );
        Ok(())
    }

    /// Adds the report of another connection for the same time.
    pub(crate) fn absorb(&mut self, other: &Self) {
        let Self { sent, answered, failed, elapsed: _, latencies, lateness } = other;
        self.sent += sent;
        self.answered += answered;
        for (failure, count) in failed {
            *self.failed.entry(*failure).or_default() += count;
        }
        self.latencies += latencies;
        self.lateness += lateness;
    }

    /// Counts an exchange with its latency from the moment that it was scheduled.
    pub(crate) fn record(&mut self, outcome: Result<(), Failure>, latency: Duration) {
        self.sent += 1;
        match outcome {
            Ok(()) => {
                self.answered += 1;
                self.latencies += nanos(latency);
            }
            Err(failure) => *self.failed.entry(failure).or_default() += 1,
        }
    }
}

/// Nanoseconds for a histogram.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
