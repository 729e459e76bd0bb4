//! The pipeline that serves now: [`ServingPipeline`], swapped whole while admissions are on their way.
//!
//! An admission keeps to the end the pipeline that it came to, and the plugins and the engine of that with it.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Pipeline;

/// A pipeline that another can take the place of.
pub struct ServingPipeline(ArcSwap<Pipeline>);

// === impl ServingPipeline ===

impl ServingPipeline {
    /// Serves this one first.
    #[must_use]
    pub fn new(pipeline: Pipeline) -> Self {
        Self(ArcSwap::from_pointee(pipeline))
    }

    /// Serves this one to every admission that arrives from now on.
    pub fn install(&self, pipeline: Pipeline) {
        self.0.store(Arc::new(pipeline));
    }

    /// For one admission.
    #[must_use]
    pub fn current(&self) -> Arc<Pipeline> {
        self.0.load_full()
    }
}
