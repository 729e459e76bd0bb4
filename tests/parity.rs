//! The recordings of Flyte's own webhook, through the real pipeline: real components, the real mutator.
//!
//! `parity/cases.jsonl` is data from the reference and never rewritten; `parity/README.md` says how it was made. Cases of
//! a backend that is not built in yet are not run, and [`every_case_of_a_built_in_backend_is_run`] counts those that are.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use ampoule_core::{OnFailure, Pod, PodMutator, Profile};
use ampoule_engine::{EngineConfig, Limits, PluginEngine, PluginSpec};
use serde_json::{Map, Value};

const CASES: &str = include_str!("parity/cases.jsonl");

struct Case {
    name: String,
    profile: Profile,
    manager: String,
    pod: Value,
    /// None where the reference injects nothing.
    expected: Option<Value>,
}

#[test]
fn every_case_of_a_built_in_backend_gives_the_recorded_pod() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mutators = mutators(&runtime);
    let failures: Vec<_> = cases()
        .filter_map(|case| Some((mutators.get(&(case.profile.as_str(), case.manager.clone()))?, case)))
        .filter_map(|(mutator, case)| {
            check(&runtime, mutator, &case).err().map(|error| format!("{}: {error}", case.name))
        })
        .collect();
    assert!(failures.is_empty(), "{} cases differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_case_of_a_built_in_backend_is_run() {
    let mut counts = BTreeMap::new();
    for case in cases().filter(|case| built_in(&case.manager).is_some()) {
        *counts.entry(format!("{} {}", case.profile, case.manager)).or_insert(0) += 1;
    }
    let expected = [("flyte-v1 k8s", 11), ("flyte-v2 k8s", 11)];
    assert_eq!(counts, expected.map(|(key, count)| (key.to_owned(), count)).into());
}

/// One mutator per profile and built-in backend, with default settings as the recordings have them.
fn mutators(runtime: &tokio::runtime::Runtime) -> BTreeMap<(&'static str, String), PodMutator> {
    let engine = PluginEngine::new(EngineConfig::default()).expect("an engine");
    let mut mutators = BTreeMap::new();
    for profile in [Profile::FlyteV1, Profile::FlyteV2] {
        for (name, component) in ampoule_plugin_bundle::COMPONENTS {
            let spec = PluginSpec {
                name: (*name).to_owned(),
                source: format!("builtin:{name}"),
                component: Cow::Borrowed(component),
                settings: Value::Object(Map::new()),
                conventions: profile.conventions(),
                limits: Limits::default(),
            };
            let plugin = runtime.block_on(engine.load(spec)).expect("a built-in plugin loads");
            let mutator = PodMutator::new(vec![Arc::new(plugin)], profile.conventions(), OnFailure::Deny);
            mutators.insert((profile.as_str(), (*name).to_owned()), mutator);
        }
    }
    mutators
}

fn check(runtime: &tokio::runtime::Runtime, mutator: &PodMutator, case: &Case) -> Result<(), String> {
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
    let (actual, expected) = (canonical(&patched), canonical(expected));
    if actual != expected {
        return Err(format!("\n  expected {expected}\n  actual   {actual}"));
    }
    let again = runtime.block_on(mutator.mutate(&admitted.pod, "flytesnacks-development"));
    match again.outcome {
        Ok(again) if again.patch.is_empty() => Ok(()),
        Ok(again) => Err(format!("a second review changes the pod: {}", again.patch)),
        Err(refusal) => Err(format!("a second review refuses the pod: {}", refusal.message)),
    }
}

/// The form in which the recordings' README compares pods: no nulls, no empty objects, lists and env values.
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

fn built_in(name: &str) -> Option<&'static [u8]> {
    ampoule_plugin_bundle::COMPONENTS.iter().find(|(built_in, _)| *built_in == name).map(|(_, component)| *component)
}

fn cases() -> impl Iterator<Item = Case> {
    CASES.lines().map(|line| {
        let case: Value = serde_json::from_str(line).expect("a case is a line of JSON");
        let text = |key: &str| case[key].as_str().expect("a case names itself").to_owned();
        let profile = if text("profile") == "flyte-v1" { Profile::FlyteV1 } else { Profile::FlyteV2 };
        let expected = case["expected"].get("pod").cloned();
        Case { name: text("name"), profile, manager: text("manager"), pod: case["pod"].clone(), expected }
    })
}
