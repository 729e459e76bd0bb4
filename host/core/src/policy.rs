//! The interface between the mutator and an authorization policy: rules, their findings, and
//! [`RequestPolicy`].
//!
//! Another crate compiles and evaluates the rules; the mutator calls it before it calls injectors.

use std::{fmt, sync::Arc};

use crate::{PodView, request::RequestedSecret};

/// A rule of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRule {
    /// The unique name, a DNS label.
    pub name: String,
    /// The condition, an expression in CEL that returns a boolean.
    pub when: String,
    /// The effect of a match.
    pub action: PolicyAction,
    /// The text for the pod's author; may be empty for [`PolicyAction::Audit`].
    pub message: String,
    /// Whether the rule is only evaluated and counted, without its effect.
    pub shadow: bool,
}

/// The effect of a rule that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyAction {
    /// Refuses the secret, and the pod with it.
    Deny,
    /// Adds a warning for the pod's author.
    Warn,
    /// Reports the match in metrics, log and audit trail only.
    Audit,
}

/// The user that creates a pod, from the review's `userInfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestUser {
    /// The name; empty if unknown.
    pub username: String,
    /// The unique ID; empty if unknown.
    pub uid: String,
    /// The names of the groups.
    pub groups: Vec<String>,
    /// Further attributes of the authenticator.
    pub extra: Vec<(String, Vec<String>)>,
}

/// The requester of an admission as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requester {
    /// The user; all fields are empty if the request names no user.
    User(RequestUser),
    /// The request names a user in an invalid form. Every rule that reads the user fails.
    Unreadable,
}

/// The properties of an injector that rules can read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InjectorFacts {
    /// The name in the configuration; `global` for the webhook's own secrets.
    pub name: String,
    /// Whether it is part of the program.
    pub builtin: bool,
    /// Whether a ConfigMap adds it.
    pub config_map: bool,
    /// Whether its answers can contain values that it fetched.
    pub reads_values: bool,
}

/// A rule that matched a request, or that could not be evaluated for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFinding {
    /// The name of the rule.
    pub rule: Arc<str>,
    /// The effect of the rule.
    pub action: PolicyAction,
    /// Whether the effect is not applied.
    pub shadow: bool,
    /// The rule's text for the pod's author.
    pub message: Arc<str>,
    /// The injector that the rule was evaluated for; `None` if the rule does not read the injector.
    pub injector: Option<String>,
    /// Why the rule could not be evaluated; `None` if it matched. Contains no value of the pod.
    pub error: Option<String>,
}

/// An authorization policy: rules that are evaluated for each secret request.
pub trait RequestPolicy: Send + Sync {
    /// Starts the evaluation for one pod. The view is that of the received pod, for all requests.
    fn open<'a>(&'a self, pod: &'a PodView, requester: &'a Requester) -> Box<dyn PolicySession + 'a>;
}

/// The evaluation of a policy for one pod. Its total cost is bounded.
pub trait PolicySession: Send {
    /// Evaluates rules for a request, and adds the findings in the order of the rules.
    ///
    /// Without an injector, evaluates the rules that do not read the injector, otherwise the rules
    /// that do.
    fn judge(&mut self, request: &RequestedSecret, injector: Option<&InjectorFacts>, findings: &mut Vec<PolicyFinding>);
}

// === impl Requester ===

impl Default for Requester {
    fn default() -> Self {
        Self::User(RequestUser::default())
    }
}

// === impl InjectorFacts ===

impl InjectorFacts {
    /// The properties of an injector about which nothing is known: it may read values.
    #[must_use]
    pub fn unknown() -> Self {
        Self { reads_values: true, ..Self::default() }
    }
}

// === impl PolicyAction ===

impl PolicyAction {
    /// All actions.
    pub const ALL: [Self; 3] = [Self::Deny, Self::Warn, Self::Audit];

    /// Returns the name in the configuration and the label in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Warn => "warn",
            Self::Audit => "audit",
        }
    }
}

// === impl PolicyFinding ===

impl PolicyFinding {
    /// Whether this finding refuses the pod. A rule that cannot be evaluated refuses it as well,
    /// unless the rule only reports.
    #[must_use]
    pub fn denies(&self) -> bool {
        match self.action {
            PolicyAction::Deny => !self.shadow,
            PolicyAction::Warn => !self.shadow && self.error.is_some(),
            PolicyAction::Audit => false,
        }
    }

    /// Whether this finding adds a warning.
    #[must_use]
    pub fn warns(&self) -> bool {
        self.action == PolicyAction::Warn && !self.shadow && self.error.is_none()
    }
}

impl fmt::Display for PolicyFinding {
    /// Writes the rule with its message or its error, as refusals and warnings contain it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy rule {}", self.rule)?;
        if let Some(error) = &self.error {
            return write!(f, " cannot be evaluated: {error}");
        }
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}
