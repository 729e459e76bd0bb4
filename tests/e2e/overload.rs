//! More than the webhook can work on: guests that never end hold everything, and who comes too much is told so at once.
//!
//! Nothing here waits for those guests but the test itself.

use std::time::{Duration, Instant};

use ampoule_core::MountRequirement::{Any, EnvVar};
use ampoule_tests::{Ampoule, Response, Review, asking, eventually};
use anyhow::{Result, ensure};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Guests, K8S, config, registered, request};

/// How long an endless guest is let run.
const DEADLINE: Duration = Duration::from_secs(4);
/// On a machine whose processors are all at work on such guests.
const AT_ONCE: Duration = Duration::from_secs(2);
const TOO_MANY: &str = "too many concurrent admissions (limit 4, server.maxAdmissions); retry in a second, and add \
                        replicas if it persists";

/// Four pods at once: two with the endless guest, two that wait for it.
fn overloaded(guests: &Guests, on_failure: &str) -> String {
    let endless =
        guests.injector("endless_loop", "{}", "{ deadlineMillis: 4000, instances: 2, queueWaitMillis: 9000 }");
    let config = config("flyte-v1", &[K8S, &endless].concat());
    config.replace("server: { ", "server: { maxAdmissions: 4, ") + &format!("onFailure: {on_failure}\n")
}

/// Nobody but the endless guest is left to ask, as a key is missing.
fn endless() -> Review {
    Review::of(&asking("endless", [request("group", "", Any, "")]), "default")
}

/// Large, so that it would take memory as well.
fn good() -> Review {
    let mut pod = asking("good", [request("group", "key", EnvVar, "")]);
    pod["metadata"]["annotations"]["note"] = json!("x".repeat(1 << 20));
    Review::of(&pod, "default")
}

/// Takes every place, and gives the answers once they are there.
async fn occupy(ampoule: &Ampoule) -> Result<JoinSet<Result<Response>>> {
    let mut occupied = JoinSet::new();
    for _ in 0..4 {
        let mut connection = ampoule.connect().await?;
        occupied.spawn(async move { Ampoule::review(&mut connection, &endless()).await });
    }
    eventually("an admission too many", AT_ONCE, async || {
        let response = ampoule.review_once(&good()).await?;
        ensure!(response.patch.0.is_empty(), "there is a place left: {response:?}");
        Ok(())
    })
    .await?;
    Ok(occupied)
}

#[tokio::test]
async fn who_comes_too_much_is_told_so_at_once_and_served_a_moment_later() -> Result<()> {
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
    assert!(begun.elapsed() < DEADLINE, "nobody waited for an endless guest: {:?}", begun.elapsed());
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
async fn who_comes_too_much_is_admitted_without_secrets_where_any_failure_is() -> Result<()> {
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
