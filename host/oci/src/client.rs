//! HTTP with registries: TLS except for listed hosts, and a size limit for each response.
//!
//! Each URL is checked before its request is sent, including URLs from redirects, uploads and token
//! realms.

use std::{error::Error, path::Path, time::Duration};

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Method, Request, StatusCode, Uri,
    body::Bytes,
    header::{AUTHORIZATION, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT},
};

use crate::error::OciError;
use ampoule_net::outbound::{self, AddressCheck, CaFileError, HttpClient, PROGRAM, Roots, root_cause};

/// Limit for redirects. A registry redirects to a storage service, which may redirect again.
const MOST_REDIRECTS: usize = 5;
/// Time to wait after a 429 without a valid `Retry-After`.
const DEFAULT_WAIT: Duration = Duration::from_secs(5 * 60);

/// An HTTP client for registries.
pub(crate) struct RegistryClient {
    client: HttpClient,
    insecure: Vec<String>,
    /// The check of hosts that are not in `insecure`, and its client.
    checked: Option<(AddressCheck, HttpClient)>,
    roots: Roots,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct RegistryRequest {
    pub(crate) method: Method,
    pub(crate) url: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Limit in bytes for the response.
    pub(crate) limit: usize,
    /// The name of the request in messages, such as `an upload`.
    pub(crate) what: String,
}

/// One response.
pub(crate) struct RegistryResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The host that responded, after redirects.
    pub(crate) host: String,
}

// === impl RegistryClient ===

impl RegistryClient {
    /// Trusts the system's certificates, or Mozilla's if the system has none, and those of the
    /// file.
    pub(crate) fn new(ca_file: Option<&Path>, insecure: Vec<String>) -> Result<Self, OciError> {
        let roots = outbound::roots(ca_file)?;
        // The client supports both HTTP and TLS; `check` decides for each URL.
        Ok(Self { client: outbound::proxied_client(roots.clone(), None), insecure, checked: None, roots })
    }

    /// Calls only addresses that the check accepts, and the hosts in `registries.insecure`.
    pub(crate) fn checking(mut self, check: Option<AddressCheck>) -> Self {
        self.checked = check.map(|check| (check, outbound::proxied_client(self.roots.clone(), Some(check))));
        self
    }

    /// Returns the URL of a path on a registry's host.
    pub(crate) fn url(&self, host: &str, path: &str) -> Result<Uri, OciError> {
        let scheme = if self.is_insecure(host) { "http" } else { "https" };
        let url = format!("{scheme}://{host}{path}");
        url.parse()
            .map_err(|_| OciError::Unreachable { host: host.to_owned(), reason: format!("{url:?} is not a URL") })
    }

    /// Sends a request and follows the redirects of requests without a body. Credentials are sent
    /// only to the host they are for.
    pub(crate) async fn send(&self, mut request: RegistryRequest) -> Result<RegistryResponse, OciError> {
        let origin = host(&request.url);
        for _ in 0..=MOST_REDIRECTS {
            self.check(&request.url)?;
            let response = self.send_once(request.clone()).await?;
            let Some(location) = response.redirect(&request.method) else { return Ok(response) };
            let next = resolve(&request.url, location);
            let next = next.ok_or_else(|| response.unexpected(&request.what))?;
            if host(&next) != host(&request.url) {
                request.headers.remove(AUTHORIZATION);
            }
            request.url = next;
        }
        Err(OciError::Redirects { host: origin, most: MOST_REDIRECTS })
    }

    async fn send_once(&self, request: RegistryRequest) -> Result<RegistryResponse, OciError> {
        let (host, limit) = (host(&request.url), request.limit);
        let mut message = Request::new(Full::new(request.body));
        *message.method_mut() = request.method;
        *message.uri_mut() = request.url;
        *message.headers_mut() = request.headers;
        message.headers_mut().insert(USER_AGENT, HeaderValue::from_static(PROGRAM));
        let client = match &self.checked {
            Some((_, checked)) if !self.is_insecure(&host) => checked,
            _ => &self.client,
        };
        let response = match client.request(message).await {
            Ok(response) => response,
            Err(error) => return Err(unreachable(host, &error)),
        };
        let (parts, body) = response.into_parts();
        match Limited::new(body, limit).collect().await {
            Ok(body) => {
                Ok(RegistryResponse { status: parts.status, headers: parts.headers, body: body.to_bytes(), host })
            }
            Err(error) if error.is::<LengthLimitError>() => {
                Err(OciError::ResponseSize { host, what: request.what, limit })
            }
            Err(error) => Err(unreachable(host, &*error)),
        }
    }

    fn check(&self, url: &Uri) -> Result<(), OciError> {
        self.check_address(url)?;
        match url.scheme_str() {
            Some("https") => Ok(()),
            Some("http") if self.is_insecure(&host(url)) => Ok(()),
            // Without the query, which may contain a secret.
            _ => Err(OciError::PlainHttp { url: format!("{}://{}", url.scheme_str().unwrap_or_default(), host(url)) }),
        }
    }

    /// Checks a host that is an address. The client's resolver checks those of names.
    fn check_address(&self, url: &Uri) -> Result<(), OciError> {
        let Some((check, _)) = &self.checked else { return Ok(()) };
        let name = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let is_prohibited = name.parse().is_ok_and(|address| !check(address));
        if is_prohibited && !self.is_insecure(&host(url)) {
            return Err(OciError::ProhibitedAddress { host: host(url) });
        }
        Ok(())
    }

    fn is_insecure(&self, host: &str) -> bool {
        self.insecure.iter().any(|insecure| insecure == host)
    }
}

fn unreachable(host: String, error: &dyn Error) -> OciError {
    let reason = root_cause(error);
    // The text of rustls for an answer that is not TLS. This crate does not depend on rustls.
    if reason.contains("InvalidContentType") {
        return OciError::NotTls { host };
    }
    OciError::Unreachable { host, reason }
}

impl From<CaFileError> for OciError {
    fn from(error: CaFileError) -> Self {
        Self::CaFile { path: error.path, reason: error.reason }
    }
}

// === impl RegistryResponse ===

impl RegistryResponse {
    /// Returns the location of a redirect that the client follows; an invalid one is empty.
    fn redirect(&self, method: &Method) -> Option<&str> {
        let has_no_body = matches!(*method, Method::GET | Method::HEAD);
        if !has_no_body || !self.status.is_redirection() {
            return None;
        }
        Some(self.headers.get(LOCATION)?.to_str().unwrap_or_default())
    }

    /// Returns the error for an unexpected response.
    pub(crate) fn unexpected(&self, what: &str) -> OciError {
        let (host, what, message) = (self.host.clone(), what.to_owned(), self.message());
        if self.status != StatusCode::TOO_MANY_REQUESTS {
            return OciError::UnexpectedResponse { host, what, message };
        }
        OciError::Busy { host, what, message, wait: self.retry_after().unwrap_or(DEFAULT_WAIT) }
    }

    fn retry_after(&self) -> Option<Duration> {
        // A date is valid too, but registries do not send one.
        let seconds = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    }

    /// Returns the status and the registry's first error message, in the format of OCI's
    /// distribution specification.
    pub(crate) fn message(&self) -> String {
        const SHOWN: usize = 200;
        let document: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let message = document["errors"][0]["message"].as_str().or(document["details"].as_str());
        let message = message.unwrap_or_default().chars();
        let message: String = message.filter(|c| !c.is_control()).take(SHOWN).collect();
        if message.is_empty() { self.status.to_string() } else { format!("{}: {message}", self.status) }
    }
}

/// Resolves a `Location` header. `None` if it is not a URL with a host.
pub(crate) fn resolve(from: &Uri, location: &str) -> Option<Uri> {
    let absolute = match location.strip_prefix('/') {
        Some(rest) if !rest.starts_with('/') => format!("{}://{}{location}", from.scheme_str()?, from.authority()?),
        _ => location.to_owned(),
    };
    absolute.parse::<Uri>().ok().filter(|url| url.scheme().is_some() && url.authority().is_some())
}

/// Returns the host and port of a URL, without a user.
pub(crate) fn host(url: &Uri) -> String {
    let Some(authority) = url.authority() else { return String::new() };
    match authority.port() {
        Some(port) => format!("{}:{port}", authority.host()),
        None => authority.host().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::{
        Router,
        body::Body,
        routing::{get, put},
    };
    use futures_util::stream::repeat_with;
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_location_is_resolved_against_the_request() {
        let from: Uri = "https://ghcr.io/v2/a/blobs/x?y".parse().unwrap();
        for (location, expected) in [
            ("/v2/b?c=d", Some("https://ghcr.io/v2/b?c=d")),
            ("https://storage.example:8443/b", Some("https://storage.example:8443/b")),
            ("//storage.example/b", None),
            ("b", None),
            ("", None),
        ] {
            assert_eq!(resolve(&from, location).map(|url| url.to_string()).as_deref(), expected, "{location}");
        }
    }

    #[tokio::test]
    async fn a_registry_without_tls_is_named_with_the_option_for_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, Router::new()).await });
        let request = RegistryRequest {
            method: Method::GET,
            url: format!("https://{host}/v2/").parse().unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            limit: 100,
            what: "a test".to_owned(),
        };
        let error = RegistryClient::new(None, Vec::new()).unwrap().send(request).await.map(drop).unwrap_err();
        let expected = format!(
            "{host} does not answer with TLS; for a registry with plain HTTP, list the host in registries.insecure \
             (--insecure)"
        );
        assert_eq!(error.to_string(), expected);
    }

    #[tokio::test]
    async fn a_checked_client_calls_only_allowed_addresses_and_listed_hosts() {
        let app = Router::new().route("/", get(|| async { "answer" }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let listed = format!("localhost:{port}");
        let check: AddressCheck = |address| !address.is_loopback();
        let client = RegistryClient::new(None, vec![listed.clone()]).unwrap().checking(Some(check));
        let prohibited = |host: &str| {
            format!("{host} is an address that plugins may not call; a ConfigMap must name another registry")
        };
        for (url, expected) in [
            (format!("http://{listed}/"), Ok(())),
            (format!("https://127.0.0.1:{port}/"), Err(prohibited(&format!("127.0.0.1:{port}")))),
            ("https://[::1]:1/".to_owned(), Err(prohibited("[::1]:1"))),
            // The name is resolved, and the port is not listed.
            (
                "https://localhost:1/".to_owned(),
                Err("the request to localhost:1 failed: the host has no address that may be called".to_owned()),
            ),
        ] {
            let request = RegistryRequest {
                method: Method::GET,
                url: url.parse().unwrap(),
                headers: HeaderMap::new(),
                body: Bytes::new(),
                limit: 100,
                what: "a test".to_owned(),
            };
            let result = client.send(request).await.map(drop).map_err(|error| error.to_string());
            assert_eq!(result, expected, "{url}");
        }
    }

    #[tokio::test]
    async fn plain_http_requires_a_listed_host() {
        let http = RegistryClient::new(None, vec!["localhost:1".to_owned()]).unwrap();
        for (url, good) in [
            ("https://example.org/a", true),
            ("http://localhost:1/a", true),
            ("http://localhost/a", false),
            ("http://localhost:2/a?secret", false),
            ("http://x@localhost:2/a", false),
            ("ftp://localhost:1/a", false),
        ] {
            assert_eq!(http.check(&url.parse().unwrap()).is_ok(), good, "{url}");
        }
        let error = http.check(&"http://x@example.org:2/a?secret".parse().unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "http://example.org:2: plain HTTP is allowed only for hosts in registries.insecure (--insecure)"
        );
    }

    /// A server that redirects, returns the credentials of a request, and sends endless responses.
    async fn server(next: Option<String>) -> String {
        let sent = async |headers: HeaderMap| match headers.get(AUTHORIZATION) {
            Some(value) => value.to_str().unwrap().to_owned(),
            None => "nothing".to_owned(),
        };
        let next = next.map(|host| format!("http://{host}/sent")).unwrap_or_default();
        let router = Router::new()
            .route("/sent", get(sent))
            .route("/here", get(async || (StatusCode::FOUND, [(LOCATION, "/sent")])))
            .route("/there", get(async move || (StatusCode::FOUND, [(LOCATION, next)])))
            .route("/loop", get(async || (StatusCode::FOUND, [(LOCATION, "/loop")])))
            .route("/tls", get(async || (StatusCode::FOUND, [(LOCATION, "http://example.org/")])))
            .route("/put", put(async || (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, "/sent")])))
            .route("/much", get(async || Body::from_stream(repeat_with(|| Ok::<_, Infallible>(vec![0; 1 << 10])))));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        host
    }

    #[tokio::test]
    async fn follows_redirects_and_sends_credentials_only_to_their_host() {
        let other = server(None).await;
        let host = server(Some(other.clone())).await;
        let http = RegistryClient::new(None, vec![host.clone(), other.clone()]).unwrap();
        let ask = async |method: Method, path: &str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, "secret".parse().unwrap())]);
            let (url, what) = (http.url(&host, path).unwrap(), "a request".to_owned());
            let query = RegistryRequest { method, url, headers, body: Bytes::new(), limit: 4 << 10, what };
            let answer = http.send(query).await.map_err(|error| error.to_string())?;
            Ok((answer.status.as_u16(), String::from_utf8(answer.body.to_vec()).unwrap()))
        };
        let answer = |status, body: &str| Ok((status, body.to_owned()));
        assert_eq!(ask(Method::GET, "/sent").await, answer(200, "secret"));
        assert_eq!(ask(Method::GET, "/here").await, answer(200, "secret"));
        assert_eq!(ask(Method::GET, "/there").await, answer(200, "nothing"));
        assert_eq!(ask(Method::PUT, "/put").await, answer(307, ""));
        for (path, reason) in [
            ("/loop", format!("{host} redirects more than 5 times")),
            ("/much", format!("{host} responds to a request with more than 4096 bytes")),
            (
                "/tls",
                "http://example.org: plain HTTP is allowed only for hosts in registries.insecure (--insecure)"
                    .to_owned(),
            ),
        ] {
            assert_eq!(ask(Method::GET, path).await, Err(reason));
        }
    }

    #[test]
    fn only_a_listed_host_gets_plain_http() {
        let http = RegistryClient::new(None, vec!["localhost:1".to_owned()]).unwrap();
        assert_eq!(http.url("localhost:1", "/v2/").unwrap().scheme_str(), Some("http"));
        assert_eq!(http.url("localhost:2", "/v2/").unwrap().scheme_str(), Some("https"));
    }
}
