//! Open consoles: [`Consoles`] polls as the pages of a browser do, each with a connection of its
//! own, and [`port`] is the console beside a measured server.
//!
//! The API server that the console asks for the rights of each request is part of the load's
//! process. It speaks TLS and permits everything.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use ampoule_cluster::{caller::CallerClients, certs};
use ampoule_console::{
    ConsoleSource, ConsoleState, DryRunResult, LatencyView, OverviewView, PluginView, PolicyView, router,
};
use ampoule_core::{AdmissionMemory, AdmissionOutcome, Pod, Refusal, RefusalCode, Requester, UnlimitedMemory};
use ampoule_net::{
    background::spawn_in_background,
    listener::{ConnectionLimits, DrainTrigger, Listener},
    tls::{self, ServingCert},
};
use ampoule_telemetry::{
    decisions::{DecisionFilter, DecisionLog},
    metrics::Metrics,
};
use ampoule_tests::Connection;
use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use axum::{Json, Router, http::StatusCode};
use data_encoding::BASE64;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    runtime::{Builder, Runtime},
    time::sleep,
};
use tokio_rustls::TlsAcceptor;

/// The variable with the file about the API server. Without it, there is no console.
pub(crate) const API_SERVER: &str = "KUBECONFIG";
/// Open consoles, and the interval of their requests.
pub(crate) const OPEN: usize = 20;
pub(crate) const INTERVAL: Duration = Duration::from_secs(2);

const GRACE: Duration = Duration::from_secs(5);
/// The decisions for the percentiles of the latency, as in the process.
const LATENCY_DECISIONS: usize = 1000;

/// The API server of the consoles, which ends with this value.
pub(crate) struct ApiServer {
    folder: TempDir,
    runtime: Runtime,
    _running: DrainTrigger,
}

/// Consoles that poll while they are open.
pub(crate) struct Consoles {
    are_open: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    failures: Arc<AtomicU64>,
}

/// The state of a process that only serves.
struct BenchSource(DecisionLog);

// === impl ApiServer ===

impl ApiServer {
    pub(crate) fn start() -> Result<Self> {
        let runtime = elsewhere()?;
        let signed = certs::self_signed(&[])?;
        let cert = Arc::new(ServingCert::default());
        cert.install(signed.certified_key());
        let tls = TlsAcceptor::from(Arc::new(tls::server_config(cert)));
        let (listener, address) = runtime.block_on(bind(Some(tls)))?;
        let (running, drain) = DrainTrigger::new();
        runtime.spawn(async move { listener.run(permit_all(), drain, GRACE).await });
        let folder = tempfile::tempdir()?;
        let ca = BASE64.encode(signed.ca_pem.as_bytes());
        let cluster = json!({ "server": format!("https://{address}"), "certificate-authority-data": ca });
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{ "name": "bench", "cluster": cluster }],
            "users": [{ "name": "bench", "user": {} }],
            "contexts": [{ "name": "bench", "context": { "cluster": "bench", "user": "bench" } }],
        });
        fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string())?;
        Ok(Self { folder, runtime, _running: running })
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Starts consoles that are closed.
    pub(crate) fn consoles(&self, console: SocketAddr) -> Consoles {
        let consoles = Consoles { are_open: Arc::default(), answers: Arc::default(), failures: Arc::default() };
        for number in 0..OPEN {
            self.runtime.spawn(poll(console, number, consoles.share()));
        }
        consoles
    }
}

/// A runtime for programs that run on other machines. Its threads let those of the measured servers
/// go first.
fn elsewhere() -> Result<Runtime> {
    let low = || _ = rustix::process::nice(10);
    Ok(Builder::new_multi_thread().enable_all().on_thread_start(low).build()?)
}

fn permit_all() -> Router {
    Router::new().fallback(async || {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {}, "spec": {},
            "status": { "allowed": true },
        });
        (StatusCode::CREATED, Json(review))
    })
}

async fn bind(tls: Option<TlsAcceptor>) -> Result<(Listener, SocketAddr)> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let limits = ConnectionLimits { per_peer: usize::MAX, ..ConnectionLimits::webhook(OPEN * 4) };
    let listener = Listener::bind(any, limits, Metrics::idle().port("bench-console")).await?;
    let listener = match tls {
        Some(tls) => listener.with_tls(tls),
        None => listener,
    };
    let address = listener.local_addr()?;
    Ok((listener, address))
}

// === impl Consoles ===

impl Consoles {
    fn share(&self) -> Self {
        let Self { are_open, answers, failures } = self;
        Self { are_open: Arc::clone(are_open), answers: Arc::clone(answers), failures: Arc::clone(failures) }
    }

    pub(crate) fn open(&self, open: bool) {
        self.are_open.store(open, Ordering::Relaxed);
    }

    /// The number of answers so far.
    ///
    /// # Errors
    ///
    /// A request failed.
    pub(crate) fn answers(&self) -> Result<u64> {
        let failures = self.failures.load(Ordering::Relaxed);
        ensure!(failures == 0, "{failures} requests of consoles failed");
        Ok(self.answers.load(Ordering::Relaxed))
    }
}

/// One console: half of them show the page of decisions, the others the overview.
async fn poll(console: SocketAddr, number: usize, consoles: Consoles) {
    // Browsers do not poll at the same time.
    sleep(INTERVAL / u32::try_from(OPEN).unwrap_or(1) * u32::try_from(number).unwrap_or(0)).await;
    let (mut connection, mut after) = (None, None);
    loop {
        if consoles.are_open.load(Ordering::Relaxed) {
            let path = match (number % 2, after) {
                (0, None) => "/api/v1/decisions".to_owned(),
                (0, Some(last)) => format!("/api/v1/decisions?after={last}"),
                _ => "/api/v1/overview".to_owned(),
            };
            match ask(console, &mut connection, &path).await {
                Ok(last) => {
                    after = last;
                    consoles.answers.fetch_add(1, Ordering::Relaxed);
                }
                Err(_) => {
                    consoles.failures.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        sleep(INTERVAL).await;
    }
}

/// Sends a request, and returns `last` of the answer.
async fn ask(console: SocketAddr, connection: &mut Option<Connection>, path: &str) -> Result<Option<u64>> {
    if connection.is_none() {
        *connection = Some(Connection::plain(console).await?);
    }
    let connection = connection.as_mut().context("a connection")?;
    let answer = connection.send("GET", path, &[("authorization", "Bearer bench")], "").await?;
    ensure!(answer.status == 200, "{}", answer.status);
    // `last` is at the end. Parsing all would use the processor as a browser elsewhere does not.
    let end = String::from_utf8_lossy(&answer.body[answer.body.len().saturating_sub(32)..]).into_owned();
    Ok(end.rsplit_once("\"last\":").and_then(|(_, last)| last.trim_end_matches('}').parse().ok()))
}

/// Starts the console of these decisions, in the background as in the process.
pub(crate) async fn port(decisions: DecisionLog) -> Result<(SocketAddr, DrainTrigger)> {
    let clients = CallerClients::infer().await?;
    let state = ConsoleState::new(Arc::new(BenchSource(decisions.clone())), Arc::new(clients), decisions);
    let (listener, address) = bind(None).await?;
    let (trigger, drain) = DrainTrigger::new();
    spawn_in_background(async move { listener.run(router(state), drain, GRACE).await })?;
    Ok((address, trigger))
}

// === impl BenchSource ===

#[async_trait]
impl ConsoleSource for BenchSource {
    fn overview(&self) -> OverviewView {
        let newest = DecisionFilter { limit: LATENCY_DECISIONS, ..DecisionFilter::default() };
        let micros = self.0.select(&newest).iter().map(|numbered| numbered.decision.micros).collect();
        OverviewView {
            version: String::new(),
            ready: true,
            readiness: Vec::new(),
            uptime_seconds: 0,
            admissions: Vec::new(),
            latency: LatencyView::of(micros),
            attention: Vec::new(),
        }
    }

    fn plugins(&self) -> Vec<PluginView> {
        Vec::new()
    }

    fn configuration(&self) -> Value {
        json!({})
    }

    fn policy(&self) -> PolicyView {
        PolicyView::default()
    }

    fn memory(&self) -> Arc<dyn AdmissionMemory> {
        Arc::new(UnlimitedMemory)
    }

    async fn try_pod(&self, _: Pod, _: &str, _: Requester, _: Arc<dyn AdmissionMemory>) -> DryRunResult {
        let message = "this process tries no pod".to_owned();
        let refusal = Refusal { code: RefusalCode::Forbidden, message, retry_after: None };
        DryRunResult { outcome: AdmissionOutcome::Mutated, decision: Err(refusal), requests: Vec::new() }
    }
}
