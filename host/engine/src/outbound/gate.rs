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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::{Call, EngineConfig, Grants, Limits, PluginEngine, PluginObserver};

    /// Counts refusals.
    #[derive(Default)]
    struct Denials(AtomicU32);

    impl PluginObserver for Denials {
        fn called(&self, _call: &Call) {}

        fn denied(&self, grant: Grant) {
            assert_eq!(grant, Grant::Http);
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A gate of a plugin that was granted these hosts, and its refusals.
    fn gate(granted: &[&str]) -> (HttpGate, Arc<Denials>) {
        let denials = Arc::new(Denials::default());
        let observer = Arc::<Denials>::clone(&denials);
        let config = EngineConfig { max_concurrent: 1, guest_threads: 1, ..EngineConfig::default() };
        let shared = Arc::clone(&PluginEngine::new(config).unwrap().shared);
        let hosts: Vec<_> = granted.iter().map(|host| Destination::parse(host).unwrap()).collect();
        let http = (!hosts.is_empty()).then(|| HttpGrant::new(hosts, Vec::new()).unwrap());
        let (limits, grants) = (Limits::default(), Grants { http, ..Grants::default() });
        let budget = Arc::new(OutboundBudget::new(&limits));
        let plugin = PluginContext { name: "p".to_owned(), limits, grants, observer, shared };
        (HttpGate::new(Arc::new(plugin), budget), denials)
    }

    /// The destination that a request is let through to, or the error.
    fn judged(gate: &HttpGate, method: &Method, uri: &str) -> String {
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        let judged = gate.judge(&request);
        judged.map_or_else(|error| format!("{error:?}"), |(destination, _)| destination.to_string())
    }

    #[test]
    fn lets_through_what_was_granted_and_refuses_the_rest() {
        let (gate, denials) = gate(&["store.example:8443", "192.0.2.1", "[2001:db8::1]:444"]);
        let mut denied = 0;
        for (uri, expected) in [
            ("https://store.example:8443/v1?x=y", "store.example:8443"),
            ("https://STORE.example:8443", "store.example:8443"),
            ("https://192.0.2.1/", "192.0.2.1:443"),
            ("https://192.0.2.1:443/", "192.0.2.1:443"),
            ("https://[2001:DB8::1]:444/", "[2001:db8::1]:444"),
            ("http://store.example:8443/", "HttpRequestDenied"),
            ("https://store.example/", "HttpRequestDenied"),
            ("https://store.example:8444/", "HttpRequestDenied"),
            ("https://store.example.:8443/", "HttpRequestDenied"),
            ("https://a.store.example:8443/", "HttpRequestDenied"),
            ("https://ci:hush@store.example:8443/", "HttpRequestDenied"),
            ("https://evil.example@store.example:8443/", "HttpRequestDenied"),
            ("https://[2001:db8::1]/", "HttpRequestDenied"),
            ("https://127.0.0.1/", "HttpRequestDenied"),
            ("https://169.254.169.254/", "HttpRequestDenied"),
            ("https://2130706433/", "HttpRequestDenied"),
            ("store.example:8443", "HttpRequestDenied"),
            ("/v1", "HttpRequestUriInvalid"),
            ("*", "HttpRequestUriInvalid"),
        ] {
            assert_eq!(judged(&gate, &Method::GET, uri), expected, "{uri}");
            denied += u32::from(expected == "HttpRequestDenied");
            assert_eq!(denials.0.load(Ordering::Relaxed), denied, "{uri}");
        }
    }

    #[test]
    fn every_method_is_good_but_that_of_proxies() {
        let (gate, _) = gate(&["store.example"]);
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
            assert_eq!(judged(&gate, &method, "https://store.example/"), "store.example:443");
        }
        assert_eq!(judged(&gate, &Method::CONNECT, "store.example:443"), "HttpRequestMethodInvalid");
    }

    #[test]
    fn without_the_grant_no_host_is_good() {
        assert_eq!(judged(&gate(&[]).0, &Method::GET, "https://store.example/"), "HttpRequestDenied");
    }
}
