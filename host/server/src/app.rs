//! The serving process from its first port to its last request: [`App`].
//!
//! Order: ports bound, certificate, plugins, registration, ready. On SIGTERM or SIGINT: not ready, serve on while the cluster takes
//! notice, stop accepting, let open requests end, stop. A second signal ends the process at once.

mod certificate;
mod process_args;
mod ready_file;
mod signals;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep},
};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

pub use self::process_args::ProcessArgs;
use self::{certificate::Certificate, ready_file::ReadyFile, signals::Signals};
use crate::{
    admin,
    plugins::{Loader, PluginStates},
    reload::{self, Reloader, Reporter},
};
use ampoule_admission::webhook;
use ampoule_cluster::{
    Cluster,
    events::Events,
    registration::{RegistrationKeeper, Trust, TrustTiming},
};
use ampoule_components::builtins::{self, Builtins};
use ampoule_config::{Config, ConfigError, ConfigSource, LoadedConfig};
use ampoule_net::{
    listener::{Drain, DrainTrigger, Listener},
    tls::{self, ServingCert},
};
use ampoule_telemetry::{
    metrics::Metrics,
    readiness::{Readiness, ReadinessGate},
    trace::Traces,
};

/// The kubelet and one or two scrapers; more is a mistake or an attack.
const ADMIN_CONNECTIONS: usize = 64;
/// Probes and scrapes are short.
const ADMIN_GRACE: Duration = Duration::from_secs(1);

/// What a process is started with.
#[derive(Clone, Debug)]
pub struct Start {
    pub config: ConfigSource,
    /// The further names of a certificate to make if the folder has none; none makes none.
    pub self_signed: Option<Vec<String>>,
    pub process: ProcessArgs,
}

/// A process with both ports bound that has yet to become ready.
pub struct App {
    start: Start,
    configured: LoadedConfig,
    builtins: Builtins,
    webhook: Listener,
    admin: Listener,
    metrics: Metrics,
    traces: Traces,
    signals: Signals,
}

/// What makes the API server call this process.
struct Registration {
    cluster: Cluster,
    keeper: RegistrationKeeper,
    part: ReadinessGate,
}

/// What is running, and how to stop it.
struct Running {
    task: JoinHandle<()>,
    trigger: DrainTrigger,
}

// === impl Start ===

impl Start {
    /// What is configured now, flags included: they win over every file.
    fn configured(&self, builtins: Builtins) -> Result<LoadedConfig, ConfigError> {
        let ProcessArgs { listen, admin, cert_dir, ready_file: _, log_format: _, log_level: _ } = &self.process;
        let mut configured = self.config.load(&builtins::names(builtins))?;
        let server = &mut configured.config.server;
        server.listen = listen.unwrap_or(server.listen);
        server.admin = admin.unwrap_or(server.admin);
        server.cert_dir = cert_dir.clone().unwrap_or_else(|| server.cert_dir.clone());
        Ok(configured)
    }
}

// === impl App ===

impl App {
    /// Reads the configuration and binds both ports.
    pub async fn build(start: Start, builtins: Builtins) -> anyhow::Result<Self> {
        // First of all, so that no signal is missed.
        let signals = Signals::new().context("cannot listen for signals")?;
        let configured = start.configured(builtins)?;
        configured.notices.iter().for_each(reload::log);
        let metrics = Metrics::new();
        let traces = Traces::start(configured.config.tracing.as_ref())?;
        let server = &configured.config.server;
        let admin = bind(server.admin, ADMIN_CONNECTIONS, &metrics, "admin").await?;
        let webhook = bind(server.listen, server.max_connections, &metrics, "webhook").await?;
        Ok(Self { start, configured, builtins, webhook, admin, metrics, traces, signals })
    }

    /// Becomes ready, serves until a signal, drains.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { start, configured, builtins, webhook, admin, metrics, traces, mut signals } = self;
        let (config, ready_file) = (configured.config.clone(), start.process.ready_file.clone());
        let readiness = Readiness::default();
        let cert = Arc::new(ServingCert::default());
        let certificate = readiness.add_gate("certificate", "not loaded yet");
        let pipeline = readiness.add_gate("configuration", "its plugins are not loaded yet");
        let registered = config.registration.enabled.then(|| readiness.add_gate("registration", "not applied yet"));
        let addresses = (webhook.local_addr()?, admin.local_addr()?);
        info!(version = env!("CARGO_PKG_VERSION"), webhook = %addresses.0, admin = %addresses.1, "starting");
        let states = PluginStates::default();
        let admin = {
            let router = admin::router(readiness.clone(), metrics.clone(), states.clone());
            Running::start(|drain| admin.run(router, drain, ADMIN_GRACE))
        };
        let server = config.server.clone();
        let webhook = webhook.with_tls(TlsAcceptor::from(Arc::new(tls::server_config(Arc::clone(&cert)))));
        let webhook = webhook.with_max_age(server.max_connection_age);
        // Ended when this ends, and before: nothing is followed while the process drains.
        let mut tasks = JoinSet::new();
        let started = async {
            let registration = Registration::prepare(&config, registered, &metrics).await?;
            let (cluster, trust) = registration.as_ref().map(Registration::handles).unzip();
            let certificate = Certificate {
                config: &config,
                self_signed: start.self_signed.as_deref(),
                cert,
                part: certificate,
                metrics: &metrics,
                cluster,
                trust,
            };
            let ca = certificate.start(&mut tasks).await?;
            let events = Events::connect(cluster).await;
            let reporter = Reporter::new(metrics.clone(), pipeline, events);
            let loader = Loader::new(builtins, metrics.clone()).with_traces(traces.clone());
            let read = move || start.configured(builtins);
            let reloader = Reloader::start(configured, read, loader, states, reporter).await?;
            let router = webhook::router(reloader.serving(), metrics.clone(), traces.clone(), server.max_admissions);
            tasks.spawn(reloader.run());
            let webhook = Running::start(|drain| webhook.run(router, drain, server.shutdown_grace));
            if let Some(registration) = registration {
                registration.start(&mut tasks).await?;
            }
            anyhow::Ok((webhook, ca))
        };
        let (mut webhook, ca) = tokio::select! {
            started = started => started?,
            signal = signals.next() => {
                info!(signal, "ended before it was ready");
                return Ok(());
            }
        };
        if let Some(path) = &ready_file {
            ReadyFile::new(addresses.0, addresses.1, ca).write(path)?;
        }
        info!("ready");
        tokio::select! {
            signal = signals.next() => info!(signal, "draining"),
            _ = &mut webhook.task => bail!("the webhook's port stopped by itself"),
            Some(_) = tasks.join_next() => bail!("a task that follows what changes stopped by itself"),
        }
        readiness.drain();
        webhook.trigger.leave();
        tasks.shutdown().await;
        tokio::select! {
            () = sleep(server.shutdown_delay) => {}
            signal = signals.next() => return Err(ended_early(signal)),
        }
        tokio::select! {
            () = stop(webhook, traces, server.shutdown_grace) => {}
            signal = signals.next() => return Err(ended_early(signal)),
        }
        admin.stop().await;
        info!("ended");
        Ok(())
    }
}

// === impl Running ===

impl Running {
    fn start<F: Future<Output = ()> + Send + 'static>(serve: impl FnOnce(Drain) -> F) -> Self {
        let (trigger, drain) = DrainTrigger::new();
        Self { task: tokio::spawn(serve(drain)), trigger }
    }

    /// Drains, and waits until that is done.
    async fn stop(self) {
        let Self { task, trigger } = self;
        trigger.start();
        if task.await.is_err() {
            warn!("a port ended by a panic");
        }
    }
}

// === impl Registration ===

impl Registration {
    /// None if the process does not register itself. Nothing is asked of the API server yet.
    async fn prepare(config: &Config, part: Option<ReadinessGate>, metrics: &Metrics) -> anyhow::Result<Option<Self>> {
        let Some(part) = part else { return Ok(None) };
        let cluster = Cluster::connect().await?;
        let timing = TrustTiming::from_config(&config.certificates);
        let keeper = RegistrationKeeper::new(cluster.clone(), config.registration.clone(), timing, metrics.clone());
        Ok(Some(Self { cluster, keeper, part }))
    }

    fn handles(&self) -> (&Cluster, Trust) {
        (&self.cluster, self.keeper.trust())
    }

    /// Makes the API server call this process' Service, and keeps it so.
    async fn start(self, tasks: &mut JoinSet<()>) -> anyhow::Result<()> {
        let Self { cluster: _, mut keeper, part } = self;
        keeper.start().await?;
        part.ready();
        tasks.spawn(keeper.run());
        Ok(())
    }
}

/// Drains, and sends what traces wait in what is left of the grace.
async fn stop(webhook: Running, traces: Traces, grace: Duration) {
    let end = Instant::now() + grace;
    webhook.stop().await;
    traces.end(end.saturating_duration_since(Instant::now())).await;
}

async fn bind(
    address: SocketAddr,
    connections: usize,
    metrics: &Metrics,
    port: &'static str,
) -> anyhow::Result<Listener> {
    let listener = Listener::bind(address, connections, metrics.port(port)).await;
    listener.with_context(|| format!("cannot listen on {address} (server.{}, --{})", key_of(port), key_of(port)))
}

fn key_of(port: &'static str) -> &'static str {
    if port == "webhook" { "listen" } else { port }
}

fn ended_early(signal: &'static str) -> anyhow::Error {
    anyhow::anyhow!("ended by a second signal ({signal}) before open requests were answered")
}
