//! [`CallTiming`]: the time of each phase of a call. [`ObserveOnDrop`] reports it.
//!
//! A call can be dropped at any wait, so the report is made by a destructor.

use std::time::Duration;

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
        let CallTiming { queue, start, guest, host, memory, phase: _ } = self.timing;
        self.observer.called(&Call { outcome: self.outcome, elapsed, queue, start, guest, host, memory });
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
