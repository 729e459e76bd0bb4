//! Pauses between attempts: [`Backoff`], exponential with jitter.
//!
//! Jitter spreads the replicas of a Deployment that lost the same server at the same time.

use std::time::Duration;

/// The pause before the next attempt. It doubles with each failure in a row, up to a maximum.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

// === impl Backoff ===

impl Backoff {
    /// Returns a back-off whose pauses grow from `first` to `longest`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// Returns the pause after a failure: between half and all of the current limit, which then
    /// doubles.
    pub fn pause(&mut self) -> Duration {
        let limit = self.next;
        self.next = (limit * 2).min(self.longest);
        jitter(limit)
    }

    /// Starts again with the first pause, after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

fn jitter(limit: Duration) -> Duration {
    limit.mul_f64(0.5 + 0.5 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_again_after_a_success() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(second, 4 * second);
        let mut check = |limit: Duration| {
            let pause = backoff.pause();
            assert!(pause >= limit / 2 && pause <= limit, "{pause:?}");
        };
        [1, 2, 4, 4].into_iter().for_each(|limit| check(limit * second));
        backoff.reset();
        assert!(backoff.pause() <= second);
    }

    #[test]
    fn replicas_that_fail_together_do_not_retry_together() {
        let second = Duration::from_secs(1);
        let pauses: Vec<_> = (0..100).map(|_| Backoff::new(second, second).pause()).collect();
        let (shortest, longest) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
        assert!(*longest - *shortest > second / 4, "{pauses:?}");
    }
}
