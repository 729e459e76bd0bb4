//! Flyte's own SDKs as clients: flytekit under `flyte-v1`, flyte under `flyte-v2`. They declare the
//! secrets, the pod goes through the API server, a simulated kubelet lays out the files of the
//! stored pod, and the SDK runs the task, which reads the secrets.
//!
//! The tasks are in `tests/sdks`; a task without a row in this file fails.

#[path = "sdks/client.rs"]
mod client;
#[path = "sdks/embedded.rs"]
mod embedded;

use std::collections::BTreeSet;

use ampoule_tests::{Ampoule, Namespace};
use anyhow::Result;
use serde_json::{Value, json};

use self::client::Client;
use crate::support::{AS_ENV_VAR, AS_FILE, MY_SECRET, registered, v1, v2};

/// The keys and values of a Secret.
type Data = &'static [(&'static str, &'static [u8])];

/// The Secrets of the clusters.
const SECRETS: [(&str, Data); 9] = [
    ("user-info", &[("user_secret", b"s3cret")]),
    ("database", &[("username", b"app"), ("password", b"hunter2"), ("host", b"db.example.org"), ("other", b"unasked")]),
    ("my-group.v2", &[("API-Key.PEM", b"pem")]),
    ("openai", &[("api-key", b"sk-1")]),
    ("tls", &[("ca.crt", b"v1 of the CA\n"), ("CA.crt", b"the CA\n")]),
    ("keystore", &[("store.p12", &[0xff, 0x00, 0xfe, 0x0a, 0x7f])]),
    (LONG, &[("key", b"long")]),
    // Under `flyte-v2`, a Secret without a group is named after the MD5 of its key.
    ("6b0505a44d4164f2b5790943b1f43e64", &[("my_secret", b"mine")]),
    ("935571b8f79add9eacb3b622f95ad3a6", &[("my-secret", b"dashed")]),
];
const LONG: &str = "a-group-whose-name-is-longer-than-a-volume-may-be-called";
/// The tasks whose secrets do not exist.
const ABSENT: [&str; 3] = ["absent_env_var", "absent_file", "absent_key"];

async fn cluster(name: &str, config: &str) -> Result<(Namespace, Ampoule)> {
    let (namespace, ampoule) = registered(name, config).await?;
    for (name, data) in SECRETS {
        namespace.create_secret(name, data).await?;
    }
    Ok((namespace, ampoule))
}

/// Runs tasks, each as a pod with one container, and returns their results.
async fn run(client: &Client, namespace: &Namespace, tasks: &[&str]) -> Result<Vec<Value>> {
    for task in tasks {
        let created = namespace.create_pod(&client.pod(task, &[], &["main"])).await?;
        client.run(task, created, namespace).await?;
    }
    client.outputs(&tasks.iter().map(|task| (*task, "main")).collect::<Vec<_>>()).await
}

/// Verifies that each task reads the values of its row, and that every task has a row.
async fn check(client: &Client, namespace: &Namespace, rows: &[(&str, Value)]) -> Result<()> {
    let (tasks, values): (Vec<_>, Vec<_>) = rows.iter().cloned().unzip();
    let tested: BTreeSet<_> = tasks.iter().copied().chain(ABSENT).collect();
    assert_eq!(client.tasks().filter(|task| !tested.contains(task)).collect::<Vec<_>>(), [""; 0]);
    for ((task, value), output) in tasks.iter().zip(values).zip(run(client, namespace, &tasks).await?) {
        assert_eq!(output, json!({ "value": value }), "{task}");
    }
    Ok(())
}

/// Verifies that two containers and an init container read the same values.
async fn check_every_container(client: &Client, namespace: &Namespace, task: &str, value: &Value) -> Result<()> {
    let created = namespace.create_pod(&client.pod(task, &["prepare"], &["main", "side"])).await?;
    let containers = client.run(task, created, namespace).await?;
    assert_eq!(containers, ["prepare", "main", "side"]);
    let containers: Vec<_> = containers.iter().map(|name| (task, name.as_str())).collect();
    for (container, output) in containers.iter().zip(client.outputs(&containers).await?) {
        assert_eq!(output, json!({ "value": value }), "{container:?}");
    }
    Ok(())
}

/// The value that flytekit reads from a file of the webhook, without white space at its ends.
fn in_file(value: &str, path: &str) -> Value {
    json!({ "value": value, "path": format!("/etc/flyte/secrets/{path}"), "exists": true })
}

/// A variable and a file, each under a name that the task sets, and under the names that flytekit
/// expects.
fn names_of_its_own() -> Value {
    json!({
        "named": ["sk-1", "/etc/flyte/secrets/tls/ca.crt", "v1 of the CA\n"],
        "get": [
            { "value": "sk-1", "path": "/etc/flyte/secrets/openai/api-key", "exists": false },
            in_file("v1 of the CA", "tls/ca.crt"),
        ],
    })
}

#[tokio::test]
async fn flytekit_reads_the_secrets_of_its_tasks() -> Result<()> {
    let (namespace, _ampoule) = cluster("sdks-flytekit", &v1()).await?;
    let client = Client::declare("flytekit").await?;
    assert_eq!(client.annotations("env_var"), &json!({ "flyte.secrets/s0": AS_ENV_VAR }));
    assert_eq!(client.annotations("file"), &json!({ "flyte.secrets/s0": AS_FILE }));
    let user_info = in_file("s3cret", "user-info/user_secret");
    let rows = [
        // No variable specifies the folder of the files, so flytekit uses its default.
        ("env_var", json!({ "value": "s3cret", "path": "/etc/secrets/user-info/user_secret", "exists": false })),
        ("file", user_info.clone()),
        ("anyhow", user_info.clone()),
        ("three_keys_as_env_vars", json!(["app", "hunter2", "db.example.org"])),
        (
            "three_keys_as_files",
            json!([
                in_file("app", "database/username"),
                in_file("hunter2", "database/password"),
                in_file("db.example.org", "database/host"),
            ]),
        ),
        (
            "upper_case_dashes_and_dots",
            json!({
                "env": { "_FSEC_MY-GROUP.V2_API-KEY.PEM": "pem" },
                "file": in_file("pem", "my-group.v2/api-key.pem"),
            }),
        ),
        ("names_of_its_own", names_of_its_own()),
        ("binary", json!("ff00fe0a7f")),
        ("versioned", user_info),
        ("long_group", in_file("long", &format!("{LONG}/key"))),
    ];
    check(&client, &namespace, &rows).await
}

#[tokio::test]
async fn flytekit_reads_in_every_container_of_a_pod() -> Result<()> {
    let (namespace, _ampoule) = cluster("sdks-flytekit-containers", &v1()).await?;
    let client = Client::declare("flytekit").await?;
    check_every_container(&client, &namespace, "names_of_its_own", &names_of_its_own()).await
}

#[tokio::test]
async fn flytekit_reports_secrets_that_do_not_exist() -> Result<()> {
    let (namespace, _ampoule) = cluster("sdks-flytekit-absent", &v1()).await?;
    let client = Client::declare("flytekit").await?;
    let places = [
        ("absent", "key", "_FSEC_ABSENT_KEY", "/etc/secrets/absent/key"),
        ("absent", "key", "_FSEC_ABSENT_KEY", "/etc/flyte/secrets/absent/key"),
        ("user-info", "absent", "_FSEC_USER-INFO_ABSENT", "/etc/flyte/secrets/user-info/absent"),
    ];
    for ((group, key, env_var, path), output) in places.into_iter().zip(run(&client, &namespace, &ABSENT).await?) {
        let message = format!(
            "ValueError: Please make sure to add secret_requests=[Secret(group={group}, key={key})] in @task. Unable to find \
             secret for key {key} in group {group} in Env Var:{env_var} and FilePath: {path}"
        );
        let error = output["error"].as_str().unwrap_or_default();
        assert_eq!(error.lines().last().map(str::trim_start), Some(message.as_str()), "{output}");
    }
    Ok(())
}

#[tokio::test]
async fn flyte_reads_the_secrets_of_its_tasks() -> Result<()> {
    let (namespace, _ampoule) = cluster("sdks-flyte", &v2()).await?;
    let client = Client::declare("flyte").await?;
    assert_eq!(client.annotations("shorthand"), &json!({ "flyte.secrets/s0": MY_SECRET }));
    let rows = [
        ("shorthand", json!(["mine"])),
        ("shorthand_with_dashes", json!(["dashed"])),
        ("default_name", json!(["sk-1"])),
        ("as_env_var", json!(["sk-1"])),
        ("file", json!(["the CA\n"])),
        ("file_without_group", json!(["mine"])),
        ("file_and_env_var", json!(["sk-1"])),
        ("three_keys_as_env_vars", json!(["app", "hunter2", "db.example.org"])),
        ("three_keys_as_files", json!(["app", "hunter2", "db.example.org"])),
        ("several", several()),
    ];
    check(&client, &namespace, &rows).await
}

/// Two variables and a file.
fn several() -> Value {
    json!(["mine", "sk-1", "the CA\n"])
}

#[tokio::test]
async fn flyte_reads_in_every_container_of_a_pod() -> Result<()> {
    let (namespace, _ampoule) = cluster("sdks-flyte-containers", &v2()).await?;
    let client = Client::declare("flyte").await?;
    check_every_container(&client, &namespace, "several", &several()).await
}

#[tokio::test]
async fn a_task_of_flyte_fails_if_a_secret_does_not_exist() -> Result<()> {
    let (namespace, _ampoule) = cluster("sdks-flyte-absent", &v2()).await?;
    let client = Client::declare("flyte").await?;
    let outputs = run(&client, &namespace, &ABSENT[..2]).await?;
    let file = "[Errno 2] No such file or directory: '/etc/flyte/secrets/absent/key'";
    assert_eq!(outputs, [json!({ "error": "'ABSENT_KEY'" }), json!({ "error": file })]);
    Ok(())
}
