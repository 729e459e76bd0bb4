//! [`IdentitySource`]: where the webhook's identity in AWS comes from.
//!
//! The variables are those of AWS's SDKs; EKS sets them in the pods of a service account.

use std::{net::IpAddr, path::PathBuf};

use http::Uri;
use secrecy::SecretString;

use crate::{LoginError, Surroundings};

/// The addresses of the agents of ECS and EKS, which have no certificate.
const AGENTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// An identity in AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) region: String,
    pub(crate) role_arn: Option<String>,
    pub(crate) sts_endpoint: String,
    /// Without a slash at its end.
    pub(crate) metadata_endpoint: String,
}

/// Where an identity comes from.
pub(super) enum IdentitySource {
    /// A token of the cluster, for the Security Token Service.
    WebIdentity { token_file: PathBuf },
    /// An agent, such as that of EKS Pod Identity.
    Container { uri: Uri, token_file: Option<PathBuf> },
    /// Keys in variables.
    Variables { key_id: String, secret: SecretString, session_token: Option<SecretString> },
    /// The role of the instance.
    Instance,
}

// === impl IdentitySource ===

impl IdentitySource {
    /// Returns the first source that is set up.
    pub(super) fn find(surroundings: &Surroundings) -> Result<Self, LoginError> {
        if let Some(token_file) = surroundings.variable("AWS_WEB_IDENTITY_TOKEN_FILE") {
            return Ok(Self::WebIdentity { token_file: token_file.into() });
        }
        if let Some(uri) = surroundings.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
            let token_file = surroundings.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(PathBuf::from);
            return Ok(Self::Container { uri: agent_uri(&uri)?, token_file });
        }
        if let Some(key_id) = surroundings.variable("AWS_ACCESS_KEY_ID") {
            let secret = surroundings.required_variable("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID is")?.into();
            let session_token = surroundings.variable("AWS_SESSION_TOKEN").map(SecretString::from);
            return Ok(Self::Variables { key_id, secret, session_token });
        }
        Ok(Self::Instance)
    }
}

/// Requires TLS, a loopback address or the address of an agent, as AWS's SDKs do.
fn agent_uri(text: &str) -> Result<Uri, LoginError> {
    let wrong = || {
        let reason =
            "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither a URL with https:// nor with the address of an agent";
        LoginError::misconfigured(reason)
    };
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let host = uri.host().ok_or_else(wrong)?.trim_start_matches('[').trim_end_matches(']');
    let is_agent = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback() || AGENTS.contains(&host));
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if is_agent => Ok(uri),
        _ => Err(wrong()),
    }
}
