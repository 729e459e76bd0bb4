//! References in the values of variables: each delivery puts the secret at the place of its
//! variable, and a second review changes nothing.
//!
//! `host/core/src/references/tests.rs` has the texts.

use std::sync::Arc;

use ampoule_core::{
    Delivery, EnvSource, EnvVar, FetchDocument, FetchRecipe, FileSource, NoDelivery, Pod, PodEdit, PodFetching,
    PodMutator, Profile, Resources, SecretFile, SecretKeyRef, SecretRequest, SecretValue, VariableDelivery,
};
use serde_json::{Value, json};

use crate::{
    edits::{literal, puller},
    support::{Scripted, mutate, mutated, mutator},
};

const PROFILES: [Profile; 3] = [Profile::FlyteV1, Profile::FlyteV2, Profile::Plain];

/// An init container and two containers, whose variables have references between other ones.
fn pod() -> Value {
    let env = |reference: &str| {
        json!([
            { "name": "HOST", "value": "db" },
            { "name": "PASSWORD", "value": reference },
            { "name": "URL", "value": "postgres://u:$(PASSWORD)@$(HOST)" },
        ])
    };
    json!({
        "metadata": { "name": "p", "labels": { "ampoule.dev/inject": "true" } },
        "spec": {
            "initContainers": [{ "name": "migrate", "env": env("secret://db/password") }],
            "containers": [
                { "name": "app", "env": env("secret://db/password"), "args": ["--url=$(URL)"] },
                { "name": "reports", "env": env("secret://db/readonly") },
                { "name": "none", "env": [{ "name": "PASSWORD", "value": "own" }] },
            ],
        },
    })
}

/// The entry of the variable in each container, after checks that nothing else changed there.
#[track_caller]
fn replaced(before: &Value, after: &Value) -> Vec<Value> {
    let mut entries = Vec::new();
    for list in ["initContainers", "containers"] {
        let containers = after["spec"][list].as_array().unwrap().iter();
        // The container that fetches is not the pod's.
        for (container, old) in
            containers.filter(|c| c["name"] != "ampoule-fetch").zip(before["spec"][list].as_array().unwrap())
        {
            let mut expected = old.clone();
            if old["name"] != "none" {
                assert_eq!(container["env"][1]["name"], "PASSWORD");
                entries.push(container["env"][1].clone());
                expected["env"][1] = container["env"][1].clone();
            }
            assert_eq!(*container, expected);
        }
    }
    entries
}

fn with(profile: Profile, delivery: Delivery, edits: fn(&SecretRequest) -> Vec<PodEdit>) -> PodMutator {
    let injector = Scripted::answering("store", move |request, _| Ok(Ok(edits(request))));
    mutator(profile, vec![injector]).with_delivery(vec![delivery], Arc::new(NoDelivery))
}

fn variable(request: &SecretRequest, source: EnvSource) -> PodEdit {
    PodEdit::SetEnv(EnvVar { name: request.env_var.clone().unwrap(), source })
}

/// What `k8s` answers under Flyte's profiles.
fn reference(request: &SecretRequest) -> Vec<PodEdit> {
    let key = SecretKeyRef { name: request.group.clone(), key: request.key.clone(), optional: true };
    let other = PodEdit::SetEnv(EnvVar { name: "_FSEC_X".into(), source: EnvSource::SecretKey(key.clone()) });
    vec![other, variable(request, EnvSource::SecretKey(key)), literal("FLYTE_SECRETS_ENV_PREFIX", "_FSEC_")]
}

fn value(request: &SecretRequest) -> Vec<PodEdit> {
    vec![variable(request, EnvSource::SecretValue(SecretValue::new(format!("value of {}", request.key).into_bytes())))]
}

fn promise(request: &SecretRequest) -> Vec<PodEdit> {
    vec![variable(request, EnvSource::Promise(request.key.clone()))]
}

/// Checks the entries and that a second review changes nothing.
#[track_caller]
fn check(mutator: &PodMutator, before: &Value) -> (Value, Vec<Value>) {
    let after = mutated(mutator, before);
    let second = mutate(mutator, &after).outcome.unwrap();
    assert!(second.patch.is_empty(), "a second review: {}", second.patch);
    assert_eq!(second.warnings, Vec::<String>::new());
    let entries = replaced(before, &after);
    (after, entries)
}

#[test]
fn a_reference_becomes_the_reference_of_the_kubelet_at_its_place() {
    for profile in PROFILES {
        let (after, entries) = check(&with(profile, Delivery::Reference, reference), &pod());
        let expected = |key: &str| {
            let key = json!({ "name": "db", "key": key, "optional": false });
            json!({ "name": "PASSWORD", "valueFrom": { "secretKeyRef": key } })
        };
        assert_eq!(entries, [expected("password"), expected("password"), expected("readonly")], "{profile}");
        let texts: Value =
            serde_json::from_str(after["metadata"]["annotations"]["ampoule.dev/references"].as_str().unwrap()).unwrap();
        assert_eq!(
            texts,
            json!({
                "app/PASSWORD": "secret://db/password",
                "migrate/PASSWORD": "secret://db/password",
                "reports/PASSWORD": "secret://db/readonly",
            })
        );
    }
}

#[test]
fn a_fetched_value_reaches_the_place_through_a_secret() {
    for profile in PROFILES {
        let mutator = with(profile, Delivery::Secret, value);
        let (_, entries) = check(&mutator, &pod());
        let reference = |entry: &Value| entry["valueFrom"]["secretKeyRef"].clone();
        let [first, second, third] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!(first, second, "{profile}");
        assert_eq!(reference(first)["name"], reference(third)["name"]);
        assert_ne!(reference(first)["key"], reference(third)["key"]);
        assert!(reference(first)["name"].as_str().unwrap().starts_with("ampoule-"));
        let secrets = mutate(&mutator, &pod()).secrets;
        assert_eq!((secrets.len(), secrets[0].data.len()), (1, 2));
    }
}

#[test]
fn a_fetched_value_is_text_with_the_delivery_inline() {
    for profile in PROFILES {
        let (_, entries) = check(&with(profile, Delivery::Inline, value), &pod());
        let expected = |key: &str| json!({ "name": "PASSWORD", "value": format!("value of {key}") });
        assert_eq!(entries, [expected("password"), expected("password"), expected("readonly")], "{profile}");
    }
}

fn fetching(profile: Profile, variables: VariableDelivery) -> PodMutator {
    let recipe =
        FetchRecipe { plugin: json!({ "component": "0123" }), tokens: vec![], variables: vec![], volume: None };
    let pods = PodFetching {
        image: "ampoule".to_owned(),
        variables,
        total_seconds: 60,
        refresh_seconds: None,
        reports_changes: false,
        resources: Resources::default(),
        recipes: vec![Some(Arc::new(recipe))],
    };
    with(profile, Delivery::Pod, promise).with_pod_fetching(Some(pods))
}

#[test]
fn a_pod_fetches_the_value_for_the_place() {
    for profile in PROFILES {
        for form in [VariableDelivery::FileKey, VariableDelivery::Both] {
            let (after, entries) = check(&fetching(profile, form), &pod());
            let expected = |key: &str| {
                let key = json!({ "key": key, "path": "env", "volumeName": "ampoule-variables" });
                json!({ "name": "PASSWORD", "valueFrom": { "fileKeyRef": key } })
            };
            // Containers have different values under one name, and the file has two names.
            assert_eq!(entries, [expected("PASSWORD"), expected("PASSWORD"), expected("PASSWORD_2")], "{profile}");
            let document = after["spec"]["initContainers"][0]["env"][0]["value"].as_str().unwrap();
            let document: FetchDocument = serde_json::from_str(document).unwrap();
            let names: Vec<_> = document.injectors[0]
                .values
                .iter()
                .map(|value| (value.promise.as_str(), value.variables[0].name.as_str(), value.files.len()))
                .collect();
            assert_eq!(names, [("password", "PASSWORD", 0), ("readonly", "PASSWORD_2", 0)], "{profile}");
        }
    }
    let refusal = mutate(&fetching(Profile::Plain, VariableDelivery::File), &pod()).outcome.unwrap_err();
    assert_eq!(
        refusal.message,
        "variable PASSWORD is a reference, and delivery.pod.variables is `file`: the pod would get a file instead of a \
         value; request the secret in the annotation, or use another delivery"
    );
}

#[test]
fn annotations_and_references_are_served_together() {
    for profile in PROFILES {
        for mutator in [
            with(profile, Delivery::Reference, reference),
            with(profile, Delivery::Secret, value),
            with(profile, Delivery::Inline, value),
            fetching(profile, VariableDelivery::FileKey),
        ] {
            let mut before = pod();
            before["metadata"]["annotations"] =
                json!({ "ampoule.dev/secrets": "[{ group: api, key: token, env: TOKEN, containers: [none] }]" });
            let after = mutated(&mutator, &before);
            let names: Vec<_> =
                after["spec"]["containers"][2]["env"].as_array().unwrap().iter().map(|e| &e["name"]).collect();
            assert!(names.contains(&&json!("TOKEN")), "{profile}: {names:?}");
            assert!(mutate(&mutator, &after).outcome.unwrap().patch.is_empty(), "{profile}: a second review");
        }
    }
}

#[test]
fn the_refusals_name_the_variable_and_the_container() {
    let refusal = |mutator: &PodMutator, pod: &Value| {
        let refusal = mutate(mutator, pod).outcome.unwrap_err();
        assert_eq!(refusal.code.http(), 400);
        refusal.message
    };
    let value = |text: &str| json!({ "metadata": {}, "spec": { "containers": [{ "name": "app", "env": [{ "name": "A", "value": text }] }] } });
    let files = with(Profile::Plain, Delivery::Reference, |request| {
        let source = SecretKeyRef { name: "db".into(), key: request.key.clone(), optional: false };
        vec![PodEdit::WriteFile(SecretFile { path: "/a/b".into(), mode: None, source: FileSource::SecretKey(source) })]
    });
    let pulls = with(Profile::Plain, Delivery::Reference, |_| vec![puller("pull", "v", None)]);
    let start = "secret db/key (variable A of container app, mount env-var) could not be injected: store: ";
    let reason = "unsupported: store does not deliver this secret as a variable, so it cannot replace one in its place";
    for mutator in [&files, &pulls] {
        assert_eq!(refusal(mutator, &value("secret://db/key")), [start, reason].concat());
    }
    let references = with(Profile::Plain, Delivery::Reference, reference);
    assert_eq!(
        refusal(&references, &value("secret://other/db/key")),
        "variable A of container app: no injector has the name \"other\"; the administrator of the cluster knows the names"
    );
    assert!(mutate(&references, &value("secret://store/db/key")).outcome.is_ok());
    let mut twice = value("secret://db/key");
    twice["metadata"]["annotations"] = json!({ "ampoule.dev/secrets": "[{ group: db, key: other, env: A }]" });
    assert!(
        refusal(&references, &twice).ends_with(
            "conflict: environment variable A has different values from injector store for ampoule.dev/secrets[0] and \
             injector store for variable A of container app; request them under different names, or for different \
             containers"
        ),
        "{}",
        refusal(&references, &twice)
    );
    let many: Vec<_> = (0..257).map(|i| json!({ "name": format!("A{i}"), "value": "secret://db/key" })).collect();
    let many = json!({ "metadata": {}, "spec": { "containers": [{ "name": "app", "env": many }] } });
    assert_eq!(
        refusal(&references, &many),
        "variable A256 of container app: too many secret requests: 257 (limit 256 per pod)"
    );
}

#[test]
fn a_record_that_the_webhook_did_not_write_changes_no_variable() {
    let mutator = with(Profile::Plain, Delivery::Reference, reference);
    let mut forged = pod();
    forged["metadata"]["annotations"] = json!({ "ampoule.dev/references": "{\"none/PASSWORD\":\"secret://a/b\"}" });
    let after = mutated(&mutator, &forged);
    assert_eq!(after["spec"]["containers"][2], forged["spec"]["containers"][2]);
    for (text, expected) in [
        ("[]", "is not an object that Ampoule wrote; remove it".to_owned()),
        ("{\"a\":1}", "is not an object that Ampoule wrote; remove it".to_owned()),
        (&"x".repeat(65_537), "must be at most 65536 bytes long, got 65537".to_owned()),
    ] {
        forged["metadata"]["annotations"]["ampoule.dev/references"] = json!(text);
        let refusal = mutate(&mutator, &forged).outcome.unwrap_err();
        assert_eq!(refusal.message, format!("annotation ampoule.dev/references: {expected}"));
    }
}

#[test]
fn a_new_ephemeral_container_can_have_references() {
    let mutator = with(Profile::Plain, Delivery::Secret, value);
    let running = mutated(&mutator, &pod());
    let mut updated = running.clone();
    let env = json!([{ "name": "A", "value": "secret://db/password" }]);
    updated["spec"]["ephemeralContainers"] = json!([{ "name": "debugger", "env": env }]);
    let parsed = Pod::parse_update(updated.clone(), &running).unwrap();
    let mutation = pollster::block_on(mutator.mutate(&parsed, "team-a"));
    json_patch::patch(&mut updated, &mutation.outcome.unwrap().patch).unwrap();
    let reference = &updated["spec"]["ephemeralContainers"][0]["env"][0]["valueFrom"]["secretKeyRef"];
    assert!(reference["name"].as_str().unwrap().starts_with("ampoule-"), "{updated}");
    assert_eq!(updated["spec"]["containers"], running["spec"]["containers"]);
}
