//! `plugin test` with a built-in plugin and directories of cases, and the documents of answers.
//!
//! Secret values and differing answers are tested without a plugin, because no built-in plugin
//! returns either.

mod agreement;
mod guests;

use std::{fs, path::Path};

use ampoule_core::{EnvSource, EnvVar, InjectionError, PodEdit, SecretValue, Unavailable};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Builder;

use super::{
    answer::CaseAnswer,
    case::Case,
    test::{self, TestOptions},
    workbench::{Workbench, without_frames},
};
use crate::commands::component::{fetch_component, parse_source};
use ampoule_config::RegistriesConfig;

const EXPECTED: &str = "edits:
- setEnv:
    name: _FSEC_DB_PASSWORD
    source:
      secretKey:
        name: db
        key: password
        optional: true
- setEnv:
    name: PASSWORD
    source:
      secretKey:
        name: db
        key: password
        optional: true
- setEnv:
    name: FLYTE_SECRETS_ENV_PREFIX
    source:
      literal: _FSEC_
";

const DIFFERENT: &str = "FAILED   a
--- CASES/a.expected.yaml
+++ answer
@@ -7,7 +7,7 @@
         key: password
         optional: true
 - setEnv:
-    name: OTHER
+    name: PASSWORD
     source:
       secretKey:
         name: db
FAILED   never-recorded
no expected answer yet; --bless records this one:
error:
  invalidRequest: \"k8s Secrets Webhook require both key and group to be set. Secret: [db/]\"
0 of 2 cases as expected
";

pub(super) fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
    folder
}

/// Runs the cases of a directory with the plugin `k8s`.
fn run_cases(folder: &Path, bless: bool) -> (String, bool) {
    let builtins = ampoule_plugin_bundle::COMPONENTS;
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let source = parse_source("builtin:k8s", builtins).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let bench = Workbench::new(Some(cache.path().join("cache"))).unwrap();
    runtime.block_on(async {
        let component = fetch_component(&source, RegistriesConfig::default(), builtins).await.unwrap();
        let options = TestOptions { bless, ..TestOptions::default() };
        test::run_cases(&bench, &source, &component, &Case::load_all(folder).unwrap(), options).await.unwrap()
    })
}

#[test]
fn records_answers_and_then_expects_them() {
    let folder = folder(&[
        ("b.json", r#"{ "request": { "group": "db", "key": "password", "mount": "env-var", "envVar": "PASSWORD" } }"#),
        ("a.yaml", "request: { key: password }\n"),
        ("c.yml", "settings: { nonsense: 1 }\n"),
        ("notes.md", "not a case"),
    ]);
    assert_eq!(
        run_cases(folder.path(), true),
        ("recorded a\nrecorded b\nrecorded c\n3 of 3 cases recorded\n".into(), true)
    );
    assert_eq!(fs::read_to_string(folder.path().join("b.expected.yaml")).unwrap(), EXPECTED);
    assert_eq!(
        run_cases(folder.path(), false),
        ("ok       a\nok       b\nok       c\n3 of 3 cases as expected\n".into(), true)
    );
}

#[test]
fn the_time_of_a_retry_is_compared_if_the_case_has_it() {
    let unavailable = |retry_after| Unavailable { text: "busy".to_owned(), retry_after };
    let answer = |retry_after| CaseAnswer::Error(InjectionError::Unavailable(unavailable(retry_after)));
    let with_time = |seconds| json!({ "error": { "unavailable": { "text": "busy", "retryAfterSeconds": seconds } } });
    let text_only = json!({ "error": { "unavailable": "busy" } });
    for (retry_after, expected, document) in [
        (None, None, text_only.clone()),
        (Some(17), None, with_time(json!(17))),
        (Some(17), Some(text_only.clone()), text_only.clone()),
        (Some(17), Some(with_time(json!(5))), with_time(json!(17))),
        (None, Some(with_time(json!(5))), with_time(json!(null))),
    ] {
        assert_eq!(answer(retry_after).document(expected.as_ref()), document);
    }
}

#[test]
fn the_place_of_a_hidden_difference_is_named() {
    let sent =
        |token: &str| json!({ "edits": [], "sent": [{ "headers": { "x-kind": "kv", "authorization": token } }] });
    let place = test::different_place(&sent("a"), &sent("b"), String::new());
    assert_eq!(place.as_deref(), Some("sent[0].headers.authorization"));
    assert_eq!(test::different_place(&sent("a"), &sent("a"), String::new()), None);
    let dotted = |value: &str| json!({ "a.example/b": "same", "c": value });
    assert_eq!(test::different_place(&dotted("1"), &dotted("2"), String::new()).as_deref(), Some("c"));
}

#[test]
fn the_frames_of_an_interpreter_are_not_part_of_a_report() {
    let frames = "error while executing at wasm backtrace:\n    0: 0xaa1dc7 - libc.so!abort";
    assert_eq!(without_frames(&format!("KeyError: 'account'\n{frames}")), "KeyError: 'account'");
    assert_eq!(without_frames(frames), frames, "they are all that is known");
}

#[test]
fn records_the_resulting_pod_and_then_expects_it() {
    for name in ["pod.json", "web.yaml"] {
        let case = format!("request: {{ group: db, key: password, mount: env-var }}\nresult: {name}\n");
        let folder = folder(&[("a.yaml", &case), ("b.yaml", "request: { key: password }\n")]);
        let path = folder.path().join(name);
        let (text, passed) = run_cases(folder.path(), false);
        assert!(!passed && text.starts_with("FAILED   a\n"), "{text}");
        assert_eq!(run_cases(folder.path(), true).0, "recorded a\nrecorded b\n2 of 2 cases recorded\n");
        let recorded = fs::read_to_string(&path).unwrap();
        let pod: serde_json::Value = ampoule_config::parse_document(&recorded).unwrap();
        assert_eq!(pod["spec"]["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"]["name"], "db");
        assert_eq!(recorded.starts_with('{'), name.ends_with("json"), "{recorded}");
        assert_eq!(run_cases(folder.path(), false).0, "ok       a\nok       b\n2 of 2 cases as expected\n");

        fs::write(&path, recorded.replace("password", "other")).unwrap();
        let (text, passed) = run_cases(folder.path(), false);
        assert!(!passed && text.contains("+++ resulting pod") && text.contains("other"), "{text}");
    }
}

#[test]
fn a_pod_that_is_refused_is_no_result() {
    let folder = folder(&[("a.yaml", "request: { key: password }\nresult: pod.json\n")]);
    let (text, passed) = run_cases(folder.path(), true);
    let expected =
        "FAILED   a\nno pod results from the case, which expects that of CASES/pod.json\n0 of 1 cases recorded\n";
    assert_eq!((text.replace(folder.path().to_str().unwrap(), "CASES").as_str(), passed), (expected, false));
    assert!(!folder.path().join("pod.json").exists());
}

#[test]
fn shows_the_difference_from_the_expected_answer() {
    let folder = folder(&[
        ("a.yaml", "request: { group: db, key: password, mount: env-var, envVar: PASSWORD }\n"),
        ("a.expected.yaml", &EXPECTED.replace("name: PASSWORD", "name: OTHER")),
        ("never-recorded.yaml", "request: { group: db }\n"),
    ]);
    let (text, passed) = run_cases(folder.path(), false);
    assert!(!passed);
    assert_eq!(text.replace(folder.path().to_str().unwrap(), "CASES"), DIFFERENT);
}

#[test]
fn rejects_an_invalid_case() {
    let cases: [(&[(&str, &str)], &str); 16] = [
        (&[], "DIR contains no case: add a file NAME.yaml"),
        (&[("a.expected.yaml", "edits: []")], "DIR contains no case: add a file NAME.yaml"),
        (
            &[("a.yaml", ""), ("b.expected.yaml", "edits: []")],
            "DIR/b.expected.yaml has no case: remove the file or add the case",
        ),
        (&[("a.yaml", ""), ("a.json", "")], "DIR contains two cases named a"),
        (
            &[("a.yaml", "request: { mount: nowhere }")],
            "DIR/a.yaml, line 1, column 19: request.mount: unknown variant `nowhere`, expected one of any, env-var, file",
        ),
        (
            &[("a.yaml", "result: ../pod.json")],
            "DIR/a.yaml: result: must be the name of a file in the directory of the cases, NAME.json or NAME.yaml",
        ),
        (
            &[("a.yaml", ""), ("pod.json", "{ \"kind\": \"Pod\" }")],
            "DIR/pod.json, line 1, column 3: kind: unknown field `kind`, expected one of settings, grants, given, profile, limits, edits, request, requests, pod, result",
        ),
        (&[("a.yaml", "requests: []")], "DIR/a.yaml: requests: must contain at least one request"),
        (
            &[("a.yaml", "grants: { http: { hosts: [127.0.0.1] } }")],
            "DIR/a.yaml: grants.http.hosts[0]: \"127.0.0.1\" is a loopback address, which plugins may not call",
        ),
        (
            &[("a.yaml", "grants: { environment: [PATH] }")],
            "DIR/a.yaml: grants.environment[0]: PATH has no value in given.environment",
        ),
        (
            &[("a.yaml", "given: { http: [{ url: a }] }")],
            "DIR/a.yaml: given.http[0].url: must be https://HOST[:PORT]/PATH",
        ),
        (
            &[("a.yaml", "request: { key: a }\nrequests: [{ key: b }]")],
            "DIR/a.yaml: requests: cannot be combined with request",
        ),
        (&[("a.yaml", "limits: { memoryMiB: 0 }")], "DIR/a.yaml: limits.memoryMiB: must be between 1 and 4096, not 0"),
        (
            &[("a.yaml", "edits: { images: ['a*b'] }")],
            "DIR/a.yaml: edits.images[0]: \"a*b\" has a `*` that is not at its end",
        ),
        (
            &[("a.yaml", "given: { http: [{ url: 'https://a.example/', error: hang }] }")],
            "DIR/a.yaml, line 1, column 53: given.http[0].error: unknown variant `hang`, expected one of connection-refused, timeout, tls",
        ),
        (
            &[("a.yaml", "pod: { kind: Service }")],
            "DIR/a.yaml: pod: expected kind Pod and apiVersion v1, got kind Service and apiVersion (not set)",
        ),
    ];
    for (files, expected) in cases {
        let folder = folder(files);
        let error = format!("{:#}", Case::load_all(folder.path()).unwrap_err());
        assert_eq!(error.replace(folder.path().to_str().unwrap(), "DIR"), expected);
    }
}

#[test]
fn a_case_that_is_nested_too_deeply_is_rejected_in_plain_words() {
    let folder = folder(&[("a.yaml", &format!("settings: {{ a: {}{} }}", "[".repeat(200), "]".repeat(200)))]);
    let error = format!("{:#}", Case::load_all(folder.path()).unwrap_err());
    assert!(error.ends_with(": is nested too deeply"), "{error}");
}

#[test]
fn shows_a_secret_value_only_if_the_case_contains_it() {
    let value = SecretValue::new(b"hunter2".to_vec());
    let answer =
        CaseAnswer::Edits(vec![PodEdit::SetEnv(EnvVar { name: "A".into(), source: EnvSource::SecretValue(value) })]);
    let document = |value: serde_json::Value| json!({ "edits": [{ "setEnv": { "name": "A", "source": { "secretValue": value } } }] });
    let known = document(json!({ "text": "hunter2" }));
    assert_eq!(answer.document(Some(&known)), known);
    for other in
        [None, Some(document(json!({ "text": "hunter3" }))), Some(document(json!("redacted"))), Some(json!({}))]
    {
        assert_eq!(answer.document(other.as_ref()), document(json!("redacted")));
    }
    assert!(!format!("{answer:?}").contains("hunter2"));
    // A diff hides the value as well: next to another difference, and against a hidden or a missing
    // value.
    let renamed =
        json!({ "edits": [{ "setEnv": { "name": "B", "source": { "secretValue": { "text": "hunter2" } } } }] });
    for (expected, actual) in
        [(&known, &renamed), (&known, &document(json!("redacted"))), (&known, &json!({ "edits": [] }))]
    {
        let shown = test::diff(("expected", Some(expected)), ("answer", actual)).unwrap();
        assert!(shown.starts_with("--- expected\n+++ answer\n") && !shown.contains("hunter2"), "{shown}");
    }
    assert!(test::hides_expected_secret(&known, &document(json!("redacted"))), "recording would lose the value");
    assert!(
        !test::hides_expected_secret(&known, &known)
            && !test::hides_expected_secret(&document(json!("redacted")), &known)
    );
}

#[test]
fn answers_with_different_secret_values_differ() {
    let answer = |value: &str| {
        let value = EnvSource::SecretValue(SecretValue::new(value.into()));
        CaseAnswer::Edits(vec![PodEdit::SetEnv(EnvVar { name: "A".into(), source: value })])
    };
    assert_eq!(answer("one"), answer("one"));
    assert_ne!(answer("one"), answer("two"));
}
