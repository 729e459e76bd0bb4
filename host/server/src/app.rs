//! The life cycle of the serving process: [`App`].
//!
//! Start: bind both ports, load the certificate, load the plugins, register, become ready. On
//! SIGTERM or SIGINT: become unready, serve for the shutdown delay while the cluster updates its
//! endpoints, stop accepting, wait for open requests, end. A second signal ends the process
//! immediately.

mod certificate;
mod clients;
mod console_port;
mod process_args;
mod ready_file;
mod signals;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use axum::Router;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep},
};
use tracing::{info, warn};

pub use self::process_args::ProcessArgs;
use self::{
    certificate::CertificateSetup, clients::ClientAuth, console_port::ConsolePort, ready_file::ReadyFile,
    signals::Signals,
};
use crate::{
    admin,
    api_server::until_reachable,
    console::ProcessState,
    invalidation,
    plugins::{KeptValues, Loader, PluginStates},
    policy,
    reload::{self, Reloader, Reporter},
};
use ampoule_admission::{clients as admission_clients, memory::MemoryPool, webhook};
use ampoule_cluster::{
    Cluster,
    delivery::{SecretDelivery, rotation, sweeper},
    events::{self, Events},
    registration::{RegistrationKeeper, ReviewRoute, Trust, TrustTiming},
    version::check_pod_features,
};
use ampoule_components::builtins::{self, Builtins};
use ampoule_config::{Config, ConfigError, ConfigSource, InvalidationConfig, LoadedConfig, ServerConfig};
use ampoule_net::{
    background::spawn_in_background,
    cgroup,
    listener::{ConnectionLimits, Drain, DrainTrigger, Listener},
    tls::ServingCert,
};
use ampoule_telemetry::{
    metrics::{ClientRefusal, Metrics},
    readiness::{Readiness, ReadinessGate},
    trace::Traces,
};

/// Shutdown grace of the admin port. Probes and scrapes are short.
const ADMIN_GRACE: Duration = Duration::from_secs(1);

/// The options of a serving process.
#[derive(Clone, Debug)]
pub struct StartOptions {
    /// The location of the configuration.
    pub config: ConfigSource,
    /// The additional names of a self-signed certificate. `None` disables self-signed certificates.
    pub self_signed: Option<Vec<String>>,
    /// The flags of the process.
    pub process: ProcessArgs,
}

/// A process that has bound both ports and is not ready yet.
pub struct App {
    startup: Startup,
    signals: Signals,
}

/// The inputs of the start.
struct Startup {
    options: StartOptions,
    configured: LoadedConfig,
    builtins: Builtins,
    webhook: Listener,
    admin: Listener,
    invalidation: Option<Listener>,
    console: Option<Listener>,
    metrics: Metrics,
    traces: Traces,
}

/// A process that serves admissions.
struct ServingProcess {
    server: ServerConfig,
    readiness: Readiness,
    webhook: RunningPort,
    admin: RunningPort,
    invalidation: Option<RunningPort>,
    console: Option<RunningPort>,
    /// The tasks that follow changes of certificates, configuration and registration.
    followers: JoinSet<()>,
    traces: Traces,
}

/// The registration of the webhook at the API server.
struct ClusterRegistration {
    cluster: Cluster,
    keeper: RegistrationKeeper,
    part: ReadinessGate,
}

/// A port that serves, and the trigger of its drain.
struct RunningPort {
    task: JoinHandle<()>,
    trigger: DrainTrigger,
}

// === impl StartOptions ===

impl StartOptions {
    /// Loads the current configuration. Flags take precedence over every file.
    fn load_config(&self, builtins: Builtins) -> Result<LoadedConfig, ConfigError> {
        let mut configured = self.config.load(&builtins::names(builtins))?;
        let server = &mut configured.config.server;
        server.listen = self.process.listen.unwrap_or(server.listen);
        server.admin = self.process.admin.unwrap_or(server.admin);
        if let Some(cert_dir) = &self.process.cert_dir {
            server.cert_dir.clone_from(cert_dir);
        }
        let config = &configured.config;
        config.check_values(&config.server.clients).map_err(|error| self.config.locate(error))?;
        policy::compile(config).map_err(|error| self.config.locate(error))?;
        Ok(configured)
    }
}

// === impl App ===

impl App {
    /// Loads the configuration and binds both ports.
    ///
    /// # Errors
    ///
    /// The configuration is invalid, an address cannot be bound, or traces cannot be exported.
    pub async fn build(options: StartOptions, builtins: Builtins) -> anyhow::Result<Self> {
        // First, so that no signal is missed.
        let signals = Signals::new().context("cannot listen for signals")?;
        let configured = options.load_config(builtins)?;
        configured.notices.iter().for_each(reload::log_notice);
        let metrics = Metrics::new();
        report_values(&configured.config.server, &metrics);
        report_plaintext(&configured.config);
        configured.config.rotation_warning().iter().for_each(|warning| warn!("{warning}"));
        let traces = Traces::start(configured.config.tracing.as_ref())?;
        let server = &configured.config.server;
        let admin = bind(server.admin, ConnectionLimits::admin(), &metrics, "admin").await?;
        let limits = ConnectionLimits::webhook(server.max_connections);
        let webhook = bind(server.listen, limits, &metrics, "webhook").await?;
        let invalidation = match &server.invalidation {
            Some(port) => Some(bind(port.listen, ConnectionLimits::admin(), &metrics, "invalidation").await?),
            None => None,
        };
        let console = match &server.console {
            Some(port) => Some(bind(port.listen, ConnectionLimits::console(), &metrics, "console").await?),
            None => None,
        };
        let startup = Startup { options, configured, builtins, webhook, admin, invalidation, console, metrics, traces };
        Ok(Self { startup, signals })
    }

    /// Becomes ready, serves until a signal, then drains.
    ///
    /// # Errors
    ///
    /// The start fails, a port or a follower task ends unexpectedly, or a second signal interrupts
    /// the drain.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { startup, mut signals } = self;
        let mut serving = tokio::select! {
            started = startup.start() => started?,
            signal = signals.next() => {
                info!(signal, "stopped before it was ready");
                return Ok(());
            }
        };
        info!("ready");
        tokio::select! {
            signal = signals.next() => info!(signal, "draining"),
            failed = serving.unexpected_end() => return failed,
        }
        serving.become_unready().await;
        tokio::select! {
            () = drain_webhook(serving.webhook, serving.traces, &serving.server) => {}
            signal = signals.next() => {
                bail!("stopped by a second signal ({signal}) before open requests were answered")
            }
        }
        for port in [serving.invalidation, serving.console].into_iter().flatten() {
            port.stop().await;
        }
        serving.admin.stop().await;
        info!("stopped");
        Ok(())
    }
}

// === impl Startup ===

impl Startup {
    /// Serves the admin port, then brings the webhook up: certificate, plugins, port, registration.
    async fn start(self) -> anyhow::Result<ServingProcess> {
        let config = self.configured.config.clone();
        let server = config.server.clone();
        let addresses = (self.webhook.local_addr()?, self.admin.local_addr()?);
        let version = env!("CARGO_PKG_VERSION");
        info!(version, webhook = %addresses.0, admin = %addresses.1, "starting");

        let readiness = Readiness::default();
        let certificate_part = readiness.add_gate("certificate", "not loaded yet");
        let pipeline_part = readiness.add_gate("configuration", "its plugins are not loaded yet");
        let registration_part =
            config.registration.enabled.then(|| readiness.add_gate("registration", "not applied yet"));

        let states = PluginStates::default();
        let router = admin::router(readiness.clone(), self.metrics.clone(), states.clone());
        let admin = RunningPort::spawn(|drain| self.admin.run(router, drain, ADMIN_GRACE));

        let mut followers = JoinSet::new();
        let registration = match registration_part {
            Some(part) => Some(ClusterRegistration::prepare(&config, part, &self.metrics).await?),
            None => None,
        };
        let cluster = registration.as_ref().map(|registration| &registration.cluster);
        check_pod_features(&config.delivery.pod, cluster).await?;
        let cert = Arc::new(ServingCert::default());
        let certificate = CertificateSetup {
            config: &config,
            self_signed: self.options.self_signed.as_deref(),
            cert: Arc::clone(&cert),
            part: certificate_part,
            metrics: &self.metrics,
            cluster,
            trust: registration.as_ref().map(ClusterRegistration::trust),
        };
        let ca = certificate.start(&mut followers).await?;
        let clients = ClientAuth::start(&server.clients, cluster, &readiness, &self.metrics, &mut followers).await?;

        let events = Events::connect(cluster).await;
        let reporter = Reporter::new(self.metrics.clone(), pipeline_part, events);
        let delivery = start_delivery(&config, &self.metrics, &mut followers);
        let loader = Loader::new(self.builtins, self.metrics.clone()).with_traces(self.traces.clone());
        let kept_values = KeptValues::default();
        let loader = loader.with_delivery(Arc::clone(&delivery) as _).with_kept_values(kept_values.clone());
        let loader = loader.for_process(&server.clients);
        let console = ConsolePort::prepare(self.console, &server).await?;
        let loader = ConsolePort::observe(console.as_ref(), loader);
        let ready_file = self.options.process.ready_file.clone();
        let read = move || self.options.load_config(self.builtins);
        let reloader = Reloader::start(self.configured, read, loader, states.clone(), reporter).await?;
        let metrics = self.metrics.clone();
        start_rotation(&config, &delivery, &kept_values, &mut followers);
        let invalidation = match (self.invalidation, &server.invalidation) {
            (Some(listener), Some(config)) => {
                let router = invalidation::router(kept_values, self.metrics.clone());
                Some(serve_invalidation(listener, router, config, &clients, &cert, &metrics))
            }
            _ => None,
        };
        let memory = MemoryPool::for_limit(cgroup::memory_limit());
        let console_address = console.as_ref().map(ConsolePort::local_addr).transpose()?;
        let console = console.map(|port| {
            let (serving, memory) = (reloader.serving(), Arc::clone(&memory));
            port.serve(
                ProcessState { readiness: readiness.clone(), metrics: metrics.clone(), states, serving, memory },
                &cert,
            )
        });
        let console = console.transpose().context("server.console: no thread for it")?;
        let (serving, traces) = (reloader.serving(), self.traces.clone());
        let without_certificate = self.metrics.refused_clients(ClientRefusal::NoCertificate);
        let router = webhook::router(serving, self.metrics, traces, memory, server.max_admissions);
        let router = admission_clients::protect(router, clients.rule.clone(), metrics);
        followers.spawn(reloader.run());

        let webhook = self.webhook.with_tls(clients.tls(cert)).with_max_age(server.max_connection_age);
        let webhook = webhook.counting_missing_certificates(without_certificate);
        let webhook = RunningPort::spawn(|drain| webhook.run(router, drain, server.shutdown_grace));
        // Only now: the API server must not call a port that does not serve.
        if let Some(registration) = registration {
            registration.start(&mut followers).await?;
        }
        if let Some(path) = &ready_file {
            ReadyFile::new(addresses.0, addresses.1, ca).with_console(console_address).write(path)?;
        }
        Ok(ServingProcess { server, readiness, webhook, admin, invalidation, console, followers, traces: self.traces })
    }
}

/// Serves the port on which another program reports changed values: with the authentication of the
/// webhook's port, unless the configuration permits plain HTTP.
fn serve_invalidation(
    listener: Listener,
    router: Router,
    config: &InvalidationConfig,
    clients: &ClientAuth,
    cert: &Arc<ServingCert>,
    metrics: &Metrics,
) -> RunningPort {
    if config.accept_anyone {
        warn!(
            "any client that reaches the port {} can clear the caches of values (server.invalidation.acceptAnyone)",
            config.listen.port()
        );
    }
    if config.is_plain() {
        return RunningPort::spawn(|drain| listener.run(router, drain, ADMIN_GRACE));
    }
    let router = admission_clients::protect(router, clients.rule.clone(), metrics.clone());
    let listener = listener.with_tls(clients.tls(Arc::clone(cert)));
    RunningPort::spawn(|drain| listener.run(router, drain, ADMIN_GRACE))
}

/// Starts the delivery of values in Secrets, and the search for unused ones.
fn start_delivery(config: &Config, metrics: &Metrics, followers: &mut JoinSet<()>) -> Arc<SecretDelivery> {
    let delivery = Arc::new(SecretDelivery::new(config.delivery.clone(), metrics.clone()));
    if config.delivers_secrets() {
        delivery.set_used();
    }
    if config.delivers_components() {
        delivery.set_ships_components();
    }
    if config.pods_report_changes() {
        delivery.set_reads_reports();
    }
    if config.pods.warn_missing_secrets {
        // The start does not wait for it: the answers to pods do not depend on it.
        let delivery = Arc::clone(&delivery);
        tokio::spawn(async move { delivery.check_lookups().await });
    }
    followers.spawn(sweeper::run(Arc::clone(&delivery), lease_holder()));
    delivery
}

/// Starts the search for pods with old values, if the configuration has an interval.
fn start_rotation(
    config: &Config,
    delivery: &Arc<SecretDelivery>,
    kept_values: &KeptValues,
    followers: &mut JoinSet<()>,
) {
    if config.rotation.interval.is_zero() {
        return;
    }
    let values = Arc::new(kept_values.clone());
    followers.spawn(rotation::run(Arc::clone(delivery), config.rotation.clone(), values, lease_holder()));
}

/// The identity of this replica: the pod's name. A process outside a cluster has another identity
/// at each start.
fn lease_holder() -> String {
    events::pod_name().unwrap_or_else(|| format!("process-{}", std::process::id()))
}

// === impl ServingProcess ===

impl ServingProcess {
    /// Waits until the webhook's port or a follower task ends, which is a defect.
    async fn unexpected_end(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            _ = &mut self.webhook.task => bail!("the webhook's port stopped unexpectedly"),
            Some(_) = self.followers.join_next() => bail!("a task that follows changes stopped unexpectedly"),
        }
    }

    /// Announces the end to the cluster and to open connections. Changes are no longer followed.
    async fn become_unready(&mut self) {
        self.readiness.drain();
        self.webhook.trigger.leave();
        self.followers.shutdown().await;
    }
}

// === impl RunningPort ===

impl RunningPort {
    fn spawn<F: Future<Output = ()> + Send + 'static>(serve: impl FnOnce(Drain) -> F) -> Self {
        let (trigger, drain) = DrainTrigger::new();
        Self { task: tokio::spawn(serve(drain)), trigger }
    }

    /// Like [`RunningPort::spawn`], for a port that must not delay the webhook.
    fn spawn_in_background<F: Future<Output = ()> + Send + 'static>(
        serve: impl FnOnce(Drain) -> F,
    ) -> io::Result<Self> {
        let (trigger, drain) = DrainTrigger::new();
        Ok(Self { task: spawn_in_background(serve(drain))?, trigger })
    }

    /// Drains the port and waits until it has ended.
    async fn stop(self) {
        self.trigger.start();
        if self.task.await.is_err() {
            warn!("a port's task panicked");
        }
    }
}

// === impl ClusterRegistration ===

impl ClusterRegistration {
    /// Connects to the API server and registers nothing yet.
    async fn prepare(config: &Config, part: ReadinessGate, metrics: &Metrics) -> anyhow::Result<Self> {
        let cluster = Cluster::connect().await?;
        let timing = TrustTiming::from_config(&config.certificates);
        let keeper = RegistrationKeeper::new(cluster.clone(), config.registration.clone(), timing, metrics.clone())
            .with_route(ReviewRoute::from_mode(config.server.clients.mode));
        Ok(Self { cluster, keeper, part })
    }

    fn trust(&self) -> Trust {
        self.keeper.trust()
    }

    /// Registers the webhook and keeps the registration up to date.
    async fn start(mut self, followers: &mut JoinSet<()>) -> anyhow::Result<()> {
        let (keeper, part) = (&mut self.keeper, &self.part);
        until_reachable("the registration", async || Ok(keeper.start(part).await?)).await?;
        self.part.ready();
        followers.spawn(self.keeper.run());
        Ok(())
    }
}

/// Reports whether the configuration writes values into the specification of pods.
fn report_plaintext(config: &Config) {
    if let Some(key) = config.first_plaintext() {
        warn!(key, "values are text in the specification of pods, which everyone with read access to a pod can read");
    }
}

/// Reports whether the configuration allows answers with values to clients that are not
/// authenticated.
fn report_values(server: &ServerConfig, metrics: &Metrics) {
    let allowed = server.clients.allow_values_to_anyone();
    if allowed {
        warn!(
            "any client that reaches the webhook's port can read global secrets and values of plugins \
             (server.clients.acceptValuesToAnyone)"
        );
    }
    metrics.set_values_to_anyone(allowed);
}

/// Serves for the shutdown delay, then drains the webhook's port and exports the pending traces.
async fn drain_webhook(webhook: RunningPort, traces: Traces, server: &ServerConfig) {
    sleep(server.shutdown_delay).await;
    let deadline = Instant::now() + server.shutdown_grace;
    webhook.stop().await;
    traces.end(deadline.saturating_duration_since(Instant::now())).await;
}

async fn bind(
    address: SocketAddr,
    limits: ConnectionLimits,
    metrics: &Metrics,
    port: &'static str,
) -> anyhow::Result<Listener> {
    let key = match port {
        "webhook" => "server.listen, --listen",
        "invalidation" => "server.invalidation.listen",
        "console" => "server.console.listen",
        _ => "server.admin, --admin",
    };
    let listener = Listener::bind(address, limits, metrics.port(port)).await;
    listener.with_context(|| format!("cannot listen on {address} ({key})"))
}
