//! The servers, all in one process: [`serve`] is that process, [`Servers`] starts it and holds its
//! targets.
//!
//! The process is this program with the argument [`SERVE`], so that the load does not share its
//! threads and its allocator.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use ampoule_admission::{
    memory::MemoryPool,
    pipeline::{Pipeline, ServingPipeline},
    webhook,
};
use ampoule_cluster::certs::{self, CertificatePair};
use ampoule_config::WEBHOOK_PATH;
use ampoule_engine::PluginEngine;
use ampoule_load::Target;
use ampoule_net::{
    listener::{ConnectionLimits, Drain, DrainTrigger, Listener},
    tls::{self, ServingCert},
};
use ampoule_telemetry::{
    decisions::DecisionLog,
    log::{self, LogFormat, LogLevel},
    metrics::Metrics,
    trace::Traces,
};
use ampoule_tests::Trust;
use anyhow::{Context as _, Result};
use axum::{Json, Router, body::Bytes, routing::post};
use kube::core::{
    DynamicObject,
    admission::{AdmissionRequest, AdmissionResponse, AdmissionReview},
};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;
use tracing::subscriber::{NoSubscriber, set_default};

use crate::{consoles, support};

/// The argument that makes this program the servers' process.
pub(crate) const SERVE: &str = "--serve";

/// All servers, in the order of the tables.
pub(crate) const SERVERS: [Server; 6] =
    [Server::Bare, Server::Noop, Server::Ampoule, Server::Calling, Server::Quiet, Server::Uncounted];

/// Servers whose latency is measured.
pub(crate) const TIMED: [Server; 3] = [Server::Bare, Server::Noop, Server::Ampoule];

const GRACE: Duration = Duration::from_secs(5);
/// Connections of a server, and admissions at once.
const CONNECTIONS: usize = 1024;

/// A measured server.
#[derive(Clone, Copy)]
pub(crate) enum Server {
    /// Answers without reading the request.
    Bare,
    /// Reads a review and allows it.
    Noop,
    /// The whole pipeline. Every request has the same pod, so that the plugin is called once.
    Ampoule,
    /// The whole pipeline, with a call of the plugin for each answer.
    Calling,
    /// The whole pipeline without a log.
    Quiet,
    /// The whole pipeline without metrics.
    Uncounted,
}

/// The serving process. It ends when this value is dropped or this program ends, because its
/// standard input ends then.
pub(crate) struct Servers {
    process: Child,
    targets: Vec<Target>,
    /// The targets for clients that resume TLS sessions.
    resuming: Vec<Target>,
    /// The server with a console, on request.
    pub(crate) watched: Option<Watched>,
}

/// The whole pipeline with a log of its decisions, and the console that shows it.
pub(crate) struct Watched {
    pub(crate) target: Target,
    pub(crate) console: SocketAddr,
}

// === impl Server ===

impl Server {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Noop => "no-op",
            Self::Ampoule => "Ampoule",
            Self::Calling => "Ampoule, each answer by a call",
            Self::Quiet => "Ampoule without its log",
            Self::Uncounted => "Ampoule without metrics",
        }
    }

    fn patches(self) -> bool {
        matches!(self, Self::Ampoule | Self::Calling | Self::Quiet | Self::Uncounted)
    }
}

// === impl Servers ===

impl Servers {
    /// Starts the servers, and with the file about an API server also the one with a console.
    pub(crate) fn start(api_server: Option<&Path>) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        // The cost of the log's destination in production is higher, and is not Ampoule's.
        command.arg(SERVE).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        match api_server {
            Some(file) => command.env(consoles::API_SERVER, file),
            None => command.env_remove(consoles::API_SERVER),
        };
        let mut process = command.spawn().context("the servers cannot be started")?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("the servers have no output")?).read_line(&mut line)?;
        let ready: Value = serde_json::from_str(&line).context("the servers did not start")?;
        let trust = Trust::root(ready["ca"].as_str().context("no CA")?)?;
        let address = |value: &Value| anyhow::Ok(value.as_str().context("no address")?.parse()?);
        let target = |server: Server| {
            anyhow::Ok(support::target(address(&ready["addresses"][server as usize])?, &trust, server.patches()))
        };
        let watched = match api_server {
            None => None,
            Some(_) => Some(Watched {
                target: support::target(address(&ready["watched"])?, &trust, true),
                console: address(&ready["console"])?,
            }),
        };
        let targets = SERVERS.into_iter().map(target).collect::<Result<Vec<_>>>()?;
        let resuming = |target: &Target| Target { tls: trust.resuming_config(), ..target.clone() };
        Ok(Self { process, resuming: targets.iter().map(resuming).collect(), targets, watched })
    }

    /// The id of the process.
    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn target(&self, server: Server) -> &Target {
        &self.targets[server as usize]
    }

    pub(crate) fn resuming(&self, server: Server) -> &Target {
        &self.resuming[server as usize]
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Serves until the standard input ends; the first line on standard output holds the addresses.
#[allow(clippy::print_stdout, reason = "the other process reads the addresses")]
pub(crate) fn serve() -> Result<()> {
    log::install(LogFormat::Json, LogLevel::Info);
    let (runtime, quiet) = (Runtime::new()?, without_log()?);
    let signed = certs::self_signed(&[])?;
    let metrics = Metrics::new();
    let start = |runtime: &Runtime, router| runtime.block_on(start(router, &signed, &metrics));
    let servers = [
        start(&runtime, bare()),
        start(&runtime, noop()),
        start(&runtime, ampoule(&runtime, &metrics, support::engine(&metrics), None)),
        start(&runtime, ampoule(&runtime, &metrics, support::calling_engine(&metrics), None)),
        start(&quiet, ampoule(&quiet, &metrics, support::engine(&metrics), None)),
        start(&runtime, ampoule(&runtime, &Metrics::idle(), support::engine(&Metrics::idle()), None)),
    ];
    let servers: Vec<_> = servers.into_iter().collect::<Result<_>>()?;
    let addresses: Vec<_> = servers.iter().map(|(address, _)| address).collect();
    let watched = match std::env::var_os(consoles::API_SERVER) {
        None => None,
        Some(_) => {
            let decisions = DecisionLog::default();
            let router = ampoule(&runtime, &metrics, support::engine(&metrics), Some(decisions.clone()));
            let (server, console) = (start(&runtime, router)?, runtime.block_on(consoles::port(decisions))?);
            Some((server, console))
        }
    };
    let (server, console) = watched.as_ref().map(|(server, console)| (server.0, console.0)).unzip();
    println!("{}", json!({ "ca": signed.ca_pem, "addresses": addresses, "watched": server, "console": console }));
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// A runtime whose threads log nothing.
fn without_log() -> Result<Runtime> {
    let silence = || std::mem::forget(set_default(NoSubscriber::default()));
    Ok(Builder::new_multi_thread().enable_all().on_thread_start(silence).build()?)
}

async fn start(router: Router, signed: &CertificatePair, metrics: &Metrics) -> Result<(SocketAddr, DrainTrigger)> {
    let cert = Arc::new(ServingCert::default());
    cert.install(signed.certified_key());
    let tls = TlsAcceptor::from(Arc::new(tls::server_config(cert)));
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    // All load comes from one address.
    let limits = ConnectionLimits { per_peer: usize::MAX, ..ConnectionLimits::webhook(CONNECTIONS) };
    let listener = Listener::bind(any, limits, metrics.port("bench")).await?.with_tls(tls);
    let address = listener.local_addr()?;
    let (trigger, drain) = DrainTrigger::new();
    tokio::spawn(run(listener, router, drain));
    Ok((address, trigger))
}

async fn run(listener: Listener, router: Router, drain: Drain) {
    listener.run(router, drain, GRACE).await;
}

fn ampoule(runtime: &Runtime, metrics: &Metrics, engine: Arc<PluginEngine>, decisions: Option<DecisionLog>) -> Router {
    let mutator = support::mutator(support::k8s(runtime, &engine));
    let pipeline = Pipeline::new(engine, mutator, metrics.clone()).with_decisions(decisions);
    let pipeline = Arc::new(ServingPipeline::new(pipeline));
    let memory = MemoryPool::new(1 << 30);
    webhook::router(pipeline, metrics.clone(), Traces::default(), memory, CONNECTIONS)
}

/// Reads the review into types and allows it.
fn noop() -> Router {
    Router::new().route(WEBHOOK_PATH, post(async |Json(review)| Json(allow(review))))
}

/// The work of the no-op between reading and writing JSON.
pub(crate) fn allow(review: AdmissionReview<DynamicObject>) -> AdmissionReview<DynamicObject> {
    let request: AdmissionRequest<DynamicObject> = review.try_into().expect("the review has a request");
    AdmissionResponse::from(&request).into_review()
}

/// Reads the request's bytes and answers without parsing them.
fn bare() -> Router {
    const ANSWER: &str =
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"0","allowed":true}}"#;
    Router::new().route(WEBHOOK_PATH, post(async |_: Bytes| ([("content-type", "application/json")], ANSWER)))
}
