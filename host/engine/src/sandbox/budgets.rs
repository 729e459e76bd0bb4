//! [`AdmissionBudgets`]: the budgets of a plugin for one admission.
//!
//! An admission gets a new instance after an answer without edits. All its instances share these
//! budgets: otherwise, a pod with many requests would multiply them.

use std::sync::Arc;

use ampoule_core::Limits;

use super::{log::LogBudget, outbound::budget::OutboundBudget};

/// The budgets that the instances of one plugin share during one admission. Clones share them.
#[derive(Clone)]
pub(crate) struct AdmissionBudgets {
    pub(crate) outbound: Arc<OutboundBudget>,
    pub(crate) log: Arc<LogBudget>,
}

// === impl AdmissionBudgets ===

impl AdmissionBudgets {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { outbound: Arc::new(OutboundBudget::new(limits)), log: Arc::new(LogBudget::new(limits.log_lines)) }
    }
}
