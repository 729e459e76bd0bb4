//! The policy of a configuration: compiles its rules, and describes the injectors to them.
//!
//! The configuration's own checks do not compile expressions.

use std::sync::Arc;

use ampoule_config::{Config, ConfigError};
use ampoule_core::{PolicyAction, PolicyRule};
use ampoule_policy::CompiledPolicy;

/// Compiles the rules of a configuration; `None` without rules.
///
/// # Errors
///
/// The first rule that is not valid, with its key.
pub fn compile(config: &Config) -> Result<Option<Arc<CompiledPolicy>>, ConfigError> {
    if config.policy.is_empty() {
        return Ok(None);
    }
    match CompiledPolicy::compile(&config.policy) {
        Ok(policy) => Ok(Some(Arc::new(policy))),
        Err(error) => {
            let key = format!("policy.rules[{}].when", error.index);
            Err(ConfigError::at(key, error.reason.to_string()))
        }
    }
}

/// The new rules, and the previous rules that deny and are no longer configured. They apply while
/// the plugins of the new configuration are being loaded.
pub(crate) fn both(previous: &[PolicyRule], new: &[PolicyRule]) -> Vec<PolicyRule> {
    let is_kept = |rule: &&PolicyRule| rule.action == PolicyAction::Deny && !rule.shadow && !new.contains(rule);
    new.iter().chain(previous.iter().filter(is_kept)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(rules: &str) -> Config {
        Config::parse(&format!("policy: {{ rules: [{rules}] }}"), &["k8s"]).unwrap()
    }

    #[test]
    fn a_rule_that_does_not_compile_is_named_by_its_key() {
        let good = "{ name: a, when: 'true', message: no }";
        for (when, expected) in [
            (
                "request.team == 1",
                "configuration: policy.rules[1].when: line 1, column 8: unknown field request.team; use group, key, \
                 version, mount, variable, protocol",
            ),
            ("request.group", "configuration: policy.rules[1].when: must return bool, not string"),
        ] {
            let config = config(&format!("{good}, {{ name: b, when: {when}, message: no }}"));
            assert_eq!(compile(&config).err().unwrap().to_string(), expected);
        }
        assert!(compile(&config("")).unwrap().is_none());
        assert!(compile(&config(good)).unwrap().is_some());
    }

    #[test]
    fn previous_rules_that_deny_stay_until_the_load_ends() {
        let rules = |text: &str| config(text).policy;
        let names = |previous: &str, new: &str| {
            both(&rules(previous), &rules(new)).into_iter().map(|rule| rule.name + &rule.when).collect::<Vec<_>>()
        };
        let (deny, warn) =
            ("{ name: a, when: 'true', message: no }", "{ name: w, when: 'true', message: no, action: warn }");
        assert_eq!(names(&format!("{deny}, {warn}"), ""), ["atrue"]);
        assert_eq!(names(deny, deny), ["atrue"]);
        assert_eq!(names(deny, "{ name: a, when: 'false', message: no }"), ["afalse", "atrue"]);
        assert_eq!(names("{ name: a, when: 'true', message: no, shadow: true }", ""), [] as [&str; 0]);
    }
}
