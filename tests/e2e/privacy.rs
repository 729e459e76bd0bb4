//! Private data: a canary is placed in every field that may hold a secret or private data of a pod,
//! and must not appear in any output of the process.
//!
//! Logs have their most verbose level. An injected secret must appear in the pod, and only there.

use ampoule_core::MountRequirement::{Any, EnvVar, File};
use ampoule_tests::{Ampoule, Collector, Namespace, Review, asking};
use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::support::{Guests, config, registered, request};

/// Not a word of the program or of its dependencies.
const CANARY: &str = "zq7canarybird";

/// The canary as text in any letter case, as a debug print of bytes, in hexadecimal, and in base64
/// at each of three offsets.
fn traces() -> Vec<String> {
    let bytes = CANARY.as_bytes();
    let decimal: Vec<_> = bytes.iter().map(ToString::to_string).collect();
    let base64 = (0..3_usize).map(|offset| {
        // Whole groups of three bytes only: neighbouring bytes change the characters at the edges.
        let padded = [&vec![b' '; offset], bytes].concat();
        let (start, end) = (offset.div_ceil(3) * 3, padded.len() / 3 * 3);
        data_encoding::BASE64.encode(&padded[start..end]).to_lowercase()
    });
    let mut traces = vec![CANARY.to_owned(), decimal.join(", "), data_encoding::HEXLOWER.encode(bytes)];
    traces.extend(base64);
    traces
}

/// Fails if the text contains a form of the canary.
#[track_caller]
fn check_absent(place: &str, text: &str) {
    let lower = text.to_lowercase();
    for trace in traces() {
        let found = lower.lines().find(|line| line.contains(&trace));
        assert_eq!(found, None, "{place} has {trace:?}");
    }
}

/// A pod with the canary in every field that may be private.
fn private_pod(name: &str, requests: &[String]) -> Value {
    let mut pod = asking(name, requests.iter().cloned());
    pod["metadata"]["annotations"]["example.org/neighbour"] = json!(format!("{CANARY}-annotation"));
    let repeated = json!({ "spec": { "env": format!("{CANARY}-last-applied") } });
    pod["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = json!(repeated.to_string());
    pod["metadata"]["labels"]["example.org/label"] = json!(format!("{CANARY}-label"));
    let main = &mut pod["spec"]["containers"][0];
    main["env"] = json!([{ "name": "PASSWORD", "value": format!("{CANARY}-env") }]);
    main["command"] = json!(["login", "--password", format!("{CANARY}-command")]);
    main["args"] = json!([format!("{CANARY}-args")]);
    main["image"] = json!(format!("example.org/{CANARY}:1"));
    pod
}

/// Creates a pod that must be refused, and checks the error that its author receives.
async fn check_refusal(namespace: &Namespace, request: &str, code: u16) -> Result<()> {
    let refusal = namespace.try_create_pod(&private_pod("refused", &[request.to_owned()])).await?;
    let refusal = refusal.err().context("it was created")?;
    assert_eq!(refusal.code, code, "{refusal}");
    check_absent("a refusal", &refusal.message);
    Ok(())
}

/// Invalid bodies, and reviews of other objects, with the canary in them.
async fn check_malformed(ampoule: &Ampoule) -> Result<()> {
    let mut wrong = private_pod("wrong", &[]);
    wrong["spec"]["containers"][0]["env"] = json!(CANARY);
    let review = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":"#;
    let bodies = [
        format!("{{\"kind\":\"{CANARY}"),
        format!("{{\"kind\": {CANARY}}}"),
        format!("[\"{CANARY}\", 1e999]"),
        format!("{{\"kind\":\"AdmissionReview\",\"apiVersion\":\"{CANARY}\"}}"),
        format!("{review}\"{CANARY}\"}}"),
        format!("{review}{{\"uid\":{{\"{CANARY}\":\"{CANARY}\"}}}}}}"),
        String::from_utf8(Review::as_is(&wrong, "default").bytes())?,
    ];
    let mut connection = ampoule.connect().await?;
    for body in bodies {
        let answer = connection.post(&format!("/mutate--v1-pod?token={CANARY}"), body.clone()).await?;
        assert!(answer.status == 400 || answer.text().contains("\"allowed\":false"), "{body}: {answer:?}");
        check_absent("an answer to a malformed body", &answer.text());
    }
    Ok(())
}

/// A process with this configuration that traces every admission.
async fn traced(name: &str, config: &str) -> Result<(Namespace, Ampoule, Collector)> {
    let collector = Collector::start().await?;
    let config = format!("tracing: {{ endpoint: \"{}\" }}\n{config}", collector.endpoint());
    let (namespace, ampoule) = registered(name, &config).await?;
    Ok((namespace, ampoule, collector))
}

/// Checks the metrics, and the whole log and every span until the end of the process, which has at
/// least this many admissions.
async fn check_told(ampoule: Ampoule, collector: &Collector, admissions: usize) -> Result<()> {
    check_absent("the metrics", &ampoule.admin("/metrics").await?.text());
    check_absent("readiness", &ampoule.admin("/readyz?verbose").await?.text());
    let exit = ampoule.stop().await?;
    exit.ensure_clean()?;
    let logged = exit.log.lines().filter(|line| line.contains("\"message\":\"admission\"")).count();
    assert!(logged >= admissions, "only {logged} admissions are in the log:\n{}", exit.log);
    check_absent("the log", &exit.log);
    let spans = collector.spans()?;
    for (name, count) in [("admission", admissions), ("parse", admissions), ("plugin call", admissions)] {
        let sent = spans.iter().filter(|span| span.name == name).count();
        assert!(sent >= count, "only {sent} spans {name:?}");
    }
    for batch in collector.bodies() {
        check_absent("the spans", &String::from_utf8_lossy(&batch));
    }
    Ok(())
}

#[tokio::test]
async fn an_injected_value_and_the_settings_appear_only_in_the_pod() -> Result<()> {
    let guests = Guests::write(&["secret_value"])?;
    let prefix = CANARY.to_uppercase();
    let k8s = format!(
        "  - name: k8s\n    component: builtin:k8s\n    settings: {{ envPrefix: {prefix}_, mountDirectory: /{CANARY} }}\n    \
         limits: {{ deadlineMillis: 5000 }}\n"
    );
    let value = guests.injector("secret_value", &format!("{{ value: {CANARY}-value }}"), "{ deadlineMillis: 5000 }");
    let value = value + "    delivery: inline\n    acceptPlaintext: true\n";
    let (namespace, ampoule, collector) = traced("privacy-values", &config("flyte-v1", &[k8s, value].concat())).await?;
    let requests = [
        request("group", "key", EnvVar, ""),
        request("group", "key", File, ""),
        // The built-in injector does not serve a request without a group, so the value is injected.
        request("", "key", EnvVar, ""),
    ];
    let created = namespace.create_pod(&private_pod("task", &requests)).await?;
    let env = &created["spec"]["containers"][0]["env"];
    let value =
        env.as_array().and_then(|env| env.iter().find(|entry| entry["name"] == "SECRET")).context("no SECRET")?;
    assert_eq!(value["value"], format!("{CANARY}-value"));
    assert!(env.to_string().contains(&format!("{prefix}_GROUP_KEY")), "{env}");
    assert!(created["spec"]["volumes"].to_string().contains("group"));
    // The pod sets the variable itself: under v1 its value is kept, and only its name is reported.
    let mut own = private_pod("own", &requests);
    own["spec"]["containers"][0]["env"] = json!([{ "name": "SECRET", "value": format!("{CANARY}-own") }]);
    namespace.create_pod(&own).await?;
    check_refusal(&namespace, "!", 400).await?;
    check_malformed(&ampoule).await?;
    check_told(ampoule, &collector, 3).await
}

#[tokio::test]
async fn refusals_and_failing_plugins_reveal_nothing_of_the_pod() -> Result<()> {
    let guests = Guests::write(&["echo", "trap", "endless_loop"])?;
    let injectors = [
        guests.injector("echo", "{}", "{ deadlineMillis: 5000 }"),
        guests.injector("endless_loop", &format!("{{ token: {CANARY} }}"), "{ deadlineMillis: 100 }"),
        guests.injector("trap", &format!("{{ token: {CANARY} }}"), "{ deadlineMillis: 5000 }"),
    ];
    let (namespace, ampoule, collector) = traced("privacy-refusals", &config("flyte-v1", &injectors.concat())).await?;
    check_refusal(&namespace, &request("denied", "key", Any, ""), 403).await?;
    check_refusal(&namespace, &request("not-found", "key", Any, ""), 503).await?;
    // Two values for one variable: a conflict whose message must show neither.
    let pod = private_pod("refused", &[request("a", "one", Any, ""), request("a", "two", Any, "")]);
    let refusal = namespace.try_create_pod(&pod).await?.err().context("it was created")?;
    assert!(refusal.message.contains("different values"), "{refusal}");
    check_malformed(&ampoule).await?;
    check_told(ampoule, &collector, 3).await
}

#[test]
fn each_form_of_the_canary_is_detected() {
    for text in [
        format!("password={CANARY}."),
        format!("{:?}", format!("x{CANARY}y").as_bytes()),
        CANARY.to_uppercase(),
        data_encoding::HEXUPPER.encode(format!("x{CANARY}y").as_bytes()),
        data_encoding::BASE64.encode(format!("{CANARY}-value").as_bytes()),
        data_encoding::BASE64.encode(format!("x{CANARY}-value").as_bytes()),
        data_encoding::BASE64.encode(format!("xy{CANARY}-value").as_bytes()),
    ] {
        let found = std::panic::catch_unwind(|| check_absent("the test", &text));
        assert!(found.is_err(), "not found in {text}");
    }
}
