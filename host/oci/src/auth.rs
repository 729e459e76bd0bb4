//! Authentication: the `Authorization` header that a registry's challenge requires.
//!
//! Either user and password, or a token that a token server issues for them.

use data_encoding::BASE64;
use hyper::{
    HeaderMap, Method, Uri,
    body::Bytes,
    header::{AUTHORIZATION, HeaderValue},
};
use serde::Deserialize;

use crate::{
    challenge::{Challenge, token_url},
    client::{RegistryClient, RegistryRequest, RegistryResponse},
    credentials::Login,
    error::OciError,
};

/// Limit in bytes for a token response. Tokens of some registries list every right.
const LARGEST_TOKEN: usize = 64 << 10;

/// The response of a token server.
#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenResponse {
    token: String,
    /// The same, under its OAuth name.
    access_token: String,
}

/// Returns the header for all further requests. `None` if the registry requires a user and no
/// credentials are configured.
pub(crate) async fn authorize(
    client: &RegistryClient,
    refusal: &RegistryResponse,
    login: Option<&Login>,
    scope: &str,
) -> Result<Option<HeaderValue>, OciError> {
    match Challenge::from_headers(&refusal.headers) {
        Some(Challenge::Bearer { realm, service }) => {
            let url = token_url(&realm, service.as_deref(), scope);
            let url = url.ok_or_else(|| refusal.unexpected("a request, without a valid token server"))?;
            request_token(client, url, login).await.map(Some)
        }
        Some(Challenge::Basic) => Ok(login.map(basic)),
        None => Ok(None),
    }
}

async fn request_token(client: &RegistryClient, url: Uri, login: Option<&Login>) -> Result<HeaderValue, OciError> {
    let what = "a token request";
    let headers: HeaderMap = login.map(|login| (AUTHORIZATION, basic(login))).into_iter().collect();
    let response = client
        .send(RegistryRequest {
            method: Method::GET,
            url,
            headers,
            body: Bytes::new(),
            limit: LARGEST_TOKEN,
            what: what.to_owned(),
        })
        .await?;
    let token = parse_token(&response).ok_or_else(|| response.unexpected(what))?;
    let value = HeaderValue::try_from(format!("Bearer {token}"));
    value.map(mark_sensitive).map_err(|_| response.unexpected(what))
}

fn parse_token(response: &RegistryResponse) -> Option<String> {
    if !response.status.is_success() {
        return None;
    }
    let parsed: TokenResponse = serde_json::from_slice(&response.body).ok()?;
    let token = if parsed.token.is_empty() { parsed.access_token } else { parsed.token };
    (!token.is_empty()).then_some(token)
}

fn basic(login: &Login) -> HeaderValue {
    let credentials = format!("{}:{}", login.user, login.password);
    let value = format!("Basic {}", BASE64.encode(credentials.as_bytes()));
    mark_sensitive(HeaderValue::try_from(value).expect("base64 is valid in a header"))
}

/// Hides the value from everything that prints headers.
fn mark_sensitive(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}
