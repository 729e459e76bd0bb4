//! Helpers of the core's tests: an injector with scripted answers, and pods as JSON.
//!
//! The script replaces a plugin. The chain, the edits and the patch are the production code.

use std::sync::Arc;

use ampoule_core::{
    Injection, InjectorSession, LazyPodView, Mutation, Pod, PodEdit, PodMutator, PodView, Profile, SecretInjector,
    SecretRequest,
};
use async_trait::async_trait;
use serde_json::{Value, json};

/// Returns the answer of a scripted injector to a request.
pub(crate) type Script = Arc<dyn Fn(&SecretRequest, &PodView) -> Injection + Send + Sync>;

/// An injector with scripted answers.
pub(crate) struct Scripted {
    name: String,
    script: Script,
}

struct ScriptedSession(Script);

impl Scripted {
    /// Returns an injector that answers every request with the function.
    pub(crate) fn answering(
        name: &str,
        script: impl Fn(&SecretRequest, &PodView) -> Injection + Send + Sync + 'static,
    ) -> Arc<dyn SecretInjector> {
        Arc::new(Self { name: name.to_owned(), script: Arc::new(script) })
    }

    /// Returns an injector that answers every request with the same edits.
    pub(crate) fn edits(name: &str, edits: Vec<PodEdit>) -> Arc<dyn SecretInjector> {
        Self::answering(name, move |_, _| Ok(Ok(edits.clone())))
    }
}

impl SecretInjector for Scripted {
    fn name(&self) -> &str {
        &self.name
    }

    fn open(&self) -> Box<dyn InjectorSession> {
        Box::new(ScriptedSession(self.script.clone()))
    }
}

#[async_trait]
impl InjectorSession for ScriptedSession {
    async fn inject(&mut self, request: &SecretRequest, pod: &LazyPodView) -> Injection {
        (self.0)(request, pod.get())
    }
}

/// Returns a mutator with the profile's conventions that refuses pods without their secrets.
pub(crate) fn mutator(profile: Profile, injectors: Vec<Arc<dyn SecretInjector>>) -> PodMutator {
    PodMutator::new(injectors, profile.conventions())
}

/// Mutates a pod given as JSON.
pub(crate) fn mutate(mutator: &PodMutator, pod: &Value) -> Mutation {
    let pod = Pod::parse(pod.clone()).expect("the test's pod is valid");
    pollster::block_on(mutator.mutate(&pod, "team-a"))
}

/// Returns the patched pod.
#[track_caller]
pub(crate) fn mutated(mutator: &PodMutator, pod: &Value) -> Value {
    let admitted = mutate(mutator, pod).outcome.expect("the pod is admitted");
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, &admitted.patch).expect("the patch applies");
    pod
}

/// Returns a pod with `count` requests, for the keys `key-0`, `key-1`, … of group `group`.
pub(crate) fn pod_asking(count: usize, spec: Value) -> Value {
    let requests = (0..count).map(|i| {
        let request = SecretRequest { group: "group".into(), key: format!("key-{i}"), ..SecretRequest::default() };
        (format!("flyte.secrets/s{i}"), json!(request.to_flyte_annotation()))
    });
    let annotations = Value::Object(requests.collect());
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "p", "annotations": annotations },
        "spec": spec,
    })
}
