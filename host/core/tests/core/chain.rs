//! Who is asked, in which order, what a refusal says, and that a failed injector leaves nothing behind.
//!
//! Messages are what a pod's author reads in `kubectl`, so whole messages are compared.

use ampoule_core::{
    AnnotationCollision, FailureKind, InjectionError, InjectorFailure, OnFailure, Pod, PodMutator, Profile,
    SecretInjector,
};
use serde_json::json;
use std::sync::Arc;

use crate::{
    edits::{annotation, literal, memory_volume, mount, secret_volume},
    support::{Scripted, mutate, mutator, pod_asking},
};

fn declines(name: &str, error: InjectionError) -> Arc<dyn SecretInjector> {
    Scripted::answering(name, move |_, _| Ok(Err(error.clone())))
}

fn fails(name: &str, kind: FailureKind) -> Arc<dyn SecretInjector> {
    let failure = InjectorFailure { kind, outside: format!("plugin {name} 1.0.0 failed"), inside: "hidden".into() };
    Scripted::answering(name, move |_, _| Err(failure.clone()))
}

#[track_caller]
fn refused(injectors: Vec<Arc<dyn SecretInjector>>, code: u16, message: &str) {
    let pod = pod_asking(1, json!({ "containers": [{ "name": "main" }] }));
    let refusal = mutate(&mutator(Profile::FlyteV1, injectors), &pod).outcome.expect_err("nobody injects");
    let head = "secret group/key-0 (annotation flyte.secrets/s0, mount any) could not be injected";
    assert_eq!((refusal.code.http(), refusal.message.strip_prefix(head)), (code, Some(message)));
}

#[test]
fn a_refusal_lists_everyone_asked_in_order_with_the_code_of_the_worst() {
    use InjectionError::{Denied, Internal, InvalidRequest, NotFound, Unavailable, Unsupported};
    let not_found = || declines("a", NotFound("no such secret".into()));
    refused(vec![], 400, ": no injector is configured");
    refused(vec![not_found()], 400, ": a: not found: no such secret");
    refused(
        vec![
            not_found(),
            declines("b", Unsupported("files only".into())),
            declines("c", InvalidRequest("key is empty".into())),
        ],
        400,
        ": a: not found: no such secret; b: unsupported: files only; c: invalid request: key is empty",
    );
    refused(
        vec![not_found(), declines("b", Unavailable("throttled".into()))],
        503,
        ": a: not found: no such secret; b: unavailable: throttled",
    );
    refused(
        vec![declines("a", Internal("bug".into())), not_found()],
        500,
        ": a: internal: bug; a: not found: no such secret",
    );
    refused(
        vec![fails("t", FailureKind::Trap), not_found()],
        500,
        ": t: plugin t 1.0.0 failed; a: not found: no such secret",
    );
    refused(
        vec![fails("t", FailureKind::Trap), fails("d", FailureKind::Deadline)],
        503,
        ": t: plugin t 1.0.0 failed; d: plugin d 1.0.0 failed",
    );
    refused(
        vec![declines("a", Unavailable("x".into())), declines("b", Denied("not yours".into())), not_found()],
        403,
        ": a: unavailable: x; b: denied: not yours",
    );
}

#[test]
fn the_first_that_injects_wins_and_nobody_after_it_is_asked() {
    let chain = vec![
        declines("a", InjectionError::NotFound("none".into())),
        Scripted::edits("b", vec![literal("FROM", "b")]),
        Scripted::answering("c", |_, _| panic!("c must not be asked")),
    ];
    let mutation =
        mutate(&mutator(Profile::FlyteV1, chain), &pod_asking(2, json!({ "containers": [{ "name": "main" }] })));
    assert_eq!(mutation.requests.iter().map(|report| report.attempts.len()).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(mutation.outcome.unwrap().patch.len(), 1);
}

#[test]
fn an_injector_whose_edits_fail_leaves_nothing_behind() {
    let chain = vec![
        Scripted::edits(
            "bad",
            vec![literal("LEFT", "1"), annotation("a", "1", AnnotationCollision::IfAbsent), mount("nowhere", "/x")],
        ),
        Scripted::edits("good", vec![literal("GOOD", "1")]),
    ];
    let pod = mutate(&mutator(Profile::FlyteV1, chain), &pod_asking(1, json!({ "containers": [{ "name": "main" }] })));
    let pod = pod.outcome.expect("good injects").pod.into_json();
    assert_eq!(pod["spec"]["containers"][0]["env"], json!([{ "name": "GOOD", "value": "1" }]));
    assert_eq!(pod["metadata"]["annotations"]["a"], json!(null));
}

#[test]
fn an_injector_whose_edits_fail_takes_nothing_of_the_others_away() {
    let chain = vec![
        Scripted::edits("bad", vec![literal("LEFT", "1"), mount("nowhere", "/x")]),
        Scripted::answering("good", |request, _| {
            Ok(Ok(vec![literal(&request.key, "1"), memory_volume("m"), mount("m", "/m")]))
        }),
    ];
    let pod = pod_asking(2, json!({ "containers": [{ "name": "main", "env": [{ "name": "OWN" }] }] }));
    let mutation = mutate(&mutator(Profile::FlyteV1, chain), &pod);
    let spec = mutation.outcome.expect("good injects").pod.into_json()["spec"].take();
    let names = json!([{ "name": "OWN" }, { "name": "key-0", "value": "1" }, { "name": "key-1", "value": "1" }]);
    assert_eq!(spec["containers"][0]["env"], names);
    assert_eq!(spec["volumes"], json!([{ "name": "m", "emptyDir": { "medium": "Memory" } }]));
}

#[test]
fn two_injectors_that_want_one_name_for_different_things_are_both_named() {
    let only = |key: &'static str, name: &'static str, edits: Vec<ampoule_core::PodEdit>| {
        Scripted::answering(name, move |request, _| {
            if request.key == key { Ok(Ok(edits.clone())) } else { Ok(Err(InjectionError::NotFound("none".into()))) }
        })
    };
    let cases = [
        (
            literal("A", "1"),
            literal("A", "2"),
            "environment variable A is wanted for different values, by injector one and by injector two",
        ),
        (
            memory_volume("v"),
            secret_volume("v", "s", &[]),
            "volume v is injector one's and holds something else than injector two wants",
        ),
        (
            annotation("a", "1", AnnotationCollision::MustOwn),
            annotation("a", "2", AnnotationCollision::MustOwn),
            "annotation a has another value by injector one than injector two needs",
        ),
    ];
    for (first, second, expected) in cases {
        let chain = vec![only("key-0", "one", vec![first]), only("key-1", "two", vec![second])];
        let pod = pod_asking(2, json!({ "containers": [{ "name": "main" }] }));
        let refusal = mutate(&mutator(Profile::FlyteV2, chain), &pod).outcome.expect_err("they contradict each other");
        assert_eq!(refusal.code.http(), 400);
        assert!(refusal.message.ends_with(&format!("two: conflict: {expected}")), "{}", refusal.message);
    }
}

#[test]
fn on_failure_admit_lets_the_pod_in_unchanged_with_a_warning() {
    let injectors = vec![declines("a", InjectionError::NotFound("none".into()))];
    let mutator = PodMutator::new(injectors, Profile::FlyteV1.conventions(), OnFailure::Admit);
    let admitted = mutate(&mutator, &pod_asking(1, json!({ "containers": [] }))).outcome.expect("it is admitted");
    assert!(admitted.patch.is_empty());
    assert_eq!(
        admitted.warnings,
        [
            "admitted without its secrets (onFailure: admit): secret group/key-0 (annotation flyte.secrets/s0, mount any) \
          could not be injected: a: not found: none"
        ]
    );
}

#[test]
fn a_long_refusal_is_cut_at_four_kibibytes() {
    let injectors = (0..20).map(|_| declines("a", InjectionError::NotFound("ü".repeat(256)))).collect();
    let pod = pod_asking(1, json!({ "containers": [] }));
    let message = mutate(&mutator(Profile::FlyteV1, injectors), &pod).outcome.unwrap_err().message;
    assert!(message.len() <= 4096 && message.ends_with(" … (shortened)"), "{} bytes", message.len());
}

#[test]
fn a_bad_annotation_is_refused_and_named() {
    let mut pod = pod_asking(0, json!({ "containers": [] }));
    pod["metadata"]["annotations"]["flyte.secrets/s0"] = json!("99");
    let refusal = mutate(&mutator(Profile::FlyteV1, vec![]), &pod).outcome.unwrap_err();
    assert_eq!(refusal.code.http(), 400);
    assert_eq!(refusal.message, "annotation flyte.secrets/s0: illegal base32 data at input byte 0");
}

#[test]
fn a_pod_that_asks_for_nothing_is_admitted_without_a_patch() {
    let pod = Pod::parse(json!({ "metadata": {}, "spec": { "containers": [] } })).unwrap();
    let mutation = pollster::block_on(mutator(Profile::FlyteV1, vec![]).mutate(&pod, "team-a"));
    assert!(mutation.requests.is_empty() && mutation.outcome.unwrap().patch.is_empty());
}
