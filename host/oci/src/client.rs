//! HTTP as registries are spoken to: over TLS, but for the hosts that are listed, with every answer bounded.
//!
//! Each address is checked before it is asked, wherever it comes from: a redirect, an upload's place, the realm of a token.

use std::{error::Error, path::Path, time::Duration};

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Method, Request, StatusCode, Uri,
    body::Bytes,
    header::{AUTHORIZATION, LOCATION, RETRY_AFTER, USER_AGENT},
};

use super::OciError;
use ampoule_net::outbound::{self, CaFileError, HttpClient, PROGRAM, root_cause};

/// A registry sends to a storage, and that at times to another.
const MOST_REDIRECTS: usize = 5;
/// For a registry that has had too many requests and does not say when it wants the next.
const USUAL_WAIT: Duration = Duration::from_secs(5 * 60);

/// A client.
pub(super) struct Http {
    client: HttpClient,
    insecure: Vec<String>,
}

/// What to ask.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) method: Method,
    pub(super) url: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Bytes of the answer at most.
    pub(super) limit: usize,
    /// What it is, for messages.
    pub(super) what: String,
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Who answered in the end.
    pub(super) host: String,
}

// === impl Http ===

impl Http {
    /// Trusts the system's certificates, or Mozilla's where the system has none, and those of the file.
    pub(super) fn new(ca_file: Option<&Path>, insecure: Vec<String>) -> Result<Self, OciError> {
        let roots =
            outbound::roots(ca_file).map_err(|CaFileError { path, reason }| OciError::CaFile { path, reason })?;
        // By plain HTTP or TLS, as `check` decides.
        Ok(Self { client: outbound::client(roots), insecure })
    }

    /// The address of a path on a registry's host.
    pub(super) fn url(&self, host: &str, path: &str) -> Result<Uri, OciError> {
        let scheme = if self.is_insecure(host) { "http" } else { "https" };
        let url = format!("{scheme}://{host}{path}");
        url.parse()
            .map_err(|_| OciError::Unreachable { host: host.to_owned(), reason: format!("{url:?} is no address") })
    }

    /// Asks, and follows redirects where nothing is sent. Credentials go to no other host than they were for.
    pub(super) async fn send(&self, mut query: Query) -> Result<Answer, OciError> {
        let origin = host(&query.url);
        for _ in 0..=MOST_REDIRECTS {
            self.check(&query.url)?;
            let answer = self.once(query.clone()).await?;
            let sends_nothing = matches!(query.method, Method::GET | Method::HEAD);
            let location = answer.headers.get(LOCATION).filter(|_| sends_nothing && answer.status.is_redirection());
            let Some(location) = location else { return Ok(answer) };
            let next = resolve(&query.url, location.to_str().unwrap_or_default());
            let next = next.ok_or_else(|| answer.unexpected(&query.what))?;
            if host(&next) != host(&query.url) {
                query.headers.remove(AUTHORIZATION);
            }
            query.url = next;
        }
        Err(OciError::Redirects { host: origin, most: MOST_REDIRECTS })
    }

    async fn once(&self, query: Query) -> Result<Answer, OciError> {
        let Query { method, url, headers, body, limit, what } = query;
        let host = host(&url);
        let unreachable = |error: &dyn Error| OciError::Unreachable { host: host.clone(), reason: root_cause(error) };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = url;
        *request.headers_mut() = headers;
        request.headers_mut().insert(USER_AGENT, PROGRAM.parse().expect("a static header is valid"));
        let response = self.client.request(request).await.map_err(|error| unreachable(&error))?;
        let (parts, body) = response.into_parts();
        match Limited::new(body, limit).collect().await {
            Ok(body) => Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_bytes(), host }),
            Err(error) if error.is::<LengthLimitError>() => Err(OciError::AnswerSize { host, what, limit }),
            Err(error) => Err(unreachable(&*error)),
        }
    }

    fn check(&self, url: &Uri) -> Result<(), OciError> {
        match url.scheme_str() {
            Some("https") => Ok(()),
            Some("http") if self.is_insecure(&host(url)) => Ok(()),
            // Without its query, which may be secret.
            _ => Err(OciError::PlainHttp { url: format!("{}://{}", url.scheme_str().unwrap_or_default(), host(url)) }),
        }
    }

    fn is_insecure(&self, host: &str) -> bool {
        self.insecure.iter().any(|insecure| insecure == host)
    }
}

// === impl Answer ===

impl Answer {
    /// For what is not the answer that there should be.
    pub(super) fn unexpected(&self, what: &str) -> OciError {
        let (host, what, said) = (self.host.clone(), what.to_owned(), self.said());
        if self.status != StatusCode::TOO_MANY_REQUESTS {
            return OciError::Answer { host, what, said };
        }
        // It may as well be a date, which registries do not send.
        let wait = self.headers.get(RETRY_AFTER).and_then(|seconds| seconds.to_str().ok()?.trim().parse().ok());
        OciError::Busy { host, what, said, wait: wait.map_or(USUAL_WAIT, Duration::from_secs) }
    }

    /// The status and the first of the registry's own words, as OCI's distribution specification has errors.
    pub(super) fn said(&self) -> String {
        const SHOWN: usize = 200;
        let document = serde_json::from_slice::<serde_json::Value>(&self.body).unwrap_or_default();
        let words = document["errors"][0]["message"].as_str().or(document["details"].as_str()).unwrap_or_default();
        let words: String = words.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
        if words.is_empty() { self.status.to_string() } else { format!("{}: {words}", self.status) }
    }
}

/// Where a `Location` leads from here.
pub(super) fn resolve(from: &Uri, location: &str) -> Option<Uri> {
    let absolute = match location.strip_prefix('/') {
        Some(rest) if !rest.starts_with('/') => format!("{}://{}{location}", from.scheme_str()?, from.authority()?),
        _ => location.to_owned(),
    };
    absolute.parse::<Uri>().ok().filter(|url| url.scheme().is_some() && url.authority().is_some())
}

/// Host and port.
pub(super) fn host(url: &Uri) -> String {
    let Some(authority) = url.authority() else { return String::new() };
    // Without a user, which nobody sends us.
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
    fn a_location_is_read_from_where_it_is_said() {
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
    async fn plain_http_is_for_those_that_are_listed() {
        let http = Http::new(None, vec!["localhost:1".to_owned()]).unwrap();
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
            "http://example.org:2 is plain HTTP, by which only the hosts in registries.insecure (--insecure) are asked"
        );
    }

    /// A server that sends on, tells what it was sent, and talks a lot.
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
    async fn follows_redirects_and_leaves_credentials_where_they_belong() {
        let other = server(None).await;
        let host = server(Some(other.clone())).await;
        let http = Http::new(None, vec![host.clone(), other.clone()]).unwrap();
        let ask = async |method: Method, path: &str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, "secret".parse().unwrap())]);
            let (url, what) = (http.url(&host, path).unwrap(), "a question".to_owned());
            let query = Query { method, url, headers, body: Bytes::new(), limit: 4 << 10, what };
            let answer = http.send(query).await.map_err(|error| error.to_string())?;
            Ok((answer.status.as_u16(), String::from_utf8(answer.body.to_vec()).unwrap()))
        };
        let answer = |status, body: &str| Ok((status, body.to_owned()));
        assert_eq!(ask(Method::GET, "/sent").await, answer(200, "secret"));
        assert_eq!(ask(Method::GET, "/here").await, answer(200, "secret"));
        assert_eq!(ask(Method::GET, "/there").await, answer(200, "nothing"));
        assert_eq!(ask(Method::PUT, "/put").await, answer(307, ""));
        for (path, reason) in [
            ("/loop", format!("{host} sends away more than 5 times")),
            ("/much", format!("{host} answers a question with more than 4096 bytes")),
            (
                "/tls",
                "http://example.org is plain HTTP, by which only the hosts in registries.insecure (--insecure) are asked"
                    .to_owned(),
            ),
        ] {
            assert_eq!(ask(Method::GET, path).await, Err(reason));
        }
    }

    #[test]
    fn a_listed_host_is_asked_by_plain_http_and_no_other() {
        let http = Http::new(None, vec!["localhost:1".to_owned()]).unwrap();
        assert_eq!(http.url("localhost:1", "/v2/").unwrap().scheme_str(), Some("http"));
        assert_eq!(http.url("localhost:2", "/v2/").unwrap().scheme_str(), Some("https"));
    }
}
