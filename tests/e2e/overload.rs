//! Overload: endless guests occupy every permit, and further requests are rejected at once.
//!
//! Only the test itself waits for those guests.

use std::time::{Duration, Instant};

use ampoule_core::MountRequirement::{Any, EnvVar};
use ampoule_tests::{Ampoule, Response, Review, asking, eventually};
use anyhow::{Result, ensure};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Guests, K8S, config, registered, request};

/// The deadline of an endless guest.
const DEADLINE: Duration = Duration::from_secs(4);
/// Limit on a machine whose processors are all busy with such guests.
const AT_ONCE: Duration = Duration::from_secs(2);
const TOO_MANY: &str = "too many concurrent admissions (limit 4, server.maxAdmissions); retry in a second, and add \
                        replicas if it persists";

/// Four concurrent pods: two run the endless guest, two wait for it.
fn overloaded(guests: &Guests, on_failure: &str) -> String {
    let endless =
        guests.injector("endless_loop", "{}", "{ deadlineMillis: 4000, instances: 2, queueWaitMillis: 9000 }");
    let config = config("flyte-v1", &[K8S, &endless].concat());
    config.replace("server: { ", "server: { maxAdmissions: 4, ") + &format!("onFailure: {on_failure}\n")
}

/// A request without a key, which only the endless guest serves.
fn endless() -> Review {
    Review::of(&asking("endless", [request("group", "", Any, "")]), "default")
}

/// A large pod, which would also take memory.
fn good() -> Review {
    let mut pod = asking("good", [request("group", "key", EnvVar, "")]);
    pod["metadata"]["annotations"]["note"] = json!("x".repeat(1 << 20));
    Review::of(&pod, "default")
}

/// Occupies every permit; the answers arrive later.
async fn occupy(ampoule: &Ampoule) -> Result<JoinSet<Result<Response>>> {
    let mut occupied = JoinSet::new();
    for _ in 0..4 {
        let mut connection = ampoule.connect().await?;
        occupied.spawn(async move { Ampoule::review(&mut connection, &endless()).await });
    }
    eventually("an admission beyond the limit", AT_ONCE, async || {
        let response = ampoule.review_once(&good()).await?;
        ensure!(response.patch.0.is_empty(), "a permit is left: {response:?}");
        Ok(())
    })
    .await?;
    Ok(occupied)
}

#[tokio::test]
async fn excess_requests_are_rejected_at_once_and_served_later() -> Result<()> {
    let guests = Guests::write(&["endless_loop"])?;
    let (namespace, ampoule) = registered("overload", &overloaded(&guests, "deny")).await?;
    let begun = Instant::now();
    let mut occupied = occupy(&ampoule).await?;
    for _ in 0..20 {
        let response = ampoule.review_once(&good()).await?;
        assert_eq!((response.allowed, response.code, response.message.as_str()), (false, 429, TOO_MANY));
    }
    let refusal = namespace.dry_run_pod(&asking("task", [request("group", "key", EnvVar, "")])).await?.unwrap_err();
    assert_eq!((refusal.code, refusal.reason.as_str()), (429, "TooManyRequests"));
    assert_eq!(refusal.by("secrets"), Some(TOO_MANY));
    assert!(begun.elapsed() < DEADLINE, "no request waited for an endless guest: {:?}", begun.elapsed());
    assert!(ampoule.metric("ampoule_admissions_total{outcome=\"overloaded\"}").await? >= 21.0);
    assert_eq!(ampoule.admin("/readyz").await?.status, 200, "another replica may have as much to do");

    while let Some(response) = occupied.join_next().await {
        let response = response??;
        assert_eq!((response.allowed, response.code), (false, 503), "{}", response.message);
    }
    assert!(ampoule.review_once(&good()).await?.allowed);
    ampoule.stop().await?.ensure_clean()
}

#[tokio::test]
async fn excess_requests_are_admitted_without_secrets_if_failures_are() -> Result<()> {
    let guests = Guests::write(&["endless_loop"])?;
    let ampoule = Ampoule::start(&overloaded(&guests, "admit")).await?;
    let mut occupied = occupy(&ampoule).await?;
    let response = ampoule.review_once(&good()).await?;
    assert!(response.allowed && response.patch.0.is_empty(), "{response:?}");
    assert_eq!(response.warnings, [format!("admitted without its secrets (onFailure: admit): {TOO_MANY}")]);
    while let Some(response) = occupied.join_next().await {
        assert!(response??.allowed);
    }
    let response = ampoule.review_once(&good()).await?;
    assert!(response.allowed && !response.patch.0.is_empty(), "{response:?}");
    ampoule.stop().await?.ensure_clean()
}
