//! One repository of a registry: what is asked of it and how it lets one in.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>

use hyper::{
    HeaderMap, Method, StatusCode, Uri,
    body::Bytes,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION},
};

use super::{
    MANIFEST, OciError, Registry, auth, digest_of,
    http::{Answer, Query, resolve},
    manifest,
};
use ampoule_config::{OciReference, is_digest};

/// What a registry says beside what was asked for: errors, mostly.
const LARGEST_WORDS: usize = 64 << 10;
/// What names a manifest's digest where the manifest is not sent (OCI distribution, "Checking if content exists").
const CONTENT_DIGEST: &str = "docker-content-digest";

/// A repository, and what lets one in once that is known.
pub(super) struct Repository<'a> {
    registry: &'a Registry,
    reference: &'a OciReference,
    /// `pull` or `pull,push`.
    actions: &'static str,
    authorization: Option<HeaderValue>,
}

// === impl Repository ===

impl<'a> Repository<'a> {
    pub(super) fn new(registry: &'a Registry, reference: &'a OciReference, actions: &'static str) -> Self {
        Self { registry, reference, actions, authorization: None }
    }

    /// The manifest of a tag or digest; none if there is none.
    pub(super) async fn manifest(&mut self, name: &str) -> Result<Option<Bytes>, OciError> {
        let url = self.url(&format!("manifests/{name}"))?;
        let what = format!("a request for the manifest {name}");
        let query = Query {
            headers: header(ACCEPT, MANIFEST),
            limit: manifest::LARGEST,
            ..self.query(Method::GET, url, &what)
        };
        let answer = self.send(query).await?;
        match answer.status {
            StatusCode::OK => Ok(Some(answer.body)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(answer.unexpected(&what)),
        }
    }

    /// The digest of a tag's manifest, if the registry says it without the manifest. Whoever pulls compares for himself.
    pub(super) async fn digest(&mut self, tag: &str) -> Result<Option<String>, OciError> {
        let url = self.url(&format!("manifests/{tag}"))?;
        let what = format!("a question for the manifest {tag}");
        let query = Query { headers: header(ACCEPT, MANIFEST), ..self.query(Method::HEAD, url, &what) };
        let answer = self.send(query).await?;
        let said = answer.headers.get(CONTENT_DIGEST).and_then(|digest| digest.to_str().ok());
        match answer.status {
            StatusCode::OK => Ok(said.filter(|digest| is_digest(digest)).map(ToOwned::to_owned)),
            StatusCode::TOO_MANY_REQUESTS => Err(answer.unexpected(&what)),
            _ => Ok(None),
        }
    }

    /// The blob of a digest, of no more bytes than the limit.
    pub(super) async fn blob(&mut self, digest: &str, limit: usize) -> Result<Bytes, OciError> {
        let url = self.url(&format!("blobs/{digest}"))?;
        let what = format!("a request for the layer {digest}");
        // Room for the registry's own words where a small layer is not there.
        let query = Query { limit: limit.max(LARGEST_WORDS), ..self.query(Method::GET, url, &what) };
        let answer = self.send(query).await?;
        if answer.status != StatusCode::OK {
            return Err(answer.unexpected(&what));
        }
        let found = digest_of(&answer.body);
        if found == digest { Ok(answer.body) } else { Err(OciError::digest("layer", digest, found)) }
    }

    /// Puts a blob where it is not yet.
    pub(super) async fn put_blob(&mut self, digest: &str, bytes: Bytes) -> Result<(), OciError> {
        let url = self.url(&format!("blobs/{digest}"))?;
        let there = self.send(self.query(Method::HEAD, url, "a question for a layer")).await?;
        if there.status == StatusCode::OK {
            return Ok(());
        }
        let what = "the start of an upload";
        let url = self.url("blobs/uploads/")?;
        let begun = self.send(self.query(Method::POST, url.clone(), what)).await?;
        let location = begun.headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let location = location.filter(|_| begun.status == StatusCode::ACCEPTED);
        let place = location.and_then(|location| resolve(&url, &with_digest(location, digest)));
        let url = place.ok_or_else(|| begun.unexpected(what))?;
        let what = "an upload";
        let query = Query {
            headers: header(CONTENT_TYPE, "application/octet-stream"),
            body: bytes,
            ..self.query(Method::PUT, url, what)
        };
        let done = self.send(query).await?;
        if done.status == StatusCode::CREATED { Ok(()) } else { Err(done.unexpected(what)) }
    }

    /// Puts a manifest under a tag.
    pub(super) async fn put_manifest(&mut self, tag: &str, bytes: Bytes) -> Result<(), OciError> {
        let what = "a manifest";
        let url = self.url(&format!("manifests/{tag}"))?;
        let query =
            Query { headers: header(CONTENT_TYPE, MANIFEST), body: bytes, ..self.query(Method::PUT, url, what) };
        let done = self.send(query).await?;
        if done.status == StatusCode::CREATED { Ok(()) } else { Err(done.unexpected(what)) }
    }

    /// Asks, and once more as whom the registry wants.
    async fn send(&mut self, mut query: Query) -> Result<Answer, OciError> {
        let http = &self.registry.http;
        // Where an upload goes is the registry's word, and may be a storage of somebody else's.
        if query.url.authority() == self.url("")?.authority() {
            query.headers.extend(self.authorization.clone().map(|value| (AUTHORIZATION, value)));
        }
        let answer = http.send(query.clone()).await?;
        // Not those of a storage that the registry sent us to.
        if answer.status != StatusCode::UNAUTHORIZED || answer.host != self.reference.host() {
            return Ok(answer);
        }
        let scope = format!("repository:{}:{}", self.reference.repository(), self.actions);
        let login = self.registry.credentials.login(self.reference)?;
        let (host, repository) = (self.reference.host().to_owned(), self.reference.repository().to_owned());
        let Some(value) = auth::authorize(http, &answer, login.as_ref(), &scope).await? else {
            let hint = self.registry.credentials.hint(self.reference);
            return Err(OciError::NoLogin { host, actions: self.actions, repository, hint });
        };
        query.headers.insert(AUTHORIZATION, value.clone());
        self.authorization = Some(value);
        let answer = http.send(query).await?;
        if answer.host == host && matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            // Not the user's name, which for some registries is the token.
            let who = if login.is_some() { "the user of its credentials" } else { "nobody in particular" };
            return Err(OciError::Refused { host, who, actions: self.actions, repository, said: answer.said() });
        }
        Ok(answer)
    }

    fn url(&self, path: &str) -> Result<Uri, OciError> {
        let path = format!("/v2/{}/{path}", self.reference.repository());
        self.registry.http.url(self.reference.host(), &path)
    }

    fn query(&self, method: Method, url: Uri, what: &str) -> Query {
        let what = what.to_owned();
        Query { method, url, headers: HeaderMap::new(), body: Bytes::new(), limit: LARGEST_WORDS, what }
    }
}

fn header(name: HeaderName, value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
}

fn with_digest(location: &str, digest: &str) -> String {
    let separator = if location.contains('?') { '&' } else { '?' };
    format!("{location}{separator}digest={digest}")
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::{Arc, Mutex},
    };

    use axum::{Router, http::StatusCode, routing::any};
    use tokio::net::TcpListener;

    use super::*;
    use ampoule_config::RegistriesConfig;

    /// Answers what is asked, and keeps who asked.
    type Answers = fn(&Method, &HeaderMap, &str) -> (StatusCode, Vec<(&'static str, String)>);

    /// A server, and per request its method and whether it had a password.
    async fn serve(answers: Answers, elsewhere: String) -> (String, Arc<Mutex<Vec<String>>>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let app = Router::new().fallback(any(move |method: Method, headers: HeaderMap| {
            let authorized = if headers.contains_key(AUTHORIZATION) { "with" } else { "without" };
            kept.lock().unwrap().push(format!("{method} {authorized}"));
            let (status, headers) = answers(&method, &headers, &elsewhere);
            let headers = headers
                .into_iter()
                .map(|(name, value)| (HeaderName::from_static(name), value.parse::<HeaderValue>().unwrap()));
            std::future::ready((status, HeaderMap::from_iter(headers)))
        }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("localhost:{}", listener.local_addr().unwrap().port());
        tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
        (host, seen)
    }

    #[tokio::test]
    async fn a_password_goes_to_the_registry_and_to_no_storage_it_sends_uploads_to() {
        let (storage, at_storage) = serve(|_, _, _| (StatusCode::CREATED, vec![]), String::new()).await;
        let registry: Answers = |method, headers, storage| {
            if !headers.contains_key(AUTHORIZATION) {
                return (StatusCode::UNAUTHORIZED, vec![("www-authenticate", "Basic realm=\"r\"".to_owned())]);
            }
            match *method {
                Method::POST => (StatusCode::ACCEPTED, vec![("location", format!("http://{storage}/upload"))]),
                _ => (StatusCode::NOT_FOUND, vec![]),
            }
        };
        let (host, at_registry) = serve(registry, storage.clone()).await;
        let folder = tempfile::tempdir().unwrap();
        let credentials_file = folder.path().join("config.json");
        fs::write(&credentials_file, format!(r#"{{ "auths": {{ "{host}": {{ "auth": "YTpi" }} }} }}"#)).unwrap();
        let config = RegistriesConfig {
            credentials_file: Some(credentials_file),
            ca_file: None,
            insecure: vec![host.clone(), storage],
            refresh: std::time::Duration::from_secs(60),
        };
        let registry = Registry::open(&config, None).unwrap();
        let reference = format!("{host}/team/echo:1").parse().unwrap();
        let mut repository = Repository::new(&registry, &reference, "pull,push");
        repository.put_blob(&digest_of(b"x"), "x".into()).await.unwrap();
        assert_eq!(*at_registry.lock().unwrap(), ["HEAD without", "HEAD with", "POST with"]);
        assert_eq!(*at_storage.lock().unwrap(), ["PUT without"]);
    }
}
