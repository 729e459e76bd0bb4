//! [`ServingPipeline`]: the pipeline that serves new admissions, replaced as a whole by a reload.
//!
//! An admission keeps the pipeline that it started with, including its plugins and engine, to its
//! end.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Pipeline;

/// The current pipeline, which a reload replaces.
pub struct ServingPipeline(ArcSwap<Pipeline>);

// === impl ServingPipeline ===

impl ServingPipeline {
    /// Starts with this pipeline.
    #[must_use]
    pub fn new(pipeline: Pipeline) -> Self {
        Self(ArcSwap::from_pointee(pipeline))
    }

    /// Uses this pipeline for every admission that arrives from now on.
    pub fn install(&self, pipeline: Pipeline) {
        self.0.store(Arc::new(pipeline));
    }

    /// The pipeline for an admission that arrives now.
    #[must_use]
    pub fn current(&self) -> Arc<Pipeline> {
        self.0.load_full()
    }
}
