//! Attaches the credential of a host to a request that passed the checks of the gate.
//!
//! The headers are added to the request that leaves the process. No handle of the guest refers to
//! it any more.

use ::http::{HeaderName, HeaderValue, Request, header::HOST};
use ampoule_core::{CredentialError, HostCredential, OutgoingRequest};
use http_body_util::{BodyExt as _, Full};
use secrecy::ExposeSecret as _;
use wasmtime_wasi_http::{Error, WasiBody};

use super::exchange::Exchange;
use crate::sandbox::outbound::budget::CountedBody;

// === impl Exchange ===

impl Exchange {
    /// Adds the headers of the credential. A signature needs the body, which the budget of the
    /// admission bounds.
    pub(super) async fn with_credential(
        &self,
        credential: &dyn HostCredential,
        request: Request<WasiBody>,
    ) -> Result<Request<WasiBody>, Error> {
        let mut request = request;
        let mut outgoing = OutgoingRequest {
            method: request.method().to_string(),
            authority: self.authority(&request),
            path_and_query: request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            headers: request
                .headers()
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
                .collect(),
            body: Vec::new(),
        };
        if credential.needs_body() {
            let (head, body) = request.into_parts();
            let body = CountedBody::for_request(body, self.budget.clone()).collect().await?.to_bytes();
            outgoing.body = body.to_vec();
            let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
            request = Request::from_parts(head, body);
        }
        let headers = credential.attach(&outgoing).await.map_err(|error| {
            if error != CredentialError::Unavailable {
                self.budget.record_refused_login();
            }
            Error::InternalError(Some(format!("the host cannot log in to {}: {error}", self.destination)))
        })?;
        for header in headers {
            let name = HeaderName::from_bytes(header.name.as_bytes());
            let value = HeaderValue::from_str(header.value.expose_secret());
            let (Ok(name), Ok(mut value)) = (name, value) else {
                let reason = format!("the webhook's credential for {} is not a text for a header", self.destination);
                return Err(Error::InternalError(Some(reason)));
            };
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
        Ok(request)
    }

    /// The value of the header `host`, which a signature covers.
    fn authority<B>(&self, request: &Request<B>) -> String {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        host.map_or_else(|| self.destination.to_string(), ToOwned::to_owned)
    }
}
