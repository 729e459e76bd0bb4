//! Errors of the registration: [`RegistrationError`].
//!
//! Each names the object, and with it the key of the configuration that contains its name.

use crate::client::ClusterError;

/// Errors of applying or removing the registration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// The API server refused a request, or is unreachable.
    #[error("cannot {verb} the MutatingWebhookConfiguration {name} (registration.name)")]
    Failed {
        /// The action, such as `read`.
        verb: &'static str,
        /// The object's name.
        name: String,
        /// The cause.
        source: ClusterError,
    },
    /// The API server refused a request for the `APIService`, or is unreachable.
    #[error("cannot {verb} the APIService {name} (server.clients.mode requestHeader)")]
    ApiService {
        /// The action, such as `read`.
        verb: &'static str,
        /// The object's name.
        name: String,
        /// The cause.
        source: ClusterError,
    },
    /// The object does not exist, and the process does not create it.
    #[error(
        "the MutatingWebhookConfiguration {name} (registration.name) does not exist: apply the chart's or the \
         kustomization's object, or set registration.create"
    )]
    Absent {
        /// The object's name.
        name: String,
    },
    /// The object has none of the webhooks of this process, and the process does not add them.
    #[error(
        "the MutatingWebhookConfiguration {name} (registration.name) has no webhook {webhook} \
         (registration.webhookName): apply the chart's or the kustomization's object"
    )]
    NoWebhook {
        /// The object's name.
        name: String,
        /// The configured name of the webhook.
        webhook: String,
    },
    /// The `APIService` does not exist, and the process does not create it.
    #[error(
        "the APIService {name} (server.clients.mode requestHeader) does not exist: apply the chart's or the \
         kustomization's object, or set registration.create"
    )]
    NoApiService {
        /// The object's name.
        name: String,
    },
    /// Running replicas restored the object after every removal.
    #[error(
        "the MutatingWebhookConfiguration {name} (registration.name) was restored after each removal: \
         stop the running replicas first"
    )]
    PutBack {
        /// The object's name.
        name: String,
    },
}

// === impl RegistrationError ===

impl RegistrationError {
    /// Wraps an error of the client.
    pub(super) fn failed(verb: &'static str, name: &str, error: kube::Error) -> Self {
        Self::Failed { verb, name: name.to_owned(), source: error.into() }
    }

    /// Whether an object is missing that the process does not create: it waits for the object.
    pub(super) fn is_missing_object(&self) -> bool {
        matches!(self, Self::Absent { .. } | Self::NoWebhook { .. } | Self::NoApiService { .. })
    }
}
