//! The port with the console: [`ConsolePort`], from its bound socket until it serves.
//!
//! The log of decisions exists before the first pipeline, which records to it.

use std::{io, net::SocketAddr, sync::Arc, time::Instant};

use ampoule_cluster::caller::CallerClients;
use ampoule_config::{ConsoleConfig, ServerConfig};
use ampoule_console::ConsoleState;
use ampoule_net::{
    listener::Listener,
    tls::{self, ServingCert},
};
use ampoule_telemetry::decisions::DecisionLog;
use anyhow::Context as _;
use tokio_rustls::TlsAcceptor;
use tracing::info;

use super::{ADMIN_GRACE, RunningPort};
use crate::{
    console::{ProcessSource, ProcessState},
    plugins::{LoadedSettings, Loader},
};

/// A port that does not serve yet.
pub(super) struct ConsolePort {
    listener: Listener,
    config: ConsoleConfig,
    clients: CallerClients,
    started: Instant,
    settings: LoadedSettings,
    decisions: DecisionLog,
}

// === impl ConsolePort ===

impl ConsolePort {
    /// Prepares the port; `None` without a listener.
    ///
    /// # Errors
    ///
    /// No API server is configured, so that no caller could be authenticated.
    pub(super) async fn prepare(listener: Option<Listener>, server: &ServerConfig) -> anyhow::Result<Option<Self>> {
        let (Some(listener), Some(config)) = (listener, &server.console) else { return Ok(None) };
        Ok(Some(Self {
            listener,
            config: config.clone(),
            clients: CallerClients::infer().await.context("server.console")?,
            started: Instant::now(),
            settings: LoadedSettings::default(),
            decisions: DecisionLog::default(),
        }))
    }

    /// Lets the pipelines of a loader record their decisions, if there is a console.
    pub(super) fn observe(port: Option<&Self>, loader: Loader) -> Loader {
        match port {
            Some(port) => loader.with_console(port.settings.clone(), port.decisions.clone()),
            None => loader,
        }
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves the port, in the background: on the network with the certificate of the webhook, and
    /// without client certificates, because each request has a token.
    ///
    /// # Errors
    ///
    /// The system refuses the thread.
    pub(super) fn serve(self, process: ProcessState, cert: &Arc<ServingCert>) -> io::Result<RunningPort> {
        let is_plain = self.config.is_plain();
        info!(address = %self.config.listen, tls = !is_plain, "the console serves callers with a token");
        let source = ProcessSource {
            started: self.started,
            settings: self.settings,
            decisions: self.decisions.clone(),
            process,
        };
        let state = ConsoleState::new(Arc::new(source), Arc::new(self.clients), self.decisions);
        let router = ampoule_console::router(state);
        let listener = if is_plain {
            self.listener
        } else {
            self.listener.with_tls(TlsAcceptor::from(Arc::new(tls::server_config(Arc::clone(cert)))))
        };
        RunningPort::spawn_in_background(|drain| listener.run(router, drain, ADMIN_GRACE))
    }
}
