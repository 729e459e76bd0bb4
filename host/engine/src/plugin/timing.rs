//! [`CallTiming`]: the time of each phase of a call. [`ObserveOnDrop`] reports it.
//!
//! A call can be dropped at any wait, so the report is made by a destructor.

use std::{future::poll_fn, pin::pin, time::Duration};

use tokio::time::Instant;

use ampoule_core::{Call, CallOutcome, PluginObserver};

/// The time of each phase of a call, as far as the call got.
#[derive(Clone, Copy, Default)]
pub(crate) struct CallTiming {
    pub(crate) queue: Duration,
    pub(crate) start: Option<Duration>,
    pub(crate) guest: Duration,
    pub(crate) host: Duration,
    pub(crate) memory: Option<usize>,
    /// Whether the edits are those of an earlier call.
    pub(crate) reused: bool,
    /// The current phase.
    pub(crate) phase: CallPhase,
}

/// A phase of a call.
#[derive(Clone, Copy, Default)]
pub(crate) enum CallPhase {
    #[default]
    Queue,
    Start,
    Guest,
}

/// Reports a call to the observer when it is dropped, even if the call is aborted.
pub(crate) struct ObserveOnDrop<'a> {
    pub(crate) timing: CallTiming,
    pub(crate) outcome: CallOutcome,
    observer: &'a dyn PluginObserver,
    started: Instant,
}

/// Measures consecutive intervals.
pub(crate) struct Stopwatch {
    interval_start: Instant,
}

/// Runs a future, and returns its output and the time that it waited: between a poll that was
/// pending and the next one. A future that does not wait costs no reading of the clock.
pub(crate) async fn measure_waits<F: Future>(future: F) -> (F::Output, Duration) {
    let mut future = pin!(future);
    let mut waiting_since: Option<Instant> = None;
    let mut waited = Duration::ZERO;
    let output = poll_fn(|context| {
        waited += waiting_since.take().map(|since| since.elapsed()).unwrap_or_default();
        let polled = future.as_mut().poll(context);
        waiting_since = polled.is_pending().then(Instant::now);
        polled
    })
    .await;
    (output, waited)
}

// === impl ObserveOnDrop ===

impl<'a> ObserveOnDrop<'a> {
    /// Starts the measurement. The outcome is [`CallOutcome::Abandoned`] until it is set.
    pub(crate) fn start(observer: &'a dyn PluginObserver) -> Self {
        let timing = CallTiming::default();
        Self { timing, outcome: CallOutcome::Abandoned, observer, started: Instant::now() }
    }
}

impl Drop for ObserveOnDrop<'_> {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        if self.outcome == CallOutcome::Abandoned {
            self.timing.charge_rest(elapsed);
        }
        let CallTiming { queue, start, guest, host, memory, reused, phase: _ } = self.timing;
        self.observer.called(&Call { outcome: self.outcome, reused, elapsed, queue, start, guest, host, memory });
    }
}

// === impl CallTiming ===

impl CallTiming {
    /// Adds the unmeasured rest of `elapsed` to the phase in which the call was aborted.
    fn charge_rest(&mut self, elapsed: Duration) {
        let measured = self.queue + self.start.unwrap_or_default() + self.guest + self.host;
        let rest = elapsed.saturating_sub(measured);
        match self.phase {
            CallPhase::Queue => self.queue += rest,
            CallPhase::Start => self.start = Some(rest),
            CallPhase::Guest => self.guest += rest,
        }
    }
}

// === impl Stopwatch ===

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { interval_start: Instant::now() }
    }

    /// Returns the time since the previous call, or since the start.
    pub(crate) fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now - std::mem::replace(&mut self.interval_start, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_future_waits_between_a_pending_poll_and_the_next_one() {
        let wait = Duration::from_secs(2);
        let twice = async {
            tokio::time::sleep(wait).await;
            tokio::time::sleep(wait).await;
            "done"
        };
        let (output, waited) = measure_waits(twice).await;
        assert_eq!(output, "done");
        assert!(waited >= 2 * wait && waited < 3 * wait, "{waited:?}");
        let ((), waited) = measure_waits(async {}).await;
        assert_eq!(waited, Duration::ZERO, "a future that never waits");
    }
}
