//! The minimal rights of the chart: the processes of its pods run with the token of its service
//! account.
//!
//! The test removes each right in turn, and something must fail; so an unneeded right fails the
//! test too. A test next to the kustomize manifests compares their rights with these.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Output},
    time::Duration,
};

use ampoule_tests::{Ampoule, ApiServer, Namespace, Renderers, eventually};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration, authorization::v1::SubjectAccessReview, core::v1::Secret,
};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The folders of the pods' files, and the folders that replace them in a test.
const FOLDERS: [(&str, &str); 4] = [
    ("/etc/ampoule/", "config/"),
    ("/etc/flyte/config/", "config/"),
    ("/etc/webhook/certs", "certs"),
    ("/var/cache/ampoule/", "cache/"),
];

/// Limit for the API server to write an answer to its log.
const ANSWERED: Duration = Duration::from_secs(30);

/// The kinds of objects that grant rights.
const RIGHTS: [&str; 5] = ["ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"];

/// The chart's rights, installed in a namespace of the API server, and a replacement for its pods.
struct Release {
    namespace: Namespace,
    objects: Vec<Value>,
    folder: TempDir,
}

/// One verb of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Right {
    role: usize,
    rule: usize,
    verb: usize,
}

/// A registration that selects no other test's pods.
fn selector(name: &str) -> String {
    format!(r#"{{"matchLabels":{{"kubernetes.io/metadata.name":"{name}"}}}}"#)
}

/// The chart with its defaults.
fn plain(name: &str) -> Result<Vec<Value>> {
    let (full, selector) = (format!("fullnameOverride={name}"), selector(name));
    let selector = format!("config.registration.namespaceSelector={selector}");
    // The default value, set explicitly so that the test can replace it.
    let certs = "config.server.certDir=/etc/webhook/certs";
    Renderers::find()?.helm("release", name, &["--set", &full, "--set", certs, "--set-json", &selector])
}

/// The chart with plugins from ConfigMaps.
fn config_maps(name: &str) -> Result<Vec<Value>> {
    let (full, selector) = (format!("fullnameOverride={name}"), selector(name));
    let selector = format!("config.registration.namespaceSelector={selector}");
    let set = ["--set", &full, "--set", "config.server.certDir=/etc/webhook/certs"];
    let set = [&set[..], &["--set", "config.plugins.configMaps=true", "--set-json", &selector]].concat();
    Renderers::find()?.helm("release", name, &set)
}

/// The chart with a plugin from a ConfigMap that the configuration names.
fn from_config_map(name: &str) -> Result<Vec<Value>> {
    let (full, selector) = (format!("fullnameOverride={name}"), selector(name));
    let selector = format!("config.registration.namespaceSelector={selector}");
    let component = "config.injectors[0].component=configmap:theirs/k8s.wasm";
    let name_it = ["--set", "config.injectors[0].name=k8s", "--set", component];
    let set = ["--set", &full, "--set", "config.server.certDir=/etc/webhook/certs", "--set-json", &selector];
    Renderers::find()?.helm("release", name, &[&set[..], &name_it].concat())
}

/// The chart as a replacement for Flyte's.
fn flyte(name: &str) -> Result<Vec<Value>> {
    let (full, selector) = (format!("fullnameOverride={name}"), selector(name));
    let selector = format!("flyte.config.webhook.namespaceSelector={selector}");
    let flyte = "deploy/chart/ci/flyte-values.yaml";
    Renderers::find()?.helm("release", name, &["--values", flyte, "--set", &full, "--set-json", &selector])
}

#[tokio::test]
async fn the_chart_needs_each_of_its_rights_and_no_other() -> Result<()> {
    check("rights", plain, |_| true).await
}

#[tokio::test]
async fn the_right_to_watch_config_maps_exists_only_if_they_are_watched() -> Result<()> {
    let of_config_maps = |rule: &Value| rule["resources"] == json!(["configmaps"]);
    let rules = plain("rights-none")?;
    let rules = rules.iter().flat_map(|object| object["rules"].as_array().into_iter().flatten());
    assert_eq!(rules.filter(|rule| of_config_maps(rule)).count(), 0);
    check("rights-maps", config_maps, of_config_maps).await
}

#[tokio::test]
async fn a_config_map_that_the_configuration_names_is_read_by_that_name() -> Result<()> {
    check("rights-map", from_config_map, |rule| rule["resources"] == json!(["configmaps"])).await
}

#[tokio::test]
async fn the_chart_as_a_replacement_of_flytes_needs_each_of_its_rights() -> Result<()> {
    check("rights-flyte", flyte, |_| true).await
}

/// `judged` are the rules whose verbs are removed in turn.
async fn check(name: &str, render: fn(&str) -> Result<Vec<Value>>, judged: fn(&Value) -> bool) -> Result<()> {
    let release = Release::install(render(name)?, name, None).await?;
    release.journey().await?;
    let asked = ApiServer::shared().await?.audit(name)?;
    let forbidden: Vec<_> = asked.iter().filter(|event| event["responseStatus"]["code"] == 403).collect();
    assert!(!asked.is_empty() && forbidden.is_empty(), "{forbidden:#?}");

    let count = release.rights().count();
    assert!(count >= 5, "{count}");
    let judged = |right: &Right| judged(&release.objects[right.role]["rules"][right.rule]);
    let indices: Vec<_> = release.rights().enumerate().filter(|(_, right)| judged(right)).map(|(i, _)| i).collect();
    assert!(!indices.is_empty(), "no right is tested");
    for i in indices {
        let name = format!("{name}-{i}");
        let release = Release::install(render(&name)?, &name, Some(i)).await?;
        let right = release.describe(release.rights().nth(i).context("as many as before")?);
        let failure = release.journey().await.err().with_context(|| format!("nothing needs to {right}"))?;
        let failure = format!("{failure:#}");
        assert!(failure.contains("forbidden"), "without the right to {right}: {failure}");
    }
    Ok(())
}

// === impl Release ===

impl Release {
    /// Installs the release without the right of this index.
    async fn install(objects: Vec<Value>, name: &str, without: Option<usize>) -> Result<Self> {
        let namespace = ApiServer::shared().await?.namespace(name).await?;
        let release = Self { namespace, objects, folder: tempfile::tempdir()? };
        let removed = without.map(|index| release.rights().nth(index).context("there is such a right")).transpose()?;
        release.grant(removed).await?;
        let account = release.find("ServiceAccount")?["metadata"]["name"].as_str().context("a name")?;
        let token = release.namespace.token(account).await?;
        for right in release.rights() {
            release.wait_for(account, right, removed != Some(right)).await?;
        }
        release.lay_out(&token).await?;
        release.create_plugins().await?;
        Ok(release)
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

    /// Performs every request that the shipped processes make to the API server.
    async fn journey(&self) -> Result<()> {
        let name = self.namespace.name();
        let output = self.init_certs()?;
        ensure!(output.contains(": created\n"), "{output}");
        let secrets = self.namespace.api::<Secret>();
        let secret = self.rules().find(|rule| rule["resources"][0] == "secrets" && rule["resourceNames"].is_array());
        let secret = secret.and_then(|rule| rule["resourceNames"][0].as_str()).context("a rule names the Secret")?;
        secrets.patch(secret, &PatchParams::default(), &Patch::Merge(&json!({ "data": null }))).await?;
        let output = self.init_certs()?;
        ensure!(output.contains(": replaced, "), "{output}");

        drop(self.start().await?);
        let registrations = self.namespace.cluster_wide::<MutatingWebhookConfiguration>();
        let edit = json!({ "metadata": { "labels": { "app.kubernetes.io/name": "theirs" } } });
        registrations.patch(name, &PatchParams::default(), &Patch::Merge(&edit)).await?;
        let ampoule = self.start().await?;
        // The process works without this right, with reduced function, so only the log shows the
        // failure.
        let mut edits = 0;
        let watch = eventually("an answer to a watch", ANSWERED, async || {
            // A watch is logged when it ends, and a change ends it.
            edits += 1;
            let edit = json!({ "metadata": { "labels": { "edits": edits.to_string() } } });
            registrations.patch(name, &PatchParams::default(), &Patch::Merge(&edit)).await?;
            self.answer("watch", "mutatingwebhookconfigurations").await
        });
        let code = watch.await.with_context(|| ampoule.log().unwrap_or_default())?;
        ensure!(code == 200, "to watch the registration is forbidden: {code}");
        if self
            .rules()
            .any(|rule| rule["resources"] == json!(["configmaps"]) && rule["verbs"] == json!(["list", "watch"]))
        {
            let code = self.answer("watch", "configmaps").await?;
            ensure!(code == 200, "to watch ConfigMaps is forbidden: {code}");
        }

        let output = self.run("Job", "containers")?;
        ensure!(output.ends_with(": removed\n"), "{output}");
        for file in fs::read_dir(self.folder.path().join("config"))? {
            fs::write(file?.path(), "garbage")?;
        }
        let event = eventually("an Event", ANSWERED, async || self.answer("create", "events").await);
        let code = event.await.with_context(|| ampoule.log().unwrap_or_default())?;
        ensure!(code == 201, "to write an Event is forbidden: {code}");
        Ok(())
    }

    /// The code of the first answer to such a request.
    async fn answer(&self, verb: &str, resource: &str) -> Result<u64> {
        let asked = ApiServer::shared().await?.audit(self.namespace.name())?;
        let such = |event: &&Value| event["verb"] == verb && event["objectRef"]["resource"] == resource;
        let code = |event: &Value| event["responseStatus"]["code"].as_u64();
        asked.iter().filter(such).find_map(code).with_context(|| format!("no answer yet to {verb} {resource}"))
    }

    fn init_certs(&self) -> Result<String> {
        self.run("Deployment", "initContainers")
    }

    /// The output of a container that ends by itself.
    fn run(&self, kind: &str, list: &str) -> Result<String> {
        let Output { status, stdout, stderr } = self.command(kind, list)?.output()?;
        ensure!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
        Ok(String::from_utf8(stdout)?)
    }

    async fn start(&self) -> Result<Ampoule> {
        let ca = fs::read_to_string(self.folder.path().join("certs/ca.crt"))?;
        let name = self.namespace.name();
        Ampoule::start_command(self.command("Deployment", "containers")?, &ca, &format!("{name}.{name}.svc")).await
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
        command.env("KUBECONFIG", self.folder.path().join("kubeconfig"));
        Ok(command)
    }

    /// Writes the files of the ConfigMap, and a token in place of the pod's.
    async fn lay_out(&self, token: &str) -> Result<()> {
        let folder = self.folder.path();
        fs::write(folder.join("kubeconfig"), ApiServer::shared().await?.kubeconfig(token))?;
        fs::create_dir(folder.join("config"))?;
        for (file, text) in self.find("ConfigMap")?["data"].as_object().context("a ConfigMap has files")? {
            let text = self.here(text.as_str().context("of text")?);
            fs::write(folder.join("config").join(file), text)?;
        }
        Ok(())
    }

    fn here(&self, text: &str) -> String {
        FOLDERS.iter().fold(text.to_owned(), |text, (there, here)| {
            text.replace(there, &self.folder.path().join(here).display().to_string())
        })
    }

    fn find(&self, kind: &str) -> Result<&Value> {
        self.objects.iter().find(|object| object["kind"] == kind).with_context(|| format!("the chart has a {kind}"))
    }

    // --- rights ---

    fn rules(&self) -> impl Iterator<Item = &Value> {
        self.objects.iter().flat_map(|object| object["rules"].as_array().into_iter().flatten())
    }

    fn rights(&self) -> impl Iterator<Item = Right> {
        let rules = self.objects.iter().enumerate().flat_map(|(role, object)| {
            let rules = object["rules"].as_array().into_iter().flatten().enumerate();
            rules.map(move |(rule, content)| (role, rule, content))
        });
        rules.flat_map(|(role, rule, content)| {
            let verbs = content["verbs"].as_array().map_or(0, Vec::len);
            (0..verbs).map(move |verb| Right { role, rule, verb })
        })
    }

    fn describe(&self, right: Right) -> String {
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

    /// Waits until the authorizer applies the change.
    async fn wait_for(&self, account: &str, right: Right, granted: bool) -> Result<()> {
        let object = &self.objects[right.role];
        let rule = &object["rules"][right.rule];
        let mut attributes = json!({
            "group": rule["apiGroups"][0], "resource": rule["resources"][0], "verb": rule["verbs"][right.verb],
            "name": rule["resourceNames"][0].as_str().unwrap_or_default(),
        });
        if object["kind"] == "Role" {
            attributes["namespace"] = json!(self.namespace.name());
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
