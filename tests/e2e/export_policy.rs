//! `ampoule export-policy` on a real API server: pods get from the policy what they would get from
//! the webhook.
//!
//! The webhook is not registered. Its patch is applied by the test, and both pods are stored.

use std::time::Duration;

use ampoule_tests::{Ampoule, ApiServer, Namespace, Review, eventually, pod};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::support::K8S;

/// The API server compiles a policy within seconds.
const NOTICED: Duration = Duration::from_secs(60);

/// The lists that the policy serves.
const SERVED: [&str; 9] = [
    "[{ group: db, key: password }]",
    "- {group: openai, key: api-key, env: OPENAI_API_KEY}\n",
    "- { group: db, key: password, env: PASSWORD } # for the app\n- { key: user.name, group: \"db\", env: USER }\n",
    "[{group: a, key: b}, {group: a, key: c}, {group: \"7\", key: \"0x1\", env: D}]",
    "[{group: db, key: password}, {group: db, key: password}]",
    "[{group: db, key: password, env: OWN}]",
    "- {group: db, key: password, env: TOKEN}\n\n- {group: db, key: password, env: OTHER}",
    "[{group: db, key: password, env: TF_VAR_db-password}]",
    "[ { group: db,  key: password , } , ]\n",
];

/// The lists that the policy leaves to the webhook, which refuses some of them.
const LEFT: [&str; 19] = [
    "- {group: a, key: b-c}\n- {group: a-b, key: c}",
    "- group: db\n  key: password\n",
    "[{group: db, key: password, file: true}]",
    "[{group: db, key: password, version: \"1\"}]",
    "[{group: 'db', key: password}]",
    "[{group: db, key: true}]",
    "[{group: db, key: null}]",
    "[{group: db, key: 7}]",
    "[{group: db}]",
    "[{group: db, key: password, key: other}]",
    "[{group: \"\", key: password}]",
    "[{group: db, key: password, env: \"\"}]",
    "[{group: db, key: pass.word}]",
    "[{group: db, key: password, env: SAME}, {group: db, key: other, env: SAME}]",
    "[{group:db, key: password}]",
    "  - {group: db, key: password}\n- {group: db, key: other}\n",
    "- {group: db, key: password} # {group: x, key: y}\n",
    "[]",
    "*anchor",
];

/// Lists with names that Kubernetes does not accept for Secrets and keys. The webhook refuses them
/// in the profile `plain`, and passes them on in those of Flyte.
const IMPOSSIBLE: [&str; 4] = [
    "[{group: My_Db, key: password}]",
    "[{group: db., key: password, env: A}]",
    "[{group: \"-db\", key: password, env: A}]",
    "[{group: db, key: \"..data\", env: A}]",
];

fn labelled(name: &str, list: &str) -> Value {
    let mut pod = pod(name);
    pod["metadata"]["labels"] = json!({ "ampoule.dev/inject": "true" });
    pod["metadata"]["annotations"] = json!({ "ampoule.dev/secrets": list });
    pod["spec"]["containers"][0]["env"] = json!([{ "name": "OWN", "value": "1" }]);
    let side = json!({ "name": "side", "image": "example.org/side:1" });
    pod["spec"]["containers"].as_array_mut().expect("a list").push(side);
    pod["spec"]["initContainers"] = json!([
        { "name": "first", "image": "i" },
        { "name": "second", "image": "i", "env": [{ "name": "TOKEN", "value": "mine" }] },
    ]);
    pod
}

/// The configuration for the pods of one namespace.
fn configuration(profile: &str, namespace: &str) -> String {
    format!(
        "profile: {profile}\nserver: {{ shutdownDelaySeconds: 0 }}\nglobalSecrets: {{ enabled: false }}\n\
         registration: {{ namespaceSelector: {{ matchLabels: {{ kubernetes.io/metadata.name: {namespace} }} }} }}\n\
         injectors:\n{K8S}"
    )
}

/// Applies the policy of a configuration.
async fn apply(namespace: &Namespace, config: &str) -> Result<()> {
    let file = NamedTempFile::new()?;
    std::fs::write(file.path(), config)?;
    let mut command = Ampoule::command()?;
    command.args(["export-policy", "--name", namespace.name(), "--config"]).arg(file.path());
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let objects: Vec<Value> = serde_saphyr::from_multiple(std::str::from_utf8(&output.stdout)?)?;
    for object in &objects {
        namespace.create_object(object).await?;
    }
    let probe = labelled("probe", SERVED[0]);
    eventually("an effect of the policy", NOTICED, async || {
        let pod = namespace.dry_run_pod(&probe).await??;
        ensure!(pod["spec"]["containers"][1]["env"].is_array(), "no variables yet");
        Ok(())
    })
    .await
}

/// The pod as the API server stores it after the patch of the webhook, without the policy.
async fn by_webhook(ampoule: &Ampoule, elsewhere: &Namespace, pod: &Value) -> Result<Result<Value, String>> {
    let review = Review::of(pod, elsewhere.name());
    let response = ampoule.review_once(&review).await?;
    if !response.allowed {
        return Ok(Err(response.message));
    }
    let mut patched = review.object().clone();
    json_patch::patch(&mut patched, &response.patch)?;
    Ok(Ok(elsewhere.dry_run_pod(&patched).await??["spec"].clone()))
}

#[tokio::test]
async fn a_pod_gets_from_the_policy_what_it_would_get_from_the_webhook() -> Result<()> {
    let server = ApiServer::shared().await?;
    if !server.has_version((1, 36), "an exported MutatingAdmissionPolicy on an API server") {
        return Ok(());
    }
    for profile in ["flyte-v1", "flyte-v2", "plain"] {
        let namespace = server.namespace(&format!("export-{profile}")).await?;
        let elsewhere = server.namespace(&format!("export-{profile}-webhook")).await?;
        let config = configuration(profile, namespace.name());
        apply(&namespace, &config).await?;
        let ampoule = Ampoule::start(&config).await?;
        for list in SERVED {
            let pod = labelled("a", list);
            let expected = by_webhook(&ampoule, &elsewhere, &pod).await?;
            let expected = expected.map_err(anyhow::Error::msg).context(list)?;
            let served = namespace.dry_run_pod(&pod).await??;
            assert_eq!(served["spec"], expected, "{profile}: {list}");
            // A webhook that is registered as well changes nothing.
            let second = ampoule.review_once(&Review::of(&served, namespace.name())).await?;
            assert!(second.allowed && second.patch.is_empty(), "{profile}: {list}: {second:?}");
        }
        for list in LEFT {
            let pod = labelled("a", list);
            let left = namespace.dry_run_pod(&pod).await??;
            assert_eq!(left["spec"], elsewhere.dry_run_pod(&pod).await??["spec"], "{profile}: {list}");
        }
        for list in IMPOSSIBLE.iter().filter(|_| profile == "plain") {
            let pod = labelled("a", list);
            let refusal = by_webhook(&ampoule, &elsewhere, &pod).await?.expect_err("a refusal");
            ensure!(refusal.contains("Kubernetes accepts no"), "{list}: {refusal}");
            let left = namespace.dry_run_pod(&pod).await??;
            assert_eq!(left["spec"], elsewhere.dry_run_pod(&pod).await??["spec"], "{profile}: {list}");
        }
        let mut others = vec![labelled("a", SERVED[0]), labelled("a", SERVED[0]), labelled("a", SERVED[0])];
        others[0]["metadata"]["labels"] = json!({ "ampoule.dev/inject": "false" });
        others[1]["metadata"]["annotations"]["flyte.secrets/s0"] = json!("encoded");
        others[2]["metadata"]["annotations"]["kubernetes.io/config.mirror"] = json!("0");
        others[2]["spec"]["nodeName"] = json!("node");
        for pod in others {
            let left = namespace.dry_run_pod(&pod).await??;
            assert_eq!(left["spec"], elsewhere.dry_run_pod(&pod).await??["spec"], "{profile}: {pod}");
        }
        let many: Vec<_> = (0..16).map(|i| format!("{{group: g{i}, key: k}}")).collect();
        let pod = labelled("a", &format!("[{}]", many.join(", ")));
        let expected = by_webhook(&ampoule, &elsewhere, &pod).await?.map_err(anyhow::Error::msg)?;
        assert_eq!(namespace.dry_run_pod(&pod).await??["spec"], expected, "{profile}: the most requests");
    }
    Ok(())
}
