//! Bodies that are accepted and refused, and the bytes of each answer.
//!
//! No message may repeat a value of the body, so the tables quote every message in full.

use serde_json::{Value, json};

use super::*;

fn review(request: &Value) -> Vec<u8> {
    json!({ "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request })
        .to_string()
        .into_bytes()
}

fn pod() -> Value {
    json!({ "metadata": { "generateName": "train-", "namespace": "own" }, "spec": { "containers": [] } })
}

#[track_caller]
fn refuses(body: impl AsRef<[u8]>, expected: &str) {
    assert_eq!(parse(body.as_ref()).unwrap_err().to_string(), expected);
}

#[test]
fn reports_why_a_body_is_not_a_review() {
    let other = "the body is not an AdmissionReview of admission.k8s.io/v1 or admission.k8s.io/v1beta1";
    refuses("", "the body is empty; an AdmissionReview is expected");
    refuses(" \n\t", "the body is empty; an AdmissionReview is expected");
    refuses("canary", "the body is not readable JSON: expected value at line 1 column 1");
    refuses(b"\xff\xfe", "the body is not readable JSON: expected value at line 1 column 1");
    refuses(
        "{\"kind\": \"AdmissionReview\"",
        "the body is not readable JSON: EOF while parsing an object at line 1 column 26",
    );
    refuses("{} canary", "the body is not readable JSON: trailing characters at line 1 column 4");
    refuses("[".repeat(100_000), "the body is not readable JSON: recursion limit exceeded at line 1 column 128");
    for text in ["null", "1", "\"canary\"", "[]", "{}", r#"{"kind":"Pod","apiVersion":"v1"}"#] {
        refuses(text, other);
    }
    refuses(r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v2"}"#, other);
    refuses(r#"{"kind":"Review","apiVersion":"admission.k8s.io/v1"}"#, other);
    refuses(r#"{"kind":"AdmissionReview","apiVersion":1}"#, other);
}

#[test]
fn skips_fields_that_are_not_needed() {
    let deep = ["[".repeat(1000), "]".repeat(1000)].concat();
    for unknown in ["\"\\ud800\"", &deep, "{\"uid\":1,\"object\":1}"] {
        let head = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"7""#;
        let body = format!("{head},\"userInfo\":{unknown},\"object\":{}}}}}", pod());
        let request = parse(body.as_bytes()).unwrap();
        assert_eq!(request.subject, ReviewSubject::Pod(Pod::parse(pod()).unwrap()), "{unknown}");
    }
}

#[test]
fn bounds_the_parsed_body_in_memory() {
    let list = |length: usize| format!("[0{}]", ",0".repeat(length - 1));
    refuses(list(MAX_VALUES), "the body holds more than 100000 values");
    refuses(
        list(MAX_VALUES - 1),
        "the body is not an AdmissionReview of admission.k8s.io/v1 or admission.k8s.io/v1beta1",
    );
    let text = format!(r#"["{}\"{}"]"#, ",".repeat(MAX_VALUES), "[".repeat(MAX_VALUES));
    refuses(text, "the body is not an AdmissionReview of admission.k8s.io/v1 or admission.k8s.io/v1beta1");
}

/// A pod of `count` containers as an API server sends it: with the managed fields of its creation.
fn large_pod(count: usize) -> Value {
    let names = || (0..10).map(|number| format!("VARIABLE_{number}"));
    let env: Vec<_> = names().map(|name| json!({ "name": name, "value": "some value" })).collect();
    let mounts: Vec<_> = (0..4)
        .map(|number| json!({ "name": "data", "mountPath": format!("/data/{number}"), "readOnly": true }))
        .collect();
    let probe = json!({ "httpGet": { "path": "/", "port": 80 }, "periodSeconds": 10, "failureThreshold": 3 });
    let container = json!({
        "name": "main", "image": "registry.example/team/image:1", "command": ["run"], "args": ["--a", "--b"],
        "env": env, "volumeMounts": mounts, "livenessProbe": probe, "readinessProbe": probe,
        "resources": { "limits": { "cpu": "1", "memory": "1Gi" }, "requests": { "cpu": "1", "memory": "1Gi" } },
        "ports": [{ "name": "http", "containerPort": 80, "protocol": "TCP" }], "imagePullPolicy": "Always",
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
    });
    let managed: Value = (0..count).map(|number| (format!("k:{number}"), managed_fields(&container))).collect();
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": { "generateName": "train-", "managedFields": [{ "fieldsV1": { "f:spec": managed } }] },
        "spec": { "containers": vec![container; count] },
    })
}

/// The fields of a value as server-side apply tracks them; a list has one entry per element.
fn managed_fields(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (format!("f:{key}"), managed_fields(value))).collect()
        }
        Value::Array(elements) if elements[0].is_object() => {
            elements.iter().enumerate().map(|(key, value)| (format!("k:{key}"), managed_fields(value))).collect()
        }
        _ => json!({}),
    }
}

#[test]
fn a_pod_of_the_maximum_number_of_containers_is_within_the_limit_of_values() {
    let body = review(&json!({ "uid": "7f", "object": large_pod(400) }));
    let values = DocumentShape::count(&body).values;
    assert!((MAX_VALUES / 3..MAX_VALUES).contains(&values), "{values}");
    assert!(matches!(parse(&body).unwrap().subject, ReviewSubject::Pod(_)));
}

#[test]
fn only_new_ephemeral_containers_of_a_pod_are_reviewed() {
    let pod = |names: &[&str]| {
        let containers: Vec<_> = names.iter().map(|name| json!({ "name": name })).collect();
        json!({ "kind": "Pod", "spec": { "containers": [], "ephemeralContainers": containers } })
    };
    let update = |sub_resource: &str, object: Value, old: Value| {
        let request = json!({
            "uid": "7f", "operation": "UPDATE", "subResource": sub_resource, "object": object, "oldObject": old,
        });
        parse(&review(&request)).unwrap().subject
    };
    let subject = update("ephemeralcontainers", pod(&["old", "new"]), pod(&["old"]));
    assert_eq!(subject, ReviewSubject::Pod(Pod::parse_update(pod(&["old", "new"]), &pod(&["old"])).unwrap()));
    assert_ne!(subject, ReviewSubject::Pod(Pod::parse(pod(&["old", "new"])).unwrap()));
    // An old object that is not a pod has no containers.
    let all_new = ReviewSubject::Pod(Pod::parse_update(pod(&["a"]), &Value::Null).unwrap());
    assert_eq!(update("ephemeralcontainers", pod(&["a"]), json!([7])), all_new);
    let of_1_20 = json!({ "kind": "EphemeralContainers", "ephemeralContainers": [] });
    assert_eq!(update("ephemeralcontainers", of_1_20, Value::Null), ReviewSubject::OutOfScope);
    for other in ["", "status", "resize"] {
        assert_eq!(update(other, pod(&["a"]), pod(&[])), ReviewSubject::OutOfScope, "{other:?}");
    }
}

#[test]
fn names_the_field_that_is_wrong() {
    refuses(review(&Value::Null), "request must be an object");
    refuses(review(&json!(["canary"])), "request must be an object");
    refuses(review(&json!({})), "request.uid must be given");
    refuses(review(&json!({ "uid": "" })), "request.uid must be given");
    refuses(review(&json!({ "uid": 7 })), "request.uid must be a string");
    refuses(review(&json!({ "uid": "u", "namespace": [] })), "request.namespace must be a string");
    for namespace in ["kube-system/configmaps/coredns?", "..", "Default", "-a", "a-", &"a".repeat(64)] {
        let request = json!({ "uid": "u", "namespace": namespace });
        refuses(review(&request), "request.namespace must be the name of a namespace");
        let object = json!({ "uid": "u", "object": { "metadata": { "namespace": namespace } } });
        refuses(review(&object), "request.namespace must be the name of a namespace");
    }
    refuses(review(&json!({ "uid": "u", "name": 1 })), "request.name must be a string");
    refuses(review(&json!({ "uid": "u", "operation": {} })), "request.operation must be a string");
    refuses(review(&json!({ "uid": "u", "subResource": true })), "request.subResource must be a string");
}

#[test]
fn reads_the_api_servers_requests() {
    let request = parse(&review(&json!({
        "uid": "7f", "operation": "CREATE", "namespace": "flyte", "dryRun": true, "object": pod(), "brandNew": [1],
    })));
    let request = request.unwrap();
    assert_eq!(request.identity, ReviewIdentity { version: ReviewVersion::V1, uid: "7f".to_owned() });
    assert_eq!((request.namespace.as_str(), request.name.as_str(), request.dry_run), ("flyte", "train-", true));
    assert_eq!(request.subject, ReviewSubject::Pod(Pod::parse(pod()).unwrap()));
}

#[test]
fn falls_back_to_the_pods_namespace() {
    let request = parse(&review(&json!({ "uid": "7f", "object": pod() }))).unwrap();
    assert_eq!(request.namespace, "own");
}

#[test]
fn leaves_other_operations_out_of_scope() {
    let request = |changes: Value| {
        let mut request = json!({ "uid": "7f", "operation": "CREATE", "object": pod() });
        request.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        parse(&review(&request)).unwrap().subject
    };
    for operation in ["UPDATE", "DELETE", "CONNECT", "create"] {
        assert_eq!(request(json!({ "operation": operation })), ReviewSubject::OutOfScope, "{operation}");
    }
    assert_eq!(request(json!({ "subResource": "ephemeralcontainers" })), ReviewSubject::OutOfScope);
    assert_eq!(request(json!({ "object": null })), ReviewSubject::OutOfScope);
    assert!(matches!(request(json!({})), ReviewSubject::Pod(_)));
}

#[test]
fn an_object_that_is_not_a_pod_gets_a_review() {
    for object in [json!({ "kind": "Service", "apiVersion": "v1" }), json!([]), json!("x"), json!({ "spec": 1 })] {
        let request = parse(&review(&json!({ "uid": "7f", "object": object }))).unwrap();
        assert!(matches!(request.subject, ReviewSubject::NotAPod(_)), "{:?}", request.subject);
    }
}

fn answer(version: ReviewVersion, verdict: &Verdict) -> String {
    String::from_utf8(respond(&Reply {
        identity: ReviewIdentity { version, uid: "7f".to_owned() },
        verdict: verdict.clone(),
        audit: None,
    }))
    .unwrap()
}

fn allowed(patch: Value, warnings: &[&str]) -> Verdict {
    let warnings = warnings.iter().copied().map(str::to_owned).collect();
    Verdict::Allowed { patch: serde_json::from_value(patch).unwrap(), warnings }
}

#[test]
fn answers_in_the_version_of_the_request() {
    let unchanged = Verdict::unchanged();
    assert_eq!(
        answer(ReviewVersion::V1, &unchanged),
        r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"7f","allowed":true}}"#
    );
    assert_eq!(
        answer(ReviewVersion::V1Beta1, &unchanged),
        r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1","response":{"uid":"7f","allowed":true}}"#
    );
}

#[test]
fn a_patch_is_base64_with_its_type() {
    let verdict = allowed(json!([{ "op": "remove", "path": "/a" }]), &[]);
    let response =
        r#"{"uid":"7f","allowed":true,"patchType":"JSONPatch","patch":"W3sib3AiOiJyZW1vdmUiLCJwYXRoIjoiL2EifV0="}"#;
    let expected = format!(r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{response}}}"#);
    assert_eq!(answer(ReviewVersion::V1, &verdict), expected);
}

#[test]
fn a_refusal_carries_code_reason_and_message() {
    let verdict =
        Verdict::Refused { code: 403, reason: "Forbidden", message: "no \"x\"".to_owned(), retry_after: None };
    let status = r#"{"status":"Failure","message":"no \"x\"","reason":"Forbidden","code":403}"#;
    let response = format!(r#"{{"uid":"7f","allowed":false,"status":{status}}}"#);
    for (version, name) in [(ReviewVersion::V1, "v1"), (ReviewVersion::V1Beta1, "v1beta1")] {
        let expected =
            format!(r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/{name}","response":{response}}}"#);
        assert_eq!(answer(version, &verdict), expected);
    }
}

#[test]
fn warnings_fit_the_limits_and_are_omitted_in_v1beta1() {
    let long = "ä".repeat(300);
    let verdict = allowed(json!([]), &["two\nlines", &long]);
    let review: Value = serde_json::from_str(&answer(ReviewVersion::V1, &verdict)).unwrap();
    let warnings = review["response"]["warnings"].as_array().unwrap();
    assert_eq!(warnings[0], "two lines");
    assert_eq!(warnings[1], format!("{}…", "ä".repeat(254)));
    assert!(!answer(ReviewVersion::V1Beta1, &verdict).contains("warnings"));
}
