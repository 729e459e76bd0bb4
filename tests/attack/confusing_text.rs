//! Text that confuses its reader: control characters, line breaks, and marks that change the
//! reading direction.
//!
//! Every part of a review that its author chooses has such text, and the log is read line by line.

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use ampoule_core::MountRequirement::{Any, EnvVar, File};
use ampoule_tests::{Ampoule, Review, annotation, asking, binary, eventually, free_ports};
use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::support::{ensure_survived, served};
use crate::{
    cluster::Installed,
    support::{K8S, config, config_map_events},
};

/// Line breaks, an escape sequence, C1 controls, and marks of direction.
const CONFUSING: [char; 12] =
    ['\n', '\r', '\t', '\u{0}', '\u{1b}', '\u{7f}', '\u{85}', '\u{9b}', '\u{200f}', '\u{202e}', '\u{2028}', '\u{2066}'];

/// Limit for an Event.
const NOTICED: Duration = Duration::from_secs(60);

/// Fails if the text has a character that confuses its reader.
fn ensure_plain(what: &str, text: &str) -> Result<()> {
    let found = text.chars().find(|character| CONFUSING.contains(character));
    ensure!(found.is_none(), "{what} has {found:?}: {text:?}");
    Ok(())
}

/// A review in which every name has this character.
fn review(character: char) -> Review {
    let text = format!("a{character}b");
    let group = |mount| annotation(&text, &text, mount);
    let mut pod = asking("task", [group(EnvVar), group(File), group(Any), text.clone()]);
    let list = json!([{ "group": text, "key": text, "env": text, (text.clone()): 1 }]);
    pod["metadata"]["annotations"]["ampoule.dev/secrets"] = json!(list.to_string());
    pod["metadata"]["annotations"][format!("flyte.secrets/{text}")] = json!("not base32");
    pod["metadata"]["name"] = json!(text);
    pod["metadata"]["labels"][&text] = json!(text);
    pod["spec"]["serviceAccountName"] = json!(text);
    pod["spec"]["containers"][0]["name"] = json!(text);
    Review::as_is(&pod, "default")
}

/// Such a namespace exists on no API server: the review is refused, and the refusal is plain.
async fn ensure_namespace_is_refused(ampoule: &Ampoule, character: char) -> Result<()> {
    let review = Review::as_is(&asking("task", Vec::<String>::new()), &format!("a{character}b"));
    let Err(refusal) = ampoule.review_once(&review).await else {
        bail!("the namespace with {character:?} was accepted");
    };
    let refusal = refusal.to_string();
    ensure!(refusal.contains("status 400"), "{refusal}");
    // The body ends with a line break.
    ensure_plain("the refusal of a namespace", refusal.trim_end())
}

/// Reviews in which one part at a time has this character, so that each is the first fault.
fn reviews(character: char) -> Vec<Review> {
    let text = format!("a{character}b");
    let mut list = asking("task", Vec::<String>::new());
    list["metadata"]["annotations"]["ampoule.dev/secrets"] = json!(format!("- {{group: g, key: k, \"{text}\": 1}}"));
    let mut served = asking("task", [annotation("group", "key", EnvVar)]);
    served["metadata"]["name"] = json!(text);
    served["spec"]["containers"][0]["name"] = json!(text);
    // The variable exists with another value: the warning names the container.
    served["spec"]["containers"][0]["env"] = json!([{ "name": "_FSEC_GROUP_KEY", "value": text }]);
    let mut conflict = asking("task", [annotation("group", "key", File)]);
    let path = "/etc/flyte/secrets/group";
    conflict["spec"]["containers"][0]["volumeMounts"] = json!([{ "name": text, "mountPath": path }]);
    conflict["spec"]["containers"][0]["name"] = json!(text);
    let mut reviews = vec![review(character)];
    for mount in [EnvVar, File, Any] {
        reviews.push(Review::of(&asking("task", [annotation(&text, "key", mount)]), "default"));
        reviews.push(Review::of(&asking("task", [annotation("group", &text, mount)]), "default"));
        reviews.push(Review::of(&asking("task", [annotation(&text, "", mount)]), "default"));
    }
    reviews.push(Review::of(&asking("task", [text]), "default"));
    reviews.extend([list, served, conflict].map(|pod| Review::of(&pod, "default")));
    reviews
}

/// Number 13: control characters and marks of direction reached refusals and the log.
#[tokio::test]
async fn names_of_a_pod_do_not_reach_refusals_warnings_and_the_log_unescaped() -> Result<()> {
    let rules = "policy:\n  rules:\n  - { name: all, when: 'true', action: warn, message: seen }\n";
    let ampoule = Ampoule::start_with(&[rules, &config("flyte-v1", K8S)].concat(), &[]).await?;
    let mut refused = 0;
    for character in CONFUSING {
        ensure_namespace_is_refused(&ampoule, character).await?;
        for review in reviews(character) {
            let response = ampoule.review_once(&review).await?;
            refused += usize::from(!response.allowed);
            ensure_plain("a refusal", &response.message)?;
            response.warnings.iter().try_for_each(|warning| ensure_plain("a warning", warning))?;
        }
    }
    ensure!(refused > 5 * CONFUSING.len(), "only {refused} reviews were refused");
    for line in ampoule.log()?.lines() {
        // A forged line would not be an object of its own.
        let entry: Value = serde_json::from_str(line).with_context(|| format!("{line:?}"))?;
        ensure!(entry.is_object(), "{line:?}");
        ensure_plain("a line of the log", line)?;
    }
    ensure_survived(ampoule).await
}

/// Number 13: the text of a ConfigMap reached Events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_text_of_a_config_map_does_not_reach_events_unescaped() -> Result<()> {
    let [port] = free_ports()?;
    let installed = Installed::new("confusing", port, "{ mode: cluster, secretName: confusing }").await?;
    installed.reconfigure("globalSecrets:", "plugins: { configMaps: true }\nglobalSecrets:")?;
    let ampoule = installed.start(port).await?;
    let text: String = ["a", "\u{1b}[2J\u{202e}\u{2066}\u{9b}\u{85}", "b"].concat();
    let documents = [
        ("unknown-key", json!({ &text: 1 }).to_string()),
        ("component", json!({ "component": text }).to_string()),
        ("settings", json!({ "settings": { &text: text } }).to_string()),
        ("no-yaml", text.clone()),
    ];
    let component = data_encoding::BASE64.encode(ampoule_test_guests::guest("echo"));
    for (name, document) in &documents {
        let map = json!({
            "metadata": { "name": name, "labels": { "ampoule.dev/injector": "true" } },
            "binaryData": { "plugin.wasm": component },
            "data": { "injector.yaml": document },
        });
        let map: ConfigMap = serde_json::from_value(map)?;
        installed.namespace.api::<ConfigMap>().create(&PostParams::default(), &map).await?;
    }
    let events = eventually("an Event for each", NOTICED, async || {
        let events = config_map_events(&installed.namespace).await?;
        let refused = events.iter().filter(|event| event[1] == "PluginRefused").count();
        ensure!(refused == documents.len(), "{events:#?}");
        Ok(events)
    })
    .await?;
    events.iter().flatten().try_for_each(|text| ensure_plain("an Event", text))?;
    ampoule.log()?.lines().try_for_each(|line| ensure_plain("a line of the log", line))?;
    served(&installed.namespace).await?;
    ampoule.stop().await?.ensure_clean()
}

/// Number 13: the process that compiles a stranger's component had all rights of the webhook.
/// `host/cli/src/commands/compile/confinement.rs` tests that it has no network.
#[tokio::test]
async fn the_compiling_process_cannot_gain_rights() -> Result<()> {
    let mut command = Command::new(binary()?);
    command.args(["compile", "--allocation", "on-demand", "--memory-mib", "512"]);
    // It waits for its component.
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let confined = eventually("no_new_privs", NOTICED, async || {
        let status = fs::read_to_string(&status)?;
        ensure!(status.lines().any(|line| line == "NoNewPrivs:\t1"), "{status}");
        Ok(())
    })
    .await;
    drop(child.stdin.take());
    let ended = child.wait()?;
    confined?;
    ensure!(!ended.success(), "an empty component was compiled");
    Ok(())
}
