//! [`AdmissionBudgets`]: the budgets of a plugin for one admission.
//!
//! An admission gets a new instance after an answer without edits. All its instances share these
//! budgets: otherwise, a pod with many requests would multiply them.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use super::{context::PluginContext, limits::ExceededLimit, log::LogBudget, outbound::budget::OutboundBudget};

/// Amounts of the budgets whose use an answer repeats when it is given again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BudgetAmounts {
    pub(crate) host_calls: u32,
    pub(crate) outbound_calls: u32,
    pub(crate) outbound_bytes: usize,
}

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

    /// Returns a call that was none: wasmtime reports an interruption of a guest as a call.
    pub(crate) fn return_host_call(&self) {
        let left = self.host_calls_left.load(Ordering::Relaxed);
        self.host_calls_left.store(left.saturating_add(1), Ordering::Relaxed);
    }

    /// What is left.
    pub(crate) fn left(&self) -> BudgetAmounts {
        let (outbound_calls, outbound_bytes) = self.outbound.left();
        BudgetAmounts { host_calls: self.host_calls_left.load(Ordering::Relaxed), outbound_calls, outbound_bytes }
    }

    /// Sets what is left. No guest of the admission may run.
    pub(crate) fn set_left(&self, left: BudgetAmounts) {
        self.host_calls_left.store(left.host_calls, Ordering::Relaxed);
        self.outbound.set_left(left.outbound_calls, left.outbound_bytes);
    }

    /// Counts a call of the host. The instances of an admission run one after the other, so the
    /// counter needs no atomic decrement.
    pub(crate) fn count_host_call(&self) -> Result<(), ExceededLimit> {
        let left = self.host_calls_left.load(Ordering::Relaxed);
        self.host_calls_left.store(left.checked_sub(1).ok_or(ExceededLimit::HostCalls)?, Ordering::Relaxed);
        Ok(())
    }
}

// === impl BudgetAmounts ===

impl BudgetAmounts {
    /// These amounts and others; no limit is near the maximum of an integer.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            host_calls: self.host_calls.saturating_add(other.host_calls),
            outbound_calls: self.outbound_calls.saturating_add(other.outbound_calls),
            outbound_bytes: self.outbound_bytes.saturating_add(other.outbound_bytes),
        }
    }

    /// These amounts without others; `None` if one of them is too small.
    pub(crate) fn minus(self, other: Self) -> Option<Self> {
        Some(Self {
            host_calls: self.host_calls.checked_sub(other.host_calls)?,
            outbound_calls: self.outbound_calls.checked_sub(other.outbound_calls)?,
            outbound_bytes: self.outbound_bytes.checked_sub(other.outbound_bytes)?,
        })
    }
}
