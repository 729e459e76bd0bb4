//! HTTP with login servers: bounded responses, no redirects, and errors without their text.
//!
//! A response contains a credential, so no error quotes it. Error codes are shown only if they are
//! in a list of known ones.

use bytes::Bytes;
use http::{Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full, Limited};
use secrecy::{SecretString, zeroize::Zeroizing};
use serde::{Deserialize, de::DeserializeOwned};

use ampoule_net::outbound::{PROGRAM, is_untrusted, root_cause};

use crate::{LoginError, Surroundings};

/// Bytes of a response of a login server.
const MOST: usize = 64 << 10;
/// The lifetime of a token whose server does not state it.
pub(crate) const DEFAULT_LIFETIME: u64 = 300;
/// A token with a longer lifetime is replaced after this time, in seconds.
const LONGEST_LIFETIME: u64 = 24 * 3600;

/// Error codes of OAuth 2 (RFC 6749 and RFC 8693) and of the clouds' token endpoints.
const OAUTH_CODES: [&str; 10] = [
    "access_denied",
    "interaction_required",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_grant_type",
];

/// A response of a login server.
pub(crate) struct LoginReply {
    pub(crate) status: StatusCode,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// The response of a token endpoint.
#[derive(Deserialize)]
pub(crate) struct TokenReply {
    access_token: String,
    #[serde(default)]
    expires_in: Option<LifetimeSeconds>,
    #[serde(default)]
    token_type: Option<String>,
}

/// A number of seconds, which some servers send as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum LifetimeSeconds {
    Number(u64),
    Text(String),
}

/// Sends a request to a login server, which `server` names in errors.
pub(crate) async fn send(
    surroundings: &Surroundings,
    server: &str,
    request: http::request::Builder,
    body: impl Into<Bytes>,
) -> Result<LoginReply, LoginError> {
    let request: Request<Full<Bytes>> = request
        .header("user-agent", PROGRAM)
        .body(Full::new(body.into()))
        .map_err(|_| LoginError::misconfigured(format!("the request to {server} has an invalid URL or header")))?;
    let response = surroundings.client.request(request).await.map_err(|error| unsent(server, &error))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MOST).collect().await;
    let body = body.map_err(|_| LoginError::unavailable(format!("{server} did not send a complete response")))?;
    Ok(LoginReply { status, body: Zeroizing::new(body.to_bytes().to_vec()) })
}

/// The error for a request without a response.
fn unsent(server: &str, error: &(dyn std::error::Error + 'static)) -> LoginError {
    let cause = root_cause(error);
    if is_untrusted(error) {
        return LoginError::misconfigured(format!("{server} is not trusted: {cause}; check grants.http.caFile"));
    }
    LoginError::unavailable(format!("{server} does not answer: {cause}"))
}

/// Sends a form to a token endpoint, and returns the token and its lifetime in seconds.
pub(crate) async fn token_for_form(
    surroundings: &Surroundings,
    server: &str,
    request: http::request::Builder,
    form: &[(&str, &str)],
) -> Result<(SecretString, u64), LoginError> {
    let body = encoded_pairs(form);
    let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    send(surroundings, server, request, body).await?.token(server)
}

/// A form, or a query.
pub(crate) fn encoded_pairs(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// The name of a URL's server in errors.
pub(crate) fn server_name(url: &str) -> String {
    let url: http::Uri = url.parse().unwrap_or_default();
    url.authority().map_or_else(|| "the login server".to_owned(), ToString::to_string)
}

// === impl LoginReply ===

impl LoginReply {
    /// The JSON body of a response with success.
    pub(crate) fn json<T: DeserializeOwned>(&self, server: &str) -> Result<T, LoginError> {
        if !self.status.is_success() {
            return Err(LoginError::of_status(server, self.status, self.oauth_code()));
        }
        // The parser's error could quote the credential.
        serde_json::from_slice(&self.body).map_err(|_| LoginError::format_of(server))
    }

    /// The token and its lifetime in seconds.
    pub(crate) fn token(&self, server: &str) -> Result<(SecretString, u64), LoginError> {
        let TokenReply { access_token, expires_in, token_type } = self.json(server)?;
        if access_token.is_empty() || token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err(LoginError::format_of(server));
        }
        let lifetime = match expires_in {
            Some(LifetimeSeconds::Number(seconds)) => Some(seconds),
            Some(LifetimeSeconds::Text(text)) => text.parse().ok(),
            None => None,
        };
        Ok((access_token.into(), bounded(lifetime.unwrap_or(DEFAULT_LIFETIME))))
    }

    fn oauth_code(&self) -> Option<&'static str> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        let code = body["error"].as_str()?;
        OAUTH_CODES.into_iter().find(|known| *known == code)
    }
}

/// A lifetime within bounds: a server could state any number.
pub(crate) fn bounded(seconds: u64) -> u64 {
    seconds.clamp(1, LONGEST_LIFETIME)
}
