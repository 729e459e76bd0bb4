//! A webhook that manages its own registration and certificate in a cluster: [`Installed`], called
//! by its Service's name.
//!
//! The Service has the type `ExternalName` and leads to this machine and the served port. So the
//! API server uses its real path from the registration to the process, with the real name in the
//! certificate.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use ampoule_tests::{Ampoule, ApiServer, Namespace, asking, eventually};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration,
    authorization::v1::SubjectAccessReview,
    core::v1::{Secret, Service},
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kube::api::PostParams;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{AS_ENV_VAR, K8S};

/// Limit for the API server to apply rights and registrations; it needs a second or two.
pub(crate) const NOTICED: Duration = Duration::from_secs(30);

/// The uid of the Pod that every process of these tests assumes.
pub(crate) const POD_UID: &str = "5b2d0f1e-0000-4000-8000-000000000000";

/// The objects around the process in a cluster: namespace, rights, Service and configuration.
pub(crate) struct Installed {
    pub(crate) namespace: Namespace,
    server: &'static ApiServer,
    folder: TempDir,
}

impl Installed {
    /// Creates the objects in a namespace of this name, which is also the name of each object;
    /// `port` is the port on this machine.
    pub(crate) async fn new(name: &str, port: u16, certificates: &str) -> Result<Self> {
        Self::on(ApiServer::shared().await?, name, port, certificates).await
    }

    /// Creates the objects like [`Installed::new`], on a given API server.
    pub(crate) async fn on(server: &'static ApiServer, name: &str, port: u16, certificates: &str) -> Result<Self> {
        let (namespace, folder) = (server.namespace(name).await?, tempfile::tempdir()?);
        let token = namespace.create_service_account(name).await?;
        let this = Self { namespace, server, folder };
        this.grant().await?;
        fs::write(this.folder.path().join("kubeconfig"), server.kubeconfig(&token))?;
        let service =
            json!({ "metadata": { "name": name }, "spec": { "type": "ExternalName", "externalName": "localhost" } });
        let services = this.namespace.api::<Service>();
        services.create(&PostParams::default(), &serde_json::from_value(service)?).await?;
        this.configure(&format!(
            "server: {{ shutdownDelaySeconds: 2, shutdownGraceSeconds: 10 }}
globalSecrets: {{ enabled: false }}
registration:
  enabled: true
  create: true
  name: {name}
  serviceName: {name}
  servicePort: {port}
  namespaceSelector: {{ matchLabels: {{ kubernetes.io/metadata.name: {name} }} }}
certificates: {certificates}
injectors:
{K8S}"
        ))?;
        Ok(this)
    }

    pub(crate) fn name(&self) -> &str {
        self.namespace.name()
    }

    /// Writes the configuration file.
    pub(crate) fn configure(&self, config: &str) -> Result<()> {
        Ok(fs::write(self.config(), config)?)
    }

    /// The path of the configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("ampoule.yaml")
    }

    /// Replaces a part of the configuration.
    pub(crate) fn reconfigure(&self, from: &str, to: &str) -> Result<()> {
        let config = fs::read_to_string(self.folder.path().join("ampoule.yaml"))?;
        ensure!(config.contains(from), "no {from} in {config}");
        self.configure(&config.replace(from, to))
    }

    /// Adds an injector after the existing ones.
    pub(crate) fn configure_with(&self, injector: &str) -> Result<()> {
        self.reconfigure(K8S, &[K8S, injector].concat())
    }

    /// Grants the rights of the manifests: create, and change by name, its Secret and registration;
    /// and watch ConfigMaps.
    async fn grant(&self) -> Result<()> {
        let (params, name) = (PostParams::default(), self.name());
        let metadata = json!({ "name": name });
        let by_name = |group: &str, resource: &str, verbs: &[&str]| json!({ "apiGroups": [group], "resources": [resource], "resourceNames": [name], "verbs": verbs });
        let create =
            |group: &str, resource: &str| json!({ "apiGroups": [group], "resources": [resource], "verbs": ["create"] });
        let subjects = json!([{ "kind": "ServiceAccount", "name": name, "namespace": name }]);
        let reference = |kind: &str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name });
        let rules = json!([
            by_name("", "secrets", &["get", "update"]),
            create("", "secrets"),
            create("events.k8s.io", "events"),
            { "apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"] }
        ]);
        let role = json!({ "metadata": metadata, "rules": rules });
        let binding = json!({ "metadata": metadata, "roleRef": reference("Role"), "subjects": subjects });
        self.namespace.api::<Role>().create(&params, &serde_json::from_value(role)?).await?;
        self.namespace.api::<RoleBinding>().create(&params, &serde_json::from_value(binding)?).await?;
        let (group, resource) = ("admissionregistration.k8s.io", "mutatingwebhookconfigurations");
        let verbs = ["get", "patch", "watch"];
        let rules = json!([by_name(group, resource, &verbs), create(group, resource)]);
        let role = json!({ "metadata": metadata, "rules": rules });
        let binding = json!({ "metadata": metadata, "roleRef": reference("ClusterRole"), "subjects": subjects });
        self.namespace.cluster_wide::<ClusterRole>().create(&params, &serde_json::from_value(role)?).await?;
        self.namespace.cluster_wide::<ClusterRoleBinding>().create(&params, &serde_json::from_value(binding)?).await?;
        let attributes = json!({ "verb": "watch", "group": group, "resource": resource, "name": name });
        let user = format!("system:serviceaccount:{name}:{name}");
        let review = json!({ "metadata": {}, "spec": { "user": user, "resourceAttributes": attributes } });
        let review: SubjectAccessReview = serde_json::from_value(review)?;
        let reviews = self.namespace.cluster_wide::<SubjectAccessReview>();
        eventually("the rights", NOTICED, async || {
            let status = reviews.create(&params, &review).await?.status;
            ensure!(status.is_some_and(|status| status.allowed), "not yet");
            Ok(())
        })
        .await
    }

    /// Gives later commands an admin's rights.
    pub(crate) fn as_admin(&self) -> Result<()> {
        Ok(fs::write(self.folder.path().join("kubeconfig"), self.server.admin_kubeconfig())?)
    }

    /// The program with these arguments, its configuration, and access to the API server.
    pub(crate) fn command(&self, words: &[&str]) -> Result<Command> {
        let mut command = Ampoule::command()?;
        command.args(words).arg("--config").arg(self.config());
        command.env("KUBECONFIG", self.folder.path().join("kubeconfig"));
        command.env("POD_NAME", format!("{}-0", self.name())).env("POD_NAMESPACE", self.name()).env("POD_UID", POD_UID);
        Ok(command)
    }

    /// Starts a replica on this port; 0 for any port. The name and the CA are those that the API
    /// server uses.
    pub(crate) async fn start(&self, port: u16) -> Result<Ampoule> {
        self.start_at(port, 0).await
    }

    /// Starts a replica like [`Installed::start`], and waits until the API server calls it.
    pub(crate) async fn start_registered(&self, port: u16) -> Result<Ampoule> {
        let ampoule = self.start(port).await?;
        let probe = asking("probe", [AS_ENV_VAR]);
        eventually("the registration", NOTICED, async || {
            let pod = self.namespace.dry_run_pod(&probe).await??;
            ensure!(pod["spec"]["containers"][0]["env"].is_array(), "not mutated yet");
            Ok(())
        })
        .await?;
        Ok(ampoule)
    }

    /// Starts a replica like [`Installed::start`], with a fixed admin port.
    pub(crate) async fn start_at(&self, port: u16, admin: u16) -> Result<Ampoule> {
        let mut command = self.command(&["serve"])?;
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--admin", &format!("127.0.0.1:{admin}")]);
        let host = format!("{0}.{0}.svc", self.name());
        Ampoule::start_in_cluster(command, &host, async || self.certificate("ca.crt").await).await
    }

    /// A file of the Secret as text.
    pub(crate) async fn certificate(&self, file: &str) -> Result<String> {
        let data = self.namespace.api::<Secret>().get(self.name()).await?.data.context("the Secret holds data")?;
        Ok(String::from_utf8(data.get(file).context("no such file")?.0.clone())?)
    }

    /// The registration as the API server stores it.
    pub(crate) async fn registration(&self) -> Result<Value> {
        let registration = self.namespace.cluster_wide::<MutatingWebhookConfiguration>().get(self.name()).await?;
        Ok(serde_json::to_value(registration)?)
    }

    /// The `caBundle` of the registration, in PEM form.
    pub(crate) async fn trusted(&self) -> Result<String> {
        let registration = self.registration().await?;
        let text = registration["webhooks"][0]["clientConfig"]["caBundle"].as_str().unwrap_or_default();
        Ok(String::from_utf8(data_encoding::BASE64.decode(text.as_bytes())?)?)
    }
}
