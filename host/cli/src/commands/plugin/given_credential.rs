//! [`GivenCredential`]: stands for the credential of a host in tests of plugins. It does not log in
//! anywhere.
//!
//! The request in `sent` has its headers, so a case can check that they are there. A plugin that
//! sets such a header itself gets the same error as in the webhook.

use std::sync::Arc;

use ampoule_config::{CredentialConfig, GrantedHost};
use ampoule_core::{CredentialError, CredentialHeader, HostCredential, OutgoingRequest};
use ampoule_engine::Destination;
use async_trait::async_trait;

/// The value of each header of a credential.
const VALUE: &str = "credential of the host";

/// Stands for the credential of a host.
struct GivenCredential {
    headers: Vec<String>,
    needs_body: bool,
}

/// The host of a grant, with the stand-in for its credential.
pub(super) fn given_credential(host: GrantedHost) -> (Destination, Option<Arc<dyn HostCredential>>) {
    let credential = host.credential.map(|config| -> Arc<dyn HostCredential> {
        let needs_body = matches!(config, CredentialConfig::AwsSigV4(_));
        Arc::new(GivenCredential { headers: config.headers(), needs_body })
    });
    (host.destination, credential)
}

#[async_trait]
impl HostCredential for GivenCredential {
    fn headers(&self) -> &[String] {
        &self.headers
    }

    fn needs_body(&self) -> bool {
        self.needs_body
    }

    fn reveals(&self, _method: &str, _path: &str) -> Option<&'static str> {
        None
    }

    async fn attach(&self, _request: &OutgoingRequest) -> Result<Vec<CredentialHeader>, CredentialError> {
        let header = |name: &String| CredentialHeader { name: name.clone(), value: VALUE.into() };
        Ok(self.headers.iter().map(header).collect())
    }

    fn answered(&self, _status: u16) {}
}
