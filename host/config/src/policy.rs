//! Section `policy`: rules that refuse, warn about or report secret requests.
//!
//! The expressions are compiled where the configuration is loaded, by the crate `ampoule-policy`.

use std::collections::HashSet;

use ampoule_core::{PolicyAction, PolicyRule, is_dns_label};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ConfigError, section::section};

/// Maximum number of rules.
const MAX_RULES: usize = 100;
/// Maximum length of a message in characters. The API server cuts a warning at 256.
const MAX_MESSAGE: usize = 160;

/// Authorization of secret requests.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct PolicySection {
    /// Rules, at most 100. All of them are evaluated in their order for each requested secret. The
    /// first one that matches with the action `deny` refuses the secret. A change takes effect
    /// before anything is loaded.
    #[serde(deserialize_with = "section")]
    rules: Vec<RuleEntry>,
}

/// A rule.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct RuleEntry {
    /// Unique name in messages and metrics: 1 to 63 of a-z, 0-9 and -, with a letter or digit at
    /// both ends. Required.
    name: String,
    /// Condition in the Common Expression Language (CEL), at most 4096 bytes, that returns a
    /// boolean. Required.
    when: String,
    action: ActionName,
    /// Text for the pod's author, at most 160 characters, without values of the pod. Required for
    /// `deny` and `warn`.
    message: String,
    /// Whether the rule is evaluated and counted without its effect.
    shadow: bool,
}

/// The effect of a rule that matches. A rule that cannot be evaluated has the same effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ActionName {
    /// The secret is refused, and the pod with it.
    #[default]
    Deny,
    /// The pod's author gets a warning.
    Warn,
    /// The match is reported in metrics, log and audit trail.
    Audit,
}

// === impl PolicySection ===

impl PolicySection {
    /// Checks names, messages and numbers. Expressions are not compiled.
    pub(crate) fn check(self) -> Result<Vec<PolicyRule>, ConfigError> {
        if self.rules.len() > MAX_RULES {
            let reason = format!("has {} rules; the limit is {MAX_RULES}", self.rules.len());
            return Err(ConfigError::at("policy.rules", reason));
        }
        let mut names = HashSet::new();
        let mut rules = Vec::with_capacity(self.rules.len());
        for (i, entry) in self.rules.into_iter().enumerate() {
            let rule = entry.check(&format!("policy.rules[{i}]"))?;
            if !names.insert(rule.name.clone()) {
                let reason = format!("{:?} is already the name of an earlier rule", rule.name);
                return Err(ConfigError::at(format!("policy.rules[{i}].name"), reason));
            }
            rules.push(rule);
        }
        Ok(rules)
    }
}

impl From<&Vec<PolicyRule>> for PolicySection {
    fn from(rules: &Vec<PolicyRule>) -> Self {
        Self { rules: rules.iter().map(Into::into).collect() }
    }
}

// === impl RuleEntry ===

impl RuleEntry {
    fn check(self, key: &str) -> Result<PolicyRule, ConfigError> {
        if !is_dns_label(&self.name) {
            let reason = "is not a valid name; use 1 to 63 of a-z, 0-9 and -, and start and end with a letter or digit";
            return Err(ConfigError::at(format!("{key}.name"), format!("{:?} {reason}", self.name)));
        }
        if self.when.is_empty() {
            let reason = "is required: an expression in CEL that returns a boolean";
            return Err(ConfigError::at(format!("{key}.when"), reason));
        }
        let at_message = |reason: String| ConfigError::at(format!("{key}.message"), reason);
        if self.message.is_empty() && self.action != ActionName::Audit {
            return Err(at_message("is required for deny and warn: the pod's author reads it".to_owned()));
        }
        let length = self.message.chars().count();
        if length > MAX_MESSAGE {
            return Err(at_message(format!("has {length} characters; the limit is {MAX_MESSAGE}")));
        }
        if self.message.chars().any(char::is_control) {
            return Err(at_message("contains a control character; use one line of text".to_owned()));
        }
        Ok(PolicyRule {
            name: self.name,
            when: self.when,
            action: self.action.into(),
            message: self.message,
            shadow: self.shadow,
        })
    }
}

impl From<&PolicyRule> for RuleEntry {
    fn from(rule: &PolicyRule) -> Self {
        Self {
            name: rule.name.clone(),
            when: rule.when.clone(),
            action: rule.action.into(),
            message: rule.message.clone(),
            shadow: rule.shadow,
        }
    }
}

// === impl ActionName ===

impl From<ActionName> for PolicyAction {
    fn from(name: ActionName) -> Self {
        match name {
            ActionName::Deny => Self::Deny,
            ActionName::Warn => Self::Warn,
            ActionName::Audit => Self::Audit,
        }
    }
}

impl From<PolicyAction> for ActionName {
    fn from(action: PolicyAction) -> Self {
        match action {
            PolicyAction::Deny => Self::Deny,
            PolicyAction::Warn => Self::Warn,
            PolicyAction::Audit => Self::Audit,
        }
    }
}
