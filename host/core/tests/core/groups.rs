//! Requests for several secrets in one entry: every key of a group, and the template of a file.
//!
//! The host makes the variables and files, so that a plugin answers such a request as any other.

use std::sync::Arc;

use ampoule_core::{
    Delivery, FileSource, InjectionError, NamingKey, NoDelivery, PodEdit, PodVersions, Profile, PromiseOf, SecretFile,
    SecretValue, VERSIONS_ANNOTATION, ValueSource,
};

use crate::{
    delivery::Recorder,
    edits::{literal, mount, secret_env, secret_volume},
    requested::{app_and_proxy, check, k8s, lines, pod, refuses},
    support::{Scripted, mutate, mutated, mutator},
};

#[test]
fn all_keys_of_a_kubernetes_secret_are_variables_or_files() {
    check(
        Profile::Plain,
        "[{group: db, keys: all, envPrefix: DB_}, {group: db, keys: all, containers: [app], optional: false}]",
        &[
            "setup: DB_* = db optional",
            "app: OWN = 1",
            "app: * = db",
            "app: DB_* = db optional",
            "proxy: DB_* = db optional",
        ],
    );
    check(
        Profile::FlyteV1,
        "[{group: tls, keys: all, path: /etc/app, mode: 0440, containers: [app]},
          {group: tls, keys: all, file: true, containers: [proxy]}]",
        &[
            "app: OWN = 1",
            "app: mount /etc/app",
            "proxy: mount /etc/flyte/secrets/tls",
            "files = tls/* mode 0440 optional",
            "files = tls/* mode 0444 optional",
        ],
    );
}

#[test]
fn all_keys_of_a_fetched_value_are_its_fields() {
    let answering = |text: &'static str| {
        Scripted::answering("store", move |request, _| {
            assert!(request.all_keys);
            let source = FileSource::SecretValue(SecretValue::new(text.as_bytes().to_vec()));
            Ok(Ok(vec![PodEdit::WriteFile(SecretFile { path: "/etc/secrets/db".to_owned(), mode: None, source })]))
        })
    };
    let mutator_of = |text| {
        mutator(Profile::Plain, vec![answering(text)]).with_delivery(vec![Delivery::Secret], Arc::new(NoDelivery))
    };
    let entries = "[{group: db, keys: all, envPrefix: DB_, containers: [app]},
                    {group: db, keys: all, mode: 0400, containers: [proxy]}]";
    let entries = &entries.replace("mode: 0400,", "path: /etc/app, mode: 0400,");
    let once = mutated(&mutator_of(r#"{"user": "shop", "port": 5432}"#), &pod(entries, app_and_proxy()));
    let found: Vec<_> = lines(&once).iter().map(|line| line.split(" = ampoule").next().unwrap().to_owned()).collect();
    let expected = ["app: DB_user", "app: DB_port", "app: OWN = 1", "proxy: mount /etc/app", "file port", "file user"];
    assert_eq!(found, expected);
    assert_eq!(mutated(&mutator_of(r#"{"user": "shop", "port": 5432}"#), &once), once);
    let unnamed = "a key of the value cannot name a variable, or names a variable of the system; set envPrefix, or \
                   request the keys that you need";
    for (text, entry, reason) in [
        ("hush", "", "the value is not a JSON object, so it has no keys; request the whole value"),
        (r#"{"a=b": 1}"#, "", unnamed),
        (r#"{"PATH": 1}"#, "", unnamed),
        (r#"{"../x": 1}"#, ", path: /etc/app", "a key of the value cannot name a file; request the keys that you need"),
    ] {
        let pod = pod(&format!("[{{group: db, keys: all{entry}}}]"), app_and_proxy());
        let message = mutate(&mutator_of(text), &pod).outcome.unwrap_err().message;
        assert!(message.ends_with(&format!(": store: invalid request: {reason}")), "{message}");
    }
}

#[test]
fn an_answer_for_all_keys_has_one_of_two_forms() {
    for edits in [
        vec![],
        vec![secret_env("A", "db", "k")],
        vec![secret_volume("v", "db", &[("k", "k")]), mount("v", "/x")],
        vec![secret_volume("v", "db", &[]), mount("w", "/x")],
        vec![secret_volume("v", "db", &[]), mount("v", "/x"), secret_env("A", "db", "k")],
    ] {
        refuses(
            vec![Scripted::edits("one", edits)],
            "[{group: db, keys: all}]",
            "secret db/* (annotation ampoule.dev/secrets[0], mount env-var) could not be injected: one: unsupported: \
             one does not deliver all keys of a group; request each key",
        );
    }
}

const DSN: &str = "- path: /etc/app/dsn
  mode: 0400
  env: DSN_FILE
  containers: [app]
  template: '{{ secret \"db\" \"user\" }}:{{ secret \"db\" \"password\" }}@{{ secret \"db\" \"user\" }}'";

#[test]
fn a_template_is_one_file_in_the_secret_that_carries_its_values() {
    let injector = Scripted::answering("store", |request, _| {
        let source = FileSource::SecretValue(SecretValue::new(format!("<{}>", request.key).into_bytes()));
        Ok(Ok(vec![PodEdit::WriteFile(SecretFile { path: "/etc/secrets/x".to_owned(), mode: None, source })]))
    });
    let mutator = mutator(Profile::Plain, vec![injector]).with_delivery(vec![Delivery::Secret], Arc::new(NoDelivery));
    let mutation = mutate(&mutator, &pod(DSN, app_and_proxy()));
    let [secret] = mutation.secrets.as_slice() else { panic!("{:?}", mutation.secrets) };
    let data: Vec<_> = secret.data.iter().map(|(key, value)| (key.as_str(), value.to_vec())).collect();
    assert_eq!(data, [("dsn", b"<user>:<password>@<user>".to_vec())]);
    assert_eq!(mutation.requests.len(), 2, "each secret has a report");
    let once = mutated(&mutator, &pod(DSN, app_and_proxy()));
    let found: Vec<_> = lines(&once).iter().map(|line| line.split(" = ampoule").next().unwrap().to_owned()).collect();
    assert_eq!(found, ["app: DSN_FILE = /etc/app/dsn", "app: OWN = 1", "app: mount /etc/app", "file dsn"]);
    assert!(lines(&once)[3].ends_with("/dsn mode 0400"), "{:?}", lines(&once));
    assert_eq!(mutated(&mutator, &once), once);
}

#[test]
fn the_versions_of_a_pod_are_those_of_the_fetched_values() {
    let fetched = |promise: &str, text: &str| {
        let source = ValueSource { promise: promise.to_owned(), version: None };
        SecretValue::new(text.as_bytes().to_vec()).with_source(source)
    };
    let injector = Scripted::answering("store", move |request, _| {
        let value = if request.all_keys { fetched("all", r#"{"a": 1}"#) } else { fetched(&request.key, "hush") };
        let source = FileSource::SecretValue(value);
        Ok(Ok(vec![PodEdit::WriteFile(SecretFile { path: "/etc/secrets/x".to_owned(), mode: None, source })]))
    });
    let mutator =
        mutator(Profile::Plain, vec![injector]).with_delivery(vec![Delivery::Secret], Arc::new(Recorder::default()));
    let list = format!("{DSN}\n- {{ group: db, keys: all, envPrefix: DB_ }}");
    let once = mutated(&mutator, &pod(&list, app_and_proxy()));
    let text = once["metadata"]["annotations"][VERSIONS_ANNOTATION].as_str().unwrap();
    let key = NamingKey::new([0; NamingKey::BYTES]);
    let versions = PodVersions::read(text, "team-a", &key).unwrap();
    let found: Vec<_> = versions.iter().map(|(promise, version)| (promise.promise.as_str(), version)).collect();
    let expected = [("all", r#"{"a": 1}"#), ("password", "hush"), ("user", "hush")].map(|(name, text)| {
        let promise = PromiseOf { injector: "store".to_owned(), promise: name.to_owned() };
        (name, key.version(&promise, &fetched(name, text)))
    });
    let expected: Vec<_> = expected.iter().map(|(name, version)| (*name, version.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_template_of_several_injectors_has_the_versions_of_all_of_them() {
    let store = |name: &'static str, key: &'static str| {
        Scripted::answering(name, move |request, _| {
            if request.key != key {
                return Ok(Err(InjectionError::NotFound("none".into())));
            }
            let origin = ValueSource { promise: format!("{name}:{key}"), version: None };
            let source = FileSource::SecretValue(SecretValue::new(b"hush".to_vec()).with_source(origin));
            Ok(Ok(vec![PodEdit::WriteFile(SecretFile { path: "/etc/secrets/x".to_owned(), mode: None, source })]))
        })
    };
    for (first, second) in [("user", "password"), ("password", "user")] {
        let chain = vec![store("one", first), store("two", second)];
        let mutator = mutator(Profile::Plain, chain)
            .with_delivery(vec![Delivery::Secret, Delivery::Secret], Arc::new(Recorder::default()));
        let once = mutated(&mutator, &pod(DSN, app_and_proxy()));
        let text = once["metadata"]["annotations"][VERSIONS_ANNOTATION].as_str().unwrap();
        let versions = PodVersions::read(text, "team-a", &NamingKey::new([0; NamingKey::BYTES])).unwrap();
        let found: Vec<_> =
            versions.iter().map(|(promise, _)| (promise.injector.clone(), promise.promise.clone())).collect();
        let expected = [("one", first), ("two", second)];
        assert_eq!(found, expected.map(|(name, key)| (name.to_owned(), format!("{name}:{key}"))));
        assert_eq!(mutated(&mutator, &once), once);
    }
}

#[test]
fn a_template_needs_values_of_one_delivery() {
    let value = |key: &str| {
        let source = match key {
            "user" => FileSource::Promise("p".to_owned()),
            _ => FileSource::SecretValue(SecretValue::new(b"hush".to_vec())),
        };
        PodEdit::WriteFile(SecretFile { path: "/etc/secrets/x".to_owned(), mode: None, source })
    };
    let head = "annotation ampoule.dev/secrets[0].template, mount file) could not be injected: ";
    let references = "k8s: unsupported: k8s refers to a Kubernetes Secret, whose value only the kubelet reads; a \
                      template needs an injector that fetches the value";
    let mutator_of = |injector, delivery| {
        mutator(Profile::Plain, vec![injector]).with_delivery(vec![delivery], Arc::new(NoDelivery))
    };
    let mixed = || Scripted::answering("store", move |request, _| Ok(Ok(vec![value(&request.key)])));
    for (mutator, expected) in [
        (mutator_of(k8s(), Delivery::Secret), format!("secret db/user ({head}{references}")),
        (
            mutator_of(Scripted::edits("store", vec![literal("A", "b")]), Delivery::Secret),
            format!(
                "secret db/user ({head}store: unsupported: store does not write one file, whose value a template needs"
            ),
        ),
        (
            mutator_of(Scripted::edits("store", vec![value("k")]), Delivery::Reference),
            format!(
                "secret db/user ({head}store: denied: the plugin fetched a value, and its delivery is `reference` \
                 (injectors[].delivery of store)"
            ),
        ),
        (mutator_of(mixed(), Delivery::Secret), format!("secret db/user ({head}store: ")),
    ] {
        let message = mutate(&mutator, &pod(DSN, app_and_proxy())).outcome.unwrap_err().message;
        assert!(message.starts_with(&expected), "{message}");
    }
    let large = Scripted::answering("store", |_, _| {
        let source = FileSource::SecretValue(SecretValue::new(vec![b'x'; 400 << 10]));
        Ok(Ok(vec![PodEdit::WriteFile(SecretFile { path: "/etc/secrets/x".to_owned(), mode: None, source })]))
    });
    let message = mutate(&mutator_of(large, Delivery::Secret), &pod(DSN, app_and_proxy())).outcome.unwrap_err().message;
    assert!(message.ends_with("invalid request: the file of the template would be larger than 1024 KiB"), "{message}");
}
