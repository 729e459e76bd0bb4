//! `ampoule-budget WORKLOAD TIMES`: runs a workload of the core the given number of times.
//!
//! `cargo xtask budget` runs it under valgrind with two different counts and compares the
//! difference with `budget.yaml`. The difference excludes the cost of starting, and no clock is
//! read, so the figure is the same on every machine.

use std::{env, hint::black_box, process::ExitCode, sync::Arc};

use ampoule_core::{
    EnvSource, EnvVar, Injection, InjectorSession, KeyToPath, LazyPodView, MountRequirement, Pod, PodEdit, PodMutator,
    Profile, RequestedSecret, SecretInjector, SecretKeyRef, SecretRequest, SecretVolume, Volume, VolumeMount,
    VolumeSource,
};
use ampoule_review::{Reply, ReviewIdentity, ReviewVersion, Verdict};
use async_trait::async_trait;
use serde_json::{Map, Value, json};

/// The allocator of the server: it accounts for a third of the instructions.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The `uid` of the review.
const UID: &str = "705ab4f5-6393-11e8-b7cc-42010a800002";

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let work = match &arguments[..] {
        [name, times] => workload(name).zip(times.parse().ok()),
        _ => None,
    };
    let Some((work, times)) = work else { return ExitCode::from(2) };
    for _ in 0..times {
        work();
    }
    ExitCode::SUCCESS
}

/// A workload by its name in `budget.yaml`.
fn workload(name: &str) -> Option<Box<dyn Fn()>> {
    Some(match name {
        "decode-3" => {
            let annotations = annotations(3);
            Box::new(move || _ = black_box(RequestedSecret::from_annotations(&annotations)))
        }
        "read-3-1" => {
            let body = review(3, 1);
            Box::new(move || _ = black_box(ampoule_review::parse(&body)))
        }
        "answer-3-1" => {
            let reply = reply(3, 1);
            Box::new(move || _ = black_box(ampoule_review::respond(&reply)))
        }
        "mutate-0-1" => mutation(0, 1),
        "mutate-1-1" => mutation(1, 1),
        "mutate-3-1" => mutation(3, 1),
        "mutate-20-40" => mutation(20, 40),
        "labels-2" => labelled(2),
        "labels-100" => labelled(100),
        "size-1" => sized(20, 1, 500),
        "size-2" => sized(20, 1, 1000),
        "size-4" => sized(20, 1, 2000),
        "size-8" => sized(20, 1, 4000),
        // Not in the budget: the largest pods that are admitted.
        "largest-list" => sized(256, 1, 30_000),
        "largest-lists" => sized(12, 400, 75),
        _ => return None,
    })
}

fn mutation(secrets: usize, containers: usize) -> Box<dyn Fn()> {
    let mutator = PodMutator::new(vec![Arc::new(Edits)], Profile::FlyteV1.conventions());
    let pod = parsed(&pod(secrets, containers).to_string());
    Box::new(move || _ = black_box(pollster::block_on(mutator.mutate(&pod, "flytesnacks-development"))))
}

/// A mutation that replaces and moves variables, in containers with this number of variables.
fn sized(secrets: usize, containers: usize, variables: usize) -> Box<dyn Fn()> {
    let mutator = PodMutator::new(vec![Arc::new(Edits)], Profile::FlyteV2.conventions());
    let mut pod = pod(secrets, containers);
    let env: Value = (0..variables).map(|i| json!({ "name": format!("VARIABLE_{i}"), "value": "x" })).collect();
    for container in pod["spec"]["containers"].as_array_mut().into_iter().flatten() {
        container["env"] = env.clone();
    }
    let pod = parsed(&pod.to_string());
    Box::new(move || {
        let mutation = pollster::block_on(mutator.mutate(&pod, "flytesnacks-development"));
        black_box(mutation.outcome.expect("the pod is admitted"));
    })
}

/// A mutation of a pod with this number of labels, which no injector reads.
fn labelled(labels: usize) -> Box<dyn Fn()> {
    let mutator = PodMutator::new(vec![Arc::new(Edits)], Profile::FlyteV1.conventions());
    let mut pod = pod(3, 1);
    for i in 1..labels {
        pod["metadata"]["labels"][format!("example.com/label-{i}")] = json!("value");
    }
    let pod = parsed(&pod.to_string());
    Box::new(move || _ = black_box(pollster::block_on(mutator.mutate(&pod, "flytesnacks-development"))))
}

fn parsed(text: &str) -> Pod {
    Pod::parse(serde_json::from_str(text).expect("JSON")).expect("a pod")
}

/// The bytes of a review of the pod.
fn review(secrets: usize, containers: usize) -> Vec<u8> {
    let request = json!({ "uid": UID, "operation": "CREATE", "object": pod(secrets, containers) });
    let review = json!({ "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request });
    review.to_string().into_bytes()
}

/// The reply with the pod's patch.
fn reply(secrets: usize, containers: usize) -> Reply {
    let mutator = PodMutator::new(vec![Arc::new(Edits)], Profile::FlyteV1.conventions());
    let pod = parsed(&pod(secrets, containers).to_string());
    let mutation = pollster::block_on(mutator.mutate(&pod, "flytesnacks-development"));
    let admitted = mutation.outcome.expect("the pod is admitted");
    let verdict = Verdict::Allowed { patch: admitted.patch, warnings: admitted.warnings };
    let identity = ReviewIdentity { version: ReviewVersion::V1, uid: UID.to_owned() };
    Reply { identity, verdict, audit: None }
}

/// Answers with the edits of the built-in plugin `k8s` without running it.
struct Edits;

impl SecretInjector for Edits {
    fn name(&self) -> &'static str {
        "edits"
    }

    fn open(&self) -> Box<dyn InjectorSession> {
        Box::new(Self)
    }
}

#[async_trait]
impl InjectorSession for Edits {
    async fn inject(&mut self, request: &SecretRequest, _pod: &LazyPodView) -> Injection {
        let SecretRequest { group, key, mount, .. } = request;
        let literal = |name: &str, value: &str| {
            PodEdit::SetEnv(EnvVar { name: name.to_owned(), source: EnvSource::Literal(value.to_owned()) })
        };
        let name = format!("_FSEC_{}_{}", group.to_uppercase(), key.to_uppercase());
        Ok(Ok(match mount {
            MountRequirement::File => {
                let volume = format!("v-{group}");
                let items = vec![KeyToPath { key: key.clone(), path: key.to_lowercase() }];
                let secret = SecretVolume { secret_name: group.clone(), items, optional: true };
                let source = VolumeSource::Secret(secret);
                let path = format!("/etc/flyte/secrets/{group}");
                vec![
                    PodEdit::AddVolume(Volume { name: volume.clone(), source }),
                    PodEdit::MountVolume(VolumeMount { volume, path, read_only: true, sub_path: None }),
                    literal("FLYTE_SECRETS_DEFAULT_DIR", "/etc/flyte/secrets"),
                    literal("FLYTE_SECRETS_FILE_PREFIX", ""),
                ]
            }
            MountRequirement::Any | MountRequirement::EnvVar => {
                let secret = SecretKeyRef { name: group.clone(), key: key.clone(), optional: true };
                vec![
                    PodEdit::SetEnv(EnvVar { name, source: EnvSource::SecretKey(secret) }),
                    literal("FLYTE_SECRETS_ENV_PREFIX", "_FSEC_"),
                ]
            }
        }))
    }
}

/// A Flyte pod in which every third secret is a file.
fn pod(secrets: usize, containers: usize) -> Value {
    let container = |i: usize| {
        json!({
            "name": format!("c{i}"), "image": "docker.io/library/python:3.12", "command": ["pyflyte-execute"],
            "env": [{ "name": "HOME", "value": "/root" }, { "name": "PYTHONUNBUFFERED", "value": "1" }],
            "resources": { "requests": { "cpu": "500m", "memory": "1Gi" } },
            "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
        })
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "task-pod", "namespace": "flytesnacks-development",
            "labels": { "inject-flyte-secrets": "true" }, "annotations": annotations(secrets),
        },
        "spec": {
            "containers": (0..containers).map(container).collect::<Vec<_>>(),
            "volumes": [{ "name": "data", "emptyDir": {} }],
        },
    })
}

fn annotations(secrets: usize) -> Map<String, Value> {
    let request = |i: usize| SecretRequest {
        group: "user-info".to_owned(),
        key: format!("key-{i}"),
        mount: if i % 3 == 2 { MountRequirement::File } else { MountRequirement::EnvVar },
        ..SecretRequest::default()
    };
    let annotation = |i| (format!("flyte.secrets/s{i}"), json!(request(i).to_flyte_annotation()));
    (0..secrets).map(annotation).collect()
}
