//! Keys from the agent of a container (EKS Pod Identity), and from the instance metadata service
//! (version 2).
//!
//! Both answer with the same document.

use http::{Request, Uri, header::AUTHORIZATION};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::{Keys, keys_until};
use crate::{
    LoginError, Surroundings,
    exchange::{LoginReply, send},
    kept::Fresh,
};

/// Lifetime of a session of the instance metadata service: only for the following two requests.
const SESSION_SECONDS: &str = "60";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// The keys of a container or an instance.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeysReply {
    access_key_id: String,
    secret_access_key: String,
    token: String,
    expiration: String,
}

/// Gets the keys of a container from its agent.
pub(super) async fn container_keys(
    surroundings: &Surroundings,
    uri: &Uri,
    token: Option<&SecretString>,
) -> Result<Fresh<Keys>, LoginError> {
    let mut request = Request::get(uri);
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, token.expose_secret());
    }
    let server = "the agent in AWS_CONTAINER_CREDENTIALS_FULL_URI";
    keys(server, &send(surroundings, server, request, "").await?)
}

/// Gets the keys of the instance's role.
pub(super) async fn instance_keys(surroundings: &Surroundings, endpoint: &str) -> Result<Fresh<Keys>, LoginError> {
    let server = "the instance metadata service";
    let request = Request::put(format!("{endpoint}/latest/api/token"))
        .header("x-aws-ec2-metadata-token-ttl-seconds", SESSION_SECONDS);
    let session = send(surroundings, server, request, "").await?;
    let session = text(server, &session)?;
    let get = |path: String| {
        Request::get(format!("{endpoint}{path}")).header("x-aws-ec2-metadata-token", session.expose_secret())
    };
    let role = send(surroundings, server, get(ROLES.to_owned()), "").await?;
    if role.status == http::StatusCode::NOT_FOUND {
        return Err(LoginError::misconfigured("the instance has no role"));
    }
    let role = text(server, &role)?;
    let role = role.expose_secret();
    if !role.bytes().all(|c| c.is_ascii_alphanumeric() || b"+=,.@_-".contains(&c)) {
        return Err(LoginError::format_of(server));
    }
    keys(server, &send(surroundings, server, get(format!("{ROLES}{role}")), "").await?)
}

fn text(server: &str, reply: &LoginReply) -> Result<SecretString, LoginError> {
    if !reply.status.is_success() {
        return Err(LoginError::of_status(server, reply.status, None));
    }
    let text = std::str::from_utf8(&reply.body).ok().map(str::trim).filter(|text| !text.is_empty());
    text.map(SecretString::from).ok_or_else(|| LoginError::format_of(server))
}

fn keys(server: &str, reply: &LoginReply) -> Result<Fresh<Keys>, LoginError> {
    let KeysReply { access_key_id, secret_access_key, token, expiration } = reply.json(server)?;
    keys_until(server, &access_key_id, &secret_access_key, &token, &expiration)
}
