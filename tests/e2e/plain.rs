//! The profile `plain` and the fields of `ampoule.dev/secrets` through a real API server. A
//! simulated kubelet starts the containers, so that a missing Secret and the order of variables
//! count.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use ampoule_tests::{Ampoule, ApiServer, Container, Image, Namespace, Review, eventually, pod};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::support::{Guests, K8S, config, registered, v1};

/// A pod with two containers that print what they have.
fn asking(name: &str, list: &str) -> Value {
    let mut pod = pod(name);
    pod["metadata"]["labels"] = json!({ "ampoule.dev/inject": "true" });
    pod["metadata"]["annotations"] = json!({ "ampoule.dev/secrets": list });
    let print = "env | sort; cd /etc/app 2>/dev/null && test -n \"$(ls)\" && stat -c '%a %n' * && cat *; true";
    pod["spec"]["containers"] = json!([
        {
            "name": "app",
            "image": "example.org/app:1",
            "command": ["sh", "-c", print],
            "env": [
                { "name": "DB_HOST", "value": "db.shop.svc" },
                { "name": "DB_URL", "value": "postgres://app:$(DB_PASSWORD)@$(DB_HOST)/app" },
                { "name": "LITERAL", "value": "$$(DB_PASSWORD)" },
                { "name": "MINE", "value": "own" },
            ],
        },
        { "name": "proxy", "image": "example.org/proxy:1", "command": ["sh", "-c", print] },
    ]);
    pod
}

/// The output of each container, by its name.
#[allow(clippy::disallowed_methods, reason = "the containers run programs of this machine")]
async fn run(pod: Value, namespace: &Namespace) -> Result<BTreeMap<String, String>> {
    let path = "/usr/local/bin:/usr/bin:/bin".to_owned();
    let image = Image { env: [("PATH".to_owned(), path)].into(), folder: PathBuf::from("/") };
    let mut outputs = BTreeMap::new();
    for container in Container::all_of(pod, namespace).await? {
        let output = container.run(&image, Duration::from_secs(60)).await?;
        let lines = output.lines().filter(|line| !line.starts_with("PATH=") && !line.starts_with("PWD="));
        let own = lines.filter(|line| !["SHLVL=", "_=", "OLDPWD="].iter().any(|start| line.starts_with(start)));
        outputs.insert(container.name().to_owned(), own.collect::<Vec<_>>().join("\n"));
    }
    Ok(outputs)
}

#[tokio::test]
async fn a_pod_without_flyte_gets_what_its_author_wrote() -> Result<()> {
    let (namespace, _ampoule) = registered("plain", &config("plain", K8S)).await?;
    namespace.create_secret("db", &[("password", "s3cret"), ("user", "shop")]).await?;
    namespace.create_secret("tls", &[("ca.crt", "CA\n"), ("tls.key", "KEY\n")]).await?;
    let list = "
- { group: db, key: password }
- { group: db, key: user, env: TF_VAR_db_user, containers: [app] }
- { group: db, key: user, env: MINE }
- { group: tls, key: ca.crt, path: /etc/app/, env: CA_FILE }
- { group: tls, key: tls.key, path: /etc/app/server.key, mode: 0400 }
";
    let created = namespace.create_pod(&asking("task", list)).await?;
    assert!(!created["spec"].to_string().contains("FLYTE") && !created["spec"].to_string().contains("flyte"));
    let outputs = run(created, &namespace).await?;
    let files = "444 ca.crt\n400 server.key\nCA\nKEY";
    let app = format!(
        "CA_FILE=/etc/app/ca.crt\nDB_HOST=db.shop.svc\nDB_PASSWORD=s3cret\nDB_URL=postgres://app:s3cret@db.shop.svc/app\n\
         LITERAL=$(DB_PASSWORD)\nMINE=own\nTF_VAR_db_user=shop\n{files}"
    );
    assert_eq!(outputs["app"], app);
    assert_eq!(outputs["proxy"], format!("CA_FILE=/etc/app/ca.crt\nDB_PASSWORD=s3cret\nMINE=shop\n{files}"));
    Ok(())
}

#[tokio::test]
async fn a_missing_secret_or_key_keeps_a_pod_from_starting_unless_it_is_optional() -> Result<()> {
    let (namespace, _ampoule) = registered("plain-missing", &config("plain", K8S)).await?;
    namespace.create_secret("db", &[("user", "shop")]).await?;
    for (name, entry, expected) in [
        ("key", "{ group: db, key: password, containers: [proxy] }", Some("no key \"password\" in secret \"db\"")),
        ("group", "{ group: none, key: k, containers: [proxy] }", Some("no key \"k\" in secret \"none\"")),
        ("file", "{ group: none, key: k, path: /etc/app/k, containers: [proxy] }", Some("secret \"none\" not found")),
        ("optional", "{ group: none, key: k, optional: true, containers: [proxy] }", None),
        ("optional-file", "{ group: db, key: k, path: /etc/app/k, optional: true, containers: [proxy] }", None),
    ] {
        let created = namespace.create_pod(&asking(name, &format!("- {entry}"))).await?;
        let started = run(created, &namespace).await;
        match expected {
            None => assert_eq!(started.with_context(|| name)?["proxy"], "", "{name}"),
            Some(expected) => {
                let error = format!("{:#}", started.expect_err("the container does not start"));
                assert!(error.contains(expected), "{name}: {error}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_field_that_cannot_be_served_is_refused_with_its_place() -> Result<()> {
    let (namespace, _ampoule) = registered("plain-refused", &config("plain", K8S)).await?;
    for (entry, expected) in [
        (
            "{ group: db, key: k, containers: [sidecar] }",
            ".containers: the pod has no container \"sidecar\"; it has app, proxy",
        ),
        (
            "{ group: db, key: k, injector: vault }",
            ".injector: no injector has the name \"vault\"; the administrator of the cluster knows the names",
        ),
        (
            "{ group: db, key: k, path: k }",
            ".path: \"k\" must be the absolute path of a file in a folder, without :, .. and empty parts, such as \
             /etc/app/token; / at its end adds the key",
        ),
        ("{ group: db, key: k, file: true, mode: 999 }", ".mode: must be three or four octal digits, such as 0400"),
        ("{ group: db, key: k, env: A=B }", ".env: \"A=B\" must have printable ASCII characters other than = only"),
        ("{ group: db, key: k, optional: maybe }", ".optional: must be true or false"),
    ] {
        let list = format!("- {{ group: db, key: k }}\n- {entry}");
        let refusal = namespace.try_create_pod(&asking("task", &list)).await?.expect_err("a refusal");
        let expected = format!("annotation ampoule.dev/secrets[1]{expected}");
        assert_eq!((refusal.code, refusal.by("people.secrets")), (400, Some(expected.as_str())), "{refusal}");
    }
    Ok(())
}

#[tokio::test]
async fn a_reference_to_a_later_variable_is_a_warning_in_flytes_profile() -> Result<()> {
    let (namespace, _ampoule) = registered("plain-flyte", &v1()).await?;
    namespace.create_secret("db", &[("password", "s3cret")]).await?;
    let created = namespace.create_pod(&asking("task", "- { group: db, key: password, containers: [app] }")).await?;
    let outputs = run(created, &namespace).await?;
    assert!(outputs["app"].contains("DB_URL=postgres://app:$(DB_PASSWORD)@db.shop.svc/app"), "{}", outputs["app"]);
    Ok(())
}

#[tokio::test]
async fn all_keys_of_a_group_are_variables_or_files() -> Result<()> {
    let (namespace, _ampoule) = registered("plain-keys", &config("plain", K8S)).await?;
    namespace.create_secret("db", &[("user", "shop"), ("password", "s3cret")]).await?;
    let list = "
- { group: db, keys: all, envPrefix: DB_, containers: [proxy] }
- { group: db, keys: all, path: /etc/app, mode: 0440, containers: [proxy] }
- { group: none, keys: all, optional: true, containers: [proxy] }
";
    let outputs = run(namespace.create_pod(&asking("task", list)).await?, &namespace).await?;
    assert!(outputs["proxy"].starts_with("DB_password=s3cret\nDB_user=shop\n"), "{}", outputs["proxy"]);
    assert!(outputs["proxy"].ends_with("s3cretshop"), "{}", outputs["proxy"]);
    assert!(!outputs["app"].contains("s3cret"), "{}", outputs["app"]);
    let missing = namespace.create_pod(&asking("missing", "- { group: none, keys: all, containers: [proxy] }")).await?;
    let error = format!("{:#}", run(missing, &namespace).await.expect_err("the container does not start"));
    assert!(error.contains("secret \"none\" not found"), "{error}");
    Ok(())
}

#[tokio::test]
async fn all_keys_of_a_fetched_value_are_its_fields() -> Result<()> {
    let guests = Guests::write(&["secret_value"])?;
    let settings = r#"{ value: '{"user": "shop", "port": 5432, "ca.crt": "CA"}' }"#;
    let injector = guests.injector("secret_value", settings, "{ deadlineMillis: 5000, queueWaitMillis: 10000 }");
    let (namespace, _ampoule) = delivering("plain-fields", &injector).await?;
    let list = "
- { group: db, keys: all, envPrefix: DB_, containers: [proxy] }
- { group: db, keys: all, path: /etc/app/, mode: 0400, containers: [proxy] }
";
    let created = namespace.create_pod(&asking("task", list)).await?;
    assert!(!created.to_string().contains("5432"), "{created}");
    let outputs = run(created, &namespace).await?;
    // The shell drops the variable DB_ca.crt.
    let expected = "DB_port=5432\nDB_user=shop\n400 ca.crt\n400 port\n400 user\nCA5432shop";
    assert_eq!(outputs["proxy"], expected);
    let other = asking("other", "- { group: db, key: k, path: /etc/app/k, options: { a: b } }");
    let refusal = namespace.try_create_pod(&other).await?.expect_err("a refusal").to_string();
    assert!(refusal.contains("the plugin has no options; leave `options` out"), "{refusal}");
    Ok(())
}

#[tokio::test]
async fn options_reach_the_plugin() -> Result<()> {
    let guests = Guests::write(&["echo"])?;
    let injectors = guests.injector("echo", "{}", "{ deadlineMillis: 5000, queueWaitMillis: 10000 }");
    let (namespace, _ampoule) = registered("plain-options", &config("plain", &injectors)).await?;
    let list = "- { group: g, key: k, containers: [proxy], options: { suffix: -eu } }";
    let outputs = run(namespace.create_pod(&asking("task", list)).await?, &namespace).await?;
    assert_eq!(outputs["proxy"], "ECHO=k-eu");
    let list = "- { group: g, key: k, options: { ending: -eu } }";
    let refusal = namespace.try_create_pod(&asking("other", list)).await?.expect_err("a refusal").to_string();
    assert!(refusal.contains("option ending is not known; known options: suffix"), "{refusal}");
    Ok(())
}

/// A namespace and a process that creates Secrets with the values of this injector.
async fn delivering(name: &str, injector: &str) -> Result<(Namespace, Ampoule)> {
    let server = ApiServer::shared().await?;
    let namespace = server.namespace(name).await?;
    let own = server.namespace(&format!("{name}-own")).await?;
    let kubeconfig = tempfile::NamedTempFile::new()?.into_temp_path().keep()?;
    std::fs::write(&kubeconfig, server.admin_kubeconfig())?;
    let environment = [("KUBECONFIG", kubeconfig.to_str().context("a path in UTF-8")?), ("POD_NAMESPACE", own.name())];
    let ampoule = Ampoule::start_with(&config("plain", injector), &environment).await?;
    namespace.register(&ampoule).await?;
    Ok((namespace, ampoule))
}

/// The log at the start has the reason why `pods.warnMissingSecrets` has no effect.
#[tokio::test]
async fn a_process_that_cannot_look_up_secrets_reports_it_at_the_start() -> Result<()> {
    let server = ApiServer::shared().await?;
    let namespace = server.namespace("plain-no-lookup").await?;
    let folder = tempfile::tempdir()?;
    let written = |name: &str, text: &str| -> Result<String> {
        let path = folder.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.to_str().context("a path in UTF-8")?.to_owned())
    };
    let account = server.kubeconfig(&namespace.create_service_account("webhook").await?);
    let (account, admin) = (written("account", &account)?, written("admin", &server.admin_kubeconfig())?);
    let missing = folder.path().join("missing").display().to_string();
    let start = "pods.warnMissingSecrets has no effect: the process cannot look up Secrets at the API server";
    for (warns, kubeconfig, reason) in [
        (true, &missing, Some("no API server is configured")),
        (true, &account, Some("cannot get resource \\\"secrets\\\"")),
        (true, &admin, None),
        (false, &missing, None),
    ] {
        let config = format!("pods: {{ warnMissingSecrets: {warns} }}\n{}", config("plain", K8S));
        let ampoule = Ampoule::start_with(&config, &[("KUBECONFIG", kubeconfig.as_str())]).await?;
        match reason {
            Some(reason) => {
                eventually("the reason in the log", Duration::from_secs(20), async || {
                    let log = ampoule.log()?;
                    ensure!(log.contains(start) && log.contains(reason), "{log}");
                    Ok(())
                })
                .await?;
            }
            None => {
                ampoule.review_once(&Review::of(&asking("task", "[{ group: db, key: k }]"), namespace.name())).await?;
                let log = ampoule.log()?;
                ensure!(!log.contains(start), "{warns}: {log}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_warning_names_a_secret_that_does_not_exist() -> Result<()> {
    let server = ApiServer::shared().await?;
    let namespace = server.namespace("plain-lookup").await?;
    namespace.create_secret("db", &[("k", "v")]).await?;
    let kubeconfig = tempfile::NamedTempFile::new()?.into_temp_path().keep()?;
    std::fs::write(&kubeconfig, server.admin_kubeconfig())?;
    let environment = [("KUBECONFIG", kubeconfig.to_str().context("a path in UTF-8")?)];
    let list = "[{ group: db, key: k }, { group: none, key: k }, { group: some, keys: all, optional: true }]";
    let review = Review::of(&asking("task", list), namespace.name());
    for (warns, expected) in [
        (false, vec![]),
        (
            true,
            vec![
                "Secret none does not exist in namespace plain-lookup; the pod does not start before it exists",
                "Secret some does not exist in namespace plain-lookup; the pod starts without it",
            ],
        ),
    ] {
        let config = format!("pods: {{ warnMissingSecrets: {warns} }}\n{}", config("plain", K8S));
        let ampoule = Ampoule::start_with(&config, &environment).await?;
        assert_eq!(ampoule.review_once(&review).await?.warnings, expected);
    }
    Ok(())
}
