//! Pods at a steady rate, independent of their results: [`SteadyLoad`] starts a creation at each
//! tick and waits for none.
//!
//! A failed creation is retried, as every controller does; each attempt is recorded with its times.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, sleep},
};

use crate::Namespace;

/// Interval between two attempts.
const PAUSE: Duration = Duration::from_millis(200);
/// A pod counts as lost after this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A load that runs until it is stopped.
pub struct SteadyLoad {
    phase: Arc<Mutex<&'static str>>,
    end: watch::Sender<bool>,
    creations: JoinHandle<Result<Vec<Creation>>>,
}

/// A pod and its creation.
#[derive(Debug)]
pub struct Creation {
    /// The name.
    pub name: String,
    /// The phase of the test at the first attempt.
    pub phase: &'static str,
    /// The time of the first attempt.
    pub started: Instant,
    /// The duration of all attempts.
    pub took: Duration,
    /// The failed attempts: start, end and error.
    pub failed: Vec<(Instant, Instant, String)>,
}

// === impl SteadyLoad ===

impl SteadyLoad {
    /// Creates a pod in each period; `pod` makes it from its name.
    #[must_use]
    pub fn start(namespace: Namespace, period: Duration, pod: fn(&str) -> Value) -> Self {
        let phase = Arc::new(Mutex::new("start"));
        let (end, mut ended) = watch::channel(false);
        let phases = Arc::clone(&phase);
        let creations = tokio::spawn(async move {
            let mut ticks = interval(period);
            // A machine that stops for a moment falls behind, as do thousands of clients.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let (mut creations, mut count) = (JoinSet::new(), 0_u32);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    _ = ended.changed() => break,
                }
                let phase = *phases.lock().unwrap_or_else(PoisonError::into_inner);
                let name = format!("pod-{count}");
                let (namespace, object) = (namespace.clone(), pod(&name));
                creations.spawn(async move { create(&namespace, name, phase, &object).await });
                count += 1;
            }
            creations.join_all().await.into_iter().collect()
        });
        Self { phase, end, creations }
    }

    /// Sets the phase of the test.
    pub fn phase(&self, name: &'static str) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = name;
    }

    /// Stops the load, and waits for creations in progress.
    ///
    /// # Errors
    ///
    /// If a pod could not be created at all.
    pub async fn stop(self) -> Result<Vec<Creation>> {
        self.end.send_replace(true);
        self.creations.await?
    }
}

async fn create(namespace: &Namespace, name: String, phase: &'static str, pod: &Value) -> Result<Creation> {
    let started = Instant::now();
    let mut failed = Vec::new();
    loop {
        let tried = Instant::now();
        let error = match namespace.try_create_pod(pod).await {
            Ok(Ok(_)) => break,
            // An earlier attempt was answered too late, but created the pod.
            Ok(Err(refusal)) if refusal.reason == "AlreadyExists" && !failed.is_empty() => break,
            Ok(Err(refusal)) => refusal.to_string(),
            Err(error) => format!("{error:#}"),
        };
        failed.push((tried, Instant::now(), error));
        if started.elapsed() > PATIENCE {
            return Err(anyhow::anyhow!("{failed:?}")).with_context(|| format!("{name} is lost ({phase})"));
        }
        sleep(PAUSE).await;
    }
    Ok(Creation { name, phase, started, took: started.elapsed(), failed })
}
