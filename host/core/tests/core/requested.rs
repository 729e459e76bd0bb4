//! The form that a pod's author requests: names, paths, modes, containers, optional secrets, and
//! the injector. The profile `plain`, and the warning about `$(NAME)` in Flyte's profiles.

use std::sync::Arc;

use ampoule_core::{
    Annotation, AnnotationCollision, Delivery, EnvSource, EnvVar, FileSource, InjectionError, NoDelivery, PodEdit,
    Profile, SecretFile, SecretInjector, SecretRequest, SecretValue, Unavailable,
};
use serde_json::{Value, json};

use crate::{
    edits::{literal, memory_volume, mount, puller, secret_env, secret_volume},
    support::{Scripted, mutate, mutated, mutator},
};

/// Answers as the plugin `k8s` does in the profiles of Flyte.
fn references(request: &SecretRequest) -> Vec<PodEdit> {
    let SecretRequest { group, key, env_var, mount: requested, .. } = request;
    if request.all_keys {
        let folder = format!("/etc/flyte/secrets/{group}");
        return vec![secret_volume(&format!("v-{group}"), group, &[]), mount(&format!("v-{group}"), &folder)];
    }
    if *requested != ampoule_core::MountRequirement::EnvVar {
        let folder = format!("/etc/flyte/secrets/{}", group.to_lowercase());
        let mut edits = vec![
            secret_volume(&format!("v-{group}"), group, &[(key, &key.to_lowercase())]),
            mount(&format!("v-{group}"), &folder),
            literal("FLYTE_SECRETS_DEFAULT_DIR", "/etc/flyte/secrets"),
            literal("FLYTE_SECRETS_FILE_PREFIX", ""),
        ];
        let path = format!("{folder}/{}", key.to_lowercase());
        edits.extend(env_var.iter().map(|name| literal(name, &path)));
        return edits;
    }
    let mut edits = vec![secret_env(&format!("_FSEC_{group}_{key}").to_uppercase(), group, key)];
    edits.extend(env_var.iter().map(|name| secret_env(name, group, key)));
    edits.push(literal("FLYTE_SECRETS_ENV_PREFIX", "_FSEC_"));
    edits
}

pub(crate) fn k8s() -> Arc<dyn SecretInjector> {
    Scripted::answering("k8s", |request, _| Ok(Ok(references(request))))
}

pub(crate) fn pod(entries: &str, containers: Value) -> Value {
    json!({
        "metadata": { "annotations": { "ampoule.dev/secrets": entries } },
        "spec": { "containers": containers, "initContainers": [{ "name": "setup" }] },
    })
}

pub(crate) fn app_and_proxy() -> Value {
    json!([{ "name": "app", "env": [{ "name": "OWN", "value": "1" }] }, { "name": "proxy" }])
}

/// One line for each variable, mount and volume of a pod.
pub(crate) fn lines(pod: &Value) -> Vec<String> {
    let empty = Vec::new();
    let list = |value: &'_ Value| value.as_array().unwrap_or(&empty).clone();
    let mut lines = Vec::new();
    for container in list(&pod["spec"]["initContainers"]).iter().chain(&list(&pod["spec"]["containers"])) {
        let name = container["name"].as_str().unwrap();
        for variable in list(&container["env"]) {
            let reference = &variable["valueFrom"]["secretKeyRef"];
            let source = match variable["value"].as_str() {
                Some(value) => value.to_owned(),
                None if reference.is_null() => String::new(),
                None => format!("{}/{}", reference["name"].as_str().unwrap(), reference["key"].as_str().unwrap()),
            };
            let optional = if reference["optional"] == true { " optional" } else { "" };
            lines.push(format!("{name}: {} = {source}{optional}", variable["name"].as_str().unwrap()));
        }
        for source in list(&container["envFrom"]) {
            let optional = if source["secretRef"]["optional"] == true { " optional" } else { "" };
            let prefix = source["prefix"].as_str().unwrap_or_default();
            lines.push(format!("{name}: {prefix}* = {}{optional}", source["secretRef"]["name"].as_str().unwrap()));
        }
        for mount in list(&container["volumeMounts"]) {
            lines.push(format!("{name}: mount {}", mount["mountPath"].as_str().unwrap()));
        }
    }
    for volume in list(&pod["spec"]["volumes"]) {
        for source in list(&volume["projected"]["sources"]) {
            let optional = if source["secret"]["optional"] == true { " optional" } else { "" };
            if source["secret"]["items"].is_null() {
                let mode = volume["projected"]["defaultMode"].as_u64().unwrap();
                lines
                    .push(format!("files = {}/* mode 0{mode:o}{optional}", source["secret"]["name"].as_str().unwrap()));
            }
            for item in list(&source["secret"]["items"]) {
                let mode = item["mode"].as_u64().map(|mode| format!(" mode 0{mode:o}")).unwrap_or_default();
                let (name, key) = (source["secret"]["name"].as_str().unwrap(), item["key"].as_str().unwrap());
                lines.push(format!("file {} = {name}/{key}{mode}{optional}", item["path"].as_str().unwrap()));
            }
        }
        if !volume["secret"].is_null() {
            lines.push(format!("volume {}", volume["secret"]));
        }
    }
    lines
}

/// Compares the lines of a pod, without those of its own variable, and reviews it twice.
#[track_caller]
pub(crate) fn check(profile: Profile, entries: &str, expected: &[&str]) {
    let mutator = mutator(profile, vec![k8s()]);
    let once = mutated(&mutator, &pod(entries, app_and_proxy()));
    assert_eq!(lines(&once), expected, "{entries}");
    assert_eq!(mutated(&mutator, &once), once, "a second review changes nothing: {entries}");
}

#[track_caller]
pub(crate) fn refuses(injectors: Vec<Arc<dyn SecretInjector>>, entries: &str, expected: &str) {
    let refusal = mutate(&mutator(Profile::Plain, injectors), &pod(entries, app_and_proxy())).outcome.unwrap_err();
    assert_eq!(refusal.message, expected, "{entries}");
}

#[test]
fn plain_has_only_the_requested_name_before_the_pods_own_variables() {
    check(
        Profile::Plain,
        "[{group: db, key: pass-word}, {group: db, key: user, env: TF_VAR_user, containers: [app]}]",
        &[
            "setup: DB_PASS_WORD = db/pass-word optional",
            "app: TF_VAR_user = db/user optional",
            "app: DB_PASS_WORD = db/pass-word optional",
            "app: OWN = 1",
            "proxy: DB_PASS_WORD = db/pass-word optional",
        ],
    );
    let own = json!([{ "name": "app", "env": [{ "name": "DB_PASSWORD", "value": "mine" }] }]);
    let mutator = mutator(Profile::Plain, vec![k8s()]);
    let entries = "[{group: db, key: password}]";
    let once = mutated(&mutator, &pod(entries, own.clone()));
    assert_eq!(lines(&once), ["setup: DB_PASSWORD = db/password optional", "app: DB_PASSWORD = mine"]);
    let warnings = mutate(&mutator, &pod(entries, own)).outcome.unwrap().warnings;
    let kept = "environment variable DB_PASSWORD of container app keeps its value; the secret is not injected";
    assert_eq!(warnings, [kept]);
}

#[test]
fn plain_names_the_variable_of_an_answer_that_has_only_another_name() {
    for (answer, expected) in [
        (vec![secret_env("DB_PASSWORD", "db", "password")], vec!["app: PASS = db/password optional"]),
        // Two secrets: the host does not know which one the author named.
        (
            vec![secret_env("A", "db", "user"), secret_env("B", "db", "password")],
            vec!["app: B = db/password optional", "app: A = db/user optional"],
        ),
        (vec![literal("ADDRESS", "db:1")], vec!["app: ADDRESS = db:1"]),
    ] {
        let mutator = mutator(Profile::Plain, vec![Scripted::edits("one", answer)]);
        let pod = pod("[{group: db, key: password, env: PASS, containers: [app]}]", json!([{ "name": "app" }]));
        assert_eq!(lines(&mutated(&mutator, &pod)), expected);
    }
}

#[test]
fn a_request_in_flytes_form_has_the_default_name_under_plain() {
    let request = SecretRequest {
        group: "db".to_owned(),
        key: "pass-word".to_owned(),
        mount: ampoule_core::MountRequirement::EnvVar,
        ..SecretRequest::default()
    };
    let pod = json!({
        "metadata": { "annotations": { "flyte.secrets/s0": request.to_flyte_annotation() } },
        "spec": { "containers": [{ "name": "app" }] },
    });
    let lines = lines(&mutated(&mutator(Profile::Plain, vec![k8s()]), &pod));
    assert_eq!(lines, ["app: DB_PASS_WORD = db/pass-word optional"]);
}

#[test]
fn a_file_has_the_requested_path_and_mode_in_every_profile() {
    for (profile, flyte) in [
        (Profile::Plain, vec![]),
        (Profile::FlyteV1, vec!["FLYTE_SECRETS_DEFAULT_DIR = /etc/flyte/secrets", "FLYTE_SECRETS_FILE_PREFIX = "]),
    ] {
        let mutator = mutator(profile, vec![k8s()]);
        let entries = "[{group: TLS, key: ca.crt, path: /etc/app/, mode: 0440, env: CA, containers: [proxy]}]";
        let once = mutated(&mutator, &pod(entries, app_and_proxy()));
        let mut expected = vec!["app: OWN = 1".to_owned()];
        expected.extend(flyte.iter().map(|variable| format!("proxy: {variable}")));
        expected.extend(
            ["proxy: CA = /etc/app/ca.crt", "proxy: mount /etc/app", "file ca.crt = TLS/ca.crt mode 0440 optional"]
                .map(str::to_owned),
        );
        let mut found = lines(&once);
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{profile}");
        assert_eq!(mutated(&mutator, &once), once, "{profile}");
    }
}

#[test]
fn the_pods_author_decides_whether_a_secret_is_optional() {
    for (optional, suffix) in [(true, " optional"), (false, "")] {
        check(
            Profile::Plain,
            &format!(
                "[{{group: db, key: k, containers: [app], optional: {optional}}}, \
                 {{group: db, key: f, path: /etc/app/f, containers: [app], optional: {optional}}}]"
            ),
            &[
                &format!("app: DB_K = db/k{suffix}"),
                "app: OWN = 1",
                "app: mount /etc/app",
                &format!("file f = db/f{suffix}"),
            ],
        );
    }
}

#[test]
fn containers_can_have_different_secrets_under_one_name() {
    check(
        Profile::Plain,
        "[{group: a, key: k, env: TOKEN, containers: [app]}, {group: b, key: k, env: TOKEN, containers: [proxy]},
          {group: a, key: f, path: /etc/app/token, containers: [app]},
          {group: b, key: f, path: /etc/app/token, containers: [proxy, setup]}]",
        &[
            "setup: mount /etc/app",
            "app: TOKEN = a/k optional",
            "app: OWN = 1",
            "app: mount /etc/app",
            "proxy: TOKEN = b/k optional",
            "proxy: mount /etc/app",
            "file token = a/f optional",
            "file token = b/f optional",
        ],
    );
    refuses(
        vec![k8s()],
        "[{group: a, key: k, env: TOKEN, containers: [app]}, {group: c, key: k, env: X, containers: [proxy]},
          {group: b, key: k, env: TOKEN}]",
        "secret b/k (annotation ampoule.dev/secrets[2], mount env-var) could not be injected: k8s: conflict: \
         environment variable TOKEN has different values from injector k8s for ampoule.dev/secrets[0] and injector \
         k8s for ampoule.dev/secrets[2]; request them under different names, or for different containers",
    );
}

#[test]
fn an_unknown_container_or_injector_is_refused_before_any_call() {
    let never = || Scripted::answering("k8s", |_, _| panic!("no injector is called"));
    refuses(
        vec![never()],
        "[{group: a, key: k}, {group: a, key: k, containers: [app, ap]}]",
        "annotation ampoule.dev/secrets[1].containers: the pod has no container \"ap\"; it has app, proxy, setup",
    );
    refuses(
        vec![never()],
        "[{group: a, key: k, injector: vault}]",
        "annotation ampoule.dev/secrets[0].injector: no injector has the name \"vault\"; the administrator of the \
         cluster knows the names",
    );
}

#[test]
fn a_request_that_names_an_injector_asks_no_other() {
    let never = Scripted::answering("first", |_, _| panic!("another injector is named"));
    let mutator = mutator(Profile::Plain, vec![never, k8s()]);
    let pod = pod("[{group: db, key: k, injector: k8s, containers: [app]}]", json!([{ "name": "app" }]));
    assert_eq!(lines(&mutated(&mutator, &pod)), ["app: DB_K = db/k optional"]);
}

#[test]
fn an_answer_that_cannot_have_the_form_is_refused_with_the_reason() {
    let annotation =
        || Annotation { key: "a/b".to_owned(), value: "c".to_owned(), collision: AnnotationCollision::IfAbsent };
    let place = "pull does not write one file whose path and mode the host can set";
    let whole = "pull changes the whole pod for this secret, so containers cannot restrict it";
    for (edits, entry, reason) in [
        (vec![memory_volume("m"), puller("p", "m", None), mount("m", "/x")], "path: /etc/a/b", place),
        (vec![memory_volume("m"), puller("p", "m", None), mount("m", "/x")], "file: true, containers: [app]", whole),
        (vec![PodEdit::SetAnnotation(annotation())], "file: true, mode: 0400", place),
        (vec![PodEdit::SetAnnotation(annotation())], "file: true, containers: [app]", whole),
        (vec![secret_volume("v", "s", &[]), mount("v", "/x")], "path: /etc/a/b", place),
        (vec![PodEdit::AddImagePullSecret("s".to_owned())], "env: A, containers: [app]", whole),
    ] {
        let mount = if entry.starts_with("env") { "env-var" } else { "file" };
        refuses(
            vec![Scripted::edits("pull", edits)],
            &format!("[{{group: g, key: k, {entry}}}]"),
            &format!(
                "secret g/k (annotation ampoule.dev/secrets[0], mount {mount}) could not be injected: pull: \
                 unsupported: {reason}"
            ),
        );
    }
}

#[test]
fn a_pod_starts_without_an_optional_secret_that_no_backend_has() {
    let declines = |error: InjectionError| Scripted::answering("store", move |_, _| Ok(Err(error.clone())));
    let absent = InjectionError::NotFound("no".to_owned());
    let optional = pod("[{group: db, key: k, optional: true}]", json!([{ "name": "app" }]));
    let mutator_of =
        |errors: &[InjectionError]| mutator(Profile::Plain, errors.iter().cloned().map(declines).collect());
    let unsupported = InjectionError::Unsupported("no".to_owned());
    let admitted = mutate(&mutator_of(&[unsupported.clone(), absent.clone()]), &optional).outcome.unwrap();
    assert!(admitted.patch.0.is_empty());
    let warning = "secret db/k (annotation ampoule.dev/secrets[0]) does not exist; the pod starts without it";
    assert_eq!(admitted.warnings, [warning]);
    let unavailable = InjectionError::Unavailable(Unavailable::from("down".to_owned()));
    for errors in [
        vec![unsupported],
        vec![absent.clone(), unavailable],
        vec![absent.clone(), InjectionError::Denied("no".to_owned())],
        vec![absent.clone(), InjectionError::Internal("no".to_owned())],
    ] {
        assert!(mutate(&mutator_of(&errors), &optional).outcome.is_err(), "{errors:?}");
    }
    let required = pod("[{group: db, key: k}]", json!([{ "name": "app" }]));
    assert!(mutate(&mutator_of(&[absent]), &required).outcome.is_err());
}

#[test]
fn a_fetched_value_has_the_requested_form_too() {
    let value = || SecretValue::new(b"hush".to_vec());
    let file = PodEdit::WriteFile(SecretFile {
        path: "/etc/secrets/g/k".to_owned(),
        mode: None,
        source: FileSource::SecretValue(value()),
    });
    let variable = PodEdit::SetEnv(EnvVar { name: "_X_K".to_owned(), source: EnvSource::SecretValue(value()) });
    let injector = Scripted::answering("store", move |request, _| {
        let is_file = request.mount == ampoule_core::MountRequirement::File;
        Ok(Ok(vec![if is_file { file.clone() } else { variable.clone() }]))
    });
    let mutator = mutator(Profile::Plain, vec![injector]).with_delivery(vec![Delivery::Secret], Arc::new(NoDelivery));
    let entries = "[{group: g, key: k, env: TOKEN, containers: [app]},
                    {group: g, key: k, path: /run/app/t, mode: 0400, containers: [app]}]";
    let once = mutated(&mutator, &pod(entries, app_and_proxy()));
    let found: Vec<_> = lines(&once).iter().map(|line| line.split(" = ampoule").next().unwrap().to_owned()).collect();
    assert_eq!(found, ["app: TOKEN", "app: OWN = 1", "app: mount /run/app", "file t"]);
    assert!(lines(&once)[3].ends_with("/t mode 0400"), "{:?}", lines(&once));
    assert_eq!(mutated(&mutator, &once), once);
}

#[test]
fn a_reference_that_is_not_expanded_is_named_under_flyte_and_expands_under_plain() {
    let env = json!([
        { "name": "DB_HOST", "value": "db.shop.svc" },
        { "name": "DB_URL", "value": "postgres://app:$(DB_PASSWORD)@$(DB_HOST)/app" },
        { "name": "LITERAL", "value": "$$(DB_PASSWORD)" },
    ]);
    let containers = json!([{
        "name": "app",
        "env": env,
        "command": ["psql", "$(DB_PASSWORD)"],
        "args": ["$(DB_PASSWORD)"],
    }, { "name": "other", "env": [{ "name": "X", "value": "$(DB_PASSWORD)" }] }]);
    let entries = "- { group: db, key: password, env: DB_PASSWORD, containers: [app] }";
    let shop = pod(entries, containers);
    let warning = "environment variable DB_URL of container app keeps the text $(DB_PASSWORD), because the secret is \
                   injected after it (conventions.envPlacement)";
    let elsewhere = "environment variable X of container other keeps the text $(DB_PASSWORD), because only other \
                     containers get the secret";
    for (profile, expected) in [
        (Profile::FlyteV1, vec![warning, elsewhere]),
        (Profile::FlyteV2, vec![elsewhere]),
        (Profile::Plain, vec![elsewhere]),
    ] {
        let mutator = mutator(profile, vec![k8s()]);
        assert_eq!(mutate(&mutator, &shop).outcome.unwrap().warnings, expected, "{profile}");
        let once = mutated(&mutator, &shop);
        let names = once["spec"]["containers"][0]["env"].as_array().unwrap();
        let position = |name: &str| names.iter().position(|variable| variable["name"] == name).unwrap();
        let expands = position("DB_PASSWORD") < position("DB_URL");
        assert_eq!(expands, expected == [elsewhere], "{profile}");
    }
}
