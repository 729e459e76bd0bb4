//! Slow clients: unfinished bodies and idle connections. A second client, from another address, is
//! served throughout.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use ampoule_tests::Ampoule;
use anyhow::{Context as _, Result, ensure};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::support::{ensure_survived, serve_during, started};

/// The address of the attacker, which differs from that of the good client.
const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);
/// Connections of the attacker at once: the default of `server.maxConnections`.
const CONNECTIONS: usize = 1024;
const ATTACK: Duration = Duration::from_secs(6);
/// Limit for a probe (`timeoutSeconds` in the chart).
const PROBE: Duration = Duration::from_secs(5);

async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((ATTACKER, 0)))?;
    Ok(timeout(PROBE, socket.connect(address)).await??)
}

/// A request whose body never ends. `None` if the server closes the connection first.
async fn unfinished(ampoule: &Ampoule, announced: usize, sent: usize) -> Option<TlsStream<TcpStream>> {
    let stream = connect(ampoule.webhook()).await.ok()?;
    let name = ServerName::IpAddress(ampoule.webhook().ip().into());
    let connector = TlsConnector::from(ampoule.trust().client_config());
    let mut stream = timeout(PROBE, connector.connect(name, stream)).await.ok()?.ok()?;
    let head = format!(
        "POST /mutate--v1-pod?timeout=30s HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         content-length: {announced}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(&vec![b' '; sent]).await.ok()?;
    stream.flush().await.ok()?;
    Some(stream)
}

/// Number 4: 1,024 unfinished bodies kept the API server out for 29 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_bodies_of_one_byte_do_not_keep_other_clients_out() -> Result<()> {
    let ampoule = started().await?;
    serve_during(&ampoule, async {
        let begun = Instant::now();
        let mut open = Vec::new();
        while begun.elapsed() < ATTACK {
            match unfinished(&ampoule, 1000, 1).await {
                Some(stream) if open.len() < CONNECTIONS => open.push(stream),
                _ => sleep(Duration::from_millis(10)).await,
            }
        }
        ensure!(open.len() > 100, "only {} connections were opened", open.len());
        Ok(())
    })
    .await?;
    ensure_survived(ampoule).await
}

/// Number 4: the body must arrive within two seconds, regardless of `?timeout=30s`.
#[tokio::test]
async fn an_unfinished_body_is_given_up_after_two_seconds() -> Result<()> {
    let ampoule = started().await?;
    let begun = Instant::now();
    let mut stream = unfinished(&ampoule, 1000, 1).await.context("the connection was closed")?;
    let mut answer = String::new();
    timeout(Duration::from_secs(20), stream.read_to_string(&mut answer)).await?.ok();
    ensure!(begun.elapsed() >= Duration::from_millis(1900), "it ended after {:?}", begun.elapsed());
    ensure!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    ensure_survived(ampoule).await
}

/// Number 4: ten unfinished bodies of 7 MB caused a 503 for every client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_bodies_of_seven_megabytes_do_not_use_up_the_memory() -> Result<()> {
    let ampoule = started().await?;
    serve_during(&ampoule, async {
        let begun = Instant::now();
        while begun.elapsed() < ATTACK {
            let mut open = Vec::new();
            for _ in 0..40 {
                open.extend(unfinished(&ampoule, 7 << 20, (7 << 20) - 1).await);
            }
        }
        Ok(())
    })
    .await?;
    ensure_survived(ampoule).await
}

/// Number 4: 400 idle connections to the admin port made the kubelet's probes fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_to_the_admin_port_do_not_fail_the_probes() -> Result<()> {
    let ampoule = started().await?;
    let mut open = Vec::new();
    for _ in 0..400 {
        open.extend(connect(ampoule.admin_address()).await.ok());
    }
    for _ in 0..10 {
        let begun = Instant::now();
        for path in ["/livez", "/readyz"] {
            assert_eq!(timeout(PROBE, ampoule.admin(path)).await??.status, 200, "{path}");
        }
        ensure!(begun.elapsed() < PROBE, "the probes took {:?}", begun.elapsed());
        sleep(Duration::from_millis(100)).await;
    }
    drop(open);
    ensure_survived(ampoule).await
}
