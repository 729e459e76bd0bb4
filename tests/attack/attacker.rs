//! The attacker: an address of its own, requests that never end, and complete ones whose answer
//! does not matter.
//!
//! Every function gives up after a few seconds.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use ampoule_tests::{Ampoule, Review};
use anyhow::Result;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// The address of the attacker, which differs from that of the good client.
const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);
/// Limit for a connection, and for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((ATTACKER, 0)))?;
    Ok(timeout(PATIENCE, socket.connect(address)).await??)
}

/// A request whose body never ends. `None` if the server closes the connection first.
pub(super) async fn unfinished(ampoule: &Ampoule, announced: usize, sent: usize) -> Option<TlsStream<TcpStream>> {
    send(ampoule, announced, &vec![b' '; sent]).await
}

/// Sends a review and waits for any answer.
pub(super) async fn review(ampoule: &Ampoule, review: &Review) {
    let body = review.bytes();
    let Some(mut stream) = send(ampoule, body.len(), &body).await else { return };
    let mut some = [0; 64];
    let _ = timeout(PATIENCE, stream.read(&mut some)).await;
}

async fn send(ampoule: &Ampoule, announced: usize, body: &[u8]) -> Option<TlsStream<TcpStream>> {
    let stream = connect(ampoule.webhook()).await.ok()?;
    let name = ServerName::IpAddress(ampoule.webhook().ip().into());
    let connector = TlsConnector::from(ampoule.trust().client_config());
    let mut stream = timeout(PATIENCE, connector.connect(name, stream)).await.ok()?.ok()?;
    let head = format!(
        "POST /mutate--v1-pod?timeout=30s HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         content-length: {announced}\r\n\r\n"
    );
    timeout(PATIENCE, write(&mut stream, head.as_bytes(), body)).await.ok()?.ok()?;
    Some(stream)
}

async fn write(stream: &mut TlsStream<TcpStream>, head: &[u8], body: &[u8]) -> std::io::Result<()> {
    stream.write_all(head).await?;
    stream.write_all(body).await?;
    stream.flush().await
}
