//! Replays the recordings of Flyte's own webhook through the real pipeline, with the real
//! components and mutator.
//!
//! `parity/cases.jsonl` is data from the reference and is never rewritten; `parity/README.md`
//! describes how it was recorded. As in the reference, the global secrets are consulted first and
//! then the case's secret manager, with its default settings.

use std::{collections::BTreeMap, sync::Arc};

use ampoule_admission::global_secrets::GlobalSecrets;
use ampoule_config::GlobalSecretsConfig;
use ampoule_core::{
    Conventions, Delivery, InitContainerPosition, MountRequirement, Pod, PodMutator, Profile, SecretInjector,
    SecretRequest,
};
use ampoule_engine::{
    ComponentBytes, EngineConfig, FetchPlace, Grants, Limits, PluginEngine, PluginInjector, PluginSpec,
    ValueCachePolicy,
};
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

const CASES: &str = include_str!("parity/cases.jsonl");

/// Prefix of Vault's annotations for one secret, followed by the secret's suffix.
const VAULT_FILE: &str = "vault.hashicorp.com/agent-inject-file-";
const VAULT_SECRET: &str = "vault.hashicorp.com/agent-inject-secret-";
const VAULT_TEMPLATE: &str = "vault.hashicorp.com/agent-inject-template-";

struct Case {
    name: String,
    profile: Profile,
    manager: String,
    /// The webhook's environment.
    environment: Vec<(String, String)>,
    pod: Value,
    /// `None` where the reference injects nothing.
    expected: Option<Value>,
}

#[test]
fn every_case_gives_the_recorded_pod() {
    let runtime = Runtime::new().expect("a runtime");
    let backends = Backends::load(&runtime);
    let failures: Vec<_> = cases()
        .filter_map(|case| {
            let mutator = backends.mutator(&case);
            check(&runtime, &mutator, &case).err().map(|error| format!("{}: {error}", case.name))
        })
        .collect();
    assert!(failures.is_empty(), "{} cases differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_recording_is_replayed() {
    let mut counts = BTreeMap::new();
    for case in cases() {
        *counts.entry(format!("{} {}", case.profile, case.manager)).or_insert(0) += 1;
    }
    let expected = [
        ("flyte-v1 aws", 9),
        ("flyte-v1 gcp", 8),
        ("flyte-v1 global", 8),
        ("flyte-v1 k8s", 11),
        ("flyte-v1 vault", 12),
        ("flyte-v2 aws", 9),
        ("flyte-v2 azure", 8),
        ("flyte-v2 gcp", 8),
        ("flyte-v2 global", 8),
        ("flyte-v2 k8s", 11),
        ("flyte-v2 vault", 12),
    ];
    assert_eq!(counts, expected.map(|(key, count)| (key.to_owned(), count)).into());
}

#[test]
fn a_pod_keeps_its_own_fields_and_every_backend_changes_it_once() {
    let runtime = Runtime::new().expect("a runtime");
    let engine = PluginEngine::new(EngineConfig::default()).expect("an engine");
    let pod = busy_pod();
    for (name, component) in managers() {
        for profile in [Profile::FlyteV1, Profile::FlyteV2] {
            for position in [InitContainerPosition::First, InitContainerPosition::Last] {
                let conventions = Conventions { init_container_position: position, ..profile.conventions() };
                let plugin = load(&runtime, &engine, name, component, conventions.clone());
                let mutator = PodMutator::new(vec![Arc::new(plugin)], conventions);
                let what = format!("{name} {profile} {position:?}");
                let once = runtime.block_on(mutator.mutate(&pod, "default")).outcome;
                let once = once.unwrap_or_else(|refusal| panic!("{what}: {}", refusal.message));
                for operation in once.patch.iter() {
                    let kind = serde_json::to_value(operation).expect("an operation is JSON")["op"].clone();
                    assert_eq!(kind, "add", "{what} removes a field: {operation}");
                }
                let mutated = patched(&pod, &once.patch);
                let twice = runtime.block_on(mutator.mutate(&mutated, "default")).outcome;
                let twice = twice.unwrap_or_else(|refusal| panic!("{what}, again: {}", refusal.message));
                assert!(twice.patch.is_empty(), "{what}, again: {}", twice.patch);
            }
        }
    }
}

fn patched(pod: &Pod, patch: &json_patch::Patch) -> Pod {
    let mut pod = pod.as_json().clone();
    json_patch::patch(&mut pod, patch).expect("the patch applies");
    Pod::parse(pod).expect("the result is a pod")
}

/// Two secrets, three kinds of containers, and fields of the author in each of them.
fn busy_pod() -> Pod {
    let request = |group: &str, env_var: &str| SecretRequest {
        group: group.to_owned(),
        group_version: "kv1".to_owned(),
        key: "Key".to_owned(),
        mount: MountRequirement::File,
        env_var: Some(env_var.to_owned()),
        ..SecretRequest::default()
    };
    let container = |name: &str| {
        json!({
            "name": name, "image": "docker.io/library/python:3.12",
            "env": [{ "name": "HOME", "value": "/root" }, { "name": "EMPTY" }],
            "volumeMounts": [{ "name": "data", "mountPath": "/etc/flyte" }],
        })
    };
    let mut mesh = container("mesh");
    mesh["restartPolicy"] = json!("Always");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "busy",
            "annotations": {
                "flyte.secrets/s0": request("user-info", "FIRST_SECRET").to_flyte_annotation(),
                "flyte.secrets/s1": request("Other", "SECOND_SECRET").to_flyte_annotation(),
                "vault.hashicorp.com/role": "team-a",
                "vault.hashicorp.com/agent-inject-secret-mine": "mine",
            },
        },
        "spec": {
            "initContainers": [container("setup"), mesh],
            "containers": [container("main"), container("logger")],
            "volumes": [{ "name": "data", "emptyDir": {} }],
        },
    });
    Pod::parse(pod).expect("a pod")
}

/// The built-in plugins for the secret managers of the recordings.
fn managers() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    let find = |name| ampoule_plugin_bundle::component(name).unwrap_or_else(|| panic!("no plugin {name}"));
    ["k8s", "aws", "gcp", "azure", "vault"].into_iter().map(move |name| (name, find(name)))
}

/// Every built-in backend under each profile.
struct Backends(BTreeMap<(&'static str, String), PluginInjector>);

impl Backends {
    fn load(runtime: &Runtime) -> Self {
        let engine = PluginEngine::new(EngineConfig::default()).expect("an engine");
        let mut backends = BTreeMap::new();
        for profile in [Profile::FlyteV1, Profile::FlyteV2] {
            for (name, component) in managers() {
                let plugin = load(runtime, &engine, name, component, profile.conventions());
                backends.insert((profile.as_str(), name.to_owned()), plugin);
            }
        }
        Self(backends)
    }

    /// The mutator that corresponds to the case.
    fn mutator(&self, case: &Case) -> PodMutator {
        let conventions = case.profile.conventions();
        let config = GlobalSecretsConfig {
            env_prefix: "FLYTE_SECRET_".to_owned(),
            directory: "/no/secrets/here".into(),
            delivery: Delivery::Inline,
        };
        let global = GlobalSecrets::new(&config, &conventions, case.environment.iter().cloned());
        let mut chain: Vec<Arc<dyn SecretInjector>> = vec![Arc::new(global)];
        if case.manager != "global" {
            let plugin = self.0.get(&(case.profile.as_str(), case.manager.clone()));
            chain.push(Arc::new(plugin.unwrap_or_else(|| panic!("no backend {}", case.manager)).clone()));
        }
        PodMutator::new(chain, conventions)
    }
}

fn load(
    runtime: &Runtime,
    engine: &PluginEngine,
    name: &str,
    component: &'static [u8],
    conventions: Conventions,
) -> PluginInjector {
    let spec = PluginSpec {
        name: name.to_owned(),
        source: format!("builtin:{name}"),
        component: ComponentBytes::BuiltIn(component),
        settings: Value::Object(Map::new()),
        conventions,
        limits: Limits::default(),
        grants: Grants::default(),
        value_cache: ValueCachePolicy::default(),
        fetch_place: FetchPlace::Here,
        strict_grants: false,
    };
    runtime.block_on(engine.load(spec)).expect("a built-in plugin loads")
}

fn check(runtime: &Runtime, mutator: &PodMutator, case: &Case) -> Result<(), String> {
    let pod = Pod::parse(case.pod.clone()).map_err(|error| error.to_string())?;
    let mutation = runtime.block_on(mutator.mutate(&pod, "flytesnacks-development"));
    let (admitted, expected) = match (mutation.outcome, &case.expected) {
        (Err(_), None) => return Ok(()),
        (Err(refusal), Some(_)) => return Err(format!("refused: {}", refusal.message)),
        (Ok(_), None) => return Err("admitted, where the reference injects nothing".to_owned()),
        (Ok(admitted), Some(expected)) => (admitted, expected),
    };
    let mut patched = case.pod.clone();
    json_patch::patch(&mut patched, &admitted.patch).map_err(|error| error.to_string())?;
    let once = Pod::parse(patched.clone()).map_err(|error| error.to_string())?;
    number_vault_suffixes(&mut patched, &case.pod)?;
    let (actual, expected) = (canonical(&patched), canonical(expected));
    if actual != expected {
        return Err(format!("\n  expected {expected}\n  actual   {actual}"));
    }
    let again = runtime.block_on(mutator.mutate(&once, "flytesnacks-development"));
    match again.outcome {
        Ok(again) if again.patch.is_empty() => Ok(()),
        Ok(again) => Err(format!("a second review changes the pod: {}", again.patch)),
        Err(refusal) => Err(format!("a second review refuses the pod: {}", refusal.message)),
    }
}

/// Rewrites Vault's annotations as in the recordings, where suffixes are random: `*N*` for the Nth
/// secret in the order of the files' paths. Suffixes that the pod already had are not changed.
fn number_vault_suffixes(patched: &mut Value, arrived: &Value) -> Result<(), String> {
    let Some(annotations) = patched["metadata"]["annotations"].as_object_mut() else { return Ok(()) };
    let ours = |key: &str| arrived["metadata"]["annotations"].get(key).is_none();
    let mut secrets: Vec<_> = annotations
        .iter()
        .filter_map(|(key, path)| Some((path.as_str()?.to_owned(), key.strip_prefix(VAULT_FILE)?.to_owned())))
        .filter(|(_, suffix)| ours(&format!("{VAULT_FILE}{suffix}")))
        .collect();
    secrets.sort();
    for (number, (_, suffix)) in secrets.iter().enumerate() {
        for prefix in [VAULT_FILE, VAULT_SECRET, VAULT_TEMPLATE] {
            let Some(value) = annotations.remove(&format!("{prefix}{suffix}")) else { continue };
            let key = format!("{prefix}*{number}*");
            if annotations.insert(key.clone(), value).is_some() {
                return Err(format!("{key} exists before it is added"));
            }
        }
    }
    Ok(())
}

/// The canonical form in which the recordings' README compares pods: no nulls, no empty objects,
/// lists and env values.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let entries = object.iter().map(|(key, value)| (key.clone(), canonical(value)));
            let mut entries: Vec<_> =
                entries.filter(|(key, value)| !(is_empty(value) || key == "value" && value == "")).collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(canonical).collect()),
        other => other.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(object) => object.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

fn cases() -> impl Iterator<Item = Case> {
    CASES.lines().map(|line| {
        let case: Value = serde_json::from_str(line).expect("a case is a line of JSON");
        let text = |key: &str| case[key].as_str().expect("a case has a name").to_owned();
        let profile = if text("profile") == "flyte-v1" { Profile::FlyteV1 } else { Profile::FlyteV2 };
        let expected = case["expected"].get("pod").cloned();
        let environment = case["env"].as_object().expect("a case has an environment").iter();
        let environment =
            environment.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
        Case { name: text("name"), profile, manager: text("manager"), environment, pod: case["pod"].clone(), expected }
    })
}
