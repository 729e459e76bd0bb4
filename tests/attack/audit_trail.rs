//! Evasion of the audit trail: other spellings of a global secret.
//!
//! The variable is the webhook's own; the pod names it by group and key.

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{Ampoule, Review, annotation, asking};
use anyhow::{Context as _, Result};
use serde_json::Value;

use super::support::ensure_survived;
use crate::support::{K8S, with_global_secrets};

/// Number 12: every spelling that is served is recorded under the name that was found.
#[tokio::test]
async fn another_spelling_of_a_global_secret_is_refused_or_recorded_under_its_name() -> Result<()> {
    let config = with_global_secrets("flyte-v1", "{ enabled: true, delivery: inline, acceptPlaintext: true }", K8S);
    let ampoule = Ampoule::start_with(&config, &[("FLYTE_SECRET_DB_PASS", "hunter2")]).await?;
    for (group, key, is_served) in
        [("db", "pass", true), ("Db", "pAsS", true), ("db", "paſs", false), ("db/../db", "pass", false)]
    {
        let review = Review::of(&asking(&format!("pod-{group}"), [annotation(group, key, EnvVar)]), "default");
        let response = ampoule.review_once(&review).await?;
        let value = serde_json::to_string(&response.patch)?.contains("hunter2");
        assert_eq!(value, is_served, "{group}/{key}: {}", response.message);
    }
    let log = ampoule.log()?;
    let entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let served: Vec<Value> = entries.filter(|line| line["target"] == "audit" && line["injector"] == "global").collect();
    let found: Vec<_> = served.iter().map(|line| (line["key"].as_str(), line["found"].as_str())).collect();
    let name = Some("variable FLYTE_SECRET_DB_PASS");
    let (lower, mixed) = ((Some("pass"), name), (Some("pAsS"), name));
    found.iter().position(|entry| *entry == lower).with_context(|| format!("{served:?}"))?;
    found.iter().position(|entry| *entry == mixed).with_context(|| format!("{served:?}"))?;
    assert!(!log.contains("hunter2"), "a value is in the log");
    ensure_survived(ampoule).await
}
