//! The profile `plain` and the fields of `ampoule.dev/secrets` through a real API server. A
//! simulated kubelet starts the containers, so that a missing Secret and the order of
//! variables count.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use ampoule_tests::{Container, Image, Namespace, pod};
use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::support::{K8S, config, registered, v1};

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
async fn run(pod: Value, namespace: &Namespace) -> Result<BTreeMap<String, String>> {
    let path = std::env::var("PATH")?;
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
