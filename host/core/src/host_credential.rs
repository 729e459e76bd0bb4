//! [`HostCredential`]: attaches a credential to the HTTP requests that a plugin sends to one host.
//!
//! The crate for credentials implements it. The engine checks the grant, and adds the headers after
//! the plugin has handed over its request: the plugin never has the credential.

use async_trait::async_trait;
use secrecy::SecretString;

/// Attaches a credential to the requests to one host.
#[async_trait]
pub trait HostCredential: Send + Sync {
    /// The lower-case names of the headers that only the host may set.
    fn headers(&self) -> &[String];

    /// Whether [`attach`](Self::attach) needs the body of the request.
    fn needs_body(&self) -> bool;

    /// Why a plugin may not send a request with this method and this path: its response would
    /// contain the credential.
    fn reveals(&self, method: &str, path: &str) -> Option<&'static str>;

    /// Returns the headers to add. Many requests share one login.
    ///
    /// # Errors
    ///
    /// If no credential can be obtained.
    async fn attach(&self, request: &OutgoingRequest) -> Result<Vec<CredentialHeader>, CredentialError>;

    /// Takes note of the status of a response: a host that rejects a credential gets another one
    /// with the next request.
    fn answered(&self, status: u16);
}

/// A plugin's request, as far as a signature covers it.
#[derive(Clone)]
pub struct OutgoingRequest {
    /// The method.
    pub method: String,
    /// The host, with its port unless that is 443: the value of the header `host`.
    pub authority: String,
    /// The path and the query.
    pub path_and_query: String,
    /// The names and values of the plugin's headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body; empty unless the credential needs it.
    pub body: Vec<u8>,
}

/// A header of a credential.
pub struct CredentialHeader {
    /// Its lower-case name.
    pub name: String,
    /// Its value.
    pub value: SecretString,
}

/// Why a request has no credential. The plugin and the pod's author may see the text; the log has
/// the details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The identity of the webhook is not accepted.
    #[error("the login was refused")]
    Refused,
    /// The place of the credential does not answer.
    #[error("the login server does not answer")]
    Unavailable,
    /// The configuration is incomplete, or names something that does not exist.
    #[error("the credential is not set up")]
    Misconfigured,
    /// The API server issues no token with which the webhook could log in.
    #[error("the webhook's role does not allow `create` on serviceaccounts/token")]
    Forbidden,
}

// === impl CredentialError ===

impl CredentialError {
    /// All errors.
    pub const ALL: [Self; 4] = [Self::Refused, Self::Unavailable, Self::Misconfigured, Self::Forbidden];

    /// Returns the label value in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Misconfigured => "misconfigured",
            Self::Forbidden => "forbidden",
        }
    }
}
