//! The audit trail: which pod received which secret, in the API server's audit log and in the
//! process's log, and the warnings that `kubectl` shows.
//!
//! Log lines are compared as a whole, except for the time and the uid.

use ampoule_tests::{Ampoule, ApiServer, Mounted, Namespace, Review, eventually, pod};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

use crate::support::{K8S, config, registered, v1};

/// A pod with a list of secrets.
fn asking(name: &str, list: &str) -> Value {
    let mut pod = pod(name);
    pod["metadata"]["labels"] = json!({ "ampoule.dev/inject": "true" });
    pod["metadata"]["annotations"] = json!({ "ampoule.dev/secrets": list });
    pod["spec"]["serviceAccountName"] = json!("trainer");
    pod
}

/// The annotations of the audit events of the namespace's pods, without the probe pod of the
/// registration.
async fn annotations(namespace: &Namespace, pods: usize) -> Result<Vec<Value>> {
    let key = "people.secrets.ampoule.test/secrets";
    let mut found = Vec::new();
    eventually("the audit events of the pods", Duration::from_secs(20), async || {
        let events = ApiServer::shared().await?.audit_of_pods(namespace.name())?;
        let theirs = events.iter().filter(|event| event["objectRef"]["name"] != "probe");
        found = theirs.map(|event| event["annotations"][key].clone()).collect();
        ensure!(found.len() >= pods, "{} of {pods} pods", found.len());
        Ok(())
    })
    .await?;
    Ok(found)
}

/// The audit lines of a process's log.
fn lines(ampoule: &Ampoule) -> Result<Vec<Value>> {
    let log = ampoule.log()?;
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut lines: Vec<_> = lines.filter(|line| line["target"] == "audit").collect();
    for line in &mut lines {
        for key in ["timestamp", "uid"] {
            let value = line.as_object_mut().context("a line")?.remove(key).context(key)?;
            ensure!(!value.as_str().unwrap_or_default().is_empty(), "{key} is {value}");
        }
    }
    Ok(lines)
}

#[tokio::test]
async fn each_requested_secret_is_audited() -> Result<()> {
    let (namespace, ampoule) = registered("audit", &v1()).await?;
    namespace
        .create_pod(&asking("task", "- { group: db, key: password }\n- { key: K, group: g, version: '7' }"))
        .await?;
    let refused = asking("refused", "- { group: '', key: password }");
    let refused = namespace.try_create_pod(&refused).await?;
    ensure!(refused.is_err(), "{refused:?}");

    let audited = annotations(&namespace, 2).await?;
    let audited: Vec<Value> =
        audited.iter().map(|text| serde_json::from_str(text.as_str().unwrap_or_default())).collect::<Result<_, _>>()?;
    let digest = audited[0][0]["digest"].clone();
    assert_eq!(digest.as_str().map(str::len), Some(64), "{audited:?}");
    assert_eq!(
        audited[0],
        json!([
            { "group": "db", "key": "password", "injector": "k8s", "digest": digest, "answer": "referenced", "verdict": "mutated" },
            { "group": "g", "version": "7", "key": "K", "injector": "k8s", "digest": digest, "answer": "referenced", "verdict": "mutated" },
        ])
    );
    let [answer, verdict] = ["answer", "verdict"].map(|key| &audited[1][0][key]);
    assert_eq!([answer, verdict], ["invalid-request", "refused"], "{audited:?}");

    let line = |pod: &str, group: &str, version: &str, key: &str, answer: &str, verdict: &str| {
        json!({
            "level": "INFO", "target": "audit", "message": "secret", "namespace": "audit", "pod": pod,
            "service_account": "trainer", "dry_run": false, "group": group, "version": version, "key": key,
            "found": "", "injector": "k8s", "digest": digest, "answer": answer, "passed_over": "", "rules": "",
            "verdict": verdict,
        })
    };
    assert_eq!(
        lines(&ampoule)?,
        [
            line("task", "db", "", "password", "referenced", "mutated"),
            line("task", "g", "7", "K", "referenced", "mutated"),
            line("refused", "", "", "password", "invalid-request", "refused"),
        ]
    );
    Ok(())
}

#[tokio::test]
async fn an_injector_that_failed_before_another_one_served_leaves_a_trace() -> Result<()> {
    let missing = "  - { name: acme, component: 'file:/nowhere/acme.wasm', required: false }\n";
    let ampoule = Ampoule::start(&config("flyte-v1", &[missing, K8S].concat())).await?;
    let answer = ampoule.review_once(&Review::of(&asking("task", "- { group: db, key: password }"), "team-a")).await?;
    assert!(answer.allowed, "{answer:?}");
    let found = lines(&ampoule)?;
    assert_eq!((&found[0]["injector"], &found[0]["passed_over"]), (&json!("k8s"), &json!("acme: unavailable")));
    let log = ampoule.log()?;
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let lines: Vec<_> =
        lines.filter(|line| line["message"] == "an injector failed, and the next one was called").collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert_eq!([&lines[0]["injector"], &lines[0]["answer"]], ["acme", "unavailable"], "{log}");
    Ok(())
}

#[tokio::test]
async fn audit_can_be_switched_off() -> Result<()> {
    let none = format!("audit: {{ log: false, annotations: false }}\n{}", config("flyte-v1", K8S));
    let (namespace, ampoule) = registered("no-audit", &none).await?;
    namespace.create_pod(&asking("task", "- { group: db, key: password }")).await?;
    assert_eq!(annotations(&namespace, 1).await?, [Value::Null]);
    assert_eq!(lines(&ampoule)?, Vec::<Value>::new());
    Ok(())
}

#[tokio::test]
async fn a_text_log_has_the_same_audit_lines() -> Result<()> {
    let mounted = Mounted::new(&[("ampoule.yaml", config("flyte-v1", K8S))])?;
    let mut command = Ampoule::command()?;
    command.arg("serve").arg("--config").arg(mounted.path().join("ampoule.yaml")).args(["--log-format", "text"]);
    let ampoule = Ampoule::start_self_signed(command).await?;
    let review = Review::of(&asking("task", "- { group: db, key: password }"), "team-a");
    let answer = Ampoule::review(&mut ampoule.connect().await?, &review).await?;
    assert!(answer.allowed, "{answer:?}");
    let log = ampoule.log()?;
    let line = log.lines().find(|line| line.contains(" INFO audit: secret ")).with_context(|| log.clone())?;
    let parts =
        [r#"namespace="team-a""#, r#"pod="task""#, r#"group="db""#, r#"key="password""#, r#"verdict="mutated""#];
    for part in parts {
        assert!(line.contains(part), "{part}: {line}");
    }
    Ok(())
}

#[tokio::test]
async fn kubectl_shows_warnings_for_ignored_annotations_and_variables() -> Result<()> {
    let (namespace, _ampoule) = registered("warnings", &v1()).await?;
    let mut pod = asking("task", "- { group: db, key: password, env: DB_PASSWORD }");
    pod["metadata"]["annotations"]["ampoule.dev/secret"] = json!("");
    pod["spec"]["containers"][0]["env"] = json!([{ "name": "DB_PASSWORD", "value": "mine" }]);
    let name = pod["spec"]["containers"][0]["name"].as_str().context("a name")?.to_owned();
    assert_eq!(
        namespace.warnings(&pod).await?,
        [
            "annotation ampoule.dev/secret is ignored: list secrets in annotation ampoule.dev/secrets".to_owned(),
            format!("environment variable DB_PASSWORD of container {name} keeps its value; the secret is not injected"),
        ]
    );
    Ok(())
}
