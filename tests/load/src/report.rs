//! What came of a load: [`Report`], counts and a histogram, which add up over rounds.
//!
//! Latencies are of answered requests alone: a quantile is worth something only beside [`Report::failed`].

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;

use crate::Failure;

/// Digits of a latency that are kept: an error of a thousandth.
const DIGITS: u8 = 3;

/// What came of a load.
#[derive(Clone, Debug)]
pub struct Report {
    /// Requests that were due, warm-up excepted.
    pub sent: u64,
    /// Of these, those that got a good answer.
    pub answered: u64,
    /// The rest, by reason.
    pub failed: BTreeMap<Failure, u64>,
    /// From the first of them to the last answer; summed over reports that were added.
    pub elapsed: Duration,
    /// Nanoseconds to the last byte of each answer.
    pub latencies: Histogram<u64>,
    /// Nanoseconds by which the generator's clock was late in handing out each request: its own error, which is in the latencies as well.
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

    /// The latency that this share of the answers did not exceed, between 0 and 1.
    #[must_use]
    pub fn latency(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.latencies.value_at_quantile(quantile))
    }

    /// Takes another round of the same load in.
    pub fn add(&mut self, other: &Self) {
        self.absorb(other);
        self.elapsed += other.elapsed;
    }

    /// That every request got a good answer.
    ///
    /// # Errors
    ///
    /// How many did not, by reason.
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

    /// Takes in what another connection saw in the same time.
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

    /// Counts an exchange that took this long from the moment that it was due.
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

/// As a histogram takes it.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
