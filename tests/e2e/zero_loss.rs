//! Zero loss: two replicas behind a load balancer, fifty pods a second, and all failures that can
//! affect a webhook.
//!
//! The API server is this test's own, because its etcd is stopped for a while. Times are printed
//! and not asserted: machines differ.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    time::{Duration, Instant},
};

use ampoule_core::MountRequirement::{Any, EnvVar};
use ampoule_tests::{
    Ampoule, ApiServer, Connection, Creation, Haproxy, Namespace, SteadyLoad, Trust, asking, eventually, free_ports,
};
use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use rustix::process::Signal;
use serde_json::Value;
use tokio::{task::JoinSet, time::sleep};

use crate::{
    cluster::{Installed, NOTICED},
    support::{Guests, loops, request},
};

const NAME: &str = "zero-loss";
const HOST: &str = "zero-loss.zero-loss.svc";
/// Fifty pods a second.
const PERIOD: Duration = Duration::from_millis(20);
/// Time in which an API server may still write to a connection that the other end has closed.
const UNAWARE: Duration = Duration::from_millis(250);
/// Time in which connections that live for three seconds reach all replicas; each is chosen at
/// random, as with a Service.
const SPREAD: Duration = Duration::from_secs(45);
/// Duration of a request to the endless guest: long enough that none ends before the kill.
const IN_PROGRESS: Duration = Duration::from_secs(5);
/// Most slow requests at once. A few are enough that both replicas have some.
const MOST_SLOW: usize = 24;
/// Time in which a client that retries at once may meet further connections of the killed replica.
/// Newer API servers, with Go's newer client, keep several of them.
const RETRIED: Duration = Duration::from_secs(2);
const ETCD_PAUSE: Duration = Duration::from_secs(5);

/// The cluster, and its two replicas with their ports.
struct Cluster {
    server: &'static ApiServer,
    installed: Installed,
    balancer: Haproxy,
    replicas: Vec<(Ampoule, u16, u16)>,
    load: SteadyLoad,
    _guests: Guests,
}

/// A request to the endless guest, with the failed attempts before its answer.
struct SlowRequest {
    failures: Vec<(Instant, String)>,
    answer: String,
}

// === impl SlowRequest ===

impl SlowRequest {
    /// Sends the request, and again at once if the connection ends. A newer API server can choose
    /// another connection of the same replica for the second attempt.
    async fn send(namespace: Namespace, name: String) -> Result<Self> {
        let pod = asking(&name, [request("group", "", Any, "")]);
        let mut failures = Vec::new();
        loop {
            let answer = namespace.dry_run_pod(&pod).await?.err().context("no plugin has its secret")?.message;
            if !answer.contains("failed calling webhook") || failures.len() >= MOST_SLOW {
                return Ok(Self { failures, answer });
            }
            failures.push((Instant::now(), answer));
        }
    }
}

/// Not captured, because the figures are for the user.
fn print_line(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A pod that requests a secret.
fn pod(name: &str) -> Value {
    asking(name, [request("group", name, EnvVar, "")])
}

// === impl Cluster ===

impl Cluster {
    async fn start() -> Result<Self> {
        let server = ApiServer::apart().await?;
        let [service, one, one_admin, two, two_admin] = free_ports()?;
        // A new CA after 36 s, trusted for 2 s before it is served; the previous one is trusted for
        // 5 more.
        let certificates = format!("{{ mode: cluster, secretName: {NAME}, validitySeconds: 54 }}");
        let installed = Installed::on(server, NAME, service, &certificates).await?;
        // The load balancer needs half a second to notice, and no connection may outlive a phase of
        // this test.
        installed.reconfigure("shutdownDelaySeconds: 2", "shutdownDelaySeconds: 2, maxConnectionAgeSeconds: 3")?;
        let guests = Guests::write(&["endless_loop"])?;
        let limits = format!("{{ deadlineMillis: {} }}", IN_PROGRESS.as_millis());
        let endless = guests.injector("endless_loop", "{}", &limits);
        installed.configure_with(&endless)?;
        let mut replicas = Vec::new();
        for (port, admin) in [(one, one_admin), (two, two_admin)] {
            replicas.push((installed.start_at(port, admin).await?, port, admin));
        }
        let balancer = Haproxy::start(service, &[(one, one_admin), (two, two_admin)]).await?;
        balancer.sends_to(2).await?;
        let namespace = installed.namespace.clone();
        eventually("the first pod", NOTICED, async || {
            let probe = asking("probe", [request("group", "probe", EnvVar, "")]);
            let created = namespace.dry_run_pod(&probe).await??;
            ensure!(created.to_string().contains("secretKeyRef"), "no secret in {created}");
            Ok(())
        })
        .await?;
        let load = SteadyLoad::start(namespace, PERIOD, pod);
        Ok(Self { server, installed, balancer, replicas, load, _guests: guests })
    }

    /// The number of mutated pods of each replica.
    async fn admissions(&self) -> Result<Vec<f64>> {
        let mut counts = Vec::new();
        for (replica, ..) in &self.replicas {
            counts.push(replica.metric("ampoule_admissions_total{outcome=\"mutated\"}").await?);
        }
        Ok(counts)
    }

    /// The number of calls of each replica in which the endless guest has begun its loop.
    fn loops(&self) -> Result<Vec<usize>> {
        self.replicas.iter().map(|(replica, ..)| loops(replica)).collect()
    }

    /// Starts slow requests until both replicas have one in progress.
    async fn start_slow(&self) -> Result<JoinSet<Result<SlowRequest>>> {
        let before = self.loops()?;
        let mut slow = JoinSet::new();
        let begun = Instant::now();
        while !self.loops()?.iter().zip(&before).all(|(now, before)| now > before) {
            ensure!(begun.elapsed() < IN_PROGRESS, "one of two replicas has none of {} requests", slow.len());
            if slow.len() < MOST_SLOW {
                let name = format!("slow-{}", slow.len());
                slow.spawn(SlowRequest::send(self.installed.namespace.clone(), name));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(slow)
    }

    /// Waits until both replicas serve the load.
    async fn both_serve(&self) -> Result<()> {
        let before = self.admissions().await?;
        eventually("admissions on both replicas", SPREAD, async || {
            let now = self.admissions().await?;
            let since: Vec<_> = now.iter().zip(&before).map(|(now, before)| now - before).collect();
            ensure!(since.iter().all(|count| *count >= 10.0), "{since:?}");
            print_line(&format!("  admissions of the replicas meanwhile: {since:?}"));
            Ok(())
        })
        .await
    }

    /// Starts a replica in place of one that ended.
    async fn replace(&mut self, i: usize) -> Result<()> {
        let (_, port, admin) = self.replicas[i];
        self.replicas[i].0 = self.installed.start_at(port, admin).await?;
        self.balancer.sends_to(2).await
    }

    async fn rolling_restart(&mut self) -> Result<()> {
        self.load.phase("rolling restart");
        let before = self.balancer.refusals().await?;
        for _ in 0..2 {
            let (replica, port, admin) = self.replicas.remove(0);
            replica.stop().await?.ensure_clean()?;
            self.replicas.push((self.installed.start_at(port, admin).await?, port, admin));
            self.balancer.sends_to(2).await?;
        }
        let refusals = self.balancer.refusals().await? - before;
        ensure!(
            refusals == 0,
            "{refusals} connections were refused by a replica that the load balancer considered ready"
        );
        self.both_serve().await
    }

    /// Kills a replica while both have slow requests in progress. Returns the time.
    async fn kill(&mut self) -> Result<Instant> {
        self.load.phase("kill -9");
        let mut slow = self.start_slow().await?;
        let (count, killed) = (slow.len(), Instant::now());
        self.replicas[0].0.signal(Signal::KILL)?;
        let mut lost = 0;
        while let Some(request) = slow.join_next().await {
            let SlowRequest { failures, answer } = request??;
            ensure!(answer.contains("exceeded its deadline"), "{answer}");
            for (at, failure) in &failures {
                print_line(&format!("  in progress when it was killed, and answered after a retry: {failure}"));
                // Later, the API server knows that the connections have ended.
                ensure!((killed..killed + RETRIED).contains(at), "{failure} {:?} after the kill", *at - killed);
            }
            lost += usize::from(!failures.is_empty());
        }
        ensure!((1..count).contains(&lost), "{lost} of {count} requests were in progress on one of two replicas");
        self.replace(0).await?;
        self.both_serve().await?;
        Ok(killed)
    }

    /// Reloads twice: an engine with all plugins loaded anew, then an invalid configuration, then
    /// the first one again.
    async fn reload(&mut self) -> Result<()> {
        self.load.phase("configuration reload");
        let good = fs::read_to_string(self.installed.config())?;
        let other = good.clone() + "engine: { maxConcurrent: 48 }\n";
        for (config, result, times) in
            [(&other, "applied", 1.0), (&"garbage: [".to_owned(), "refused", 1.0), (&good, "applied", 2.0)]
        {
            self.installed.configure(config)?;
            let series = format!("ampoule_config_reloads_total{{result=\"{result}\"}}");
            eventually(&format!("{times} times {result}"), NOTICED, async || {
                for (replica, ..) in &self.replicas {
                    let count = replica.metric(&series).await?;
                    ensure!(count == times, "{count} times {result}");
                }
                Ok(())
            })
            .await?;
        }
        self.both_serve().await
    }

    /// Waits for the certificate that replaces the first one, with its CA.
    async fn rotation(&mut self, first: &str) -> Result<()> {
        self.load.phase("certificate rotation");
        eventually("a certificate of another CA, and no trust in the first", Duration::from_secs(60), async || {
            let trusted = self.installed.trusted().await?;
            ensure!(!trusted.contains(first), "the first CA is trusted");
            for (replica, ..) in &self.replicas {
                Connection::tls(replica.webhook(), &Trust::root(&trusted)?.named(HOST)?).await?;
            }
            Ok(())
        })
        .await?;
        self.both_serve().await
    }

    async fn etcd_pause(&mut self) -> Result<()> {
        self.load.phase("etcd pause");
        self.server.pause_etcd(ETCD_PAUSE).await?;
        self.both_serve().await
    }
}

/// Verifies that every created pod exists with its secret, and no other pod.
async fn ensure_complete(namespace: &Namespace, creations: &[Creation]) -> Result<()> {
    let pods = namespace.api::<Pod>().list(&ListParams::default()).await?.items;
    let mut found = BTreeMap::new();
    for pod in pods {
        let name = pod.metadata.name.context("a pod without a name")?;
        found.insert(name, serde_json::to_value(pod.spec)?);
    }
    ensure!(found.len() == creations.len(), "{} of {} pods exist", found.len(), creations.len());
    for Creation { name, .. } in creations {
        let spec = found.get(name).with_context(|| format!("{name} is lost"))?;
        let key = &spec["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"]["key"];
        ensure!(key == name.as_str(), "{name} has another secret: {spec}");
    }
    Ok(())
}

/// Prints a line per phase.
fn print(creations: &[Creation]) {
    let mut phases: Vec<&str> = creations.iter().map(|creation| creation.phase).collect();
    phases.dedup();
    print_line("phase                  pods    p50 ms    p99 ms    max ms   failed attempts");
    for phase in phases {
        let of_phase: Vec<_> = creations.iter().filter(|creation| creation.phase == phase).collect();
        let mut times: Vec<_> = of_phase.iter().map(|creation| creation.took.as_secs_f64() * 1000.0).collect();
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let failed: usize = of_phase.iter().map(|creation| creation.failed.len()).sum();
        print_line(&format!(
            "{phase:<20} {:>6} {:>9.1} {:>9.1} {:>9.1} {failed:>14}",
            times.len(),
            at(0.5),
            at(0.99),
            at(1.0)
        ));
    }
}

/// Verifies that no attempt failed that the API server could have sent to another replica.
fn ensure_excused(creations: &[Creation], killed: Instant) -> Result<()> {
    for Creation { name, phase, failed, .. } in creations {
        for (from, to, error) in failed {
            print_line(&format!("  {name} was retried ({phase}): {error}"));
            match *phase {
                // In progress when the replica was killed, or on its way to it.
                "kill -9" | "rolling restart" if *from < killed + UNAWARE && *to > killed => {}
                // The API server's own time limit, or etcd's.
                "etcd pause" if !error.contains("webhook") => {}
                _ => bail!("{name} failed ({phase}): {error}"),
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_pod_is_refused_or_lost_whatever_happens_to_the_webhook() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let first = cluster.installed.certificate("ca.crt").await?;
    cluster.load.phase("nothing");
    cluster.both_serve().await?;
    cluster.rolling_restart().await?;
    let killed = cluster.kill().await?;
    cluster.reload().await?;
    cluster.rotation(&first).await?;
    cluster.etcd_pause().await?;

    let Cluster { installed, replicas, load, balancer: _balancer, .. } = cluster;
    let mut creations = load.stop().await?;
    creations.sort_by_key(|creation| creation.started);
    print(&creations);
    ensure_excused(&creations, killed)?;
    ensure_complete(&installed.namespace, &creations).await?;
    for (replica, ..) in replicas {
        replica.stop().await?.ensure_clean()?;
    }
    Ok(())
}
