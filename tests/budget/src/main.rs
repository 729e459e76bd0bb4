//! `ampoule-budget WORKLOAD TIMES`: runs a workload of the core the given number of times.
//!
//! `cargo xtask budget` runs it under valgrind with two different counts and compares the
//! difference with `budget.yaml`. The difference excludes the cost of starting, and no clock is
//! read, so the figure is the same on every machine.

use std::{env, hint::black_box, process::ExitCode, sync::Arc};

use ampoule_core::{
    EnvSource, EnvVar, Injection, InjectorSession, KeyToPath, MountRequirement, Pod, PodEdit, PodMutator, PodView,
    Profile, RequestedSecret, SecretInjector, SecretKeyRef, SecretRequest, SecretVolume, Volume, VolumeMount,
    VolumeSource,
};
use async_trait::async_trait;
use serde_json::{Map, Value, json};

/// The allocator of the server: it accounts for a third of the instructions.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    let json = |secrets, containers| pod(secrets, containers).to_string();
    Some(match name {
        "decode-3" => {
            let annotations = annotations(3);
            Box::new(move || _ = black_box(RequestedSecret::from_annotations(&annotations)))
        }
        "parse-3-1" => {
            let text = json(3, 1);
            Box::new(move || _ = black_box(parsed(&text)))
        }
        "mutate-0-1" => mutation(0, 1),
        "mutate-1-1" => mutation(1, 1),
        "mutate-3-1" => mutation(3, 1),
        "mutate-20-40" => mutation(20, 40),
        _ => return None,
    })
}

fn mutation(secrets: usize, containers: usize) -> Box<dyn Fn()> {
    let mutator = PodMutator::new(vec![Arc::new(Edits)], Profile::FlyteV1.conventions());
    let pod = parsed(&pod(secrets, containers).to_string());
    Box::new(move || _ = black_box(pollster::block_on(mutator.mutate(&pod, "flytesnacks-development"))))
}

fn parsed(text: &str) -> Pod {
    Pod::parse(serde_json::from_str(text).expect("JSON")).expect("a pod")
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
    async fn inject(&mut self, request: &SecretRequest, _pod: &PodView) -> Injection {
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
