//! [`Permission`]: what the API server must allow a caller before the console shows something.
//!
//! Decision 0086 gives the reasons for each of them.

use ampoule_cluster::caller::AskedAction;

/// The condition of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    /// To read about the process as a whole: plugins, configuration, policy and figures.
    Process,
    /// To read the decisions about the pods of a namespace; `None` for all of them.
    Decisions(Option<String>),
    /// To try a pod in a namespace.
    DryRun(String),
}

// === impl Permission ===

impl Permission {
    /// Returns the action that the API server must allow.
    pub(crate) fn action(&self) -> AskedAction<'_> {
        match self {
            Self::Process => AskedAction {
                verb: "get",
                group: "admissionregistration.k8s.io",
                resource: "mutatingwebhookconfigurations",
                namespace: None,
            },
            Self::Decisions(namespace) => {
                AskedAction { verb: "get", group: "", resource: "pods", namespace: namespace.as_deref() }
            }
            Self::DryRun(namespace) => {
                AskedAction { verb: "create", group: "", resource: "pods", namespace: Some(namespace) }
            }
        }
    }

    /// Returns the refusal's text, in the words of the API server.
    pub(crate) fn denied(&self) -> String {
        let AskedAction { verb, group, resource, namespace } = self.action();
        let place =
            namespace.map_or_else(|| " at the cluster scope".to_owned(), |name| format!(" in the namespace {name:?}"));
        format!("the caller cannot {verb} resource {resource:?} in API group {group:?}{place}")
    }
}
