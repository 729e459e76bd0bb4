//! Ampoule as a replacement for Flyte's webhook: its configuration, commands and names, as in its
//! chart, on a real API server.
//!
//! The API server cannot call a Service in these tests, because nothing runs behind it. So the test
//! reads the registration back, verifies its effect, and sends the review itself: to the registered
//! name, trusting only the `caBundle`.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, SystemTime},
};

use ampoule_cluster::certs::{CertificatePair, CertificateSubject};
use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{Ampoule, ApiServer, Namespace, Review, asking, eventually};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration,
    authorization::v1::SubjectAccessReview,
    core::v1::Secret,
    rbac::v1::{ClusterRole, ClusterRoleBinding},
};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::request;

const FILES: [&str; 3] = ["ca.crt", "tls.crt", "tls.key"];

/// A pod of Flyte's chart: its mounted configuration, its certificate folder, and its environment.
struct ChartPod {
    namespace: Namespace,
    folder: TempDir,
}

impl ChartPod {
    /// A pod with this `webhook` section in addition to the chart's settings.
    async fn new(namespace: &str, webhook: &str) -> Result<Self> {
        let server = ApiServer::shared().await?;
        let (namespace, folder) = (server.namespace(namespace).await?, tempfile::tempdir()?);
        let token = namespace.create_service_account("flyte-pod-webhook").await?;
        grant(&namespace, "flyte-pod-webhook").await?;
        fs::write(folder.path().join("kubeconfig"), server.kubeconfig(&token))?;
        let config = folder.path().join("config");
        fs::create_dir(&config)?;
        fs::write(config.join("admin.yaml"), "admin: { endpoint: 'flyteadmin:81', insecure: true }\n")?;
        fs::write(
            config.join("core.yaml"),
            format!(
                "propeller: {{ metadata-prefix: metadata/propeller, prof-port: 10254, limit-namespace: all }}
webhook:
  certDir: {}
  # Other tests of this API server are not to be asked about.
  namespaceSelector: {{ matchLabels: {{ kubernetes.io/metadata.name: {} }} }}
{webhook}",
                folder.path().join("certs").display(),
                namespace.name()
            ),
        )?;
        Ok(Self { namespace, folder })
    }

    fn certs(&self) -> std::path::PathBuf {
        self.folder.path().join("certs")
    }

    /// The arguments of the chart, with other folders.
    fn command(&self, words: &[&str]) -> Result<Command> {
        let mut command = Ampoule::command()?;
        command.args(words).arg("--config").arg(self.folder.path().join("config/*.yaml"));
        command.env("KUBECONFIG", self.folder.path().join("kubeconfig"));
        command.env("POD_NAME", "flyte-pod-webhook-0").env("POD_NAMESPACE", self.namespace.name());
        Ok(command)
    }

    /// Runs the init container; returns its output if it succeeds.
    fn init_certs(&self) -> Result<String> {
        let Output { status, stdout, stderr } = self.command(&["webhook", "init-certs"])?.output()?;
        ensure!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
        Ok(String::from_utf8(stdout)?)
    }

    /// The output of an init container that fails.
    fn fail_to_init_certs(&self) -> Result<String> {
        let Output { status, stderr, .. } = self.command(&["webhook", "init-certs"])?.output()?;
        ensure!(status.code() == Some(1), "{status}");
        Ok(String::from_utf8(stderr)?)
    }

    async fn secret(&self, name: &str) -> Result<Secret> {
        Ok(self.namespace.api::<Secret>().get(name).await?)
    }

    /// Mounts this Secret as the kubelet does.
    async fn mount(&self, name: &str) -> Result<()> {
        let data = self.secret(name).await?.data.context("the Secret holds data")?;
        fs::create_dir_all(self.certs())?;
        for (file, content) in data {
            fs::write(self.certs().join(file), content.0)?;
        }
        Ok(())
    }

    /// Starts the webhook and calls it as the API server would.
    async fn start(&self, service: &str) -> Result<Ampoule> {
        let ca = fs::read_to_string(self.certs().join("ca.crt"))?;
        let host = format!("{service}.{}.svc", self.namespace.name());
        Ampoule::start_command(self.command(&["webhook"])?, &ca, &host).await
    }

    async fn registration(&self, name: &str) -> Result<Value> {
        let registration = self.namespace.cluster_wide::<MutatingWebhookConfiguration>().get(name).await?;
        Ok(serde_json::to_value(registration)?)
    }
}

/// Grants the rights of Flyte's chart to its webhook, and waits until the API server applies them.
async fn grant(namespace: &Namespace, account: &str) -> Result<()> {
    let name = format!("{}-{account}", namespace.name());
    let user = format!("system:serviceaccount:{}:{account}", namespace.name());
    let role = json!({
        "metadata": { "name": name },
        "rules": [{
            "apiGroups": ["*"],
            "resources": ["mutatingwebhookconfigurations", "secrets", "pods", "replicasets/finalizers"],
            "verbs": ["get", "create", "update", "patch"],
        }],
    });
    let binding = json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
        "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": namespace.name() }],
    });
    let params = PostParams::default();
    namespace.cluster_wide::<ClusterRole>().create(&params, &serde_json::from_value(role)?).await?;
    namespace.cluster_wide::<ClusterRoleBinding>().create(&params, &serde_json::from_value(binding)?).await?;
    let attributes = json!({ "namespace": namespace.name(), "verb": "get", "resource": "secrets" });
    let review = json!({ "metadata": {}, "spec": { "user": user, "resourceAttributes": attributes } });
    let review: SubjectAccessReview = serde_json::from_value(review)?;
    let reviews = namespace.cluster_wide::<SubjectAccessReview>();
    eventually("the rights of the chart", Duration::from_secs(30), async || {
        let status = reviews.create(&params, &review).await?.status;
        ensure!(status.is_some_and(|status| status.allowed), "not yet");
        Ok(())
    })
    .await
}

fn expected_webhook(name: &str, object_selector: &Value, ca: &str) -> Value {
    json!({
        "name": name,
        "admissionReviewVersions": ["v1", "v1beta1"],
        "clientConfig": {
            "caBundle": data_encoding::BASE64.encode(ca.as_bytes()),
            "service": {
                "name": "flyte-pod-webhook", "namespace": "flyte-chart", "path": "/mutate--v1-pod", "port": 443,
            },
        },
        "rules": [{
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"], "scope": "*",
        }],
        "objectSelector": object_selector,
        "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "flyte-chart" } },
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "reinvocationPolicy": "IfNeeded",
        "sideEffects": "NoneOnDryRun",
        "timeoutSeconds": 10,
    })
}

#[tokio::test]
async fn flytes_chart_works_with_the_image_replaced() -> Result<()> {
    let pod = ChartPod::new("flyte-chart", "  serviceName: flyte-pod-webhook\n").await?;
    // The chart creates an empty Secret.
    pod.namespace.create_secret::<&str>("flyte-pod-webhook", &[]).await?;
    let output = pod.init_certs()?;
    assert_eq!(output, "secret flyte-chart/flyte-pod-webhook: replaced, because tls.crt is missing\n");
    let first = pod.secret("flyte-pod-webhook").await?;
    assert_eq!(pod.init_certs()?, "secret flyte-chart/flyte-pod-webhook: kept\n");
    assert_eq!(pod.secret("flyte-pod-webhook").await?, first, "a valid pair is not changed");
    pod.mount("flyte-pod-webhook").await?;

    let ampoule = pod.start("flyte-pod-webhook").await?;
    let mut registration = pod.registration("flyte-pod-webhook").await?;
    for webhook in registration["webhooks"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        // Only on an API server that knows the field.
        webhook.remove("matchConditions");
    }
    let flyte = json!({ "matchLabels": { "inject-flyte-secrets": "true" } });
    let people = json!({
        "matchLabels": { "ampoule.dev/inject": "true" },
        "matchExpressions": [{ "key": "inject-flyte-secrets", "operator": "NotIn", "values": ["true"] }],
    });
    let expected = json!([
        expected_webhook("flyte-pod-webhook.flyte.org", &flyte, ampoule.ca()),
        expected_webhook("people.ampoule.dev", &people, ampoule.ca()),
    ]);
    assert_eq!(registration["webhooks"], expected);

    let task = asking("task", [request("group", "key", EnvVar, "")]);
    let response = ampoule.review_once(&Review::of(&task, "flyte-chart")).await?;
    assert!(response.allowed && !response.patch.0.is_empty(), "{response:?}");
    // The API server uses the registration, and fails to call the missing Service.
    let called = "failed calling webhook \"flyte-pod-webhook.flyte.org\"";
    let url = "https://flyte-pod-webhook.flyte-chart.svc:443/mutate--v1-pod?timeout=10s";
    eventually("a call to the Service", Duration::from_secs(30), async || {
        let refusal = pod.namespace.dry_run_pod(&task).await?.err().context("it was created")?;
        ensure!(refusal.message.contains(called) && refusal.message.contains(url), "{refusal}");
        Ok(())
    })
    .await?;
    ampoule.stop().await?.ensure_clean()
}

#[tokio::test]
async fn a_start_corrects_the_registration_and_a_second_start_changes_nothing() -> Result<()> {
    let pod = ChartPod::new("flyte-restart", "  serviceName: restart\n  secretName: restart-tls\n").await?;
    assert_eq!(pod.init_certs()?, "secret flyte-restart/restart-tls: created\n");
    pod.mount("restart-tls").await?;
    pod.start("restart").await?.stop().await?.ensure_clean()?;
    let first = pod.registration("restart").await?;

    let api = pod.namespace.cluster_wide::<MutatingWebhookConfiguration>();
    let edit = json!({ "webhooks": [{ "name": "flyte-pod-webhook.flyte.org", "failurePolicy": "Ignore", "timeoutSeconds": 1 }] });
    api.patch("restart", &PatchParams::default(), &Patch::Strategic(&edit)).await?;
    pod.start("restart").await?.stop().await?.ensure_clean()?;
    let second = pod.registration("restart").await?;
    assert_eq!(second["webhooks"], first["webhooks"], "a manual edit is reverted");
    pod.start("restart").await?.stop().await?.ensure_clean()?;
    let third = pod.registration("restart").await?;
    assert_eq!(third["metadata"]["generation"], second["metadata"]["generation"], "nothing was changed");
    assert_ne!(second["metadata"]["generation"], first["metadata"]["generation"]);
    Ok(())
}

#[tokio::test]
async fn flytes_flags_write_the_certificate_to_files_and_disable_the_registration() -> Result<()> {
    let webhook = "  localCert: true\n  disableCreateMutatingWebhookConfig: true\n  serviceName: beside\n";
    let pod = ChartPod::new("flyte-beside", webhook).await?;
    let certs = pod.certs();
    let output = pod.init_certs()?;
    let expected = format!("secret flyte-beside/flyte-pod-webhook: created\nfiles {}: written\n", certs.display());
    assert_eq!(output, expected);
    let data = pod.secret("flyte-pod-webhook").await?.data.context("the Secret holds data")?;
    for file in FILES {
        assert_eq!(fs::read(certs.join(file))?, data[file].0, "{file}");
    }
    pod.start("beside").await?.stop().await?.ensure_clean()?;
    let api = pod.namespace.cluster_wide::<MutatingWebhookConfiguration>();
    assert_eq!(api.get_opt("beside").await?, None);
    Ok(())
}

#[tokio::test]
async fn global_alone_serves_the_webhooks_own_secrets() -> Result<()> {
    let webhook = "  secretManagerType: Global\n  serviceName: alone\n  disableCreateMutatingWebhookConfig: true\n";
    let pod = ChartPod::new("flyte-global", webhook).await?;
    let secrets = pod.folder.path().join("secrets");
    fs::create_dir_all(secrets.join("group"))?;
    fs::write(secrets.join("group/key"), "from a file")?;
    let section = format!("secrets: {{ secrets-prefix: {} }}\n", secrets.display());
    fs::write(pod.folder.path().join("config/secrets.yaml"), section)?;
    pod.init_certs()?;
    pod.mount("flyte-pod-webhook").await?;
    let ampoule = pod.start("alone").await?;
    let review = |key: &str| Review::of(&asking("task", [request("group", key, EnvVar, "")]), "flyte-global");
    let response = ampoule.review_once(&review("key")).await?;
    let patch = serde_json::to_string(&response.patch)?;
    assert!(patch.contains(r#"{"name":"_FSEC_GROUP_KEY","value":"from a file"}"#), "{patch}");
    let response = ampoule.review_once(&review("none")).await?;
    assert_eq!((response.allowed, response.code), (false, 400), "{response:?}");
    ampoule.stop().await?.ensure_clean()
}

#[tokio::test]
async fn replicas_that_start_together_agree_on_one_pair() -> Result<()> {
    let pod = ChartPod::new("flyte-replicas", "  localCert: true\n").await?;
    let start = |i: usize| {
        let dir = pod.folder.path().join(i.to_string());
        let mut command = pod.command(&["webhook", "init-certs"])?;
        command.arg("--webhook.certDir").arg(&dir).stdout(Stdio::piped()).stderr(Stdio::piped());
        anyhow::Ok((dir, command.spawn()?))
    };
    let replicas: Vec<_> = (0..6).map(start).collect::<Result<_>>()?;
    let mut pairs = Vec::new();
    for (dir, replica) in replicas {
        let output = replica.wait_with_output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        pairs.push(FILES.map(|file| fs::read(dir.join(file)).unwrap_or_default()));
    }
    let data = pod.secret("flyte-pod-webhook").await?.data.context("the Secret holds data")?;
    for pair in pairs {
        assert_eq!(pair, FILES.map(|file| data[file].0.clone()));
    }
    Ok(())
}

#[tokio::test]
async fn a_pair_is_renewed_before_it_expires_and_its_ca_stays_trusted() -> Result<()> {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let pod = ChartPod::new("flyte-renewal", "  serviceName: renewal\n  secretName: renewal\n").await?;
    let api = pod.namespace.api::<Secret>();
    let issue = |age: u32| {
        let subject = CertificateSubject::service("renewal", "flyte-renewal", 90 * DAY);
        CertificatePair::issue(subject, SystemTime::now() - age * DAY)
    };
    let store = async |pair: &CertificatePair| {
        let CertificatePair { ca_pem, certificate_pem, key_pem } = pair;
        let data = json!({ "ca.crt": ca_pem, "tls.crt": certificate_pem, "tls.key": key_pem });
        api.patch("renewal", &PatchParams::default(), &Patch::Merge(&json!({ "stringData": data }))).await
    };
    pod.namespace.create_secret::<&str>("renewal", &[]).await?;
    store(&issue(59)?).await?;
    assert_eq!(pod.init_certs()?, "secret flyte-renewal/renewal: kept\n");

    let old = issue(61)?;
    store(&old).await?;
    assert_eq!(pod.init_certs()?, "secret flyte-renewal/renewal: renewed\n");
    let data = api.get("renewal").await?.data.context("data")?;
    let bundle = String::from_utf8(data["ca.crt"].0.clone())?;
    assert!(bundle.ends_with(&old.ca_pem) && bundle.len() > old.ca_pem.len(), "{bundle}");
    assert_eq!(pod.init_certs()?, "secret flyte-renewal/renewal: kept\n");

    store(&issue(91)?).await?;
    let output = pod.init_certs()?;
    assert!(output.starts_with("secret flyte-renewal/renewal: replaced, because tls.crt expired at "), "{output}");
    Ok(())
}

#[tokio::test]
async fn an_unusable_pair_is_replaced_unless_it_is_immutable() -> Result<()> {
    let pod = ChartPod::new("flyte-pairs", "  serviceName: pairs\n  secretName: pairs\n").await?;
    let api = pod.namespace.api::<Secret>();
    pod.init_certs()?;
    // A pair for another Service, as after a changed name in the configuration, with an additional
    // key of another user.
    let mut secret = api.get("pairs").await?;
    let config = pod.folder.path().join("config/core.yaml");
    fs::write(&config, fs::read_to_string(&config)?.replace("serviceName: pairs", "serviceName: renamed"))?;
    secret.data.get_or_insert_default().insert("theirs".to_owned(), k8s_openapi::ByteString(b"kept".to_vec()));
    api.replace("pairs", &PostParams::default(), &secret).await?;
    let output = pod.init_certs()?;
    let expected = "secret flyte-pairs/pairs: replaced, because tls.crt is not valid for renamed.flyte-pairs.svc; \
                    its names are pairs, pairs.flyte-pairs, pairs.flyte-pairs.svc\n";
    assert_eq!(output, expected);
    let mut secret = api.get("pairs").await?;
    assert_eq!(secret.data.as_ref().map(|data| data["theirs"].0.as_slice()), Some(&b"kept"[..]));

    secret.immutable = Some(true);
    api.replace("pairs", &PostParams::default(), &secret).await?;
    assert_eq!(pod.init_certs()?, "secret flyte-pairs/pairs: kept\n", "Flyte's own are immutable");
    fs::write(&config, fs::read_to_string(&config)?.replace("serviceName: renamed", "serviceName: again"))?;
    let output = pod.fail_to_init_certs()?;
    let expected = "error: secret flyte-pairs/pairs is immutable, and tls.crt is not valid for again.flyte-pairs.svc; its \
                    names are renamed, renamed.flyte-pairs, renamed.flyte-pairs.svc; delete the secret and try again\n";
    assert!(output.ends_with(expected), "{output}");
    Ok(())
}

#[tokio::test]
async fn missing_rights_are_named() -> Result<()> {
    let pod = ChartPod::new("flyte-rights", "  secretName: rights\n  serviceName: rights\n").await?;
    let with = async |verbs: &[&str]| {
        let rules = json!([{ "apiGroups": ["*"], "resources": ["secrets"], "verbs": verbs }]);
        let name = "flyte-rights-flyte-pod-webhook";
        let roles = pod.namespace.cluster_wide::<ClusterRole>();
        roles.patch(name, &PatchParams::default(), &Patch::Merge(&json!({ "rules": rules }))).await
    };
    // The authorizer applies changes a moment later.
    let eventually_reports = async |expected: &str| {
        eventually("the new rights", Duration::from_secs(30), async || {
            let output = pod.fail_to_init_certs()?;
            ensure!(output.contains(expected), "{output}");
            Ok(())
        })
        .await
    };
    with(&["list"]).await?;
    eventually_reports("error: cannot read secret flyte-rights/rights: secrets \"rights\" is forbidden: ").await?;
    with(&["get"]).await?;
    eventually_reports("error: cannot write secret flyte-rights/rights: secrets is forbidden: ").await?;
    Ok(())
}

#[tokio::test]
async fn without_a_cluster_the_error_names_the_reason() -> Result<()> {
    let pod = ChartPod::new("flyte-lost", "").await?;
    let at = |path: &Path, content: &str| fs::write(path, content);
    let kubeconfig = pod.folder.path().join("kubeconfig");
    at(&kubeconfig, &fs::read_to_string(&kubeconfig)?.replace("token: ", "token: not-"))?;
    let output = pod.fail_to_init_certs()?;
    let expected = "error: cannot read secret flyte-lost/flyte-pod-webhook: Unauthorized (HTTP status 401)\n";
    assert!(output.ends_with(expected), "{output}");
    fs::remove_file(&kubeconfig)?;
    let output = pod.fail_to_init_certs()?;
    let expected = "error: no API server is configured: set KUBECONFIG, or run in a pod with a service account";
    assert!(output.contains(expected), "{output}");
    Ok(())
}
