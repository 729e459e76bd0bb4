//! Time spent in each [`Phase`] of an admission, as one histogram per phase.
//!
//! Each admission is counted once in `parse`, `patch` and `answer`. Each plugin call is counted
//! once in each of the other phases that it enters.

use std::time::{Duration, Instant};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, histogram::Histogram},
    registry::Registry,
};

/// From reading a clock (1 µs) to beyond a plugin's default deadline (200 ms).
const BUCKETS: [f64; 16] = [
    0.000_001,
    0.000_002_5,
    0.000_005,
    0.000_01,
    0.000_025,
    0.000_05,
    0.000_1,
    0.000_25,
    0.000_5,
    0.001,
    0.002_5,
    0.01,
    0.05,
    0.2,
    1.0,
    5.0,
];

/// A phase of an admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// From the first byte of the request to the parsed review, including transmission.
    Parse,
    /// Waiting for a plugin instance.
    Queue,
    /// Creating and configuring an instance.
    Instantiate,
    /// Running the plugin's own code.
    Guest,
    /// Running host functions that the plugin called.
    HostCall,
    /// Creating the patch from the edits.
    Patch,
    /// Writing the response.
    Answer,
}

/// Histograms of all phases.
pub struct Phases {
    family: Family<PhaseLabel, Histogram, fn() -> Histogram>,
    histograms: [Histogram; Phase::ALL.len()],
    counts: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabel {
    phase: &'static str,
}

// === impl Phase ===

impl Phase {
    const ALL: [Self; 7] =
        [Self::Parse, Self::Queue, Self::Instantiate, Self::Guest, Self::HostCall, Self::Patch, Self::Answer];

    fn as_str(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Queue => "queue",
            Self::Instantiate => "instantiate",
            Self::Guest => "guest",
            Self::HostCall => "host-call",
            Self::Patch => "patch",
            Self::Answer => "answer",
        }
    }
}

// === impl Phases ===

impl Phases {
    /// `counts` is false for metrics that ignore admissions.
    pub(super) fn new(counts: bool) -> Self {
        let family: Family<_, _, fn() -> Histogram> = Family::new_with_constructor(|| Histogram::new(BUCKETS));
        let histograms = Phase::ALL.map(|phase| family.get_or_create_owned(&PhaseLabel { phase: phase.as_str() }));
        Self { family, histograms, counts }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Time in each phase of an admission, in seconds";
        registry.register("phase_duration_seconds", help, self.family.clone());
    }

    /// Runs a phase and records its duration.
    pub fn timed<T>(&self, phase: Phase, work: impl FnOnce() -> T) -> T {
        if !self.counts {
            return work();
        }
        let start = Instant::now();
        let done = work();
        self.observe(phase, start.elapsed());
        done
    }

    /// Records the duration of a phase.
    pub fn observe(&self, phase: Phase, elapsed: Duration) {
        if self.counts {
            self.histograms[phase as usize].observe(elapsed.as_secs_f64());
        }
    }
}
