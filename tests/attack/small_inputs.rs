//! Small inputs with a large cost: pods with many containers, and bodies with many JSON values.
//!
//! A cheap refusal is the expected answer; a good pod is served meanwhile.

use ampoule_tests::{Ampoule, Response, Review};
use anyhow::Result;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::support::{ensure_survived, large_pod, serve_during, started};

/// Sends the same review on this number of connections at once.
async fn flood(ampoule: &Ampoule, review: &Review, connections: usize) -> Result<Vec<Result<Response>>> {
    let mut answers = JoinSet::new();
    for _ in 0..connections {
        let mut connection = ampoule.connect().await?;
        let copy = Review::of(review.object(), "default");
        answers.spawn(async move { Ampoule::review(&mut connection, &copy).await });
    }
    Ok(answers.join_all().await)
}

/// Number 1: 60 KB became 5.2 GB.
#[tokio::test]
async fn a_pod_with_ten_thousand_containers_is_refused() -> Result<()> {
    let ampoule = started().await?;
    let review = Review::of(&large_pod(10_000, 20), "default");
    let answers = serve_during(&ampoule, flood(&ampoule, &review, 8)).await?;
    for answer in answers {
        let response = answer?;
        assert_eq!((response.allowed, response.code), (false, 400));
        let expected = "the pod has 10000 containers; secrets are injected into at most 400";
        assert!(response.message.starts_with(expected), "{}", response.message);
    }
    ensure_survived(ampoule).await
}

/// Number 1: within the limit of containers, the patch is bounded.
#[tokio::test]
async fn a_pod_whose_patch_would_be_too_large_is_refused() -> Result<()> {
    let ampoule = started().await?;
    let review = Review::of(&large_pod(400, 250), "default");
    for answer in serve_during(&ampoule, flood(&ampoule, &review, 8)).await? {
        let response = answer?;
        assert!(!response.allowed);
        assert!(matches!(response.code, 400 | 429), "{}: {}", response.code, response.message);
    }
    ensure_survived(ampoule).await
}

/// Number 2: 24 bodies of 840 KB with small objects exceeded 768 MiB.
#[tokio::test]
async fn bodies_of_many_small_values_do_not_exceed_the_memory() -> Result<()> {
    let ampoule = started().await?;
    let mut pod = large_pod(1, 1);
    pod["spec"]["small"] = (0..90_000).map(|_| json!({ "a": 1 })).collect::<Value>();
    let answers = serve_during(&ampoule, flood(&ampoule, &Review::of(&pod, "default"), 24)).await?;
    let refused = answers.iter().filter(|answer| answer.is_err()).count();
    assert_eq!(refused, 24, "270,000 values are above the limit");
    pod["spec"]["small"] = (0..30_000).map(|_| json!({ "a": 1 })).collect::<Value>();
    serve_during(&ampoule, flood(&ampoule, &Review::of(&pod, "default"), 24)).await?;
    ensure_survived(ampoule).await
}
