//! Flyte's SDK with `builtin:embedded`: `flyte create secret` writes the secrets, and tasks of the
//! same SDK read them.
//!
//! `tests/sdks/secret_service.py` writes as Flyte's service does, into the real API server.

use std::{fs, process::Command, time::Duration};

use ampoule_tests::{Ampoule, ApiServer, Namespace, Process, eventually, sdks};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{check, client::Client};
use crate::support::config;

/// The CLI takes two seconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(120);
/// Longer than the value of a variable can be.
const KEYSTORE: usize = 200_000;
/// The Docker configuration that `flyte create secret --type image_pull` makes.
const DOCKER_CONFIG: &str = r#"{"auths": {"ghcr.io": {"auth": "dXNlcjpwYXNz"}}}"#;

/// Flyte's service for secrets.
struct SecretService {
    process: Process,
    port: u16,
    folder: TempDir,
}

// === impl SecretService ===

impl SecretService {
    /// Starts it for the Secrets of a namespace.
    async fn start(namespace: &Namespace) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ampoule-e2e-sdk-").tempdir()?;
        let kubeconfig = folder.path().join("kubeconfig");
        fs::write(&kubeconfig, ApiServer::shared().await?.admin_kubeconfig())?;
        let mut command = Command::new(sdks()?.join("bin/python"));
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/sdks/secret_service.py")).arg(kubeconfig);
        command.arg(namespace.name()).env("PYTHONDONTWRITEBYTECODE", "1");
        let process = Process::spawn(&mut command, &folder.path().join("service"))?;
        let port = eventually("the port of the secret service", LIMIT, async || {
            process.output()?.lines().next().and_then(|line| line.parse().ok()).context("no port")
        });
        let port = port.await.with_context(|| process.describe())?;
        Ok(Self { process, port, folder })
    }

    /// Runs `flyte create secret` with these arguments, and returns whether it succeeded, and its
    /// output.
    async fn flyte(&self, arguments: &[&str]) -> Result<(bool, String)> {
        let home = self.folder.path();
        let mut command = Command::new(sdks()?.join("bin/python"));
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/sdks/flyte_cli.py"));
        command.args(["--endpoint", &format!("dns:///127.0.0.1:{}", self.port), "--insecure", "create", "secret"]);
        // The SDK must not read this user's configuration or leave files behind.
        command.args(arguments).env_clear().env("HOME", home).env("PATH", "/usr/bin:/bin").current_dir(home);
        let process = Process::spawn(&mut command, &home.join("flyte"))?;
        Ok((process.wait(LIMIT).await?.success(), process.describe()))
    }

    /// Creates a secret.
    async fn create(&self, arguments: &[&str]) -> Result<()> {
        let (success, output) = self.flyte(arguments).await?;
        ensure!(success, "{arguments:?}: {output}\n{}", self.process.describe());
        Ok(())
    }

    /// Creates the secrets of the tasks in `tests/sdks/flyte_embedded.py`.
    async fn create_all(&self) -> Result<()> {
        let file = self.folder.path().join("keystore");
        fs::write(&file, [&[0xff, 0x00, 0xfe, 0x0a][..], &vec![0x7f; KEYSTORE - 4]].concat())?;
        let file = file.to_str().context("a path in UTF-8")?;
        let project = ["--project", "project", "--domain", "development"];
        self.create(&["my_secret", "--value", "mine"]).await?;
        self.create(&["api-key", "--value", "of the organization"]).await?;
        self.create(&[&["api-key", "--value", "of the project"], &project[..]].concat()).await?;
        self.create(&["CA_bundle", "--value", "line 1\nline 2\n"]).await?;
        self.create(&[&["keystore", "--from-file", file], &project[..]].concat()).await?;
        let registry = ["registry", "--type", "image_pull", "--registry", "ghcr.io"];
        self.create(&[&registry[..], &["--username", "user", "--password", "pass"]].concat()).await?;
        let (success, output) = self.flyte(&["my_secret", "--value", "again"]).await?;
        ensure!(!success && output.contains("already exists"), "a secret is created twice: {output}");
        Ok(())
    }
}

/// `builtin:embedded`, with this namespace for the Secrets. Pods of the project may be there, or in
/// the project's own namespace.
fn embedded(secrets: &Namespace) -> String {
    let namespace = secrets.name();
    let injector = format!(
        "  - name: embedded
    component: builtin:embedded
    settings:
      k8s: {{ namespace: {namespace} }}
      scopes:
        template: '{{project}}-{{domain}}'
        namespaces: [{{ namespace: {namespace}, project: project, domain: development }}]
      imagePull: {{ detect: true }}
    limits: {{ deadlineMillis: 10000, queueWaitMillis: 10000 }}
    grants:
      kubernetesSecrets: [{{ namespace: {namespace}, matchLabels: {{ app.flyte.org/managed: 'true' }} }}]
"
    );
    config("flyte-v2", &injector)
}

/// The value of the pull secret of a pod.
async fn pull_secret(pod: &Value, namespace: &Namespace) -> Result<Vec<u8>> {
    let name = pod["spec"]["imagePullSecrets"][0]["name"].as_str().context("a pull secret")?;
    let secret = namespace.api::<Secret>().get(name).await?;
    ensure!(secret.type_.as_deref() == Some("kubernetes.io/dockerconfigjson"), "{:?}", secret.type_);
    Ok(secret.data.unwrap_or_default().remove(".dockerconfigjson").context("no configuration")?.0)
}

#[tokio::test]
async fn tasks_of_flyte_read_what_flyte_create_secret_wrote() -> Result<()> {
    let server = ApiServer::shared().await?;
    let secrets = server.namespace("sdks-embedded").await?;
    let service = SecretService::start(&secrets).await?;
    service.create_all().await?;
    // The MD5 of the name of `my_secret` in the organization, as Flyte 2.0.43 computes it.
    let written = secrets.api::<Secret>().get("ecbd47cdc24a94cbc4c77c1066ea1656").await?;
    assert_eq!(written.metadata.labels.unwrap_or_default()["app.flyte.org/managed"], "true");

    let environment = service.folder.path().join("kubeconfig");
    let environment =
        [("KUBECONFIG", environment.to_str().context("a path in UTF-8")?), ("POD_NAMESPACE", secrets.name())];
    let ampoule = Ampoule::start_with(&embedded(&secrets), &environment).await?;
    let client = Client::declare_module("flyte_embedded").await?;
    let rows = [
        ("of_the_organization", json!(["mine"])),
        ("of_the_project", json!(["of the project"])),
        ("two_files", json!(["line 1\nline 2\n", KEYSTORE, "ff00fe0a", ["CA_bundle", "keystore"]])),
        ("with_a_registry", json!(["mine", []])),
    ];
    // By Secrets that Ampoule creates, and by references to Flyte's Secrets.
    for namespace in [server.namespace("project-development").await?, secrets] {
        namespace.register(&ampoule).await?;
        check(&client, &namespace, &rows).await.with_context(|| namespace.name().to_owned())?;
        let mut pod = client.pod("with_a_registry", &[], &["main"]);
        pod["metadata"]["name"] = json!("with-a-registry-again");
        let created = namespace.create_pod(&pod).await?;
        assert_eq!(pull_secret(&created, &namespace).await?, DOCKER_CONFIG.as_bytes());
    }
    ampoule.stop().await?.ensure_clean()
}
