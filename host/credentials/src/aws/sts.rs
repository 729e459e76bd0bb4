//! Temporary keys from the Security Token Service: `AssumeRoleWithWebIdentity` for a token of the
//! cluster, and `AssumeRole` for other keys.
//!
//! The service speaks the Query protocol: a form, answered with XML.

use std::time::SystemTime;

use http::{
    Request,
    header::{CONTENT_TYPE, HOST},
};
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    Identity, Keys, keys_until,
    signer::{SignedRequest, sign},
};
use crate::{
    LoginError, Surroundings,
    exchange::{LoginReply, encoded_pairs, send, server_name},
    kept::Fresh,
};

const FORM: &str = "application/x-www-form-urlencoded";
/// The name of the session in AWS's audit trail.
const SESSION: &str = "ampoule";

/// Error codes of the service.
const CODES: [&str; 11] = [
    "AccessDenied",
    "ExpiredToken",
    "ExpiredTokenException",
    "IDPCommunicationError",
    "IDPRejectedClaim",
    "InvalidClientTokenId",
    "InvalidIdentityToken",
    "MalformedPolicyDocument",
    "RegionDisabledException",
    "SignatureDoesNotMatch",
    "ValidationError",
];

/// Exchanges a token of the cluster for keys of a role.
pub(super) async fn assume_role_with_web_identity(
    surroundings: &Surroundings,
    identity: &Identity,
    role: &str,
    token: &SecretString,
) -> Result<Fresh<Keys>, LoginError> {
    let session = surroundings.variable("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| SESSION.to_owned());
    let body = encoded_pairs(&[
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", role),
        ("RoleSessionName", &session),
        ("WebIdentityToken", token.expose_secret()),
    ]);
    let server = server_name(&identity.sts_endpoint);
    let request = Request::post(&identity.sts_endpoint).header(CONTENT_TYPE, FORM);
    keys(&server, &send(surroundings, &server, request, body).await?)
}

/// Exchanges keys for those of a role.
pub(super) async fn assume_role(
    surroundings: &Surroundings,
    identity: &Identity,
    role: &str,
    base: &Keys,
) -> Result<Fresh<Keys>, LoginError> {
    let body = encoded_pairs(&[
        ("Action", "AssumeRole"),
        ("Version", "2011-06-15"),
        ("RoleArn", role),
        ("RoleSessionName", SESSION),
    ]);
    let server = server_name(&identity.sts_endpoint);
    let headers = [("host", server.as_bytes()), ("content-type", FORM.as_bytes())];
    let signed = sign(
        &SignedRequest {
            method: "POST",
            authority: &server,
            path_and_query: "/",
            headers: &headers,
            body: body.as_bytes(),
        },
        base,
        "sts",
        &identity.region,
        SystemTime::now(),
    )?;
    let mut request = Request::post(&identity.sts_endpoint).header(CONTENT_TYPE, FORM).header(HOST, &server);
    for header in &signed {
        request = request.header(&header.name, header.value.expose_secret());
    }
    keys(&server, &send(surroundings, &server, request, body).await?)
}

fn keys(server: &str, reply: &LoginReply) -> Result<Fresh<Keys>, LoginError> {
    let text = std::str::from_utf8(&reply.body).map_err(|_| LoginError::format_of(server))?;
    if !reply.status.is_success() {
        let code = element(text, "Code").and_then(|code| CODES.into_iter().find(|known| *known == code));
        return Err(LoginError::of_status(server, reply.status, code));
    }
    let part = |name| element(text, name).ok_or_else(|| LoginError::format_of(server));
    let (key_id, secret) = (part("AccessKeyId")?, part("SecretAccessKey")?);
    keys_until(server, key_id, secret, part("SessionToken")?, part("Expiration")?)
}

/// The text of the first element with this name. Keys and times have no escaped characters.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let start = xml.find(&open)? + open.len();
    let end = xml[start..].find(&close)?;
    Some(xml[start..start + end].trim())
}
