//! A load balancer: [`Haproxy`], Debian's own, in the role of a Service. It balances connections
//! only, and sends new ones to replicas that report that they are ready.
//!
//! As with a Service, an open connection stays with its replica, even if the replica is no longer
//! ready.

use std::{fmt::Write as _, fs, net::SocketAddr, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{Connection, Process, eventually, free_ports, programs::find};

/// It starts within milliseconds.
const READY: Duration = Duration::from_secs(20);

/// A running load balancer.
pub struct Haproxy {
    process: Process,
    stats: SocketAddr,
    _folder: TempDir,
}

// === impl Haproxy ===

impl Haproxy {
    /// Time to notice a change of a replica's readiness, with a margin.
    pub const NOTICES: Duration = Duration::from_secs(2);

    /// Listens on a port of the loopback interface, for replicas with a webhook's port and an admin
    /// port each.
    ///
    /// # Errors
    ///
    /// If the program is not installed or does not start.
    pub async fn start(port: u16, replicas: &[(u16, u16)]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ampoule-e2e-haproxy-").tempdir()?;
        let [stats] = free_ports()?;
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, configuration(port, stats, replicas))?;
        let mut command = Command::new(find("haproxy", "AMPOULE_HAPROXY")?);
        command.arg("-f").arg(file);
        let process = Process::spawn_in(&mut command, &folder.path().join("log"), folder.path())?;
        let this = Self { process, stats: SocketAddr::from(([127, 0, 0, 1], stats)), _folder: folder };
        eventually("haproxy", READY, async || this.ready().await.map(drop)).await.with_context(|| this.describe())?;
        Ok(this)
    }

    /// Waits until it sends connections to this number of replicas.
    ///
    /// # Errors
    ///
    /// If it does not in time.
    pub async fn sends_to(&self, replicas: usize) -> Result<()> {
        let all = eventually("the load balancer to notice", READY, async || {
            let ready = self.ready().await?;
            ensure!(ready == replicas, "{ready} of {replicas} replicas are ready");
            Ok(())
        });
        all.await.with_context(|| self.describe())
    }

    /// Number of retried connection attempts: each is a connection that a Service would have lost.
    ///
    /// # Errors
    ///
    /// If it does not report the number.
    pub async fn refusals(&self) -> Result<u32> {
        let (retries, replicas) = (self.column("wretr").await?, self.column("wredis").await?);
        Ok(retries.iter().chain(&replicas).map(|count| count.parse::<u32>()).sum::<Result<_, _>>()?)
    }

    /// Number of replicas that it considers ready.
    async fn ready(&self) -> Result<usize> {
        Ok(self.column("status").await?.iter().filter(|status| *status == "UP").count())
    }

    /// A column of its statistics, by replica.
    async fn column(&self, name: &str) -> Result<Vec<String>> {
        let text = Connection::plain(self.stats).await?.get("/;csv").await?.text();
        let place = text.lines().next().and_then(|head| head.split(',').position(|column| column == name));
        let place = place.with_context(|| format!("no column {name} in {text}"))?;
        let replicas = text.lines().filter(|line| line.starts_with("replicas,replica-"));
        Ok(replicas.filter_map(|line| line.split(',').nth(place)).map(str::to_owned).collect())
    }

    /// Its state, for errors.
    #[must_use]
    pub fn describe(&self) -> String {
        self.process.describe()
    }
}

fn configuration(port: u16, stats: u16, replicas: &[(u16, u16)]) -> String {
    // If a connection to a replica fails, it is retried with another one.
    let mut text = format!(
        "global
    log stdout format raw local0
defaults
    mode tcp
    log global
    timeout connect 2s
    timeout client 10m
    timeout server 10m
    retries 3
    option redispatch 1
frontend service
    bind 127.0.0.1:{port}
    default_backend replicas
frontend stats
    mode http
    bind 127.0.0.1:{stats}
    stats enable
    stats uri /
backend replicas
    balance random
    option httpchk GET /readyz
    http-check expect status 200
    default-server check inter 500ms fall 1 rise 1
"
    );
    for (i, (webhook, admin)) in replicas.iter().enumerate() {
        let _ = writeln!(text, "    server replica-{i} 127.0.0.1:{webhook} port {admin}");
    }
    text
}
