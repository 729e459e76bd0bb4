//! What a registry wants to see before it answers: a password, or a token that another server gives for one.
//!
//! RFC 9110 for the challenge, <https://distribution.github.io/distribution/spec/auth/token/> for the token.

use data_encoding::BASE64;
use form_urlencoded::Serializer;
use http_auth::{ChallengeRef, parse_challenges};
use hyper::{
    HeaderMap, Method, Uri,
    body::Bytes,
    header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE},
};
use serde::Deserialize;

use super::{
    OciError,
    credentials::Login,
    http::{Answer, Http, Query},
};

/// Some registries' tokens list every right.
const LARGEST_TOKEN: usize = 64 << 10;

/// What a server of tokens gives.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Token {
    token: String,
    /// The same by its name in OAuth.
    access_token: String,
}

/// What to send with every further question. None: without a user there is nothing to send.
pub(super) async fn authorize(
    http: &Http,
    refusal: &Answer,
    login: Option<&Login>,
    scope: &str,
) -> Result<Option<HeaderValue>, OciError> {
    let texts: Vec<_> =
        refusal.headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|text| text.to_str().ok()).collect();
    let challenges: Vec<ChallengeRef<'_>> =
        texts.iter().filter_map(|text| parse_challenges(text).ok()).flatten().collect();
    let of = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case(scheme));
    if let Some(challenge) = of("bearer") {
        let parameter = |name: &str| {
            let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        let realm = parameter("realm").unwrap_or_default();
        let url = realm_url(&realm, parameter("service").as_deref(), scope);
        let url = url.ok_or_else(|| refusal.unexpected("a question, naming no address for tokens"))?;
        return token(http, url, login).await.map(Some);
    }
    match login {
        Some(login) if of("basic").is_some() => Ok(Some(basic(login))),
        _ => Ok(None),
    }
}

async fn token(http: &Http, url: Uri, login: Option<&Login>) -> Result<HeaderValue, OciError> {
    let what = "a request for a token";
    let headers: HeaderMap = login.map(|login| (AUTHORIZATION, basic(login))).into_iter().collect();
    let query =
        Query { method: Method::GET, url, headers, body: Bytes::new(), limit: LARGEST_TOKEN, what: what.to_owned() };
    let answer = http.send(query).await?;
    let token = serde_json::from_slice::<Token>(&answer.body).ok().filter(|_| answer.status.is_success());
    let token = token.map(|Token { token, access_token }| if token.is_empty() { access_token } else { token });
    let token = token.filter(|token| !token.is_empty()).ok_or_else(|| answer.unexpected(what))?;
    HeaderValue::try_from(format!("Bearer {token}")).map(secret).map_err(|_| answer.unexpected(what))
}

fn realm_url(realm: &str, service: Option<&str>, scope: &str) -> Option<Uri> {
    let mut query = Serializer::new(String::new());
    if let Some(service) = service {
        query.append_pair("service", service);
    }
    let query = query.append_pair("scope", scope).finish();
    let separator = if realm.contains('?') { '&' } else { '?' };
    let url: Uri = format!("{realm}{separator}{query}").parse().ok()?;
    url.authority().is_some().then_some(url)
}

fn basic(login: &Login) -> HeaderValue {
    let Login { user, password } = login;
    let value = format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()));
    secret(HeaderValue::try_from(value).expect("base64 stands in a header"))
}

/// Not shown by anything that prints headers.
fn secret(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}
