//! [`WebhookCall`]: whether the API server calls the webhook for a pod, by the labels of the pod
//! and of its namespace.
//!
//! The registration is that of the configuration. Whether the object in the cluster is the same,
//! and its `matchConditions`, are not known here.

use ampoule_config::{NamespaceLabels, NamespaceSelector, RegistrationConfig, SelectorMatch};
use ampoule_core::{Pod, TRIGGER_LABELS, text};
use serde_json::{Value, json};

use crate::args::NamespaceArg;

/// The namespaces whose pods are sent to the webhook.
pub(super) struct CallRules<'a> {
    selector: NamespaceSelector,
    arg: &'a NamespaceArg,
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
    pub(super) fn new(registration: &RegistrationConfig, arg: &'a NamespaceArg) -> Self {
        Self { selector: registration.selected_namespaces(&arg.webhook_namespace), arg }
    }

    pub(super) fn call(&self, pod: &Pod, namespace: &str) -> WebhookCall {
        let labels = self.arg.namespace_labels.as_ref().map(|labels| &labels.0);
        let selected = self.selector.selects(&NamespaceLabels::new(namespace, labels));
        let namespace = text::printable(namespace);
        let mut reasons = Vec::new();
        if !is_triggered(pod) {
            let [flyte, ampoule] = TRIGGER_LABELS;
            reasons.push(format!("the pod has neither label {ampoule} nor {flyte} with the value \"true\""));
        }
        match selected {
            SelectorMatch::Excluded(condition) => reasons.push(format!(
                "the registration excludes namespace {namespace}, which does not match {} \
                 (registration.namespaceSelector)",
                text::printable(&condition)
            )),
            SelectorMatch::Unknown(keys) if reasons.is_empty() => {
                let keys = keys.into_iter().collect::<Vec<_>>().join(", ");
                return WebhookCall::Unknown(format!(
                    "whether the webhook is called depends on labels of namespace {namespace}: {}; state them with \
                     --namespace-labels",
                    text::printable(&keys)
                ));
            }
            SelectorMatch::Unknown(_) | SelectorMatch::Selected => {}
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

/// Whether a pod has one of the labels that select pods.
pub(super) fn is_triggered(pod: &Pod) -> bool {
    TRIGGER_LABELS.iter().any(|label| pod.as_json()["metadata"]["labels"][label] == "true")
}
