//! Policy rules and shadow injectors with `ampoule serve`: the answer, the metrics and the log.
//!
//! The reviews have the user `admin` of the group `system:masters`.

use std::time::Duration;

use ampoule_tests::{Ampoule, Review, eventually, pod};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::support::{K8S, config};

fn asking(list: &str) -> Value {
    let mut pod = pod("task");
    pod["metadata"]["labels"] = json!({ "ampoule.dev/inject": "true" });
    pod["metadata"]["annotations"] = json!({ "ampoule.dev/secrets": list });
    pod
}

#[tokio::test]
async fn rules_deny_and_warn_by_group_and_user() -> Result<()> {
    let rules = "policy:\n  rules:\n  - { name: own, when: '!request.group.startsWith(pod.namespace)', message: use \
                 your group }\n  - { name: masters, when: '\"system:masters\" in user.groups', action: warn, message: \
                 use a role }\n";
    let ampoule = Ampoule::start(&format!("{rules}{}", config("flyte-v1", K8S))).await?;
    let denied = ampoule.review_once(&Review::of(&asking("- { group: db, key: password }"), "team-a")).await?;
    ensure!(!denied.allowed && denied.code == 403, "{denied:?}");
    let expected = "secret db/password (annotation ampoule.dev/secrets[0], mount env-var) is denied: policy rule own: \
                    use your group";
    assert_eq!(denied.message, expected);
    let allowed = ampoule.review_once(&Review::of(&asking("- { group: team-a, key: password }"), "team-a")).await?;
    ensure!(allowed.allowed, "{allowed:?}");
    assert_eq!(allowed.warnings, ["policy rule masters: use a role (secret team-a/password)"]);
    let own = "ampoule_policy_rule_matches_total{rule=\"own\",action=\"deny\",shadow=\"false\"}";
    let masters = "ampoule_policy_rule_matches_total{rule=\"masters\",action=\"warn\",shadow=\"false\"}";
    assert_eq!([ampoule.metric(own).await?, ampoule.metric(masters).await?], [1.0, 2.0]);
    ensure!(ampoule.log()?.contains("a policy rule matches"), "the log reports the rule");
    Ok(())
}

#[tokio::test]
async fn a_shadow_injector_is_compared_and_not_applied() -> Result<()> {
    let shadow = "  - { name: next, component: builtin:k8s, shadow: true, limits: { deadlineMillis: 5000, queueWaitMillis: \
                  10000 } }\n";
    let ampoule = Ampoule::start(&config("flyte-v1", &format!("{K8S}{shadow}"))).await?;
    // The shadow injector is loaded after the required ones.
    eventually("the comparison", Duration::from_secs(20), async || {
        let answer = ampoule.review_once(&Review::of(&asking("- { group: db, key: password }"), "team-a")).await?;
        ensure!(answer.allowed, "{answer:?}");
        let same = ampoule.metric("ampoule_shadow_injector_total{injector=\"next\",result=\"same\"}").await?;
        ensure!(same >= 1.0, "{same}");
        Ok(())
    })
    .await
    .with_context(|| ampoule.log().unwrap_or_default())
}
