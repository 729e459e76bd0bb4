//! The chart's rights, installed in a namespace of an API server: [`Release`] replaces the pods of
//! the chart by processes that use the tokens of its service accounts.
//!
//! The files of the pods are in a folder of the test. An administrator creates the objects, as Helm
//! does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

use ampoule_tests::{Ampoule, ApiServer, Namespace, Renderers, eventually};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::api::PostParams;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The folders of the pods' files, and the folders that replace them in a test.
const FOLDERS: [(&str, &str); 5] = [
    ("/etc/ampoule/", "config/"),
    ("/etc/flyte/config/", "config/"),
    ("/etc/webhook/certs", "certs"),
    ("/var/cache/ampoule/", "cache/"),
    ("/etc/secrets", "secrets"),
];

/// The value of the global secret `db/password`.
const GLOBAL_SECRET: &str = "vq3canarybird";

/// The kinds of objects that grant rights.
const RIGHTS: [&str; 5] = ["ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"];

/// The kinds of objects that register the webhook.
const REGISTRATION: [&str; 2] = ["MutatingWebhookConfiguration", "APIService"];

/// The chart's rights, installed in a namespace of the API server, and a replacement for its pods.
pub(crate) struct Release {
    pub(crate) namespace: Namespace,
    pub(crate) objects: Vec<Value>,
    server: &'static ApiServer,
    folder: TempDir,
}

/// One verb of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Right {
    pub(crate) role: usize,
    pub(crate) rule: usize,
    verb: usize,
}

/// A registration that selects no other test's pods.
pub(crate) fn selector(name: &str) -> String {
    format!(r#"{{"matchLabels":{{"kubernetes.io/metadata.name":"{name}"}}}}"#)
}

/// The objects of the chart with these values. Each name is `name`.
pub(crate) fn render(name: &str, values: &[&str]) -> Result<Vec<Value>> {
    let full = format!("fullnameOverride={name}");
    let selector = format!("config.registration.namespaceSelector={}", selector(name));
    // The default value, set explicitly so that the test can replace it.
    let certs = "config.server.certDir=/etc/webhook/certs";
    let mut words = vec!["--set", &full, "--set", certs, "--set-json", &selector];
    words.extend(values.iter().flat_map(|value| ["--set", value]));
    Renderers::find()?.helm("release", name, &words)
}

// === impl Release ===

impl Release {
    /// Installs the release without the right of this index, and with its registration.
    pub(crate) async fn install(objects: Vec<Value>, name: &str, without: Option<usize>) -> Result<Self> {
        let release = Self::install_rights(ApiServer::shared().await?, objects, name, without).await?;
        release.create_registration().await?;
        Ok(release)
    }

    /// Installs the release without the right of this index, and without its registration.
    pub(crate) async fn install_rights(
        server: &'static ApiServer,
        objects: Vec<Value>,
        name: &str,
        without: Option<usize>,
    ) -> Result<Self> {
        let namespace = server.namespace(name).await?;
        let release = Self { namespace, objects, server, folder: tempfile::tempdir()? };
        release.create_namespaces().await?;
        let removed = without.map(|index| release.rights().nth(index).context("there is such a right")).transpose()?;
        release.grant(removed).await?;
        for right in release.rights() {
            release.wait_for(right, removed != Some(right)).await?;
        }
        release.lay_out().await?;
        release.create_plugins().await?;
        Ok(release)
    }

    /// Creates the objects that register the webhook, as Helm does.
    pub(crate) async fn create_registration(&self) -> Result<()> {
        for object in self.objects.iter().filter(|object| REGISTRATION.iter().any(|kind| object["kind"] == *kind)) {
            self.namespace.create_object(object).await?;
        }
        Ok(())
    }

    /// A token of the service account of this object's pods.
    pub(crate) async fn token(&self, kind: &str) -> Result<String> {
        self.namespace.token(self.account(kind)?).await
    }

    /// The service account of this object's pods.
    fn account(&self, kind: &str) -> Result<&str> {
        self.find(kind)?["spec"]["template"]["spec"]["serviceAccountName"].as_str().context("an account")
    }

    /// Creates the further namespaces in which the release has rights.
    async fn create_namespaces(&self) -> Result<()> {
        let existing = [self.namespace.name(), "kube-system"];
        let roles = self.objects.iter().filter(|object| object["kind"] == "Role");
        let names: BTreeSet<_> = roles.filter_map(|role| role["metadata"]["namespace"].as_str()).collect();
        for name in names.into_iter().filter(|name| !existing.contains(name)) {
            self.server.namespace(name).await?;
        }
        Ok(())
    }

    /// Creates the ConfigMaps that the configuration takes a plugin from.
    async fn create_plugins(&self) -> Result<()> {
        let rules = self.rules().filter(|rule| rule["resources"] == json!(["configmaps"]));
        for map in rules.flat_map(|rule| rule["resourceNames"].as_array().into_iter().flatten()) {
            let component = ampoule_plugin_bundle::component("k8s").context("built in")?;
            let entries = json!({ "k8s.wasm": data_encoding::BASE64.encode(component) });
            let metadata = json!({ "name": map, "namespace": self.namespace.name() });
            let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "binaryData": entries });
            self.namespace.create_object(&map).await?;
        }
        Ok(())
    }

    pub(crate) fn init_certs(&self) -> Result<String> {
        self.run("Deployment", "initContainers")
    }

    /// The output of a container that ends by itself.
    pub(crate) fn run(&self, kind: &str, list: &str) -> Result<String> {
        let Output { status, stdout, stderr } = self.command(kind, list)?.output()?;
        ensure!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
        Ok(String::from_utf8(stdout)?)
    }

    /// Starts a replica on any port.
    pub(crate) async fn start(&self) -> Result<Ampoule> {
        self.start_with(&[]).await
    }

    /// Starts a replica with further arguments.
    pub(crate) async fn start_with(&self, arguments: &[&str]) -> Result<Ampoule> {
        let ca = fs::read_to_string(self.folder.path().join("certs/ca.crt"))?;
        let name = self.namespace.name();
        let mut command = self.command("Deployment", "containers")?;
        command.args(arguments);
        Ampoule::start_command(command, &ca, &format!("{name}.{name}.svc")).await
    }

    /// The command of a container of this object, with its files in the test's folders.
    fn command(&self, kind: &str, list: &str) -> Result<Command> {
        let container = &self.find(kind)?["spec"]["template"]["spec"][list][0];
        let words = container["args"].as_array().context("a container has arguments")?;
        let mut command = Ampoule::command()?;
        // The harness sets its own log options.
        let words = words.iter().filter_map(Value::as_str).filter(|word| !word.starts_with("--log-format"));
        command.args(words.map(|word| self.here(word)));
        let fields = BTreeMap::from([
            ("metadata.namespace", self.namespace.name()),
            ("metadata.name", "pod-0"),
            ("metadata.uid", "5b2d0f1e-0000-4000-8000-000000000000"),
        ]);
        for variable in container["env"].as_array().context("a container has variables")? {
            let field = variable["valueFrom"]["fieldRef"]["fieldPath"].as_str().context("of the downward API")?;
            command.env(variable["name"].as_str().context("a name")?, fields[field]);
        }
        command.env("KUBECONFIG", self.kubeconfig(self.account(kind)?));
        Ok(command)
    }

    /// Writes the files of the ConfigMap, and a token of each account in place of the pods'.
    async fn lay_out(&self) -> Result<()> {
        for account in self.objects.iter().filter(|object| object["kind"] == "ServiceAccount") {
            let account = account["metadata"]["name"].as_str().context("a name")?;
            let token = self.namespace.token(account).await?;
            fs::write(self.kubeconfig(account), self.server.kubeconfig(&token))?;
        }
        let folder = self.folder.path();
        fs::create_dir_all(folder.join("secrets/db"))?;
        fs::write(folder.join("secrets/db/password"), GLOBAL_SECRET)?;
        fs::create_dir(folder.join("config"))?;
        for (file, text) in self.find("ConfigMap")?["data"].as_object().context("a ConfigMap has files")? {
            let text = self.here(text.as_str().context("of text")?);
            fs::write(folder.join("config").join(file), text)?;
        }
        Ok(())
    }

    fn kubeconfig(&self, account: &str) -> PathBuf {
        self.folder.path().join(format!("kubeconfig-{account}"))
    }

    /// Replaces every file of the configuration by an unreadable one.
    pub(crate) fn break_configuration(&self) -> Result<()> {
        for file in fs::read_dir(self.folder.path().join("config"))? {
            fs::write(file?.path(), "garbage")?;
        }
        Ok(())
    }

    fn here(&self, text: &str) -> String {
        FOLDERS.iter().fold(text.to_owned(), |text, (there, here)| {
            text.replace(there, &self.folder.path().join(here).display().to_string())
        })
    }

    /// The first object of a kind.
    pub(crate) fn find(&self, kind: &str) -> Result<&Value> {
        self.objects.iter().find(|object| object["kind"] == kind).with_context(|| format!("the chart has a {kind}"))
    }

    // --- rights ---

    pub(crate) fn rules(&self) -> impl Iterator<Item = &Value> {
        self.objects.iter().flat_map(|object| object["rules"].as_array().into_iter().flatten())
    }

    pub(crate) fn rights(&self) -> impl Iterator<Item = Right> {
        let rules = self.objects.iter().enumerate().flat_map(|(role, object)| {
            let rules = object["rules"].as_array().into_iter().flatten().enumerate();
            rules.map(move |(rule, content)| (role, rule, content))
        });
        rules.flat_map(|(role, rule, content)| {
            let verbs = content["verbs"].as_array().map_or(0, Vec::len);
            (0..verbs).map(move |verb| Right { role, rule, verb })
        })
    }

    pub(crate) fn describe(&self, right: Right) -> String {
        let rule = &self.objects[right.role]["rules"][right.rule];
        format!("{} {} {}", rule["verbs"][right.verb], rule["resources"], rule["resourceNames"])
    }

    /// Creates the service account and its rights, except one.
    async fn grant(&self, without: Option<Right>) -> Result<()> {
        for (index, object) in self.objects.iter().enumerate() {
            let mut object = object.clone();
            if let Some(Right { rule, verb, .. }) = without.filter(|right| right.role == index) {
                let verbs = object["rules"][rule]["verbs"].as_array_mut().context("verbs")?;
                verbs.remove(verb);
                if verbs.is_empty() {
                    object["rules"].as_array_mut().context("rules")?.remove(rule);
                }
            }
            if RIGHTS.iter().any(|kind| object["kind"] == *kind) {
                self.namespace.create_object(&object).await?;
            }
        }
        Ok(())
    }

    /// The service account with this role.
    fn holder(&self, role: &Value) -> Result<&str> {
        let binds = |object: &&Value| {
            object["roleRef"]["kind"] == role["kind"] && object["roleRef"]["name"] == role["metadata"]["name"]
        };
        let binding = self.objects.iter().find(binds).with_context(|| format!("no binding of {}", role["metadata"]))?;
        binding["subjects"][0]["name"].as_str().context("a subject")
    }

    /// Waits until the authorizer applies the change.
    async fn wait_for(&self, right: Right, granted: bool) -> Result<()> {
        let object = &self.objects[right.role];
        let account = self.holder(object)?;
        let rule = &object["rules"][right.rule];
        let mut attributes = json!({
            "group": rule["apiGroups"][0], "resource": rule["resources"][0], "verb": rule["verbs"][right.verb],
            "name": rule["resourceNames"][0].as_str().unwrap_or_default(),
        });
        if object["kind"] == "Role" {
            attributes["namespace"] = object["metadata"]["namespace"].clone();
        }
        let user = format!("system:serviceaccount:{}:{account}", self.namespace.name());
        let review = json!({ "metadata": {}, "spec": { "user": user, "resourceAttributes": attributes } });
        let review: SubjectAccessReview = serde_json::from_value(review)?;
        let reviews = self.namespace.cluster_wide::<SubjectAccessReview>();
        eventually("the rights of the chart", Duration::from_secs(30), async || {
            let status =
                reviews.create(&PostParams::default(), &review).await?.status.context("a review has a status")?;
            ensure!(status.allowed == granted, "{}: {}", self.describe(right), status.allowed);
            Ok(())
        })
        .await
    }
}
