//! How fetched values reach a pod: the modes, the Secrets that carry values, and second reviews.
//!
//! A recorder replaces the API server.

use std::sync::{Arc, Mutex};

use ampoule_core::{
    DeliveredSecret, Delivery, DeliveryError, DeliveryStore, EnvSource, EnvVar, FileSource, NamingKey, NoDelivery, Pod,
    PodEdit, PodMutator, PodOrigin, PodVersions, Profile, RefusalCode, RequestedSecret, Requester, SecretFile,
    SecretValue, ShippedComponent, UnlimitedMemory, VERSIONS_ANNOTATION, ValueSource, VolumeMount,
};
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::edits::{mount, secret_env, secret_volume};
use crate::support::{Scripted, mutate, mutated, mutator, pod_asking};

const CANARY: &str = "zq7canarybird";

/// Records the Secrets that it gets.
#[derive(Default)]
pub(crate) struct Recorder {
    written: Mutex<Vec<DeliveredSecret>>,
    refusal: Option<DeliveryError>,
}

#[async_trait]
impl DeliveryStore for Recorder {
    async fn naming_key(&self, dry_run: bool) -> Result<NamingKey, DeliveryError> {
        NoDelivery.naming_key(dry_run).await
    }

    async fn ensure(&self, secret: &DeliveredSecret) -> Result<(), DeliveryError> {
        self.written.lock().unwrap().push(secret.clone());
        self.refusal.clone().map_or(Ok(()), Err)
    }

    async fn ensure_component(&self, _namespace: &str, component: &ShippedComponent) -> Result<(), DeliveryError> {
        panic!("no pod fetches with {component:?}");
    }
}

fn value(text: impl AsRef<[u8]>) -> SecretValue {
    SecretValue::new(text.as_ref().to_vec())
}

fn variable(name: &str, text: &str) -> PodEdit {
    PodEdit::SetEnv(EnvVar { name: name.to_owned(), source: EnvSource::SecretValue(value(text)) })
}

fn file(path: &str, text: &str) -> PodEdit {
    PodEdit::WriteFile(SecretFile { path: path.to_owned(), mode: None, source: FileSource::SecretValue(value(text)) })
}

/// A mutator with one injector, which answers each request by its key.
fn delivering(delivery: Delivery, answer: fn(&str) -> Vec<PodEdit>) -> PodMutator {
    let injector = Scripted::answering("store", move |request, _| Ok(Ok(answer(&request.key))));
    mutator(Profile::FlyteV1, vec![injector]).with_delivery(vec![delivery], Arc::new(NoDelivery))
}

fn spec() -> Value {
    json!({ "containers": [{ "name": "a", "env": [{ "name": "OWN", "value": "1" }] }, { "name": "b" }] })
}

/// A variable and a file for each request.
fn both(key: &str) -> Vec<PodEdit> {
    let text = format!("{CANARY} {key}");
    vec![variable(&key.to_uppercase().replace('-', "_"), &text), file(&format!("/etc/secrets/{key}"), &text)]
}

#[test]
fn all_values_of_an_injector_are_in_one_secret_and_a_second_review_changes_nothing() {
    let mutator = delivering(Delivery::Secret, both);
    let pod = pod_asking(2, spec());
    let mutation = mutate(&mutator, &pod);
    let [secret] = mutation.secrets.as_slice() else { panic!("{:?}", mutation.secrets) };
    assert_eq!(secret.data.keys().collect::<Vec<_>>(), ["KEY_0", "KEY_1", "key-0", "key-1"]);
    let once = mutated(&mutator, &pod);
    let name = secret.name.as_str();
    let reference = |key: &str| json!({ "secretKeyRef": { "key": key, "name": name, "optional": false } });
    let env = &once["spec"]["containers"][1]["env"];
    assert_eq!((&env[0]["valueFrom"], &env[1]["valueFrom"]), (&reference("KEY_0"), &reference("KEY_1")));
    let items = json!([{ "key": "key-0", "path": "key-0" }, { "key": "key-1", "path": "key-1" }]);
    let projected = json!({ "defaultMode": 0o444, "sources": [{ "secret": { "items": items, "name": name } }] });
    assert_eq!(once["spec"]["volumes"][0]["projected"], projected);
    assert!(!once.to_string().contains(CANARY), "{once}");
    assert_eq!(mutated(&mutator, &once), once);
    assert_eq!(mutate(&mutator, &once).outcome.unwrap().patch.0.len(), 0);
}

#[test]
fn a_changed_value_replaces_the_outdated_secret_in_a_pod_of_an_earlier_review() {
    for profile in [Profile::FlyteV1, Profile::FlyteV2] {
        let with = |text: &'static str| {
            let edits = vec![variable("TOKEN", text), file("/etc/secrets/token", text)];
            mutator(profile, vec![Scripted::edits("store", edits)])
                .with_delivery(vec![Delivery::Secret], Arc::new(NoDelivery))
        };
        let pod = pod_asking(1, spec());
        let (old, new) = (with("one"), with("two"));
        let (before, expected) = (mutated(&old, &pod), mutated(&new, &pod));
        assert_ne!(before, expected);
        assert_eq!(mutated(&new, &before)["spec"], expected["spec"], "{profile:?}");
        let warnings = mutate(&new, &before).outcome.unwrap().warnings;
        assert_eq!(warnings, Vec::<String>::new(), "the webhook's own variable is no collision");
    }
}

#[test]
fn a_changed_image_pull_secret_replaces_the_outdated_one_of_the_same_injector() {
    let docker = |name: &str| PodEdit::AddPullSecretValue(value(format!(r#"{{"auths":{{"{name}":{{}}}}}}"#)));
    let with = |names: &[&str]| {
        mutator(Profile::FlyteV2, vec![Scripted::edits("store", names.iter().map(|name| docker(name)).collect())])
            .with_delivery(vec![Delivery::Secret], Arc::new(NoDelivery))
    };
    let mut own = spec();
    own["imagePullSecrets"] = json!([{ "name": "mine" }]);
    let pod = pod_asking(1, own);
    let (old, new) = (with(&["a", "b"]), with(&["changed", "b"]));
    let (before, expected) = (mutated(&old, &pod), mutated(&new, &pod));
    let names = |pod: &Value| pod["spec"]["imagePullSecrets"].clone();
    assert_eq!(names(&before).as_array().unwrap().len(), 3);
    assert_ne!(names(&before), names(&expected));
    assert_eq!(names(&mutated(&new, &before)), names(&expected), "the outdated name is gone, and the pod's own stays");
    assert_eq!(mutated(&old, &before), before);
}

#[test]
fn a_dry_run_checks_the_secrets_that_it_does_not_write() {
    struct Covers;

    #[async_trait]
    impl DeliveryStore for Covers {
        async fn naming_key(&self, dry_run: bool) -> Result<NamingKey, DeliveryError> {
            assert!(dry_run, "only a dry run follows");
            NoDelivery.naming_key(dry_run).await
        }

        fn check(&self, secret: &DeliveredSecret) -> Result<(), DeliveryError> {
            Err(DeliveryError::Denied(format!("namespace {} is not covered", secret.namespace)))
        }

        async fn ensure(&self, _secret: &DeliveredSecret) -> Result<(), DeliveryError> {
            panic!("a dry run writes nothing");
        }

        async fn ensure_component(&self, _namespace: &str, _component: &ShippedComponent) -> Result<(), DeliveryError> {
            panic!("a dry run writes nothing");
        }
    }

    let injector = Scripted::edits("store", vec![variable("TOKEN", CANARY)]);
    let mutator = mutator(Profile::FlyteV1, vec![injector]).with_delivery(vec![Delivery::Secret], Arc::new(Covers));
    let refusal = mutate(&mutator, &pod_asking(1, spec())).outcome.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Forbidden);
    assert!(refusal.message.contains("is not covered"), "{}", refusal.message);
}

#[test]
fn the_mode_decides_about_each_kind_of_value() {
    let docker = r#"{"auths":{"registry.example":{}}}"#;
    for (delivery, edit, expected) in [
        (Delivery::Secret, variable("A", "x"), Ok(1)),
        (Delivery::Secret, file("/s/a", "x"), Ok(1)),
        (Delivery::Secret, PodEdit::AddPullSecretValue(value(docker)), Ok(1)),
        (Delivery::Inline, variable("A", "x"), Ok(0)),
        (Delivery::Inline, PodEdit::AddPullSecretValue(value(docker)), Ok(1)),
        (Delivery::Inline, file("/s/a", "x"), Err((RefusalCode::BadRequest, "a fetched value cannot be a file"))),
        (Delivery::Reference, variable("A", "x"), Err((RefusalCode::Forbidden, "its delivery is `reference`"))),
        (
            Delivery::Secret,
            PodEdit::SetEnv(EnvVar { name: "A".to_owned(), source: EnvSource::SecretValue(value([0xff])) }),
            Err((RefusalCode::BadRequest, "the value of environment variable A is not UTF-8; mount it as a file")),
        ),
        (
            Delivery::Secret,
            variable("A", "a\0b"),
            Err((
                RefusalCode::BadRequest,
                "the value of environment variable A contains a NUL byte; mount it as a file",
            )),
        ),
        (Delivery::Secret, file("/s/a", "a\0b"), Ok(1)),
        (
            Delivery::Secret,
            PodEdit::AddPullSecretValue(value(CANARY)),
            Err((RefusalCode::BadRequest, "the value is no Docker configuration")),
        ),
        (
            Delivery::Secret,
            file("/s/a", &"x".repeat((1 << 20) + 1)),
            Err((RefusalCode::BadRequest, "the values of this injector exceed 1024 KiB for the pod")),
        ),
        (
            Delivery::Secret,
            file("/proc/../a", "x"),
            Err((RefusalCode::Internal, "must be absolute and must not contain ':' or '..'")),
        ),
    ] {
        let mutator = mutator(Profile::FlyteV1, vec![Scripted::edits("store", vec![edit.clone()])])
            .with_delivery(vec![delivery], Arc::new(NoDelivery));
        let mutation = mutate(&mutator, &pod_asking(1, spec()));
        match (mutation.outcome, expected) {
            (Ok(_), Ok(secrets)) => assert_eq!(mutation.secrets.len(), secrets, "{delivery} {edit:?}"),
            (Err(refusal), Err((code, text))) => {
                assert_eq!(refusal.code, code, "{}", refusal.message);
                assert!(refusal.message.contains(text), "{}", refusal.message);
                assert!(!refusal.message.contains(CANARY), "{}", refusal.message);
            }
            (found, expected) => panic!("{delivery} {edit:?}: {found:?} instead of {expected:?}"),
        }
    }
}

#[test]
fn equal_names_with_different_values_get_different_keys_and_a_conflict_names_both_sides() {
    let two_directories = |key: &str| vec![file(&format!("/{key}/token"), key)];
    let mutation = mutate(&delivering(Delivery::Secret, two_directories), &pod_asking(2, spec()));
    assert_eq!(mutation.secrets[0].data.keys().collect::<Vec<_>>(), ["token", "token.2"]);

    let same_variable = |key: &str| vec![variable("TOKEN", key)];
    let refusal = mutate(&delivering(Delivery::Secret, same_variable), &pod_asking(2, spec())).outcome.unwrap_err();
    let text = "environment variable TOKEN has different values from injector store for flyte.secrets/s0 and \
                injector store for flyte.secrets/s1";
    assert!(refusal.message.contains(text), "{}", refusal.message);
}

#[test]
fn a_dry_run_writes_nothing_and_a_failed_write_refuses_the_pod() {
    let denied = DeliveryError::Denied("no right".to_owned());
    let down = DeliveryError::Unavailable("down".to_owned());
    for (dry_run, refusal, expected) in [
        (true, Some(denied.clone()), Ok(0)),
        (false, None, Ok(1)),
        (false, Some(denied), Err((RefusalCode::Forbidden, "no right"))),
        (false, Some(down), Err((RefusalCode::Unavailable, "down"))),
    ] {
        let recorder = Arc::new(Recorder { refusal, ..Recorder::default() });
        let injector = Scripted::edits("store", vec![variable("TOKEN", CANARY)]);
        let mutator = mutator(Profile::FlyteV1, vec![injector])
            .with_delivery(vec![Delivery::Secret], Arc::clone(&recorder) as Arc<dyn DeliveryStore>);
        let pod = Pod::parse(pod_asking(1, spec())).unwrap();
        let requester = Requester::default();
        let origin = PodOrigin { namespace: "team-a", requester: &requester, dry_run };
        let mutation = pollster::block_on(mutator.ask(&pod, &origin, &UnlimitedMemory)).finish();
        let found = mutation.outcome.map(|_| recorder.written.lock().unwrap().len());
        let expected = expected.map_err(|(code, text): (RefusalCode, &str)| (code, text.to_owned()));
        assert_eq!(found.map_err(|refusal| (refusal.code, refusal.message)), expected, "dry run {dry_run}");
    }
}

#[test]
fn the_values_of_a_rejected_answer_reach_neither_the_pod_nor_a_secret() {
    let mount = PodEdit::MountVolume(VolumeMount {
        volume: "absent".to_owned(),
        path: "/absent".to_owned(),
        read_only: true,
        sub_path: None,
    });
    let rejected = Scripted::edits("rejected", vec![variable("TOKEN", "one"), mount]);
    let next = Scripted::edits("next", vec![variable("TOKEN", "two")]);
    let mutator =
        mutator(Profile::FlyteV1, vec![rejected, next]).with_delivery(vec![Delivery::Secret; 2], Arc::new(NoDelivery));
    let mutation = mutate(&mutator, &pod_asking(1, spec()));
    let injectors: Vec<_> = mutation.secrets.iter().map(|secret| secret.injector.as_str()).collect();
    assert_eq!((injectors, mutation.outcome.is_ok()), (vec!["next"], true));
}

#[test]
fn a_volume_of_the_pod_with_the_name_of_a_files_volume_is_a_conflict() {
    let mutator = delivering(Delivery::Secret, |_| vec![file("/etc/a/token", "one")]);
    let volume = mutated(&mutator, &pod_asking(1, spec()))["spec"]["volumes"][0]["name"].clone();
    for content in [json!({ "emptyDir": {} }), json!({ "projected": "x" }), json!({ "projected": { "sources": 1 } })] {
        let mut theirs = spec();
        theirs["volumes"] = json!([content]);
        theirs["volumes"][0]["name"] = volume.clone();
        let refusal = mutate(&mutator, &pod_asking(1, theirs)).outcome.unwrap_err();
        let text = "file /etc/a/token has different sources from the pod and injector store for flyte.secrets/s0";
        assert!(refusal.message.contains(text), "{}", refusal.message);
    }
}

/// A variable with the value of a promise.
fn promised(name: &str, value: &str, promise: &str) -> PodEdit {
    let source = ValueSource { promise: promise.to_owned(), version: None };
    let value = SecretValue::new(value.into()).with_source(source);
    PodEdit::SetEnv(EnvVar { name: name.to_owned(), source: EnvSource::SecretValue(value) })
}

/// A mutator whose injector sets these variables through Secrets that a recorder gets.
fn recording(edits: Vec<PodEdit>) -> PodMutator {
    let store = Arc::new(Recorder::default());
    mutator(Profile::FlyteV1, vec![Scripted::edits("store", edits)]).with_delivery(vec![Delivery::Secret], store)
}

fn versions(pod: &Value) -> Option<&str> {
    pod["metadata"]["annotations"][VERSIONS_ANNOTATION].as_str()
}

#[test]
fn a_pod_has_the_versions_of_its_promised_values_also_if_it_is_a_copy_of_an_older_pod() {
    let asking = pod_asking(1, json!({ "containers": [{ "name": "main" }] }));
    let first = mutated(&recording(vec![promised("A", CANARY, "p")]), &asking);
    let text = versions(&first).expect("versions");
    assert!(!text.contains(CANARY), "{text}");
    let key = pollster::block_on(NoDelivery.naming_key(false)).unwrap();
    let read = PodVersions::read(text, "team-a", &key).expect("a sealed annotation");
    assert_eq!(read.iter().map(|(promise, _)| promise.promise.as_str()).collect::<Vec<_>>(), ["p"]);

    let mut copy = asking.clone();
    copy["metadata"]["annotations"][VERSIONS_ANNOTATION] = json!(text);
    let changed = mutated(&recording(vec![promised("A", "changed", "p")]), &copy);
    assert_ne!(versions(&changed), Some(text));
    assert_eq!(versions(&mutated(&recording(vec![promised("A", CANARY, "p")]), &copy)), Some(text));
    // Without a cluster, nothing could read the versions.
    let without = mutator(Profile::FlyteV1, vec![Scripted::edits("store", vec![promised("A", CANARY, "p")])]);
    let without = without.with_delivery(vec![Delivery::Secret], Arc::new(NoDelivery));
    assert_eq!(versions(&mutated(&without, &asking)), None);
}

#[test]
fn a_pod_without_annotations_gets_its_first_one() {
    let received = json!({ "metadata": { "name": "task" }, "spec": { "containers": [{ "name": "main" }] } });
    let pod = Pod::parse(received.clone()).unwrap();
    let requested =
        RequestedSecret::from_annotations(pod_asking(1, json!({}))["metadata"]["annotations"].as_object().unwrap());
    let mutator = recording(vec![promised("A", CANARY, "p")]);
    let mutation = pollster::block_on(mutator.mutate_requests(&pod, "team-a", requested.unwrap()));
    let mut patched = received;
    json_patch::patch(&mut patched, &mutation.outcome.unwrap().patch).expect("the patch applies");
    assert!(versions(&patched).is_some(), "{patched}");
}

/// Has only the Secret `db`.
struct OnlyDb;

#[async_trait]
impl DeliveryStore for OnlyDb {
    async fn naming_key(&self, dry_run: bool) -> Result<NamingKey, DeliveryError> {
        NoDelivery.naming_key(dry_run).await
    }

    async fn ensure(&self, _secret: &DeliveredSecret) -> Result<(), DeliveryError> {
        Ok(())
    }

    async fn missing(&self, namespace: &str, names: Vec<String>) -> Vec<String> {
        assert_eq!(namespace, "team-a");
        names.into_iter().filter(|name| name != "db").collect()
    }

    async fn ensure_component(&self, _namespace: &str, _component: &ShippedComponent) -> Result<(), DeliveryError> {
        Ok(())
    }
}

#[test]
fn a_warning_names_a_secret_that_does_not_exist_if_the_configuration_wants_it() {
    let edits = vec![secret_env("A", "db", "k"), secret_env("B", "none", "k"), secret_volume("v", "gone", &[])];
    let store: Arc<dyn DeliveryStore> = Arc::new(OnlyDb);
    for (warns, expected) in [
        (false, vec![]),
        (
            true,
            vec![
                "Secret gone does not exist in namespace team-a; the pod starts without it",
                "Secret none does not exist in namespace team-a; the pod starts without it",
            ],
        ),
    ] {
        let mutator = mutator(Profile::FlyteV1, vec![Scripted::edits("k8s", edits.clone())])
            .with_delivery(vec![Delivery::Secret], Arc::clone(&store))
            .with_missing_secret_warnings(warns);
        assert_eq!(mutate(&mutator, &pod_asking(1, spec())).outcome.unwrap().warnings, expected);
    }
    let entries =
        "[{ group: none, key: k, env: A, optional: false }, { group: all, keys: all, path: /etc/all, optional: true }]";
    let pod = json!({ "metadata": { "annotations": { "ampoule.dev/secrets": entries } }, "spec": spec() });
    let injector = Scripted::answering("k8s", |request, _| {
        let volume = vec![secret_volume("v", &request.group, &[]), mount("v", "/x")];
        Ok(Ok(if request.all_keys { volume } else { vec![secret_env("A", &request.group, "k")] }))
    });
    let mutator =
        mutator(Profile::Plain, vec![injector]).with_delivery(vec![], store).with_missing_secret_warnings(true);
    let expected = [
        "Secret all does not exist in namespace team-a; the pod starts without it",
        "Secret none does not exist in namespace team-a; the pod does not start before it exists",
    ];
    assert_eq!(mutate(&mutator, &pod).outcome.unwrap().warnings, expected);
}
