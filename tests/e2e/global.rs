//! The webhook's own secrets, from its environment and its folder, through a real API server.
//!
//! The values are canaries: they appear in the pod and nowhere else.

use std::fs;

use ampoule_core::MountRequirement::{Any, EnvVar, File};
use ampoule_tests::{Ampoule, ApiServer, asking};
use anyhow::Result;
use serde_json::json;

use crate::support::{K8S, request, with_global_secrets};

const FROM_ENV: &str = "canary-from-the-environment";
const FROM_FILE: &str = "canary-from-a-file";

#[tokio::test]
async fn the_webhooks_own_secrets_precede_plugins_and_are_not_logged() -> Result<()> {
    let root = tempfile::tempdir()?;
    let folder = root.path().join("secrets");
    fs::create_dir_all(folder.join("db"))?;
    fs::write(folder.join("db/password"), FROM_FILE)?;
    fs::write(root.path().join("token"), "not for pods")?;
    let section = format!(
        "{{ enabled: true, directory: {:?}, delivery: inline, acceptPlaintext: true }}",
        folder.display().to_string()
    );
    let ampoule = Ampoule::start_with(
        &with_global_secrets("flyte-v1", &section, K8S),
        &[("FLYTE_SECRET_OPENAI_API-KEY", FROM_ENV), ("API-KEY", "not for pods")],
    )
    .await?;
    let namespace = ApiServer::shared().await?.namespace("global").await?;
    namespace.register(&ampoule).await?;

    let requests = [
        request("openai", "api-key", EnvVar, ""),
        request("db", "password", Any, ""),
        request("elsewhere", "key", EnvVar, ""),
    ];
    let created = namespace.create_pod(&asking("task", requests)).await?;
    let reference = json!({ "secretKeyRef": { "name": "elsewhere", "key": "key", "optional": true } });
    let env = json!([
        { "name": "FLYTE_SECRETS_ENV_PREFIX", "value": "_FSEC_" },
        { "name": "_FSEC_OPENAI_API-KEY", "value": FROM_ENV },
        { "name": "_FSEC_DB_PASSWORD", "value": FROM_FILE },
        { "name": "_FSEC_ELSEWHERE_KEY", "valueFrom": reference },
    ]);
    assert_eq!(created["spec"]["containers"][0]["env"], env);

    // A secret that exists only in the environment cannot be mounted, so the plugin is called; a
    // path outside the folder does not exist.
    let created = namespace.create_pod(&asking("file", [request("db", "password", File, "")])).await?;
    assert_eq!(created["spec"]["volumes"][0]["secret"]["secretName"], "db");
    let traversal = asking("traversal", [request("..", "token", Any, "")]);
    let refusal = namespace.try_create_pod(&traversal).await?.expect_err("a refusal");
    assert_eq!(
        refusal.by("secrets"),
        Some(
            "secret ../token (annotation flyte.secrets/s0, mount any) could not be injected: global: invalid request: group \
             and key of a global secret must be plain names: without empty parts, `.`, parts that begin with `..`, \
             and letters such as `ſ` whose capital is an ASCII letter; k8s: invalid request: group \"..\" cannot name a file: \
             leave out `/`, `:` and leading `..`"
        )
    );

    let exit = ampoule.stop().await?;
    exit.ensure_clean()?;
    for secret in [FROM_ENV, FROM_FILE, "not for pods"] {
        assert!(!exit.log.contains(secret), "{secret} is in the log:\n{}", exit.log);
    }
    Ok(())
}
