//! Slow clients: unfinished bodies and idle connections. A second client, from another address, is
//! served throughout.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::AsyncReadExt as _,
    time::{sleep, timeout},
};

use super::{
    attacker::{connect, unfinished},
    support::{ensure_survived, serve_during, started},
};

/// Connections of the attacker at once: the default of `server.maxConnections`.
const CONNECTIONS: usize = 1024;
const ATTACK: Duration = Duration::from_secs(6);
/// Limit for a probe (`timeoutSeconds` in the chart).
const PROBE: Duration = Duration::from_secs(5);

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
