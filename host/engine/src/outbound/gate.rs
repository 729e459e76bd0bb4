//! What becomes of each request of a guest: [`HttpGate`], which refuses it or has it sent.
//!
//! Everything that can be said without asking anybody is said here; what a name turns out to be is judged by
//! [`super::exchange`], where the connection is made.

use std::sync::Arc;

use ::http::{Method, Request, Response, uri::Scheme};
use tracing::warn;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::{
    Destination, HttpGrant, OutboundBudget,
    exchange::{Exchange, Io},
};
use crate::{context::PluginContext, grants::Grant, threads::spawn_on};

/// Bytes of a request's body that a guest passes in one call.
const CHUNK: usize = 64 << 10;

/// The way out of one instance.
pub(crate) struct HttpGate {
    plugin: Arc<PluginContext>,
    budget: Arc<OutboundBudget>,
}

// === impl HttpGate ===

impl HttpGate {
    pub(crate) fn new(plugin: Arc<PluginContext>, budget: Arc<OutboundBudget>) -> Self {
        Self { plugin, budget }
    }

    /// The host that a request is for, and the grant that covers it.
    fn judge<B>(&self, request: &Request<B>) -> Result<(Destination, HttpGrant), Error> {
        let uri = request.uri();
        if request.method() == Method::CONNECT {
            return Err(Error::HttpRequestMethodInvalid);
        }
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        let destination = Destination::parse(authority.as_str());
        let grant = match &destination {
            Ok(destination) => self.plugin.grants.http.as_ref().filter(|grant| grant.covers(destination)),
            Err(_) => None,
        };
        match (destination, grant) {
            (Ok(destination), Some(grant)) if uri.scheme() == Some(&Scheme::HTTPS) => Ok((destination, grant.clone())),
            (Ok(destination), _) => Err(self.deny(&destination.to_string(), Error::HttpRequestDenied)),
            // An address that no plugin may call is a refusal as well.
            (Err(_), _) => Err(self.deny("(no host that could be granted)", Error::HttpRequestDenied)),
        }
    }

    /// Says that it was refused: always in the metrics, and once in the log, as a guest may ask as often as it likes.
    fn deny(&self, destination: &str, error: Error) -> Error {
        let Self { plugin, budget } = self;
        plugin.denied(Grant::Http);
        if budget.is_news() {
            warn!(
                plugin = plugin.name,
                destination, "outbound HTTP refused: not in grants.http.hosts, or not over TLS"
            );
        }
        error
    }
}

impl WasiHttpHooks for HttpGate {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _done: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Io), Error>> + Send> {
        let judged = self
            .judge(&request)
            .and_then(|allowed| if self.budget.call() { Ok(allowed) } else { Err(Error::ConnectionLimitReached) });
        let (destination, grant) = match judged {
            Ok(allowed) => allowed,
            Err(error) => return Box::new(std::future::ready(Err(error))),
        };
        let Self { plugin, budget } = self;
        let (plugin, budget) = (Arc::clone(plugin), Arc::clone(budget));
        let network = plugin.shared.network.clone();
        let exchange = Exchange { plugin, destination, grant, budget, options: options.unwrap_or_default() };
        // Where the guests are, and not where reviews are read: a handshake is work.
        Box::new(async move {
            let answer = spawn_on(&network, exchange.run(request)).await;
            answer.unwrap_or(Err(Error::InternalError(None)))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }
}
