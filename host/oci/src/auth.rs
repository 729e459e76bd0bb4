//! Authentication: the `Authorization` header that a registry's challenge requires.
//!
//! Either user and password, or a token that a token server issues for them or for an identity
//! token.

use data_encoding::BASE64;
use form_urlencoded::Serializer;
use hyper::{
    HeaderMap, Method, Uri,
    body::Bytes,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use serde::Deserialize;

use crate::{
    challenge::{Challenge, server_url, token_url},
    client::{RegistryClient, RegistryRequest, RegistryResponse},
    credentials::Login,
    error::OciError,
};

/// Limit in bytes for a token response. Tokens of some registries list every right.
const LARGEST_TOKEN: usize = 64 << 10;
const TOKEN_REQUEST: &str = "a token request";

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
            let unusable = || refusal.unexpected("a request, without a valid token server");
            let request = match login {
                Some(Login::IdentityToken(token)) => {
                    let url = server_url(&realm).ok_or_else(unusable)?;
                    exchange(
                        url,
                        &[("service", &service.unwrap_or_default()), ("scope", scope), ("refresh_token", token)],
                    )
                }
                Some(Login::User { .. }) | None => {
                    let url = token_url(&realm, service.as_deref(), scope).ok_or_else(unusable)?;
                    let headers = login.and_then(basic).map(|value| (AUTHORIZATION, value)).into_iter().collect();
                    token_request(Method::GET, url, headers, Bytes::new())
                }
            };
            request_token(client, request).await.map(Some)
        }
        Some(Challenge::Basic) => Ok(login.and_then(basic)),
        None => Ok(None),
    }
}

/// The request that exchanges an identity token, a refresh token of OAuth 2:
/// <https://distribution.github.io/distribution/spec/auth/oauth/>.
fn exchange(url: Uri, fields: &[(&str, &str)]) -> RegistryRequest {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token").append_pair("client_id", "ampoule").extend_pairs(fields);
    let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
    token_request(Method::POST, url, [(CONTENT_TYPE, form_type)].into_iter().collect(), form.finish().into())
}

fn token_request(method: Method, url: Uri, headers: HeaderMap, body: Bytes) -> RegistryRequest {
    RegistryRequest { method, url, headers, body, limit: LARGEST_TOKEN, what: TOKEN_REQUEST.to_owned() }
}

async fn request_token(client: &RegistryClient, request: RegistryRequest) -> Result<HeaderValue, OciError> {
    let what = TOKEN_REQUEST;
    let response = client.send(request).await?;
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

/// The header of a user; `None` for an identity token, which only a token server accepts.
fn basic(login: &Login) -> Option<HeaderValue> {
    let Login::User { user, password } = login else { return None };
    let value = format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()));
    Some(mark_sensitive(HeaderValue::try_from(value).expect("base64 is valid in a header")))
}

/// Hides the value from everything that prints headers.
fn mark_sensitive(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use axum::{
        Router,
        http::{HeaderMap as Headers, StatusCode},
        response::IntoResponse as _,
        routing::{get, post},
    };
    use tokio::net::TcpListener;

    use crate::registry::Registry;
    use ampoule_config::RegistriesConfig;

    /// A registry like Azure's: its token server exchanges an identity token in a POST request.
    async fn azure() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("localhost:{}", listener.local_addr().unwrap().port());
        let realm = format!("Bearer realm=\"http://{host}/oauth2/token\",service=\"azure.example\"");
        let manifest = async move |headers: Headers| match headers.get("authorization") {
            Some(value) if value == "Bearer access" => (StatusCode::OK, "{}").into_response(),
            _ => (StatusCode::UNAUTHORIZED, [("www-authenticate", realm)]).into_response(),
        };
        let expected = "grant_type=refresh_token&client_id=ampoule&service=azure.example&\
                        scope=repository%3Ateam%2Fecho%3Apull&refresh_token=re%2Bfresh";
        let token = async move |body: String| match body == expected {
            true => (StatusCode::OK, r#"{"access_token":"access"}"#),
            false => (StatusCode::BAD_REQUEST, r#"{"errors":[{"message":"no such token"}]}"#),
        };
        let app = Router::new().route("/v2/team/echo/manifests/1", get(manifest)).route("/oauth2/token", post(token));
        tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
        host
    }

    fn registry(host: &str, folder: &Path, token: &str) -> Registry {
        let file = folder.join("config.json");
        // What `az acr login` writes: a user without a password, and the token.
        let entry = format!(r#"{{ "auth": "MDAwMDAwMDA6", "identitytoken": "{token}" }}"#);
        fs::write(&file, format!(r#"{{ "auths": {{ "{host}": {entry} }} }}"#)).unwrap();
        let config = RegistriesConfig {
            credentials_file: Some(file),
            insecure: vec![host.to_owned()],
            ..RegistriesConfig::default()
        };
        Registry::open(&config, None).unwrap()
    }

    #[tokio::test]
    async fn an_identity_token_is_exchanged() {
        let (host, folder) = (azure().await, tempfile::tempdir().unwrap());
        let reference = format!("{host}/team/echo:1").parse().unwrap();
        let registry_with = |token| registry(&host, folder.path(), token);
        let bytes = registry_with("re+fresh").repository(&reference, "pull").manifest("1").await.unwrap();
        assert_eq!(bytes.unwrap(), "{}");
        let refused = registry_with("expired").repository(&reference, "pull").manifest("1").await.unwrap_err();
        let expected = format!("{host} responds to a token request with 400 Bad Request: no such token");
        assert_eq!(refused.to_string(), expected);
    }
}
