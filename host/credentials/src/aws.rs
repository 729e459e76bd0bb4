//! The webhook's identity in AWS: [`AwsLogin`] gets temporary keys, and [`signer`] signs requests
//! with them.
//!
//! Of the sources of an identity, the first that is set up is used; its failure is an error, so
//! that requests always have the identity that the admin expects.

pub(crate) mod identity;
mod metadata;
pub(crate) mod signer;
mod sts;

use std::time::{Duration, SystemTime};

use ampoule_config::AwsCredential;
use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_smithy_types::date_time::{DateTime, Format};
use secrecy::ExposeSecret as _;

pub(crate) use self::identity::Identity;
use self::identity::IdentitySource;
use crate::{
    LoginError, Surroundings,
    exchange::{DEFAULT_LIFETIME, bounded},
    kept::{CredentialLogin, Fresh},
    surroundings::read_secret_file,
};

/// Keys of AWS. They are wiped when they are dropped, and their debug output has no secret.
pub(crate) type Keys = Credentials;

/// The name of our keys in the types of AWS.
const PROVIDER: &str = "ampoule";
/// The time after which keys of variables are read again.
const STATIC_AGE: Duration = Duration::from_secs(1800);

/// Gets temporary keys for an identity.
pub(crate) struct AwsLogin {
    identity: Identity,
    surroundings: Surroundings,
}

// === impl AwsLogin ===

impl AwsLogin {
    pub(crate) fn new(identity: Identity, surroundings: Surroundings) -> Self {
        Self { identity, surroundings }
    }

    /// The keys of the role that an identity other than a web identity assumes.
    async fn assume(&self, base: Fresh<Keys>) -> Result<Fresh<Keys>, LoginError> {
        match &self.identity.role_arn {
            None => Ok(base),
            Some(role) => sts::assume_role(&self.surroundings, &self.identity, role, base.value()).await,
        }
    }
}

#[async_trait]
impl CredentialLogin<Keys> for AwsLogin {
    async fn login(&self) -> Result<Fresh<Keys>, LoginError> {
        let surroundings = &self.surroundings;
        match IdentitySource::find(surroundings)? {
            IdentitySource::WebIdentity { token_file } => {
                let reason = "AWS_WEB_IDENTITY_TOKEN_FILE is, and the credential has no roleArn";
                let role = match &self.identity.role_arn {
                    Some(role) => role.clone(),
                    None => surroundings.required_variable("AWS_ROLE_ARN", reason)?,
                };
                let token = read_secret_file(&token_file, "AWS_WEB_IDENTITY_TOKEN_FILE:").await?;
                sts::assume_role_with_web_identity(surroundings, &self.identity, &role, &token).await
            }
            IdentitySource::Container { uri, token_file } => {
                let token = match token_file {
                    Some(file) => Some(read_secret_file(&file, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE:").await?),
                    None => surroundings.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(Into::into),
                };
                let keys = metadata::container_keys(surroundings, &uri, token.as_ref()).await?;
                self.assume(keys).await
            }
            IdentitySource::Variables { key_id, secret, session_token } => {
                let session_token = session_token.map(|token| token.expose_secret().to_owned());
                let keys = Keys::new(key_id, secret.expose_secret(), session_token, None, PROVIDER);
                self.assume(Fresh::reread_after(keys, STATIC_AGE)).await
            }
            IdentitySource::Instance => {
                let keys = metadata::instance_keys(surroundings, &self.identity.metadata_endpoint).await?;
                self.assume(keys).await
            }
        }
    }
}

/// Keys that are valid until a time of the form `2026-11-29T10:00:00Z`.
fn keys_until(
    server: &str,
    key_id: &str,
    secret: &str,
    session_token: &str,
    expiration: &str,
) -> Result<Fresh<Keys>, LoginError> {
    let format = || LoginError::format_of(server);
    if key_id.is_empty() || secret.is_empty() || session_token.is_empty() {
        return Err(format());
    }
    let expiry = DateTime::from_str(expiration, Format::DateTime).map_err(|_| format())?;
    let expiry = SystemTime::try_from(expiry).map_err(|_| format())?;
    let lifetime = expiry.duration_since(SystemTime::now()).map_or(DEFAULT_LIFETIME, |left| bounded(left.as_secs()));
    let keys = Keys::new(key_id, secret, Some(session_token.to_owned()), Some(expiry), PROVIDER);
    Ok(Fresh::for_lifetime(keys, Duration::from_secs(lifetime)))
}

// === impl Identity ===

impl Identity {
    /// The identity of a credential: hosts with different services can share it.
    pub(crate) fn of(config: &AwsCredential) -> Self {
        let partition = if config.region.starts_with("cn-") { ".cn" } else { "" };
        let sts = config.sts_endpoint.clone();
        let metadata = config.metadata_endpoint.as_deref().unwrap_or("http://169.254.169.254");
        Self {
            region: config.region.clone(),
            role_arn: config.role_arn.clone(),
            sts_endpoint: sts.unwrap_or_else(|| format!("https://sts.{}.amazonaws.com{partition}", config.region)),
            metadata_endpoint: metadata.trim_end_matches('/').to_owned(),
        }
    }
}
