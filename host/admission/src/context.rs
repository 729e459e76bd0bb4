//! [`RequestContext`]: the properties of one request that do not change while it is handled.
//!
//! It travels by reference through webhook and pipeline.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ampoule_core::{AdmissionMemory, UnlimitedMemory};
use ampoule_telemetry::trace::Trace;
use tokio::time::Instant as Deadline;

/// When a request arrived, when its answer is due, its trace and its memory. Cheap to clone.
#[derive(Clone)]
pub struct RequestContext {
    /// When the first byte arrived. Metrics and the log measure from here.
    pub arrived: Instant,
    /// When the answer is due: the API server's timeout, less a margin.
    pub deadline: Deadline,
    /// Spans of this request; no spans if the request is not sampled.
    pub trace: Trace,
    /// The memory that this request may use until its answer.
    pub memory: Arc<dyn AdmissionMemory>,
}

// === impl RequestContext ===

impl RequestContext {
    /// A request that arrives now, without a trace and a limit of memory, for commands and tests.
    #[must_use]
    pub fn untraced(budget: Duration) -> Self {
        let arrived = Instant::now();
        Self {
            arrived,
            deadline: Deadline::from_std(arrived) + budget,
            trace: Trace::default(),
            memory: Arc::new(UnlimitedMemory),
        }
    }

    /// A request that arrives now, without a trace, which uses this memory: for dry runs of the
    /// serving process.
    #[must_use]
    pub fn with_memory(budget: Duration, memory: Arc<dyn AdmissionMemory>) -> Self {
        Self { memory, ..Self::untraced(budget) }
    }

    /// The time left until the deadline.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Deadline::now())
    }
}
