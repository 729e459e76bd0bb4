//! The order of events at the start and the shutdown of a real process.
//!
//! Start: bind ports, load the certificate, load plugins, register, become ready. Shutdown: become
//! unready, serve for the delay, stop accepting, answer open requests within the grace period; a
//! second signal ends the process at once.

use std::{
    net::SocketAddr,
    os::unix::process::ExitStatusExt as _,
    time::{Duration, Instant},
};

use ampoule_core::MountRequirement::{Any, EnvVar};
use ampoule_tests::{Ampoule, Answer, Connection, Process, Review, asking, eventually, free_ports};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Secret};
use rustix::process::Signal;
use tokio::{net::TcpStream, task::JoinHandle, time::sleep};

use crate::{
    cluster::{Installed, NOTICED},
    support::{Guests, K8S, config, loops, request},
};

/// With a margin for a busy machine.
const AT_ONCE: Duration = Duration::from_secs(2);
const PATH: &str = "/mutate--v1-pod?timeout=30s";

async fn admin(port: u16, path: &str) -> Result<(u16, String)> {
    let Answer { status, body, .. } =
        Connection::plain(SocketAddr::from(([127, 0, 0, 1], port))).await?.get(path).await?;
    Ok((status, String::from_utf8(body)?))
}

#[tokio::test]
async fn nothing_is_registered_or_ready_before_every_plugin_is_loaded() -> Result<()> {
    let [port, admin_port] = free_ports()?;
    let installed = Installed::new("coming", port, "{ mode: cluster, secretName: coming }").await?;
    let guests = Guests::write(&["endless_configure"])?;
    // The refusal takes five seconds: the test observes the process during that time.
    let endless = guests.injector("endless_configure", "{}", "{}");
    installed.configure_with(&endless)?;
    let folder = tempfile::tempdir()?;
    let mut command = installed.command(&["serve", "--log-format", "json"])?;
    command.args(["--listen", &format!("127.0.0.1:{port}"), "--admin", &format!("127.0.0.1:{admin_port}")]);
    command.arg("--ready-file").arg(folder.path().join("ready"));
    let process = Process::spawn_in(&mut command, &folder.path().join("log"), folder.path())?;

    let loading = "[+]certificate ok\n[-]configuration failed: its plugins are not loaded yet\n[-]registration failed: not applied yet\n\
                   [+]shutdown ok\nreadyz check failed\n";
    eventually("a certificate", NOTICED, async || {
        let answer = admin(admin_port, "/readyz").await?;
        ensure!(answer == (503, loading.to_owned()), "{answer:?}");
        Ok(())
    })
    .await?;
    assert_eq!(admin(admin_port, "/livez").await?, (200, "ok\n".to_owned()));
    TcpStream::connect(("127.0.0.1", port)).await.context("the port is bound before everything else")?;
    assert!(installed.namespace.api::<Secret>().get_opt("coming").await?.is_some());

    let status = process.wait(NOTICED).await?;
    assert_eq!(status.code(), Some(1));
    let log = process.output()?;
    assert!(log.contains("`configure` failed: it did not finish within 5 s"), "{log}");
    assert!(!folder.path().join("ready").exists());
    let registrations = installed.namespace.cluster_wide::<MutatingWebhookConfiguration>();
    assert!(registrations.get_opt("coming").await?.is_none(), "no webhook would have answered the API server");
    Ok(())
}

#[tokio::test]
async fn the_start_follows_the_documented_order() -> Result<()> {
    let [port] = free_ports()?;
    let installed = Installed::new("order", port, "{ mode: cluster, secretName: order }").await?;
    let ampoule = installed.start(port).await?;
    let log = ampoule.log()?;
    let messages = ["starting", "certificate installed", "plugin loaded", "registered", "ready"];
    let places: Vec<_> = messages.iter().map(|message| log.find(&format!("\"message\":\"{message}\""))).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} in\n{log}");
    ampoule.stop().await?.ensure_clean()
}

/// A process whose slow request takes `slow`, and which serves for two seconds after a signal.
async fn with_slow_requests(slow: Duration, grace: u32) -> Result<(Guests, Ampoule)> {
    let guests = Guests::write(&["endless_loop"])?;
    let limits = format!("{{ deadlineMillis: {}, queueWaitMillis: 10000 }}", slow.as_millis());
    let config = config("flyte-v1", &[K8S, &guests.injector("endless_loop", "{}", &limits)].concat());
    let config = config
        .replace("DelaySeconds: 0", "DelaySeconds: 2")
        .replace("GraceSeconds: 10", &format!("GraceSeconds: {grace}"));
    let ampoule = Ampoule::start(&config).await?;
    Ok((guests, ampoule))
}

fn quick() -> Review {
    Review::of(&asking("task", [request("group", "key", EnvVar, "")]), "default")
}

/// A request to the endless guest, once the guest is running.
async fn slow(ampoule: &Ampoule) -> Result<JoinHandle<Result<Answer>>> {
    let before = loops(ampoule)?;
    let mut connection = ampoule.connect().await?;
    let review = Review::of(&asking("slow", [request("group", "", Any, "")]), "default");
    let slow = tokio::spawn(async move { connection.post(PATH, review.bytes()).await });
    eventually("the slow request in progress", AT_ONCE, async || {
        ensure!(loops(ampoule)? > before, "the guest does not run");
        Ok(())
    })
    .await?;
    Ok(slow)
}

/// Waits until the process reports that it is draining.
async fn draining(ampoule: &Ampoule) -> Result<()> {
    eventually("not ready", AT_ONCE, async || {
        let (status, text) = admin(ampoule.admin_address().port(), "/readyz").await?;
        ensure!(status == 503 && text.contains("[-]shutdown failed: the process is draining"), "{status} {text}");
        Ok(())
    })
    .await
}

/// Waits until the delay is over and the webhook's port is closed.
async fn port_closed(ampoule: &Ampoule) -> Result<()> {
    eventually("the end of accepting", Duration::from_secs(2) + AT_ONCE, async || {
        ensure!(TcpStream::connect(ampoule.webhook()).await.is_err(), "it accepts");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn on_shutdown_clients_get_their_answers_and_are_disconnected() -> Result<()> {
    let (_guests, ampoule) = with_slow_requests(Duration::from_secs(4), 10).await?;
    let mut kept = ampoule.connect().await?;
    let answer = kept.post(PATH, quick().bytes()).await?;
    assert_eq!((answer.status, answer.closes), (200, false));
    let signalled = Instant::now();
    ampoule.terminate()?;
    draining(&ampoule).await?;
    // Clients with a connection get an answer and are disconnected; new clients are served.
    let answer = kept.post(PATH, quick().bytes()).await?;
    assert_eq!((answer.status, answer.closes), (200, true));
    let answer = ampoule.connect().await?.post(PATH, quick().bytes()).await?;
    assert_eq!((answer.status, answer.closes), (200, true));
    let slow = slow(&ampoule).await?;
    assert!(
        signalled.elapsed() < Duration::from_secs(2),
        "this machine is too slow for the test: {:?}",
        signalled.elapsed()
    );

    port_closed(&ampoule).await?;
    assert!(signalled.elapsed() >= Duration::from_secs(2), "before the end of the delay: {:?}", signalled.elapsed());
    assert!(!slow.is_finished());
    assert_eq!(slow.await??.status, 200);
    ampoule.wait().await?.ensure_clean()
}

#[tokio::test]
async fn a_request_longer_than_the_grace_period_does_not_delay_the_end() -> Result<()> {
    let (_guests, ampoule) = with_slow_requests(Duration::from_secs(20), 1).await?;
    let slow = slow(&ampoule).await?;
    let signalled = Instant::now();
    let exit = ampoule.stop().await?;
    exit.ensure_clean()?;
    assert!(signalled.elapsed() < Duration::from_secs(3) + AT_ONCE, "{:?}", signalled.elapsed());
    assert!(exit.log.contains("connections still open after the grace period are closed"), "{}", exit.log);
    assert!(!exit.log.contains("panic"), "{}", exit.log);
    assert!(slow.await?.is_err());
    Ok(())
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() -> Result<()> {
    // The second signal arrives within the delay, and within the grace period.
    for second in [Signal::TERM, Signal::INT] {
        let (_guests, ampoule) = with_slow_requests(Duration::from_secs(20), 20).await?;
        let slow = slow(&ampoule).await?;
        ampoule.terminate()?;
        if second == Signal::TERM {
            draining(&ampoule).await?;
        } else {
            port_closed(&ampoule).await?;
        }
        let signalled = Instant::now();
        ampoule.signal(second)?;
        let exit = ampoule.wait().await?;
        assert!(signalled.elapsed() < AT_ONCE, "{:?}", signalled.elapsed());
        assert_eq!((exit.status.code(), exit.status.signal()), (Some(1), None), "{}", exit.log);
        let name = if second == Signal::TERM { "SIGTERM" } else { "SIGINT" };
        let expected = format!("error: stopped by a second signal ({name}) before open requests were answered\n");
        assert!(exit.log.ends_with(&expected), "{}", exit.log);
        assert!(slow.await?.is_err());
    }
    Ok(())
}

#[tokio::test]
async fn an_idle_connection_stays_open() -> Result<()> {
    let ampoule = Ampoule::start(&crate::support::v1()).await?;
    let mut kept = ampoule.connect().await?;
    assert_eq!(kept.post(PATH, quick().bytes()).await?.status, 200);
    // Longer than the limit for the head of a request, which must not apply to an idle connection.
    sleep(Duration::from_secs(12)).await;
    let answer = kept.post(PATH, quick().bytes()).await.context("it was closed after ten seconds")?;
    assert_eq!((answer.status, answer.closes), (200, false));
    ampoule.stop().await?.ensure_clean()
}
