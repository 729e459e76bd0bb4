//! The accept loop of both ports: every connection has a slot and time limits, and every task has
//! an owner.
//!
//! The webhook's port serves TLS, with HTTP/1.1 or HTTP/2 chosen by ALPN; the admin port serves
//! plain HTTP/1.1.

mod activity;
mod bind;
mod client_certificate;
mod connection;
mod drain;
mod limits;
mod metrics;
mod peer;
mod table;
#[cfg(test)]
mod tests;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use prometheus_client::metrics::counter::Counter;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

pub use self::{
    client_certificate::{CertificateNames, ClientCertificate},
    drain::{Drain, DrainTrigger},
    limits::ConnectionLimits,
    metrics::{ConnectionMetrics, OpenConnection},
    peer::Peer,
};
use self::{
    connection::{ConnectionLife, Protocol},
    table::{ConnectionSlot, ConnectionTable},
};

/// Limit for the TLS handshake, which takes two round trips. A slower client only occupies a slot.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Pause after a failed accept. Without free file descriptors, `accept` fails until a connection
/// ends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound port and the settings for its connections.
pub struct Listener {
    socket: TcpListener,
    tls: Option<TlsPort>,
    limits: ConnectionLimits,
    max_age: Option<Duration>,
    metrics: ConnectionMetrics,
}

/// The TLS of a port.
#[derive(Clone)]
struct TlsPort {
    acceptor: TlsAcceptor,
    /// Counts clients that present no certificate although the handshake requires one.
    without_certificate: Counter,
}

// === impl Listener ===

impl Listener {
    /// Binds a port; port 0 selects a free one. It accepts nothing before [`Listener::run`]. The
    /// address `[::]` stands for all addresses of IPv6 and IPv4, or of IPv4 alone on a machine
    /// without IPv6.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound.
    pub async fn bind(address: SocketAddr, limits: ConnectionLimits, metrics: ConnectionMetrics) -> io::Result<Self> {
        Ok(Self { socket: bind::bind(address).await?, tls: None, limits, max_age: None, metrics })
    }

    /// Serves TLS instead of plain HTTP.
    #[must_use]
    pub fn with_tls(self, acceptor: TlsAcceptor) -> Self {
        Self { tls: Some(TlsPort { acceptor, without_certificate: Counter::default() }), ..self }
    }

    /// Counts clients that present no certificate although the handshake requires one. Call it
    /// after [`Listener::with_tls`].
    #[must_use]
    pub fn counting_missing_certificates(self, counter: Counter) -> Self {
        let tls = self.tls.map(|tls| TlsPort { without_certificate: counter, ..tls });
        Self { tls, ..self }
    }

    /// Closes connections of this age, plus or minus a tenth, between two requests. Clients that
    /// never close connections then discover new replicas.
    #[must_use]
    pub fn with_max_age(self, max_age: Duration) -> Self {
        Self { max_age: Some(max_age), ..self }
    }

    /// Returns the bound address, with the selected port.
    ///
    /// # Errors
    ///
    /// If the system does not report it.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `drain` starts, then stops accepting, gives open requests `grace` to end, and
    /// closes the rest.
    pub async fn run(self, router: Router, mut drain: Drain, grace: Duration) {
        let table = ConnectionTable::new(self.limits);
        let mut connections = JoinSet::new();
        // Kept across iterations: a connection that waits for its slot must not be dropped.
        let mut accepted = Box::pin(accept(&self.socket, &table));
        loop {
            let (stream, peer, slot) = tokio::select! {
                accepted = accepted.as_mut() => accepted,
                Some(_) = connections.join_next() => continue,
                () = drain.started() => break,
            };
            accepted.set(accept(&self.socket, &table));
            let open = self.metrics.opened();
            let (tls, router) = (self.tls.clone(), router.clone());
            let life = ConnectionLife::new(drain.clone(), self.max_age, self.limits.idle);
            connections.spawn(async move {
                serve(stream, peer, tls, router, life, &slot).await;
                drop((slot, open));
            });
        }
        drop(accepted);
        drop(self.socket);
        if timeout(grace, join_all(&mut connections)).await.is_err() {
            warn!(connections = connections.len(), "connections still open after the grace period are closed");
        }
        connections.shutdown().await;
    }
}

async fn join_all(connections: &mut JoinSet<()>) {
    while connections.join_next().await.is_some() {}
}

/// Returns the next connection once it has a slot. Further connections wait in the kernel's queue,
/// which is bounded too.
async fn accept(socket: &TcpListener, table: &Arc<ConnectionTable>) -> (TcpStream, Peer, ConnectionSlot) {
    loop {
        let (stream, peer) = accept_stream(socket).await;
        match table.slot(peer.address).await {
            Some(slot) => return (stream, peer, slot),
            None => debug!(peer = %peer.address, "connection closed: its peer has too many busy ones"),
        }
    }
}

async fn accept_stream(socket: &TcpListener) -> (TcpStream, Peer) {
    loop {
        match socket.accept().await {
            Ok((stream, address)) => return (stream, Peer::new(address)),
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                warn!(%error, "cannot accept connections");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    peer: Peer,
    tls: Option<TlsPort>,
    router: Router,
    life: ConnectionLife,
    slot: &ConnectionSlot,
) {
    // Each response is one small write. Without this, Nagle's algorithm may delay it until the
    // client's next packet.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return connection::serve(stream, Protocol::Http1, peer, router, life, slot).await;
    };
    let handshake = tokio::select! {
        handshake = timeout(HANDSHAKE, tls.acceptor.accept(stream)) => handshake,
        () = slot.evicted() => {
            return debug!("slow TLS handshake closed in favour of a new connection");
        }
    };
    match handshake {
        Ok(Ok(stream)) => {
            let session = stream.get_ref().1;
            let protocol = Protocol::from_alpn(session.alpn_protocol());
            let peer = peer.with_certificate(session.peer_certificates().and_then(<[_]>::first));
            connection::serve(stream, protocol, peer, router, life, slot).await;
        }
        Ok(Err(error)) => {
            if is_missing_certificate(&error) {
                tls.without_certificate.inc();
            }
            debug!(%error, "TLS handshake failed");
        }
        Err(_) => debug!("TLS handshake timed out"),
    }
}

/// Whether a handshake failed because the client presented no certificate. The verifier of
/// certificates is not asked then, so that it cannot count the client.
fn is_missing_certificate(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::NoCertificatesPresented))
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
