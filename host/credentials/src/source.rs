//! Reads a secret from its place: a Kubernetes Secret, a file or a variable.
//!
//! The place is read again from time to time, so that a rotated secret takes effect.

use std::time::Duration;

use ampoule_config::{BasicCredential, CredentialSource, SecretKey};
use ampoule_core::{ClusterSecretsError, SecretName};
use async_trait::async_trait;
use data_encoding::BASE64;
use secrecy::{ExposeSecret as _, SecretString, zeroize::Zeroizing};

use crate::{
    LoginError, Surroundings,
    kept::{CredentialLogin, Fresh},
    surroundings::{read_secret_file, secret_text},
};

/// The time between two reads of a Secret.
const SECRET_AGE: Duration = Duration::from_secs(30);
/// The time between two reads of a file.
const FILE_AGE: Duration = Duration::from_secs(5);

/// A secret from a place, unchanged.
pub(crate) struct SourceLogin {
    source: CredentialSource,
    surroundings: Surroundings,
}

/// User name and password, encoded for the header.
pub(crate) struct BasicLogin {
    username: String,
    password: SourceLogin,
}

// === impl SourceLogin ===

impl SourceLogin {
    pub(crate) fn new(source: CredentialSource, surroundings: Surroundings) -> Self {
        Self { source, surroundings }
    }

    /// Reads the secret.
    pub(crate) async fn read(&self) -> Result<Fresh<SecretString>, LoginError> {
        match &self.source {
            CredentialSource::Secret(key) => {
                self.read_key(key).await.map(|value| Fresh::reread_after(value, SECRET_AGE))
            }
            CredentialSource::File(path) => {
                read_secret_file(path, "file").await.map(|value| Fresh::reread_after(value, FILE_AGE))
            }
            CredentialSource::Environment(name) => {
                let value = self.surroundings.required_variable(name, "the credential names it").map(Zeroizing::new)?;
                let value = secret_text(value.as_bytes());
                let value = value.map_err(|reason| LoginError::misconfigured(format!("{name} {reason}")))?;
                // The variables of a process do not change.
                Ok(Fresh::reread_after(value, Duration::from_secs(1800)))
            }
        }
    }

    async fn read_key(&self, SecretKey { namespace, name, key }: &SecretKey) -> Result<SecretString, LoginError> {
        let secret = SecretName { namespace: namespace.clone(), name: name.clone() };
        match self.surroundings.secrets.read(&secret, key, &[]).await {
            Ok(Some(value)) => {
                let value = secret_text(&Zeroizing::new(value));
                value.map_err(|reason| LoginError::misconfigured(format!("key {key} of Secret {secret} {reason}")))
            }
            Ok(None) => Err(LoginError::misconfigured(format!("Secret {secret} does not exist or has no key {key}"))),
            Err(ClusterSecretsError::Denied(reason)) => Err(LoginError::misconfigured(reason)),
            Err(ClusterSecretsError::Unavailable(reason)) => Err(LoginError::unavailable(reason)),
        }
    }
}

#[async_trait]
impl CredentialLogin<SecretString> for SourceLogin {
    async fn login(&self) -> Result<Fresh<SecretString>, LoginError> {
        let fresh = self.read().await?;
        if !fresh.value().expose_secret().bytes().all(|c| c == b'\t' || (b' '..=b'~').contains(&c)) {
            return Err(LoginError::misconfigured("the secret has characters that a header cannot contain"));
        }
        Ok(fresh)
    }
}

// === impl BasicLogin ===

impl BasicLogin {
    pub(crate) fn new(BasicCredential { username, password }: BasicCredential, surroundings: Surroundings) -> Self {
        Self { username, password: SourceLogin::new(password, surroundings) }
    }
}

#[async_trait]
impl CredentialLogin<SecretString> for BasicLogin {
    async fn login(&self) -> Result<Fresh<SecretString>, LoginError> {
        Ok(self.password.read().await?.map(|password| basic(&self.username, &password)))
    }
}

/// User name and password as in the header `authorization`, without the scheme.
pub(crate) fn basic(username: &str, password: &SecretString) -> SecretString {
    let plain = Zeroizing::new(format!("{username}:{}", password.expose_secret()));
    BASE64.encode(plain.as_bytes()).into()
}
