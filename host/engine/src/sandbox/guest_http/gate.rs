//! [`HttpGate`]: checks each request of a guest, and sends it if a grant covers it.
//!
//! The gate does no I/O. [`exchange`](super::exchange) checks the addresses of a host when it
//! connects.

use ampoule_core::Destination;
use ampoule_core::{Grant, HostCredential};
use std::{future::ready, sync::Arc};

use ::http::{Method, Request, Response, uri::Scheme};
use tracing::warn;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::exchange::{ConnectionDriver, Exchange};
use crate::{
    sandbox::{
        context::PluginContext,
        outbound::{budget::OutboundBudget, grant::HttpGrant},
    },
    threads::spawn_on,
};

/// Bytes of a request body that a guest passes in one call.
const CHUNK: usize = 64 << 10;

/// The HTTP client of one instance.
pub(crate) struct HttpGate {
    plugin: Arc<PluginContext>,
    budget: Arc<OutboundBudget>,
}

// === impl HttpGate ===

impl HttpGate {
    pub(crate) fn new(plugin: Arc<PluginContext>, budget: Arc<OutboundBudget>) -> Self {
        Self { plugin, budget }
    }

    /// Checks a request, and counts it if it is allowed.
    fn admit<B>(&self, request: &Request<B>) -> Result<(Destination, HttpGrant), Error> {
        let (destination, grant) = self.check(request)?;
        if let Some(credential) = grant.credential(&destination) {
            self.check_credential(request, &*credential, &destination)?;
        }
        if self.budget.count_call() { Ok((destination, grant)) } else { Err(Error::ConnectionLimitReached) }
    }

    /// Refuses a request that sets a header of the host's credential, or whose response would show
    /// the credential. The plugin gets the reason: its author must change it.
    fn check_credential<B>(
        &self,
        request: &Request<B>,
        credential: &dyn HostCredential,
        destination: &Destination,
    ) -> Result<(), Error> {
        let own = credential.headers().iter().find(|name| request.headers().contains_key(name.as_str()));
        let method = request.method();
        let reason = match own {
            Some(name) => {
                format!("the webhook sets the header {name} for {destination}, so the plugin must not set it")
            }
            // A server returns the headers of such a request in its response.
            None if method == Method::TRACE => {
                format!("TRACE is not permitted for {destination}, for which the webhook has a credential")
            }
            None => match credential.reveals(method.as_str(), request.uri().path()) {
                Some(what) => format!("{what}, which plugins may not call on {destination}"),
                None => return Ok(()),
            },
        };
        self.plugin.report_denied(Grant::Http);
        if self.budget.is_first_problem() && !self.plugin.diverts_warning(&format!("outbound HTTP refused: {reason}")) {
            warn!(plugin = self.plugin.name, %reason, "outbound HTTP refused");
        }
        Err(Error::InternalError(Some(reason)))
    }

    /// Returns the destination of a request, and the grant that covers it.
    fn check<B>(&self, request: &Request<B>) -> Result<(Destination, HttpGrant), Error> {
        let uri = request.uri();
        if request.method() == Method::CONNECT {
            return Err(Error::HttpRequestMethodInvalid);
        }
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        // An address that plugins may not call does not parse, and is refused like any other host.
        let Ok(destination) = Destination::parse(authority.as_str()) else {
            return Err(self.deny("(not a grantable host)"));
        };
        match self.plugin.grants.http.as_ref().filter(|grant| grant.covers(&destination)) {
            Some(grant) if uri.scheme() == Some(&Scheme::HTTPS) => Ok((destination, grant.clone())),
            _ => Err(self.deny(&destination.to_string())),
        }
    }

    /// Reports a refusal: always in the metrics, and once per admission in the log, because a guest
    /// can repeat the request.
    fn deny(&self, destination: &str) -> Error {
        self.plugin.report_denied(Grant::Http);
        let text = format!(
            "outbound HTTP refused: {destination} is not in grants.http.hosts, or the request does not use TLS"
        );
        if self.budget.is_first_problem() && !self.plugin.diverts_warning(&text) {
            warn!(
                plugin = self.plugin.name,
                destination,
                "outbound HTTP refused: the host is not in grants.http.hosts, or the request does not use TLS"
            );
        }
        Error::HttpRequestDenied
    }
}

impl WasiHttpHooks for HttpGate {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _done: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, ConnectionDriver), Error>> + Send> {
        let (destination, grant) = match self.admit(&request) {
            Ok(allowed) => allowed,
            Err(error) => return Box::new(ready(Err(error))),
        };
        let network = self.plugin.services.network.clone();
        let exchange = Exchange {
            plugin: Arc::clone(&self.plugin),
            destination,
            grant,
            budget: Arc::clone(&self.budget),
            options: options.unwrap_or_default(),
        };
        // A handshake is work, so it runs on the guests' threads and not on those that read
        // reviews.
        Box::new(async move {
            let response = spawn_on(&network, exchange.run(request)).await;
            response.unwrap_or(Err(Error::InternalError(None)))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use ampoule_core::{NoCluster, Profile};

    use super::*;
    use crate::{
        Call, Grants, Limits, PluginObserver, SystemResolver,
        sandbox::{cache::PluginCache, services::HostServices},
        threads::GuestThreads,
    };

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

    /// A gate with grants for these hosts, and the counter of its refusals.
    fn gate(granted: &[&str]) -> (HttpGate, Arc<Denials>) {
        let denials = Arc::new(Denials::default());
        let observer = Arc::<Denials>::clone(&denials);
        let services = Arc::new(HostServices {
            resolver: Arc::new(SystemResolver),
            secrets: Arc::new(NoCluster),
            http: None,
            log: None,
            network: GuestThreads::start(1).unwrap().handle().clone(),
        });
        let hosts: Vec<_> = granted.iter().map(|host| Destination::parse(host).unwrap()).collect();
        let http = (!hosts.is_empty()).then(|| HttpGrant::new(hosts, Vec::new()).unwrap());
        let (limits, grants) = (Limits::default(), Grants { http, ..Grants::default() });
        let budget = Arc::new(OutboundBudget::new(&limits));
        let plugin = PluginContext {
            name: "p".to_owned(),
            reuses_answers: false,
            limits,
            conventions: Profile::FlyteV2.conventions(),
            cache: PluginCache::default(),
            grants,
            observer,
            services,
        };
        (HttpGate::new(Arc::new(plugin), budget), denials)
    }

    /// The destination of an allowed request, or the error.
    fn check(gate: &HttpGate, method: &Method, uri: &str) -> String {
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        let checked = gate.check(&request);
        checked.map_or_else(|error| format!("{error:?}"), |(destination, _)| destination.to_string())
    }

    #[test]
    fn allows_granted_destinations_and_refuses_others() {
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
            assert_eq!(check(&gate, &Method::GET, uri), expected, "{uri}");
            denied += u32::from(expected == "HttpRequestDenied");
            assert_eq!(denials.0.load(Ordering::Relaxed), denied, "{uri}");
        }
    }

    #[test]
    fn allows_every_method_except_connect() {
        let (gate, _) = gate(&["store.example"]);
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
            assert_eq!(check(&gate, &method, "https://store.example/"), "store.example:443");
        }
        assert_eq!(check(&gate, &Method::CONNECT, "store.example:443"), "HttpRequestMethodInvalid");
    }

    #[test]
    fn refuses_trace_for_a_host_with_a_credential() {
        struct Reserved;

        #[async_trait::async_trait]
        impl HostCredential for Reserved {
            fn headers(&self) -> &[String] {
                &[]
            }

            fn needs_body(&self) -> bool {
                false
            }

            fn reveals(&self, _method: &str, _path: &str) -> Option<&'static str> {
                None
            }

            async fn attach(
                &self,
                _request: &ampoule_core::OutgoingRequest,
            ) -> Result<Vec<ampoule_core::CredentialHeader>, ampoule_core::CredentialError> {
                Ok(Vec::new())
            }

            fn answered(&self, _status: u16) {}
        }

        let (gate, denials) = gate(&["store.example"]);
        let destination = Destination::parse("store.example").unwrap();
        for (method, expected) in
            [(Method::GET, None), (Method::TRACE, Some("TRACE is not permitted for store.example:443"))]
        {
            let request = Request::builder().method(method).uri("https://store.example/").body(()).unwrap();
            let checked =
                gate.check_credential(&request, &Reserved, &destination).err().map(|error| format!("{error:?}"));
            assert_eq!(checked.is_some(), expected.is_some());
            assert!(checked.unwrap_or_default().contains(expected.unwrap_or_default()));
        }
        assert_eq!(denials.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn refuses_every_host_without_a_grant() {
        assert_eq!(check(&gate(&[]).0, &Method::GET, "https://store.example/"), "HttpRequestDenied");
    }
}
