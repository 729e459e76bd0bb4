//! The report of policy rules that matched: one log line per rule and admission, and counters.
//!
//! A pod has up to 256 requests and a policy up to 100 rules, so that a line per match could flood
//! the log.

use std::collections::BTreeMap;

use ampoule_core::{PolicyFinding, RequestReport};
use ampoule_telemetry::metrics::Metrics;
use tracing::{info, warn};

use crate::excerpt::cut;

/// The matches of one rule in one admission.
struct RuleMatches<'a> {
    first: &'a PolicyFinding,
    count: usize,
}

/// Counts and logs the findings of one admission.
pub(crate) fn report(requests: &[RequestReport], metrics: &Metrics, uid: &str) {
    if requests.iter().all(|report| report.findings.is_empty()) {
        return;
    }
    let mut rules: BTreeMap<(&str, bool), RuleMatches<'_>> = BTreeMap::new();
    for finding in requests.iter().flat_map(|report| &report.findings) {
        metrics.policy_found(finding);
        let key = (&*finding.rule, finding.error.is_some());
        rules.entry(key).or_insert(RuleMatches { first: finding, count: 0 }).count += 1;
    }
    rules.values().for_each(|matches| matches.log(cut(uid)));
}

// === impl RuleMatches ===

impl RuleMatches<'_> {
    fn log(&self, uid: &str) {
        let (rule, action, shadow) = (&*self.first.rule, self.first.action.as_str(), self.first.shadow);
        let (count, injector) = (self.count, self.first.injector.as_deref().unwrap_or_default());
        match &self.first.error {
            None => info!(uid, rule, action, shadow, count, injector, "a policy rule matches"),
            Some(error) => {
                warn!(uid, rule, action, shadow, count, injector, error, "a policy rule cannot be evaluated");
            }
        }
    }
}
