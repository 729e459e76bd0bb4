//! Pods whose mutation would occupy the threads of all admissions.
//!
//! One pod has many variables and many requests, another one a value that refers to the injected
//! variable many times.

use std::time::{Duration, Instant};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{Ampoule, Response, Review, annotation, asking};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::support::{ensure_survived, serve_during};
use crate::support::{K8S, config, request};

/// The size of the attacker's pod relative to the ordinary one.
const FACTOR: usize = 8;
/// The bound of its time. A quadratic mutation needs 64 times that of the ordinary pod, a linear
/// one 8 times; the machine can be busy.
const MOST: u32 = 24;
/// The sizes of the ordinary pod.
const VARIABLES: usize = 1500;
const SECRETS: usize = 30;

/// A pod with this number of variables and of secrets.
fn pod(variables: usize, secrets: usize) -> Review {
    let mut pod = asking("large", (0..secrets).map(|i| annotation("group", &format!("key-{i}"), EnvVar)));
    let env = (0..variables).map(|i| json!({ "name": format!("VARIABLE_{i}"), "value": "x".repeat(40) }));
    pod["spec"]["containers"][0]["env"] = env.collect::<Value>();
    Review::of(&pod, "default")
}

/// A pod with this number of variables, and references to the injected one in the last of them. The
/// pod has the injected variable itself, so that none of the references ends the search.
fn referring(variables: usize) -> Review {
    let mut pod = asking("referring", [request("group", "key", EnvVar, "AA")]);
    let env = (0..variables).map(|i| json!({ "name": format!("VARIABLE_{i}"), "value": "x" }));
    let own = json!({ "name": "AA", "value": "own" });
    let last = json!({ "name": "LAST", "value": "$(AA)".repeat(10 * variables) });
    pod["spec"]["containers"][0]["env"] = env.chain([own, last]).collect::<Value>();
    Review::of(&pod, "default")
}

/// A pod with this number of values that resemble references, and one long value with as many
/// beginnings of references as possible.
fn resembling(variables: usize) -> Review {
    let mut pod = asking("resembling", [request("group", "key", EnvVar, "AA")]);
    let texts = ["secret:/db/password", "Secret://db/password", "x secret://db/password", "secretsecret:secret:/"];
    let env = (0..variables).map(|i| json!({ "name": format!("VARIABLE_{i}"), "value": texts[i % texts.len()] }));
    let last = json!({ "name": "LAST", "value": format!("{}:", "secret".repeat(10 * variables)) });
    pod["spec"]["containers"][0]["env"] = env.chain([last]).collect::<Value>();
    Review::of(&pod, "default")
}

/// A command with this number of words that resemble references, and a script with as many texts
/// that are compared with the scheme as possible. Another container gets the variable of the last
/// word.
fn resembling_words(words: usize) -> Review {
    let texts = ["secret:/db/password", "Secret://db/password", "vault:a#b", "x=secrat://"];
    let usual = ["sexxet://", "vault:8200/#b", "secret:a/b", "secrets://a"];
    let mut args: Vec<_> = (0..words).map(|i| texts[i % texts.len()].to_owned()).collect();
    args.push(usual.join(",").repeat(words));
    args.push("$(AB)$$(AA)".repeat(words));
    args.push("$(AA)".to_owned());
    let secrets = "[{ group: group, key: key, env: AA, containers: [sidecar] }]";
    let mut pod = asking::<String>("resembling-words", []);
    pod["metadata"]["annotations"] = json!({ "ampoule.dev/secrets": secrets });
    pod["spec"]["containers"][0]["args"] = args.into();
    let sidecar = json!({ "name": "sidecar", "image": "app" });
    pod["spec"]["containers"].as_array_mut().expect("a list").push(sidecar);
    Review::of(&pod, "default")
}

/// The shortest time of a few admissions.
async fn shortest(ampoule: &Ampoule, review: &Review) -> Result<Duration> {
    let mut shortest = Duration::MAX;
    let mut connection = ampoule.connect().await?;
    for _ in 0..5 {
        let begun = Instant::now();
        let response = Ampoule::review(&mut connection, review).await?;
        ensure!(response.allowed && !response.patch.0.is_empty(), "{}", response.message);
        shortest = shortest.min(begun.elapsed());
    }
    Ok(shortest)
}

/// The webhook may refuse a large pod beside others of its kind, for lack of memory.
fn ensure_answered(answer: Result<Response>) -> Result<()> {
    match answer {
        Err(error) if error.to_string().starts_with("status 503: ") => Ok(()),
        other => other.map(drop),
    }
}

/// Number 3: a pod of 1.57 MB occupied a thread for up to 3 s, between two points at which another
/// admission can continue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mutation_is_linear_in_the_pod_and_other_pods_are_served() -> Result<()> {
    for profile in ["flyte-v1", "flyte-v2"] {
        let ampoule = Ampoule::start_logging(&config(profile, K8S), "info").await?;
        for (what, ordinary, large) in [
            ("variables and requests", pod(VARIABLES, SECRETS), pod(VARIABLES * FACTOR, SECRETS * FACTOR)),
            ("references to a variable", referring(VARIABLES), referring(VARIABLES * FACTOR)),
            ("texts that resemble references", resembling(VARIABLES), resembling(VARIABLES * FACTOR)),
            ("words that resemble references", resembling_words(VARIABLES), resembling_words(VARIABLES * FACTOR)),
        ] {
            let (ordinary, time) = (shortest(&ampoule, &ordinary).await?, shortest(&ampoule, &large).await?);
            println!("{profile}, {what}: {ordinary:?} for the ordinary pod, {time:?} for the large one");
            ensure!(time < ordinary * MOST, "{profile}, {what}: {time:?} for {FACTOR} times the pod of {ordinary:?}");
        }
        serve_during(&ampoule, async {
            let mut answers = JoinSet::new();
            for _ in 0..4 {
                let (mut connection, review) = (ampoule.connect().await?, pod(VARIABLES * FACTOR, SECRETS * FACTOR));
                answers.spawn(async move { Ampoule::review(&mut connection, &review).await });
            }
            answers.join_all().await.into_iter().try_for_each(ensure_answered)
        })
        .await?;
        ensure_survived(ampoule).await?;
    }
    Ok(())
}
