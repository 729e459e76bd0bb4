//! All attacks at the same time, beside good pods at a constant rate.
//!
//! `AMPOULE_ATTACK_SECONDS` sets the duration.

use std::env;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{Ampoule, Review, annotation, asking};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    attacker,
    support::{ensure_survived, large_pod, started},
};

/// Duration unless the environment sets one.
const DEFAULT: Duration = Duration::from_secs(10);
/// Time between two good pods: 50 per second.
const PAUSE: Duration = Duration::from_millis(20);
/// The time that the API server waits for a webhook.
const SERVED: Duration = Duration::from_secs(10);
/// Time between two probes. The chart's is 10 s.
const PROBES: Duration = Duration::from_millis(500);
/// Limit for a probe (`timeoutSeconds` in the chart).
const PROBE: Duration = Duration::from_secs(5);

/// An attack, repeated until the end.
#[derive(Clone, Copy, Debug)]
enum Attack {
    UnfinishedBytes,
    UnfinishedMegabytes,
    ManyContainers,
    LargePatch,
    ManyValues,
    IdleAdmin,
}

const ATTACKS: [Attack; 6] = [
    Attack::UnfinishedBytes,
    Attack::UnfinishedMegabytes,
    Attack::ManyContainers,
    Attack::LargePatch,
    Attack::ManyValues,
    Attack::IdleAdmin,
];

// === impl Attack ===

impl Attack {
    async fn run(self, ampoule: Arc<Ampoule>, end: Instant) {
        let pod = self.pod();
        let review = Review::of(&pod, "default");
        let mut open = Vec::new();
        let mut admin = Vec::new();
        while Instant::now() < end {
            match self {
                Self::UnfinishedBytes if open.len() < 1024 => {
                    open.extend(attacker::unfinished(&ampoule, 1000, 1).await)
                }
                Self::UnfinishedMegabytes if open.len() < 10 => {
                    open.extend(attacker::unfinished(&ampoule, 7 << 20, (7 << 20) - 1).await);
                }
                Self::IdleAdmin if admin.len() < 400 => {
                    admin.extend(attacker::connect(ampoule.admin_address()).await);
                }
                Self::UnfinishedBytes | Self::UnfinishedMegabytes | Self::IdleAdmin => {
                    sleep(Duration::from_millis(500)).await;
                    open.clear();
                    admin.clear();
                }
                Self::ManyContainers | Self::LargePatch | Self::ManyValues => attacker::review(&ampoule, &review).await,
            }
        }
    }

    /// The pod of the attacks with complete requests.
    fn pod(self) -> Value {
        match self {
            Self::ManyContainers => large_pod(10_000, 20),
            Self::LargePatch => large_pod(400, 250),
            Self::ManyValues => {
                let mut pod = large_pod(1, 1);
                pod["spec"]["small"] = (0..30_000).map(|_| json!({ "a": 1 })).collect();
                pod
            }
            Self::UnfinishedBytes | Self::UnfinishedMegabytes | Self::IdleAdmin => Value::Null,
        }
    }
}

/// Creates good pods until the end, whether or not earlier ones are served. Returns their number.
async fn create_pods(ampoule: Arc<Ampoule>, end: Instant) -> Result<usize> {
    let mut pods = JoinSet::new();
    let mut ticks = interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while Instant::now() < end {
        ticks.tick().await;
        let ampoule = Arc::clone(&ampoule);
        pods.spawn(async move {
            let review = Review::of(&asking("good", [annotation("group", "key", EnvVar)]), "default");
            let answer = timeout(SERVED, ampoule.review_once(&review)).await.context("a good pod got no answer")??;
            ensure!(answer.allowed && !answer.patch.0.is_empty(), "a good pod was not served: {answer:?}");
            Ok(())
        });
    }
    let count = pods.len();
    pods.join_all().await.into_iter().collect::<Result<()>>()?;
    Ok(count)
}

/// Probes the process as the kubelet does. Returns the number of probes.
async fn probe(ampoule: Arc<Ampoule>, end: Instant) -> Result<usize> {
    let mut probes = 0;
    while Instant::now() < end {
        for path in ["/livez", "/readyz"] {
            let answer =
                timeout(PROBE, ampoule.admin(path)).await.with_context(|| format!("{path} got no answer"))??;
            ensure!(answer.status == 200, "{path}: {}", answer.status);
            probes += 1;
        }
        sleep(PROBES).await;
    }
    Ok(probes)
}

fn duration() -> Result<Duration> {
    let Some(seconds) = env::var_os("AMPOULE_ATTACK_SECONDS") else { return Ok(DEFAULT) };
    let seconds = seconds.to_str().context("AMPOULE_ATTACK_SECONDS is not text")?;
    Ok(Duration::from_secs(seconds.parse().context("AMPOULE_ATTACK_SECONDS")?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_attacks_at_once_lose_no_good_pod() -> Result<()> {
    let end = Instant::now() + duration()?;
    let ampoule = Arc::new(started().await?);
    let mut attacks = JoinSet::new();
    for attack in ATTACKS {
        attacks.spawn(attack.run(Arc::clone(&ampoule), end));
    }
    let pods = tokio::spawn(create_pods(Arc::clone(&ampoule), end));
    let probes = probe(Arc::clone(&ampoule), end).await?;
    let pods = pods.await??;
    attacks.join_all().await;
    let ampoule = Arc::into_inner(ampoule).context("every task has ended")?;
    println!("{pods} good pods and {probes} probes; peak {} MiB", ampoule.peak_kib()? >> 10);
    ensure!(pods > 100, "only {pods} good pods were created");
    ensure_survived(ampoule).await
}
