//! One repository of a registry: the requests of OCI's distribution specification, and their
//! authentication.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>

use hyper::{
    HeaderMap, Method, StatusCode, Uri,
    body::Bytes,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION},
};

use crate::{
    auth,
    client::{RegistryClient, RegistryRequest, RegistryResponse, resolve},
    credentials::{Credentials, Login},
    digest::blob_digest,
    error::OciError,
    manifest,
    media_type::{ACCEPTED, MANIFEST},
};
use ampoule_config::{OciReference, is_digest};

/// Limit in bytes for other responses than the requested content, mostly errors.
const LARGEST_MESSAGE: usize = 64 << 10;
/// The header with a manifest's digest in a response without the manifest (OCI distribution,
/// "Checking if content exists").
const CONTENT_DIGEST: &str = "docker-content-digest";

/// A repository, and the `Authorization` header once it is known.
pub(crate) struct Repository<'a> {
    client: &'a RegistryClient,
    credentials: &'a Credentials,
    reference: &'a OciReference,
    /// `pull` or `pull,push`.
    actions: &'static str,
    authorization: Option<HeaderValue>,
}

// === impl Repository ===

impl<'a> Repository<'a> {
    pub(crate) fn new(
        client: &'a RegistryClient,
        credentials: &'a Credentials,
        reference: &'a OciReference,
        actions: &'static str,
    ) -> Self {
        Self { client, credentials, reference, actions, authorization: None }
    }

    /// Returns the manifest or the index of a tag or digest; the registry's message if it does not
    /// exist.
    pub(crate) async fn manifest(&mut self, name: &str) -> Result<Result<Bytes, String>, OciError> {
        let what = format!("a request for manifest {name}");
        let url = self.url(&format!("manifests/{name}"))?;
        let mut request = new_request(Method::GET, url, &what);
        request.headers = header(ACCEPT, ACCEPTED);
        request.limit = manifest::LARGEST;
        let response = self.send(request).await?;
        match response.status {
            StatusCode::OK => Ok(Ok(response.body)),
            StatusCode::NOT_FOUND => Ok(Err(response.message())),
            _ => Err(response.unexpected(&what)),
        }
    }

    /// Returns the digest of a tag's manifest; `None` if the registry reports it only with the
    /// manifest. A pull verifies the digest itself.
    pub(crate) async fn digest(&mut self, tag: &str) -> Result<Option<String>, OciError> {
        let what = format!("a request for the digest of manifest {tag}");
        let url = self.url(&format!("manifests/{tag}"))?;
        let mut request = new_request(Method::HEAD, url, &what);
        request.headers = header(ACCEPT, ACCEPTED);
        let response = self.send(request).await?;
        let digest = response.headers.get(CONTENT_DIGEST).and_then(|digest| digest.to_str().ok());
        match response.status {
            StatusCode::OK => Ok(digest.filter(|digest| is_digest(digest)).map(ToOwned::to_owned)),
            StatusCode::TOO_MANY_REQUESTS => Err(response.unexpected(&what)),
            _ => Ok(None),
        }
    }

    /// Returns the blob with a digest, of at most `limit` bytes.
    pub(crate) async fn blob(&mut self, digest: &str, limit: usize) -> Result<Bytes, OciError> {
        let what = format!("a request for layer {digest}");
        let url = self.url(&format!("blobs/{digest}"))?;
        let mut request = new_request(Method::GET, url, &what);
        // The error for a missing layer may be larger than a small layer.
        request.limit = limit.max(LARGEST_MESSAGE);
        let response = self.send(request).await?;
        if response.status != StatusCode::OK {
            return Err(response.unexpected(&what));
        }
        let found = blob_digest(response.body.clone()).await;
        if found == digest { Ok(response.body) } else { Err(OciError::digest("layer", digest, found)) }
    }

    /// Uploads a blob, unless the repository has it.
    pub(crate) async fn put_blob(&mut self, digest: &str, bytes: Bytes) -> Result<(), OciError> {
        let url = self.url(&format!("blobs/{digest}"))?;
        let existing = self.send(new_request(Method::HEAD, url, "a check for a layer")).await?;
        if existing.status == StatusCode::OK {
            return Ok(());
        }
        let url = self.start_upload(digest).await?;
        let what = "an upload";
        let mut request = new_request(Method::PUT, url, what);
        request.headers = header(CONTENT_TYPE, "application/octet-stream");
        request.body = bytes;
        self.expect_created(request, what).await
    }

    /// Returns the URL that the registry assigns to an upload.
    async fn start_upload(&mut self, digest: &str) -> Result<Uri, OciError> {
        let what = "the start of an upload";
        let url = self.url("blobs/uploads/")?;
        let response = self.send(new_request(Method::POST, url.clone(), what)).await?;
        let location = match response.status {
            StatusCode::ACCEPTED => response.headers.get(LOCATION),
            _ => None,
        };
        let location = location.and_then(|location| location.to_str().ok());
        let upload = location.and_then(|location| resolve(&url, &with_digest(location, digest)));
        upload.ok_or_else(|| response.unexpected(what))
    }

    /// Stores a manifest under a tag.
    pub(crate) async fn put_manifest(&mut self, tag: &str, bytes: Bytes) -> Result<(), OciError> {
        let what = "a manifest";
        let url = self.url(&format!("manifests/{tag}"))?;
        let mut request = new_request(Method::PUT, url, what);
        request.headers = header(CONTENT_TYPE, MANIFEST);
        request.body = bytes;
        self.expect_created(request, what).await
    }

    async fn expect_created(&mut self, request: RegistryRequest, what: &str) -> Result<(), OciError> {
        let response = self.send(request).await?;
        if response.status == StatusCode::CREATED { Ok(()) } else { Err(response.unexpected(what)) }
    }

    /// Sends a request. If the registry requires authentication, authenticates and sends it once
    /// more.
    async fn send(&mut self, mut request: RegistryRequest) -> Result<RegistryResponse, OciError> {
        // The registry chooses the URL of an upload, which may be on another service's host.
        if request.url.authority() == self.url("")?.authority()
            && let Some(value) = &self.authorization
        {
            request.headers.insert(AUTHORIZATION, value.clone());
        }
        let response = self.client.send(request.clone()).await?;
        // Only the registry may require its credentials, not a storage that it redirected to.
        if response.status != StatusCode::UNAUTHORIZED || response.host != self.reference.host() {
            return Ok(response);
        }
        let login = self.credentials.login(self.reference)?;
        let value = self.authorize(&response, login.as_ref()).await?;
        request.headers.insert(AUTHORIZATION, value.clone());
        self.authorization = Some(value);
        let response = self.client.send(request).await?;
        let is_refused = matches!(response.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if is_refused && response.host == self.reference.host() {
            return Err(self.refused(&response, login.is_some()));
        }
        Ok(response)
    }

    async fn authorize(&self, refusal: &RegistryResponse, login: Option<&Login>) -> Result<HeaderValue, OciError> {
        let scope = format!("repository:{}:{}", self.reference.repository(), self.actions);
        let value = auth::authorize(self.client, refusal, login, &scope).await?;
        value.ok_or_else(|| OciError::NoLogin {
            host: self.reference.host().to_owned(),
            actions: self.actions,
            repository: self.reference.repository().to_owned(),
            hint: self.credentials.hint(self.reference),
        })
    }

    fn refused(&self, response: &RegistryResponse, has_login: bool) -> OciError {
        OciError::Refused {
            host: self.reference.host().to_owned(),
            // Not the user's name, which is the token for some registries.
            who: if has_login { "the configured user" } else { "anonymous clients" },
            actions: self.actions,
            repository: self.reference.repository().to_owned(),
            message: response.message(),
        }
    }

    fn url(&self, path: &str) -> Result<Uri, OciError> {
        let path = format!("/v2/{}/{path}", self.reference.repository());
        self.client.url(self.reference.host(), &path)
    }
}

fn new_request(method: Method, url: Uri, what: &str) -> RegistryRequest {
    RegistryRequest {
        method,
        url,
        headers: HeaderMap::new(),
        body: Bytes::new(),
        limit: LARGEST_MESSAGE,
        what: what.to_owned(),
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
    use crate::{digest::sha256_digest, registry::Registry};
    use ampoule_config::RegistriesConfig;

    /// Responds to a request; the last argument is the host of the storage.
    type Respond = fn(&Method, &HeaderMap, &str) -> (StatusCode, Vec<(&'static str, String)>);

    /// Returns a server, and for each request its method and whether it had credentials.
    async fn serve(respond: Respond, storage: String) -> (String, Arc<Mutex<Vec<String>>>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let app = Router::new().fallback(any(move |method: Method, headers: HeaderMap| {
            let authorized = if headers.contains_key(AUTHORIZATION) { "with" } else { "without" };
            kept.lock().unwrap().push(format!("{method} {authorized}"));
            let (status, headers) = respond(&method, &headers, &storage);
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
    async fn credentials_are_not_sent_to_an_external_upload_location() {
        let (storage, at_storage) = serve(|_, _, _| (StatusCode::CREATED, vec![]), String::new()).await;
        let registry: Respond = |method, headers, storage| {
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
        let mut repository = registry.repository(&reference, "pull,push");
        repository.put_blob(&sha256_digest(b"x"), "x".into()).await.unwrap();
        assert_eq!(*at_registry.lock().unwrap(), ["HEAD without", "HEAD with", "POST with"]);
        assert_eq!(*at_storage.lock().unwrap(), ["PUT without"]);
    }
}
