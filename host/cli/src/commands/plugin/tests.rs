//! `plugin test` with a built-in plugin and folders of cases, and what its answers look like.
//!
//! Secret values and second answers stand in tests of the parts; no built-in plugin gives either.

use std::{fs, path::Path};

use ampoule_core::{EnvSource, EnvVar, PodEdit, SecretValue};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Builder;

use super::{answer::Answer, case::Case, *};

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
--- CASES/never-recorded.expected.yaml
+++ answer
@@ -0,0 +1,2 @@
+error:
+  invalidRequest: \"k8s Secrets Webhook require both key and group to be set. Secret: [db/]\"
0 of 2 cases as expected
";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
    folder
}

/// What is printed of the cases in a folder, asked of `k8s`.
fn tested(folder: &Path, bless: bool) -> (String, bool) {
    let builtins = ampoule_plugin_bundle::COMPONENTS;
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let source = source("builtin:k8s", builtins).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let bench = Workbench::new(Some(cache.path().join("cache"))).unwrap();
    runtime.block_on(async {
        let component = fetch(&source, RegistriesConfig::default(), builtins).await.unwrap();
        test::run(&bench, &source, &component, &Case::all(folder).unwrap(), bless).await.unwrap()
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
        tested(folder.path(), true),
        ("recorded a\nrecorded b\nrecorded c\n3 of 3 cases recorded\n".into(), true)
    );
    assert_eq!(fs::read_to_string(folder.path().join("b.expected.yaml")).unwrap(), EXPECTED);
    assert_eq!(
        tested(folder.path(), false),
        ("ok       a\nok       b\nok       c\n3 of 3 cases as expected\n".into(), true)
    );
}

#[test]
fn shows_what_is_not_as_expected() {
    let folder = folder(&[
        ("a.yaml", "request: { group: db, key: password, mount: env-var, envVar: PASSWORD }\n"),
        ("a.expected.yaml", &EXPECTED.replace("name: PASSWORD", "name: OTHER")),
        ("never-recorded.yaml", "request: { group: db }\n"),
    ]);
    let (text, good) = tested(folder.path(), false);
    assert!(!good);
    assert_eq!(text.replace(folder.path().to_str().unwrap(), "CASES"), DIFFERENT);
}

#[test]
fn says_what_is_wrong_with_a_case() {
    let cases: [(&[(&str, &str)], &str); 10] = [
        (&[], "DIR holds no case; a case is a file NAME.yaml"),
        (&[("a.expected.yaml", "edits: []")], "DIR holds no case; a case is a file NAME.yaml"),
        (
            &[("a.yaml", ""), ("b.expected.yaml", "edits: []")],
            "DIR/b.expected.yaml is the answer to no case; remove it, or write its case",
        ),
        (&[("a.yaml", ""), ("a.json", "")], "DIR holds two cases of the name a"),
        (
            &[("a.yaml", "request: { mount: nowhere }")],
            "DIR/a.yaml, line 1, column 19: request.mount: unknown variant `nowhere`, expected one of any, env-var, file",
        ),
        (
            &[("a.yaml", "requests: []")],
            "DIR/a.yaml, line 1, column 1: requests: unknown field `requests`, expected one of settings, grants, given, profile, request, pod",
        ),
        (
            &[("a.yaml", "grants: { http: { hosts: [127.0.0.1] } }")],
            "DIR/a.yaml: grants.http.hosts[0]: \"127.0.0.1\" is a loopback address, which no plugin may call",
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
            &[("a.yaml", "pod: { kind: Service }")],
            "DIR/a.yaml: pod: expected kind Pod and apiVersion v1, got kind Service and apiVersion (not set)",
        ),
    ];
    for (files, expected) in cases {
        let folder = folder(files);
        let error = format!("{:#}", Case::all(folder.path()).unwrap_err());
        assert_eq!(error.replace(folder.path().to_str().unwrap(), "DIR"), expected);
    }
}

#[test]
fn a_secret_value_is_shown_only_where_the_case_has_it() {
    let value = SecretValue::new(b"hunter2".to_vec());
    let answer =
        Answer::Edits(vec![PodEdit::SetEnv(EnvVar { name: "A".into(), source: EnvSource::SecretValue(value) })]);
    let document = |value: serde_json::Value| json!({ "edits": [{ "setEnv": { "name": "A", "source": { "secretValue": value } } }] });
    let known = document(json!({ "text": "hunter2" }));
    assert_eq!(answer.document(Some(&known)), known);
    for other in
        [None, Some(document(json!({ "text": "hunter3" }))), Some(document(json!("redacted"))), Some(json!({}))]
    {
        assert_eq!(answer.document(other.as_ref()), document(json!("redacted")));
    }
    assert!(!format!("{answer:?}").contains("hunter2"));
    // Nor where it is compared: beside another difference, in the place of another value, or of one that is not known.
    let renamed =
        json!({ "edits": [{ "setEnv": { "name": "B", "source": { "secretValue": { "text": "hunter2" } } } }] });
    for (expected, actual) in
        [(&known, &renamed), (&known, &document(json!("redacted"))), (&known, &json!({ "edits": [] }))]
    {
        let shown = test::diff(("expected", Some(expected)), ("answer", actual)).unwrap();
        assert!(shown.starts_with("--- expected\n+++ answer\n") && !shown.contains("hunter2"), "{shown}");
    }
    assert!(test::knows_more(&known, &document(json!("redacted"))), "recording would forget it");
    assert!(!test::knows_more(&known, &known) && !test::knows_more(&document(json!("redacted")), &known));
}

#[test]
fn two_values_make_two_answers() {
    let answer = |value: &str| {
        let value = EnvSource::SecretValue(SecretValue::new(value.into()));
        Answer::Edits(vec![PodEdit::SetEnv(EnvVar { name: "A".into(), source: value })])
    };
    assert_eq!(answer("one"), answer("one"));
    assert_ne!(answer("one"), answer("two"));
}
