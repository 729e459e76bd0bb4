//! Tests of the chain: the order of calls, the messages of refusals, and failed injectors, which
//! leave no edits behind.
//!
//! Messages are compared in full, because the pod's author reads them in `kubectl`.

use ampoule_core::{
    AnnotationCollision, EnvSource, EnvVar, FailureKind, InjectionError, InjectorFailure, Pod, PodEdit, Profile,
    SecretInjector, SecretRequest, SecretValue,
};
use serde_json::json;
use std::sync::Arc;

use crate::{
    edits::{annotation, literal, memory_volume, mount, one_container},
    support::{Scripted, mutate, mutated, mutator, pod_asking},
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
    let refusal = mutate(&mutator(Profile::FlyteV1, injectors), &pod).outcome.expect_err("no injector injects");
    let head = "secret group/key-0 (annotation flyte.secrets/s0, mount any) could not be injected";
    assert_eq!((refusal.code.http(), refusal.message.strip_prefix(head)), (code, Some(message)));
}

#[test]
fn a_refusal_lists_all_injectors_in_order_and_has_the_code_of_the_worst_answer() {
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
        ": a: not found: no such secret; b: unsupported: files only; \
         c: invalid request: key is empty",
    );
    refused(
        vec![not_found(), declines("b", Unavailable("throttled".to_owned().into()))],
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
        vec![declines("a", Unavailable("x".to_owned().into())), declines("b", Denied("not yours".into())), not_found()],
        403,
        ": a: unavailable: x; b: denied: not yours",
    );
}

#[test]
fn no_injector_is_called_after_the_first_that_injects() {
    let chain = vec![
        declines("a", InjectionError::NotFound("none".into())),
        Scripted::edits("b", vec![literal("FROM", "b")]),
        Scripted::answering("c", |_, _| panic!("c must not be called")),
    ];
    let mutation = mutate(&mutator(Profile::FlyteV1, chain), &pod_asking(2, one_container()));
    assert_eq!(mutation.requests.iter().map(|report| report.attempts.len()).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(mutation.outcome.unwrap().patch.len(), 1);
}

#[test]
fn an_injector_with_a_failed_edit_leaves_no_edits_behind() {
    let chain = vec![
        Scripted::edits(
            "bad",
            vec![literal("LEFT", "1"), annotation("a", "1", AnnotationCollision::IfAbsent), mount("nowhere", "/x")],
        ),
        Scripted::edits("good", vec![literal("GOOD", "1")]),
    ];
    let pod = pod_asking(1, json!({ "containers": [{ "name": "main" }] }));
    let pod = mutated(&mutator(Profile::FlyteV1, chain), &pod);
    assert_eq!(pod["spec"]["containers"][0]["env"], json!([{ "name": "GOOD", "value": "1" }]));
    assert_eq!(pod["metadata"]["annotations"]["a"], json!(null));
}

#[test]
fn a_failed_edit_keeps_the_edits_of_other_injectors() {
    let chain = vec![
        Scripted::edits("bad", vec![literal("LEFT", "1"), mount("nowhere", "/x")]),
        Scripted::answering("good", |request, _| {
            Ok(Ok(vec![literal(&request.key, "1"), memory_volume("m"), mount("m", "/m")]))
        }),
    ];
    let pod = pod_asking(
        2,
        json!({
            "containers": [{ "name": "main", "env": [{ "name": "OWN" }] }],
        }),
    );
    let spec = mutated(&mutator(Profile::FlyteV1, chain), &pod)["spec"].take();
    let names = json!([
        { "name": "OWN" },
        { "name": "key-0", "value": "1" },
        { "name": "key-1", "value": "1" },
    ]);
    assert_eq!(spec["containers"][0]["env"], names);
    assert_eq!(spec["volumes"], json!([{ "name": "m", "emptyDir": { "medium": "Memory" } }]));
}

#[test]
fn every_answer_determines_a_code() {
    use InjectionError::{Denied, Internal, InvalidRequest, NotFound, Unavailable, Unsupported};
    let words = || "words".to_owned();
    for (error, code, kind) in [
        (NotFound(words()), 400, "not found"),
        (Unsupported(words()), 400, "unsupported"),
        (InvalidRequest(words()), 400, "invalid request"),
        (Denied(words()), 403, "denied"),
        (Unavailable(words().into()), 503, "unavailable"),
        (Internal(words()), 500, "internal"),
    ] {
        refused(vec![declines("a", error)], code, &format!(": a: {kind}: words"));
    }
    use FailureKind::{Answer, Busy, Deadline, Limit, Start, Trap};
    for (kind, code) in [(Trap, 500), (Deadline, 503), (Limit, 500), (Answer, 500), (Busy, 503), (Start, 503)] {
        refused(vec![fails("f", kind)], code, ": f: plugin f 1.0.0 failed");
    }
    let rejected = || Scripted::edits("r", vec![mount("nowhere", "/x")]);
    let reason = ": r: returned an invalid edit: cannot mount volume nowhere, which neither the \
                  pod nor an earlier edit defines";
    refused(vec![rejected()], 500, reason);
    let later = declines("a", NotFound("none".into()));
    refused(vec![rejected(), later], 500, &format!("{reason}; a: not found: none"));
}

#[test]
fn a_conflict_ends_the_chain_with_a_bad_request() {
    let conflict = Scripted::edits("c", vec![literal("A", "1"), literal("A", "2")]);
    let never = Scripted::answering("never", |_, _| panic!("no injector may be called after a conflict"));
    refused(
        vec![declines("u", InjectionError::Unavailable("throttled".to_owned().into())), conflict, never],
        400,
        ": u: unavailable: throttled; c: conflict: environment variable A has different values \
         from injector c for flyte.secrets/s0 and injector c for flyte.secrets/s0; request them under different \
         names, or for different containers",
    );
}

#[track_caller]
fn long_refusal(injectors: Vec<Arc<dyn SecretInjector>>) -> String {
    let pod = pod_asking(1, json!({ "containers": [] }));
    let message = mutate(&mutator(Profile::FlyteV1, injectors), &pod).outcome.unwrap_err().message;
    assert!(message.len() <= 4096, "{} bytes", message.len());
    message
}

#[test]
fn a_long_refusal_names_all_injectors_in_four_kibibytes() {
    let reason = |i: usize| if i.is_multiple_of(2) { "short".to_owned() } else { "ü".repeat(1000) };
    let injectors = (0..20).map(|i| declines(&format!("injector-{i}"), InjectionError::NotFound(reason(i)))).collect();
    let message = long_refusal(injectors);
    assert!(message.len() > 4000, "the message uses the available length: {}", message.len());
    let parts: Vec<_> = message.split("; ").collect();
    assert_eq!(parts.len(), 20, "{message}");
    for (i, part) in parts.iter().enumerate() {
        let words = part.split(": ").skip(part.split(": ").count() - 3).collect::<Vec<_>>();
        assert_eq!(words[..2], [&*format!("injector-{i}"), "not found"]);
        assert!(if i.is_multiple_of(2) { words[2] == "short" } else { words[2].ends_with("üüü…") }, "{part}");
    }
}

#[test]
fn many_injectors_or_very_long_names_do_not_exceed_the_limit() {
    let none = |name: &str| declines(name, InjectionError::NotFound("none".into()));
    let message = long_refusal((0..100).map(|i| none(&format!("{i}-{}", "n".repeat(100)))).collect());
    assert!(message.ends_with(" … (shortened)"), "{message}");

    let long = "k".repeat(60_000);
    let request = SecretRequest { group: long.clone(), group_version: long.clone(), key: long, ..Default::default() };
    let mut pod = pod_asking(0, json!({ "containers": [] }));
    pod["metadata"]["annotations"][format!("flyte.secrets/s{}", "x".repeat(9999))] =
        json!(request.to_flyte_annotation());
    let message = mutate(&mutator(Profile::FlyteV1, vec![none("a"), none("b")]), &pod).outcome.unwrap_err().message;
    assert!(message.len() < 1200 && message.ends_with("could not be injected: a: not found: none; b: not found: none"));
}

#[test]
fn a_refusal_contains_no_values() {
    let secret = |name: &str, value: &str| {
        let source = EnvSource::SecretValue(SecretValue::new(value.as_bytes().to_vec()));
        PodEdit::SetEnv(EnvVar { name: name.into(), source })
    };
    let canary = "canary-value";
    let chain: [Vec<PodEdit>; 4] = [
        vec![secret("A", canary), secret("A", "canary-other")],
        vec![secret("A", canary), literal("A", "canary-public")],
        vec![secret("A=B", canary)],
        vec![secret("A", "canary\u{0}"), annotation("a", canary, AnnotationCollision::MustOwn), mount("no", "/x")],
    ];
    for edits in chain {
        let container = json!({ "name": "main", "env": [{ "name": "A", "value": canary }] });
        let mut pod = pod_asking(1, json!({ "containers": [container] }));
        pod["metadata"]["annotations"]["a"] = json!("canary-own");
        let mutation = mutate(&mutator(Profile::FlyteV2, vec![Scripted::edits("one", edits)]), &pod);
        let output = format!("{:?} {}", mutation.requests, mutation.outcome.unwrap_err().message);
        assert!(!output.contains("canary"), "{output}");
    }
}

#[test]
fn an_invalid_annotation_is_refused_and_named() {
    let mut pod = pod_asking(0, json!({ "containers": [] }));
    pod["metadata"]["annotations"]["flyte.secrets/s0"] = json!("99");
    let refusal = mutate(&mutator(Profile::FlyteV1, vec![]), &pod).outcome.unwrap_err();
    assert_eq!(refusal.code.http(), 400);
    assert_eq!(refusal.message, "annotation flyte.secrets/s0: illegal base32 data at input byte 0");
}

#[test]
fn a_pod_without_requests_is_admitted_without_a_patch() {
    let pod = Pod::parse(json!({ "metadata": {}, "spec": { "containers": [] } })).unwrap();
    let mutation = pollster::block_on(mutator(Profile::FlyteV1, vec![]).mutate(&pod, "team-a"));
    assert!(mutation.requests.is_empty() && mutation.outcome.unwrap().patch.is_empty());
}
