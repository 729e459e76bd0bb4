//! Metrics of policy rules and shadow injectors: [`PolicyMetrics`].
//!
//! The labels are names of the configuration, which limits the number of rules.

use ampoule_core::{PolicyFinding, PolicyRule, ShadowComparison, ShadowResult};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// Counters of rules and shadow injectors.
#[derive(Clone, Default)]
pub(super) struct PolicyMetrics {
    matches: Family<RuleLabels, Counter>,
    errors: Family<RuleLabels, Counter>,
    shadows: Family<ShadowLabels, Counter>,
}

/// The figures of one rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleFigures {
    /// The number of evaluations that matched.
    pub matches: u64,
    /// The number of evaluations that failed.
    pub errors: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabels {
    rule: String,
    action: &'static str,
    shadow: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShadowLabels {
    injector: String,
    result: &'static str,
}

// === impl PolicyMetrics ===

impl PolicyMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Evaluations of a policy rule that matched";
        registry.register("policy_rule_matches", help, self.matches.clone());
        let help = "Evaluations of a policy rule that failed";
        registry.register("policy_rule_errors", help, self.errors.clone());
        let help = "Calls of shadow injectors, by the comparison with the served answer";
        registry.register("shadow_injector", help, self.shadows.clone());
    }

    /// Creates the series of a rule at zero.
    pub(super) fn add_rule(&self, rule: &PolicyRule) {
        drop(self.matches.get_or_create(&RuleLabels::of_rule(rule)));
        drop(self.errors.get_or_create(&RuleLabels::of_rule(rule)));
    }

    /// Removes the series of a rule that is no longer configured.
    pub(super) fn remove_rule(&self, rule: &PolicyRule) {
        self.matches.remove(&RuleLabels::of_rule(rule));
        self.errors.remove(&RuleLabels::of_rule(rule));
    }

    pub(super) fn found(&self, finding: &PolicyFinding) {
        let labels =
            RuleLabels { rule: finding.rule.to_string(), action: finding.action.as_str(), shadow: finding.shadow };
        let family = if finding.error.is_some() { &self.errors } else { &self.matches };
        family.get_or_create(&labels).inc();
    }

    /// Reads the counters of a rule, without creating them.
    pub(super) fn rule_figures(&self, rule: &PolicyRule) -> RuleFigures {
        let labels = RuleLabels::of_rule(rule);
        let read = |family: &Family<RuleLabels, Counter>| family.get(&labels).map_or(0, |counter| counter.get());
        RuleFigures { matches: read(&self.matches), errors: read(&self.errors) }
    }

    /// Reads the counters of a shadow injector, without creating them.
    pub(super) fn shadow_figures(&self, injector: &str) -> Vec<(ShadowResult, u64)> {
        let read = |result| {
            let labels = ShadowLabels::new(injector, result);
            self.shadows.get(&labels).map_or(0, |counter| counter.get())
        };
        ShadowResult::ALL.into_iter().map(|result| (result, read(result))).collect()
    }

    /// Creates the series of a shadow injector at zero.
    pub(super) fn add_shadow(&self, injector: &str) {
        for result in ShadowResult::ALL {
            drop(self.shadows.get_or_create(&ShadowLabels::new(injector, result)));
        }
    }

    /// Removes the series of a shadow injector that is no longer configured.
    pub(super) fn remove_shadow(&self, injector: &str) {
        for result in ShadowResult::ALL {
            self.shadows.remove(&ShadowLabels::new(injector, result));
        }
    }

    pub(super) fn compared(&self, comparison: &ShadowComparison) {
        self.shadows.get_or_create(&ShadowLabels::new(&comparison.injector, comparison.result)).inc();
    }
}

// === impl RuleLabels ===

impl RuleLabels {
    fn of_rule(rule: &PolicyRule) -> Self {
        Self { rule: rule.name.clone(), action: rule.action.as_str(), shadow: rule.shadow }
    }
}

// === impl ShadowLabels ===

impl ShadowLabels {
    fn new(injector: &str, result: ShadowResult) -> Self {
        Self { injector: injector.to_owned(), result: result.as_str() }
    }
}
