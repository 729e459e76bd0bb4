//! A plugin that floods the log, and obstacles of the start that must not end the process.
//!
//! The log is counted in lines of the plugin; the start is observed at the ports.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use ampoule_core::MountRequirement::{Any, EnvVar};
use ampoule_tests::{Ampoule, ApiServer, Connection, Process, Review, annotation, asking, eventually, free_ports};
use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tokio::net::{TcpListener, TcpStream};

use super::support::{ensure_served, ensure_survived, started};
use crate::support::{Guests, K8S, config, v1};

/// Log lines of a plugin for one admission, and the line that reports the end of the budget.
const LINES: usize = 64 + 1;
/// Limit for the process to notice something.
const NOTICED: Duration = Duration::from_secs(60);

/// Number 6: the budget was that of an instance, and a pod of 6.6 KB wrote 18.8 MB.
#[tokio::test]
async fn a_pod_with_many_secrets_writes_a_bounded_log() -> Result<()> {
    const ADMISSIONS: usize = 3;
    let guests = Guests::write(&["log_flood"])?;
    // It would write 250 times 30 lines for each pod.
    let plugin = guests.injector("log_flood", "{ lines: 30 }", "{ deadlineMillis: 20000, queueWaitMillis: 10000 }");
    let ampoule = Ampoule::start_logging(&config("flyte-v1", &[K8S, &plugin].concat()), "info").await?;
    let count =
        || -> Result<usize> { Ok(ampoule.log()?.lines().filter(|line| line.contains("ampoule::plugin")).count()) };
    let before = (count()?, ampoule.log()?.len());
    // Only the plugin serves requests without a key.
    let requests = (0..250).map(|i| annotation(&format!("group-{i}"), "", Any));
    let review = Review::of(&asking("large", requests), "default");
    for _ in 0..ADMISSIONS {
        let response = ampoule.review_once(&review).await?;
        ensure!(response.allowed && !response.patch.0.is_empty(), "{}", response.message);
    }
    let lines = count()? - before.0;
    ensure!(lines <= ADMISSIONS * LINES, "{lines} lines of the plugin for {ADMISSIONS} pods");
    ensure!(lines >= LINES - 1, "only {lines} lines: the plugin must reach its budget");
    let bytes = (ampoule.log()?.len() - before.1) / ADMISSIONS;
    ensure!(bytes < 512 << 10, "{bytes} bytes for each pod");
    ensure_survived(ampoule).await
}

/// Forwards connections to the API server.
async fn forward(port: u16, to: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    Ok(())
}

/// The answer of a path of the admin port: its status and its text.
async fn admin(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let answer = Connection::plain(address).await?.get(path).await?;
    Ok((answer.status, answer.text()))
}

/// Number 6: an API server that was not reachable ended the process at its start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_api_server_delays_the_start_and_does_not_end_the_process() -> Result<()> {
    let server = ApiServer::shared().await?;
    let [webhook, admin_port, proxy] = free_ports()?;
    let name = "unreachable";
    server.namespace(name).await?;
    let folder = tempfile::tempdir()?;
    let path = |file: &str| folder.path().join(file);
    let real = server.address();
    let kubeconfig = server.admin_kubeconfig().replace(&real.to_string(), &format!("127.0.0.1:{proxy}"));
    fs::write(path("kubeconfig"), kubeconfig)?;
    let certificates = "certificates: { mode: cluster, secretName: unreachable }\n\
                        registration: { enabled: true, create: true, name: unreachable, serviceName: unreachable, \
                        namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: unreachable } } }\n";
    let maps = "plugins: { configMaps: true }\n";
    fs::write(path("ampoule.yaml"), [certificates, maps, &v1()].concat())?;
    let mut command = Ampoule::command()?;
    command.arg("serve").arg("--config").arg(path("ampoule.yaml")).args(["--log-format", "json"]);
    command.args(["--listen", &format!("127.0.0.1:{webhook}"), "--admin", &format!("127.0.0.1:{admin_port}")]);
    command.env("KUBECONFIG", path("kubeconfig")).env("POD_NAME", "unreachable-0").env("POD_NAMESPACE", name);
    let process = Process::spawn(&mut command, &path("log"))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, admin_port));
    eventually("the reason to wait", NOTICED, async || {
        process.ensure_running()?;
        let log = process.output()?;
        ensure!(log.contains("the start waits for the API server"), "{log}");
        Ok(())
    })
    .await?;
    for _ in 0..10 {
        process.ensure_running()?;
        ensure!(admin(address, "/livez").await?.0 == 200, "a restart would not help");
        let (status, text) = admin(address, "/readyz?verbose").await?;
        ensure!(status == 503, "it is not ready: {text}");
        // The port is bound: a connection waits, and is not refused.
        TcpStream::connect((Ipv4Addr::LOCALHOST, webhook)).await.context("the webhook's port is closed")?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    forward(proxy, real).await?;
    eventually("the process is ready", NOTICED, async || {
        process.ensure_running()?;
        let (status, text) = admin(address, "/readyz?verbose").await?;
        ensure!(status == 200, "{text}");
        Ok(())
    })
    .await
    .with_context(|| process.describe())?;
    process.signal(Signal::TERM)?;
    let status = process.wait(NOTICED).await?;
    ensure!(status.success(), "{status}: {}", process.describe());
    Ok(())
}

/// Number 6: a cache folder that cannot be used ended the process.
#[tokio::test]
async fn an_unusable_cache_folder_is_a_warning() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("file");
    fs::write(&file, "")?;
    let text = format!("engine: {{ cacheDirectory: {} }}\n{}", file.display(), v1());
    let ampoule = Ampoule::start_logging(&text, "info").await?;
    let log = ampoule.log()?;
    let warning = log.lines().find(|line| line.contains(&file.display().to_string()));
    ensure!(warning.is_some_and(|line| line.contains("WARN")), "{log}");
    let review = Review::of(&asking("good", [annotation("group", "key", EnvVar)]), "default");
    ensure!(ampoule.review_once(&review).await?.allowed);
    ensure_survived(ampoule).await?;
    // The same process without the folder is the ordinary one.
    let ordinary = started().await?;
    ensure_served(&ordinary).await?;
    ensure!(!ordinary.log()?.contains("engine.cacheDirectory"));
    ensure_survived(ordinary).await
}
