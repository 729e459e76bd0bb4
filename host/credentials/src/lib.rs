//! Credentials of the host for the HTTP requests of plugins: it logs in, keeps the token until
//! shortly before its expiry, and attaches it after the plugin has handed over its request.
//!
//! [`credentials`] creates the credentials of one plugin. The engine calls them through
//! [`HostCredential`]: this crate does not know how plugins run.
//!
//! | module | task |
//! | --- | --- |
//! | `host` | one host entry: the headers of a request |
//! | `kept` | keeps a credential, and lets many requests wait for one login |
//! | `source` | reads a secret from a Kubernetes Secret, a file or a variable |
//! | `exchange` | HTTP with login servers |
//! | `aws`, `azure`, `gcp`, `oauth2`, `vault` | the logins |
//!
//! No error, log line or debug output contains a credential: the texts are made of names from the
//! configuration, HTTP statuses, and error codes from fixed lists.

mod aws;
mod azure;
mod error;
mod exchange;
mod gcp;
mod host;
mod kept;
mod oauth2;
mod source;
mod surroundings;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod vault;

use std::sync::Arc;

use ampoule_config::{CredentialConfig, GrantedHost};
use ampoule_core::{Destination, HostCredential, PluginObserver};

use self::{
    aws::signer::AwsSigner,
    host::TokenHost,
    kept::{CredentialLogin, Kept, KeptToken},
};
pub use self::{error::LoginError, surroundings::Surroundings};

/// Creates the credentials of the hosts of a plugin, by their host. Hosts with the same identity
/// share its logins.
#[must_use]
pub fn credentials(
    plugin: &str,
    hosts: &[GrantedHost],
    surroundings: &Surroundings,
) -> Vec<(Destination, Option<Arc<dyn HostCredential>>)> {
    let mut logins = Logins { plugin, surroundings, tokens: Vec::new(), aws: Vec::new() };
    let mut credentials = Vec::new();
    for host in hosts {
        let credential = host.credential.as_ref().map(|config| logins.credential(config, &host.destination));
        credentials.push((host.destination.clone(), credential));
    }
    credentials
}

/// The logins of one plugin.
struct Logins<'a> {
    plugin: &'a str,
    surroundings: &'a Surroundings,
    tokens: Vec<(&'a CredentialConfig, Arc<KeptToken>)>,
    aws: Vec<(aws::Identity, Arc<Kept<aws::Keys>>)>,
}

// === impl Logins ===

impl<'a> Logins<'a> {
    fn credential(&mut self, config: &'a CredentialConfig, host: &Destination) -> Arc<dyn HostCredential> {
        if let CredentialConfig::AwsSigV4(aws) = config {
            let identity = aws::Identity::of(aws);
            let known = self.aws.iter().find(|(known, _)| *known == identity).map(|(_, kept)| Arc::clone(kept));
            let kept = known.unwrap_or_else(|| {
                let login = aws::AwsLogin::new(identity.clone(), self.surroundings.clone());
                let kept = Arc::new(Kept::new(Arc::new(login), self.plugin, host, self.observer()));
                self.aws.push((identity, Arc::clone(&kept)));
                kept
            });
            return Arc::new(AwsSigner::new(aws, config.headers(), kept));
        }
        let known = self.tokens.iter().find(|(known, _)| *known == config).map(|(_, kept)| Arc::clone(kept));
        let kept = known.unwrap_or_else(|| {
            let kept = Arc::new(Kept::new(self.login(config), self.plugin, host, self.observer()));
            self.tokens.push((config, Arc::clone(&kept)));
            kept
        });
        Arc::new(TokenHost::new(config, kept))
    }

    fn observer(&self) -> Arc<dyn PluginObserver> {
        Arc::clone(&self.surroundings.observer)
    }

    /// The login of a credential that is a token in a header.
    fn login(&self, config: &CredentialConfig) -> Arc<dyn CredentialLogin<secrecy::SecretString>> {
        let surroundings = self.surroundings.clone();
        match config {
            CredentialConfig::Bearer(source) => Arc::new(source::SourceLogin::new(source.clone(), surroundings)),
            CredentialConfig::Header(header) => Arc::new(source::SourceLogin::new(header.value.clone(), surroundings)),
            CredentialConfig::Basic(basic) => Arc::new(source::BasicLogin::new(basic.clone(), surroundings)),
            CredentialConfig::Gcp(gcp) => Arc::new(gcp::GcpLogin::new(gcp.clone(), surroundings)),
            CredentialConfig::Azure(azure) => Arc::new(azure::AzureLogin::new(azure.clone(), surroundings)),
            CredentialConfig::Vault(vault) => Arc::new(vault::VaultLogin::new(vault.clone(), surroundings)),
            CredentialConfig::OAuth2(oauth2) => Arc::new(oauth2::OAuth2Login::new(oauth2.clone(), surroundings)),
            CredentialConfig::AwsSigV4(_) => unreachable!("AWS signs requests, and has no token"),
        }
    }
}
