//! [`AdmissionBudgets`]: the budgets of a plugin for one admission.
//!
//! An admission gets a new instance after an answer without edits. All its instances share these
//! budgets: otherwise, a pod with many requests would multiply them.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use super::{context::PluginContext, limits::ExceededLimit, log::LogBudget, outbound::budget::OutboundBudget};

/// The budgets that the instances of one plugin share during one admission. Clones share them.
#[derive(Clone)]
pub(crate) struct AdmissionBudgets {
    pub(crate) outbound: Arc<OutboundBudget>,
    pub(crate) log: Arc<LogBudget>,
    host_calls_left: Arc<AtomicU32>,
}

// === impl AdmissionBudgets ===

impl AdmissionBudgets {
    pub(crate) fn new(plugin: &PluginContext) -> Self {
        let limits = &plugin.limits;
        Self {
            outbound: Arc::new(OutboundBudget::new(limits)),
            log: Arc::new(LogBudget::new(limits.log_lines, plugin.services.log.clone())),
            host_calls_left: Arc::new(AtomicU32::new(limits.host_calls)),
        }
    }

    /// Counts a call of the host. The instances of an admission run one after the other, so the
    /// counter needs no atomic decrement.
    pub(crate) fn count_host_call(&self) -> Result<(), ExceededLimit> {
        let left = self.host_calls_left.load(Ordering::Relaxed);
        self.host_calls_left.store(left.checked_sub(1).ok_or(ExceededLimit::HostCalls)?, Ordering::Relaxed);
        Ok(())
    }
}
