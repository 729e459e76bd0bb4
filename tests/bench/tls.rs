//! Requests per second over TLS: the whole pipeline beside two handlers that do nothing, on the same server stack.
//!
//! `bare` throws the request's bytes away, which is what TLS and HTTP cost alone; `no-op` is an admission handler that allows
//! everything, as one writes it with kube-rs: it reads a review and answers with one. The servers and the clients share this
//! process and its processors, clients on threads of their own, and rounds alternate, so that a noisy machine disturbs all
//! alike: the ratio is the figure to quote.

#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

#[allow(dead_code, reason = "shared by benchmarks that each use a part")]
#[path = "support.rs"]
mod support;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use ampoule_server::{
    Metrics, Pipeline, ServingPipeline,
    certs::CertificatePair,
    listener::{Drain, DrainTrigger, Listener},
    tls::{self, ServingCert},
    webhook,
};
use ampoule_tests::{Connection, Trust};
use axum::{Json, Router, body::Bytes, routing::post};
use kube::core::{
    DynamicObject,
    admission::{AdmissionRequest, AdmissionResponse, AdmissionReview},
};
use tokio::{runtime::Runtime, task::JoinSet};
use tokio_rustls::TlsAcceptor;

const CONNECTIONS: [usize; 3] = [1, 8, 64];
const ROUNDS: usize = 5;
const GRACE: Duration = Duration::from_secs(5);

/// A server on the stack of `serve`.
struct Server {
    address: SocketAddr,
    _drain: DrainTrigger,
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let round = Duration::from_millis(if quick { 300 } else { 2000 });
    let runtime = Runtime::new().expect("a runtime");
    // An API server is another process: no answer may stay on the thread that it was asked on.
    let clients = Runtime::new().expect("a runtime");
    let signed = tls::self_signed(&[]).expect("a certificate");
    let trust = Trust::root(&signed.ca_pem).expect("the certificate's CA");
    let engine = support::engine();
    let mutator = support::mutator(support::k8s(&runtime, &engine));
    let metrics = Metrics::new();
    let pipeline = Arc::new(ServingPipeline::new(Pipeline::new(engine, mutator, metrics.clone())));
    let full = runtime.block_on(Server::start(webhook::router(pipeline, metrics.clone(), 1024), &signed, &metrics));
    let noop = runtime.block_on(Server::start(noop(), &signed, &metrics));
    let bare = runtime.block_on(Server::start(bare(), &signed, &metrics));
    println!("requests per second, median of {ROUNDS} rounds of {round:?} each, in turn");
    println!("connections      bare     no-op   ampoule   ampoule/no-op   ampoule/bare");
    for connections in CONNECTIONS {
        let mut rates = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (server, rates) in [&bare, &noop, &full].into_iter().zip(&mut rates) {
                rates.push(clients.block_on(server.rate(&trust, connections, round)));
            }
        }
        let [bare, noop, full] = rates.map(median);
        let (to_noop, to_bare) = (full / noop, full / bare);
        println!("{connections:>11} {bare:>9.0} {noop:>9.0} {full:>9.0} {to_noop:>15.2} {to_bare:>14.2}");
    }
}

/// Reads the review into types and allows it.
fn noop() -> Router {
    let handler = async |Json(review): Json<AdmissionReview<DynamicObject>>| {
        let request: AdmissionRequest<DynamicObject> = review.try_into().expect("the review has a request");
        Json(AdmissionResponse::from(&request).into_review())
    };
    Router::new().route(webhook::PATH, post(handler))
}

/// Reads the request's bytes and answers without a look at them.
fn bare() -> Router {
    const ANSWER: &str =
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"0","allowed":true}}"#;
    Router::new().route(webhook::PATH, post(async |_: Bytes| ([("content-type", "application/json")], ANSWER)))
}

// === impl Server ===

impl Server {
    async fn start(router: Router, signed: &CertificatePair, metrics: &Metrics) -> Self {
        let cert = Arc::new(ServingCert::default());
        cert.install(signed.certified_key());
        let tls = TlsAcceptor::from(Arc::new(tls::server_config(cert)));
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = Listener::bind(any, 1024, metrics.port("bench")).await.expect("a free port").with_tls(tls);
        let address = listener.local_addr().expect("it is bound");
        let (trigger, drain) = DrainTrigger::new();
        tokio::spawn(serve(listener, router, drain));
        Self { address, _drain: trigger }
    }

    /// Answers per second over kept connections, each with one request at a time.
    async fn rate(&self, trust: &Trust, connections: usize, round: Duration) -> f64 {
        let mut open = Vec::new();
        for _ in 0..connections {
            open.push(Connection::tls(self.address, trust).await.expect("a connection"));
        }
        let body = Bytes::from(support::review());
        let start = Instant::now();
        let mut clients: JoinSet<usize> = JoinSet::new();
        for mut connection in open {
            let body = body.clone();
            clients.spawn(async move {
                let mut answered = 0;
                while start.elapsed() < round {
                    let answer = connection.post(webhook::PATH, body.clone()).await.expect("an answer");
                    assert_eq!(answer.status, 200);
                    answered += 1;
                }
                answered
            });
        }
        let answered: usize = clients.join_all().await.into_iter().sum();
        #[allow(clippy::cast_precision_loss, reason = "a count of requests is far below 2^52")]
        let answered = answered as f64;
        answered / start.elapsed().as_secs_f64()
    }
}

async fn serve(listener: Listener, router: Router, drain: Drain) {
    listener.run(router, drain, GRACE).await;
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
