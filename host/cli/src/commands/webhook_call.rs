//! [`WebhookCall`]: whether the API server calls the webhook for a pod, by the labels of the pod
//! and of its namespace, and by the `matchConditions` of the registration.
//!
//! The registration is that of the configuration. Whether the object in the cluster is the same is
//! not known here; a reason states what it assumes.

use ampoule_cluster::{
    registration::{MatchCondition, match_conditions},
    version::KubernetesVersion,
};
use ampoule_config::{NamespaceLabels, NamespaceSelector, RegistrationConfig, SelectorMatch};
use ampoule_core::{Pod, TRIGGER_LABELS, text};
use ampoule_policy::evaluate_condition;
use serde_json::{Value, json};

use crate::args::CallArg;

/// The namespaces whose pods are sent to the webhook.
pub(super) struct CallRules<'a> {
    selector: NamespaceSelector,
    /// Whether the registration has updates of ephemeral containers.
    ephemeral_containers: bool,
    conditions: Vec<MatchCondition>,
    /// What the conditions depend on, for messages.
    assumption: &'static str,
    arg: &'a CallArg,
}

/// Whether the API server calls the webhook for a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WebhookCall {
    /// It does.
    Called,
    /// It depends on labels that are not known. The text names them.
    Unknown(String),
    /// It does not, for these reasons. The pod starts unchanged.
    NotCalled(Vec<String>),
}

// === impl CallRules ===

impl<'a> CallRules<'a> {
    pub(super) fn new(registration: &RegistrationConfig, arg: &'a CallArg) -> Self {
        let has_conditions = arg.server_version.is_none_or(KubernetesVersion::has_match_conditions);
        let conditions = match has_conditions {
            true => match_conditions(registration, &arg.webhook_namespace),
            false => Vec::new(),
        };
        let assumption = match (registration.create, arg.server_version) {
            (true, Some(_)) => "",
            (true, None) => "; assumed: Kubernetes 1.30 or later (--server-version)",
            (false, Some(_)) => "; assumed: the registration of the chart",
            (false, None) => {
                "; assumed: the registration of the chart, and Kubernetes 1.30 or later (--server-version)"
            }
        };
        Self {
            selector: registration.selected_namespaces(&arg.webhook_namespace),
            ephemeral_containers: registration.ephemeral_containers,
            conditions,
            assumption,
            arg,
        }
    }

    /// The conditions that are false for a pod, as reasons.
    fn unmet_conditions(&self, pod: &Pod, namespace: &str) -> impl Iterator<Item = String> {
        // A pod for which a condition has no result is refused by the API server.
        let is_unmet = |condition: &&MatchCondition| {
            evaluate_condition(&condition.expression, namespace, pod.as_json()).is_ok_and(|is_met| !is_met)
        };
        self.conditions.iter().filter(is_unmet).map(|condition| {
            let MatchCondition { name, meaning, .. } = condition;
            format!("the pod {meaning} (matchConditions {name} of the registration{})", self.assumption)
        })
    }

    pub(super) fn call(&self, pod: &Pod, namespace: &str) -> WebhookCall {
        let labels = self.arg.namespace_labels.as_ref().map(|labels| &labels.0);
        let selected = self.selector.selects(&NamespaceLabels::new(namespace, labels));
        let (name, namespace) = (namespace, text::printable(namespace));
        let mut reasons = Vec::new();
        if pod.is_update() && !self.ephemeral_containers {
            let reason = "the registration has no updates of ephemeral containers (registration.ephemeralContainers)";
            reasons.push(reason.to_owned());
        }
        if !is_triggered(pod) {
            reasons.push(missing_label(pod));
        }
        if let SelectorMatch::Excluded(condition) = &selected {
            reasons.push(format!(
                "the registration excludes namespace {namespace}, which does not match {} \
                 (registration.namespaceSelector)",
                text::printable(condition)
            ));
        }
        if reasons.is_empty() {
            reasons.extend(self.unmet_conditions(pod, name));
        }
        match selected {
            SelectorMatch::Unknown(keys) if reasons.is_empty() => {
                let keys = keys.into_iter().collect::<Vec<_>>().join(", ");
                return WebhookCall::Unknown(format!(
                    "whether the webhook is called depends on labels of namespace {namespace}: {}; state them with \
                     --namespace-labels",
                    text::printable(&keys)
                ));
            }
            SelectorMatch::Unknown(_) | SelectorMatch::Selected | SelectorMatch::Excluded(_) => {}
        }
        if reasons.is_empty() { WebhookCall::Called } else { WebhookCall::NotCalled(reasons) }
    }
}

// === impl WebhookCall ===

impl WebhookCall {
    /// Why the webhook is not called, or what decides about it.
    pub(super) fn reasons(&self) -> &[String] {
        match self {
            Self::Called => &[],
            Self::Unknown(reason) => std::slice::from_ref(reason),
            Self::NotCalled(reasons) => reasons,
        }
    }

    /// `true`, `false`, or `null` if labels that are not known decide.
    pub(super) fn as_json(&self) -> Value {
        match self {
            Self::Called => json!(true),
            Self::Unknown(_) => Value::Null,
            Self::NotCalled(_) => json!(false),
        }
    }
}

/// Why no label selects a pod.
fn missing_label(pod: &Pod) -> String {
    let [flyte, ampoule] = TRIGGER_LABELS;
    let labels = &pod.as_json()["metadata"]["labels"];
    for label in [ampoule, flyte] {
        match &labels[label] {
            Value::Null => {}
            Value::String(value) => {
                return format!("label {label} of the pod is {:?}, not \"true\"", text::printable(value));
            }
            _ => return format!("label {label} of the pod is not a text; write \"true\" with its quotes"),
        }
        if pod.annotations().contains_key(label) {
            return format!("{label} is an annotation of the pod, not a label");
        }
    }
    format!("the pod has neither label {ampoule} nor {flyte} with the value \"true\"")
}

/// Whether a pod has one of the labels that select pods.
pub(super) fn is_triggered(pod: &Pod) -> bool {
    TRIGGER_LABELS.iter().any(|label| pod.as_json()["metadata"]["labels"][label] == "true")
}
