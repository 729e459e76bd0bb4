//! Authorization rules for secret requests, in the Common Expression Language (CEL).
//!
//! [`CompiledPolicy::compile`] parses and type-checks every rule, and bounds its cost over the
//! largest accepted inputs. Rules are evaluated through [`ampoule_core::RequestPolicy`]. Nothing
//! here performs I/O.

mod check;
mod compile;
mod condition;
mod cost;
mod error;
mod functions;
mod inputs;
mod patterns;
mod session;
mod shape;
#[cfg(test)]
mod tests;
mod values;

use std::sync::Arc;

use ampoule_core::{PodView, PolicyRule, PolicySession, RequestPolicy, Requester};

use self::{compile::CompiledRule, session::RuleSession};
pub use self::{
    condition::{ConditionError, evaluate_condition},
    cost::{ADMISSION_BUDGET, RULE_BUDGET},
    error::{RuleError, RuleFault, RulePosition},
};

/// Maximum length of a rule's expression in bytes.
pub const MAX_EXPRESSION: usize = 4096;

/// Rules that are compiled and checked.
pub struct CompiledPolicy {
    rules: Vec<Arc<CompiledRule>>,
}

// === impl CompiledPolicy ===

impl CompiledPolicy {
    /// Compiles rules in their order.
    ///
    /// # Errors
    ///
    /// The first rule that is not valid CEL, has the wrong types, can never be evaluated, or can
    /// exceed [`RULE_BUDGET`].
    pub fn compile(rules: &[PolicyRule]) -> Result<Self, RuleError> {
        let mut compiled = Vec::with_capacity(rules.len());
        for (index, rule) in rules.iter().enumerate() {
            let rule = compile_and_try(rule).map_err(|reason| RuleError { index, reason })?;
            compiled.push(Arc::new(rule));
        }
        Ok(Self { rules: compiled })
    }

    /// The maximum cost of each rule over the largest accepted inputs, in steps.
    #[must_use]
    pub fn costs(&self) -> Vec<u64> {
        self.rules.iter().map(|rule| rule.largest_cost).collect()
    }
}

/// Compiles a rule, and evaluates it on trial.
fn compile_and_try(rule: &PolicyRule) -> Result<CompiledRule, RuleFault> {
    let compiled = CompiledRule::compile(rule)?;
    session::can_be_evaluated(&compiled)
        .map_err(|error| RuleFault::whole(format!("can never be evaluated: {error}")))?;
    Ok(compiled)
}

impl RequestPolicy for CompiledPolicy {
    fn open<'a>(&'a self, pod: &'a PodView, requester: &'a Requester) -> Box<dyn PolicySession + 'a> {
        Box::new(RuleSession::new(&self.rules, pod, requester))
    }
}
