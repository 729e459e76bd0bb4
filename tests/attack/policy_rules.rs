//! Policy rules as a target: expressions and pods that would take the webhook's time, and requests
//! that spell a denied secret in another way.
//!
//! The rules of the administrator stay as simple as they would write them.

use std::time::Duration;

use ampoule_core::MountRequirement::{self, EnvVar, File};
use ampoule_tests::{Ampoule, Mounted, Review, annotation, asking, eventually, pod};
use anyhow::{Result, ensure};
use serde_json::{Map, Value, json};

use super::support::{ensure_survived, serve_during};
use crate::{
    certificates, reload,
    support::{K8S, v1, with_global_secrets},
};

/// Limit for a reload.
const RELOADED: Duration = Duration::from_secs(60);
/// The counts of reloads with this result.
const RESULTS: [&str; 2] =
    ["ampoule_config_reloads_total{result=\"refused\"}", "ampoule_config_reloads_total{result=\"applied\"}"];

/// A configuration with one rule.
fn with_rule(when: &str, rest: &str) -> String {
    let rule = json!({ "name": "rule", "when": when, "message": "not here" });
    format!("policy: {{ rules: [{rule}] }}\n{rest}")
}

/// Number 9: a rule whose evaluation takes minutes, or whose parser needs a large stack.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_costs_too_much_is_refused_while_the_previous_policy_serves() -> Result<()> {
    let nested = "pod.annotations.all(a, pod.annotations.all(b, pod.annotations.all(c, a + b != c)))";
    let bombs = [
        nested.to_owned(),
        format!("request.group.matches('({}){{1000}}{{1000}}')", "a?".repeat(100)),
        vec!["pod.annotations.exists(k, k.contains(request.group))"; 70].join(" || "),
    ];
    // Their depth is a risk for the stack, and their cost is low. They deny nothing.
    let deep = [
        ["(".repeat(2000), "false".to_owned(), ")".repeat(2000)].concat(),
        ["!".repeat(4000).as_str(), "false"].concat(),
    ];
    let mut mounted = Mounted::new(&[("ampoule.yaml", v1())])?;
    let mut command = Ampoule::command()?;
    command.arg("serve").arg("--config").arg(mounted.path().join("ampoule.yaml"));
    let ampoule = reload::start(command, &certificates::fresh()?).await?;
    for (count, rule) in (1_u8..).zip(bombs.iter().chain(&deep)) {
        mounted.swap(&[("ampoule.yaml", with_rule(rule, &v1()))])?;
        serve_during(&ampoule, async {
            eventually("a reload", RELOADED, async || {
                let [refused, applied] = [ampoule.metric(RESULTS[0]).await?, ampoule.metric(RESULTS[1]).await?];
                ensure!(refused + applied >= f64::from(count), "{refused} refused, {applied} applied, not {count}");
                Ok(())
            })
            .await
        })
        .await?;
    }
    let refused = ampoule.metric(RESULTS[0]).await?;
    ensure!(refused >= 3.0, "only {refused} of the rules that cost too much were refused");
    ensure_survived(ampoule).await
}

/// Number 9: the pod's author chooses the number of evaluations and the size of their inputs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rules_of_one_pod_are_bounded_and_other_pods_are_served() -> Result<()> {
    let when = "pod.labels.exists(key, pod.labels[key].contains('never'))";
    let rules: Vec<_> =
        (0..100).map(|i| json!({ "name": format!("rule-{i}"), "when": when, "message": "no" })).collect();
    let ampoule = Ampoule::start_logging(&format!("policy: {{ rules: {} }}\n{}", json!(rules), v1()), "info").await?;
    let mut large = asking("large", (0..250).map(|i| annotation("group", &format!("key-{i}"), EnvVar)));
    let labels = (0..250).map(|i| (format!("label-{i}"), json!("x".repeat(63))));
    large["metadata"]["labels"] = Value::Object(labels.collect::<Map<_, _>>());
    let review = Review::of(&large, "default");
    serve_during(&ampoule, async {
        for _ in 0..20 {
            let response = ampoule.review_once(&review).await?;
            ensure!(!response.allowed && response.code == 403, "{response:?}");
            ensure!(response.message.contains("exceed the budget of 2000000 steps for one pod"), "{response:?}");
        }
        Ok(())
    })
    .await?;
    ensure_survived(ampoule).await
}

/// A request in each protocol.
fn in_each_protocol(group: &str, key: &str, mount: MountRequirement) -> [Review; 2] {
    let flyte = asking("task", [annotation(group, key, mount)]);
    let mut ampoule = pod("task");
    ampoule["metadata"]["labels"] = json!({ "ampoule.dev/inject": "true" });
    let list = json!([{ "group": group, "key": key, "file": mount == File }]);
    ampoule["metadata"]["annotations"] = json!({ "ampoule.dev/secrets": list.to_string() });
    [flyte, ampoule].map(|pod| Review::of(&pod, "default"))
}

/// Number 9: every spelling of a denied Secret is denied, or names another Secret.
#[tokio::test]
async fn a_rule_that_denies_a_secret_is_not_evaded_by_another_spelling() -> Result<()> {
    let ampoule = Ampoule::start_with(&with_rule("request.group == 'db'", &v1()), &[]).await?;
    let spellings = [
        "db",
        "Db",
        "DB",
        " db",
        "db ",
        "db/",
        "db/.",
        "./db",
        "/db",
        "db//",
        "x/../db",
        "ｄｂ",
        "db\u{200b}",
        "db\u{0}",
        "db\n",
        "db%00",
        "db?",
        "d\u{0}b",
        "\"db\"",
        "db:",
        "db;",
        "db,",
    ];
    for spelling in spellings {
        for mount in [EnvVar, File] {
            for review in in_each_protocol(spelling, "password", mount) {
                let response = ampoule.review_once(&review).await?;
                let patch = serde_json::to_string(&response.patch)?;
                let names_it = patch.contains("\"name\":\"db\"") || patch.contains("\"secretName\":\"db\"");
                ensure!(!names_it, "{spelling:?} {mount:?}: {patch}");
                if spelling == "db" {
                    ensure!(response.message.contains("policy rule rule: not here"), "{response:?}");
                }
            }
        }
    }
    for review in in_each_protocol("other", "password", EnvVar) {
        let response = ampoule.review_once(&review).await?;
        ensure!(response.allowed && !response.patch.0.is_empty(), "{response:?}");
    }
    // Escapes of both notations are decoded before the rule is evaluated.
    let mut escaped = pod("task");
    escaped["metadata"]["labels"] = json!({ "ampoule.dev/inject": "true" });
    escaped["metadata"]["annotations"] =
        json!({ "ampoule.dev/secrets": r#"- {"gr\x6fup": "d\u0062", key: password}"# });
    let mut flyte = asking("task", [flyte_text(r#"key: "password" group: "d\142" mount_requirement: ENV_VAR"#)]);
    flyte["metadata"]["annotations"]["unrelated"] = json!("db");
    for pod in [escaped, flyte] {
        let response = ampoule.review_once(&Review::of(&pod, "default")).await?;
        ensure!(response.message.contains("policy rule rule: not here"), "{response:?}");
    }
    ensure_survived(ampoule).await
}

/// A text in Flyte's base32.
fn flyte_text(text: &str) -> String {
    let to_flyte = |byte: u8| char::from(if byte.is_ascii_digit() { byte - 1 } else { byte.to_ascii_lowercase() });
    data_encoding::BASE32_NOPAD.encode(text.as_bytes()).bytes().map(to_flyte).collect()
}

/// Number 9: the name of a global secret in a variable joins group and key, in any case. The rule
/// is that of the book.
#[tokio::test]
async fn a_rule_that_denies_a_global_secret_is_not_evaded_by_another_spelling() -> Result<()> {
    let rule = "(request.group + '_' + request.key).matches('(?i)^db_pass_word$')";
    let config = with_rule(
        rule,
        &with_global_secrets("flyte-v1", "{ enabled: true, delivery: inline, acceptPlaintext: true }", K8S),
    );
    let variables = [("FLYTE_SECRET_DB_PASS_WORD", "hunter2"), ("FLYTE_SECRET_OTHER_PASS", "public")];
    let ampoule = Ampoule::start_with(&config, &variables).await?;
    for (group, key) in [
        ("db", "pass_word"),
        ("DB", "PASS_WORD"),
        ("Db", "pAsS_word"),
        ("db_pass", "word"),
        ("DB_pass", "Word"),
        ("db", "paſs_word"),
        ("db/.", "pass_word"),
        ("x/../db", "pass_word"),
        (" db", "pass_word"),
        ("db", "pass_word\n"),
    ] {
        for review in in_each_protocol(group, key, EnvVar) {
            let response = ampoule.review_once(&review).await?;
            ensure!(!format!("{response:?}").contains("hunter2"), "{group:?} {key:?}: {response:?}");
        }
    }
    let [other, _] = in_each_protocol("other", "pass", EnvVar);
    let patch = serde_json::to_string(&ampoule.review_once(&other).await?.patch)?;
    ensure!(patch.contains("public"), "the rule denies another secret: {patch}");
    ensure_survived(ampoule).await
}
