//! The accept loop of both ports: every connection under a permit and a set of time limits, every task owned.
//!
//! The webhook's port speaks TLS with HTTP/1.1 or HTTP/2 by ALPN; the admin port speaks plain HTTP/1.1.

mod connection;
mod crowd;
mod drain;
mod metrics;
#[cfg(test)]
mod tests;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use self::{
    connection::{ConnectionLife, Protocol},
    crowd::Crowd,
};
pub use self::{
    drain::{Drain, DrainTrigger},
    metrics::{ConnectionMetrics, OpenConnection},
};

/// A handshake takes two round trips; who needs longer than this holds a permit for nothing.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often one connection that idles is asked to make way, while another waits.
const CROWDED: Duration = Duration::from_millis(20);
/// Out of file descriptors, the next try fails too until a connection ends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound port and how it is served.
pub struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    max_connections: usize,
    max_age: Option<Duration>,
    metrics: ConnectionMetrics,
}

// === impl Listener ===

impl Listener {
    /// Binds a port; 0 takes a free one. Nothing is accepted before [`Listener::run`].
    ///
    /// # Errors
    ///
    /// If the address cannot be bound.
    pub async fn bind(address: SocketAddr, max_connections: usize, metrics: ConnectionMetrics) -> io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address).await?, tls: None, max_connections, max_age: None, metrics })
    }

    /// Speaks TLS.
    #[must_use]
    pub fn with_tls(self, tls: TlsAcceptor) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Ends connections of this age, give or take a tenth, between two requests: so that clients, which keep theirs for as long as
    /// they may, come to know new replicas.
    #[must_use]
    pub fn with_max_age(self, max_age: Duration) -> Self {
        Self { max_age: Some(max_age), ..self }
    }

    /// The address bound, with the port that was taken.
    ///
    /// # Errors
    ///
    /// If the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `drain` starts, then stops accepting, lets open requests end for `grace`, and ends what is left.
    pub async fn run(self, router: Router, mut drain: Drain, grace: Duration) {
        let Self { socket, tls, max_connections, max_age, metrics } = self;
        let (permits, crowd) = (Arc::new(Semaphore::new(max_connections)), Arc::new(Crowd::default()));
        let mut connections = JoinSet::new();
        let mut accepted = Box::pin(accept(&socket, &permits, &crowd));
        loop {
            let (stream, permit) = tokio::select! {
                accepted = accepted.as_mut() => accepted,
                Some(_) = connections.join_next() => continue,
                () = drain.started() => break,
            };
            accepted.set(accept(&socket, &permits, &crowd));
            let open = metrics.opened();
            let (tls, router) = (tls.clone(), router.clone());
            let life = ConnectionLife::new(drain.clone(), max_age, Arc::clone(&crowd));
            connections.spawn(async move {
                serve(stream, tls, router, life).await;
                drop((permit, open));
            });
        }
        drop(accepted);
        drop(socket);
        if timeout(grace, async { while connections.join_next().await.is_some() {} }).await.is_err() {
            warn!(connections = connections.len(), "connections still open after the grace period are closed");
        }
        connections.shutdown().await;
    }
}

/// The next connection, once there is a permit for it, for which others that idle make way. Those behind it wait in the kernel's
/// queue, which is bounded too.
async fn accept(socket: &TcpListener, permits: &Arc<Semaphore>, crowd: &Crowd) -> (TcpStream, OwnedSemaphorePermit) {
    let stream = next(socket).await;
    loop {
        match timeout(CROWDED, Arc::clone(permits).acquire_owned()).await {
            Ok(permit) => {
                crowd.is_over();
                return (stream, permit.expect("the semaphore is never closed"));
            }
            Err(_) => crowd.call(),
        }
    }
}

async fn next(socket: &TcpListener) -> TcpStream {
    loop {
        match socket.accept().await {
            Ok((stream, _peer)) => return stream,
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                warn!(%error, "cannot accept connections");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router, life: ConnectionLife) {
    // Answers are one small write each; without this, Nagle's algorithm may hold one back for the client's next packet.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return connection::serve(stream, Protocol::Http1, router, life).await;
    };
    let handshake = tokio::select! {
        handshake = timeout(HANDSHAKE, tls.accept(stream)) => handshake,
        () = life.handshake_makes_way() => return debug!("TLS handshake was slow where others wait"),
    };
    match handshake {
        Ok(Ok(stream)) => {
            let protocol = Protocol::negotiated(stream.get_ref().1.alpn_protocol());
            connection::serve(stream, protocol, router, life).await;
        }
        Ok(Err(error)) => debug!(%error, "TLS handshake failed"),
        Err(_) => debug!("TLS handshake took too long"),
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
