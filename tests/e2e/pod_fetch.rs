//! Delivery `pod`: the pod fetches its secrets with its own identity, and the webhook and the API
//! server never have them.
//!
//! The containers of the pod run on a node of the test ([`Node`]). Vault is a server with the
//! answers of its API reference, which accepts only the token of the pod's service account.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use ampoule_core::MountRequirement::{EnvVar, File};
use ampoule_tests::{
    Ampoule, ApiServer, EndedContainer, Namespace, Node, NodeImage, Review, asking, binary, eventually,
    network::{Question, Store, in_own_network},
};
use anyhow::{Context as _, Result, ensure};
use data_encoding::BASE64URL_NOPAD;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::{certificate_pem, config, request};

/// Not a word of the program or of its dependencies.
const VALUE: &str = "zq7canarybird-value";
/// A value that `fileKeyRef` cannot express.
const QUOTED: &str = "zq7canarybird's value";
/// The image of the program, by a digest.
const IMAGE: &str = "example.org/ampoule-fetch@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// An image with components, by its digest.
const COMPONENT_IMAGE: &str =
    "example.org/plugins@sha256:1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// The limit for what the webhook does by and by.
const LONGEST: Duration = Duration::from_secs(60);
/// The image of the pod's own container.
const APP: &str = "alpine";
/// The token that Vault gives to the pod.
const VAULT_TOKEN: &str = "hvs.zq7canarybird-token";

/// What Vault was asked.
#[derive(Default)]
struct Asked {
    logins: usize,
    reads: Vec<String>,
    /// The answers of a store that was down at first.
    outages: usize,
    /// The reads of the secret that changes.
    rotations: usize,
}

/// A server of Vault, which runs as long as this value.
struct Vault {
    store: Store,
    asked: Arc<Mutex<Asked>>,
}

/// A webhook, its API server, its store and the image of the program.
struct Place<'a> {
    namespace: Namespace,
    folder: tempfile::TempDir,
    vault: &'a Vault,
    /// The component of the injector.
    component: String,
}

#[test]
fn a_pod_fetches_its_secrets_with_its_own_identity() {
    in_own_network("pod_fetch::a_pod_fetches_its_secrets_with_its_own_identity", || {
        let vault = Vault::start(answers);
        Runtime::new().expect("a runtime").block_on(fetch_in_pods(&vault)).expect("the pods run");
    });
}

async fn fetch_in_pods(vault: &Vault) -> Result<()> {
    let place = Place::new("pod-fetch", vault).await?;
    let ampoule = place.webhook("both").await?;
    let script = "printenv DB_PASSWORD; cat $DB_PASSWORD_FILE /etc/flyte/secrets/db/token; id -u";
    for (what, changes, user) in [
        ("an ordinary pod", json!({}), "1000"),
        (
            "any user, as on OpenShift",
            json!({ "securityContext": { "runAsUser": 1_000_660_000, "fsGroup": 5 } }),
            "1000660000",
        ),
        ("root", json!({ "securityContext": { "runAsUser": 0 } }), "0"),
        ("a Job", json!({ "restartPolicy": "Never" }), "1000"),
        ("a read-only root and no rights", restricted(), "1000"),
        ("an init container of its own", json!({ "initContainers": [own_init_container()] }), "1000"),
    ] {
        let mut pod = pod(script);
        merge(&mut pod["spec"], &changes);
        let pod = place.mutate(&ampoule, &pod).await.context(what)?;
        ensure_absent(&pod)?;
        let ended = place.run(&pod).await.context(what)?;
        let fetch = ended.first().context("no container ran")?;
        assert_eq!(
            (fetch.name.as_str(), fetch.status, fetch.reason.as_str()),
            ("ampoule-fetch", 0, ""),
            "{what}: {fetch:?}"
        );
        for own in &ended[1..] {
            assert_eq!(own.output, format!("{VALUE}\n{VALUE}{QUOTED}{user}\n"), "{what}: {own:?}");
        }
        let own_containers = pod["spec"]["initContainers"].as_array().map_or(0, Vec::len);
        assert_eq!(ended.len(), 1 + own_containers, "{what}: {ended:?}");
        for text in [&fetch.output, &fetch.errors] {
            assert!(!text.contains("zq7canarybird"), "{what}: {text}");
        }
        let line: Value = serde_json::from_str(fetch.output.trim()).with_context(|| fetch.output.clone())?;
        assert_eq!(line["secrets"].as_array().map(Vec::len), Some(2), "{what}: {line}");
        let asked = std::mem::take(&mut *place.vault.asked.lock().expect("no panic"));
        assert_eq!((asked.logins, asked.reads.len()), (1, 2), "{what}");
    }
    // No variable can be expressed: the kubelet needs the file of variables all the same.
    let mut pod = asking("app", [request("db", "token", EnvVar, "TOKEN")]);
    pod["spec"]["containers"][0] =
        json!({ "name": "app", "image": APP, "command": ["/bin/sh", "-c", "cat $TOKEN_FILE"] });
    let ended = place.run(&place.mutate(&ampoule, &pod).await?).await?;
    assert_eq!(ended.last().map(|app| app.output.as_str()), Some(QUOTED), "{ended:?}");
    ensure_memory_absent(&ampoule)?;
    let exit = ampoule.stop().await?;
    assert!(!exit.log.contains("zq7canarybird"), "{}", exit.log);
    exit.ensure_clean()
}

#[test]
fn a_pod_that_cannot_fetch_says_why() {
    in_own_network("pod_fetch::a_pod_that_cannot_fetch_says_why", || {
        let vault = Vault::start(answers);
        Runtime::new().expect("a runtime").block_on(fail_in_pods(&vault)).expect("the pods run");
    });
}

async fn fail_in_pods(vault: &Vault) -> Result<()> {
    let place = Place::new("pod-fetch-fails", vault).await?;
    let ampoule = place.webhook("file-key").await?;
    let late = "secret slow/password was not fetched by injector vault within 20 s (delivery.pod.totalSeconds): ";
    for (group, key, expected) in [
        (
            "db",
            "token",
            "the value of secret db/token contains a single quote, which fileKeyRef cannot express for the variable _FSEC_DB_TOKEN; \
          request the secret as a file, or set delivery.pod.variables to file or both",
        ),
        ("db", "absent", "secret db/absent cannot be fetched by injector vault: not found: "),
        ("absent", "password", "secret absent/password cannot be fetched by injector vault: not found: "),
        ("forbidden", "password", "secret forbidden/password cannot be fetched by injector vault: denied: "),
        ("slow", "password", late),
    ] {
        let mut pod = asking("app", [request(group, key, EnvVar, "X")]);
        pod["spec"]["containers"][0] = json!({ "name": "app", "image": APP, "command": ["/bin/true"] });
        let pod = place.mutate(&ampoule, &pod).await?;
        let ended = place.run(&pod).await?;
        let [fetch] = &ended[..] else { anyhow::bail!("{group}: {ended:?}") };
        assert!(fetch.reason.starts_with(expected) && fetch.status == 1, "{group}: {fetch:?}");
        assert!(!fetch.reason.contains("zq7canarybird") && !fetch.errors.contains("zq7canarybird"), "{fetch:?}");
    }
    let mut pod = asking("app", [request("db", "password", EnvVar, "X")]);
    pod["spec"]["serviceAccountName"] = json!("stranger");
    let ended = place.run(&place.mutate(&ampoule, &pod).await?).await?;
    let expected = "secret db/password cannot be fetched by injector vault: internal: the host cannot log in to \
                    192.0.2.1:8443: the login was refused; the log of the container has the cause";
    assert_eq!(ended.first().map(|fetch| fetch.reason.as_str()), Some(expected), "{ended:?}");
    // The store is down at first, and then answers.
    let mut pod = asking("app", [request("recovering", "password", EnvVar, "X")]);
    pod["spec"]["containers"][0] = json!({ "name": "app", "image": APP, "command": ["printenv", "X"] });
    let ended = place.run(&place.mutate(&ampoule, &pod).await?).await?;
    assert_eq!(ended.last().map(|app| app.output.as_str()), Some("zq7canarybird-value\n"), "{ended:?}");
    ampoule.stop().await?.ensure_clean()
}

#[test]
fn a_sidecar_keeps_the_files_of_a_pod_fresh() {
    in_own_network("pod_fetch::a_sidecar_keeps_the_files_of_a_pod_fresh", || {
        let vault = Vault::start(answers);
        Runtime::new().expect("a runtime").block_on(refresh_in_pods(&vault)).expect("the pods run");
    });
}

async fn refresh_in_pods(vault: &Vault) -> Result<()> {
    let place = Place::new("pod-refresh", vault).await?;
    let ampoule = place.webhook("file, refreshSeconds: 10").await?;
    let mut pod = asking("app", [request("rotating", "cert", File, ""), request("rotating", "key", File, "")]);
    pod["spec"]["containers"][0] =
        json!({ "name": "app", "image": APP, "command": ["/bin/sh", "-c", WAIT_FOR_CHANGE] });
    pod["spec"]["initContainers"] = json!([{ "name": "own", "image": APP, "command": ["/bin/true"] }]);
    let mutated = place.mutate(&ampoule, &pod).await?;
    let names: Vec<_> =
        mutated["spec"]["initContainers"].as_array().into_iter().flatten().map(|c| &c["name"]).collect();
    assert_eq!(names, ["ampoule-fetch", "ampoule-refresh", "own"]);
    let ended = place.run(&mutated).await?;
    let [fetch, _own, app, refresh] = &ended[..] else { anyhow::bail!("{ended:?}") };
    assert_eq!(
        (app.status, app.output.as_str()),
        (0, "zq7canarybird-1 zq7canarybird-2 zq7canarybird-2\n"),
        "{ended:?}"
    );
    assert_eq!((refresh.name.as_str(), refresh.status), ("ampoule-refresh", 0), "{refresh:?}");
    assert!(refresh.output.starts_with(r#"{"message":"refreshed","secrets":["#), "{refresh:?}");
    for text in [&fetch.output, &fetch.errors, &refresh.output, &refresh.errors] {
        assert!(!text.contains("zq7canarybird"), "{text}");
    }
    // The secret is deleted in the store: the pod keeps its value.
    let mut pod = asking("app", [request("deleted", "password", File, "")]);
    let script = "sleep 12; cat /etc/flyte/secrets/deleted/password";
    pod["spec"]["containers"][0] = json!({ "name": "app", "image": APP, "command": ["/bin/sh", "-c", script] });
    let ended = place.run(&place.mutate(&ampoule, &pod).await?).await?;
    let [_fetch, app, refresh] = &ended[..] else { anyhow::bail!("{ended:?}") };
    assert_eq!((app.output.as_str(), refresh.status), (VALUE, 0), "{ended:?}");
    let expected = "secret deleted/password cannot be fetched by injector vault: not found: ";
    assert!(refresh.errors.contains(expected) && refresh.output.is_empty(), "{refresh:?}");
    // The pod's author wants no sidecar, or another interval.
    for (interval, expected) in [
        ("0", Ok(None)),
        ("600", Ok(Some(600))),
        ("5", Err("annotation ampoule.dev/refresh-seconds: must be 0, or a number of seconds from 10 to 86400")),
    ] {
        pod["metadata"]["annotations"]["ampoule.dev/refresh-seconds"] = json!(interval);
        let response = ampoule.review_once(&Review::of(&pod, place.namespace.name())).await?;
        let Ok(seconds) = expected else {
            assert!(!response.allowed && response.message.contains(expected.unwrap_err()), "{response:?}");
            continue;
        };
        let mut mutated = pod.clone();
        json_patch::patch(&mut mutated, &response.patch)?;
        assert_eq!(refresh_seconds(&mutated)?, seconds, "{interval}: {mutated}");
        assert!(response.warnings.is_empty(), "{response:?}");
    }
    ampoule.stop().await?.ensure_clean()
}

/// A program that reads a certificate and its key, as one version, until they change.
const WAIT_FOR_CHANGE: &str = r#"
cd /etc/flyte/secrets/rotating
first=$(cat cert)
for i in $(seq 600); do
    version=$(readlink ..data)
    cert=$(cat $version/cert) && key=$(cat $version/key) && [ "$cert" != "$key" ] && echo "torn: $cert $key" && exit 1
    [ "$(cat cert)" != "$first" ] && echo "$first $(cat cert) $(cat key)" && exit 0
    sleep 0.1
done
exit 2
"#;

/// The interval in the document of the sidecar; `None` without a sidecar.
fn refresh_seconds(pod: &Value) -> Result<Option<u64>> {
    let containers = pod["spec"]["initContainers"].as_array().context("no init containers")?;
    let Some(sidecar) = containers.iter().find(|container| container["name"] == "ampoule-refresh") else {
        return Ok(None);
    };
    let variables = sidecar["env"].as_array().context("no variables")?;
    let document = variables.iter().find(|variable| variable["name"] == "AMPOULE_FETCH").context("no document")?;
    let document: Value = serde_json::from_str(document["value"].as_str().unwrap_or_default())?;
    Ok(document["refreshSeconds"].as_u64())
}

#[test]
fn a_pod_gets_a_component_of_a_third_party_and_runs_no_other_code() {
    in_own_network("pod_fetch::a_pod_gets_a_component_of_a_third_party_and_runs_no_other_code", || {
        let vault = Vault::start(answers);
        Runtime::new().expect("a runtime").block_on(ship_to_pods(&vault)).expect("the pods run");
    });
}

async fn ship_to_pods(vault: &Vault) -> Result<()> {
    let mut place = Place::new("pod-ships", vault).await?;
    let component = place.foreign_component()?;
    place.component = format!("file:{}", component.display());
    let mut pod = asking("app", [request("db", "password", EnvVar, "X")]);
    pod["spec"]["containers"][0] = json!({ "name": "app", "image": APP, "command": ["/bin/sh", "-c", "cat $X_FILE"] });

    let ampoule = place.webhook("file").await?;
    let ended = place.run(&place.mutate(&ampoule, &pod).await?).await?;
    let expected = "injector vault: the pod has no component ";
    assert!(ended[0].reason.starts_with(expected) && ended.len() == 1, "{ended:?}");
    ampoule.stop().await?.ensure_clean()?;

    place.portable("image", &[&component])?;
    let volume = format!("file, components: {{ source: image-volume, image: '{COMPONENT_IMAGE}' }}");
    let ampoule = place.webhook(&volume).await?;
    let ended = place.run(&place.mutate(&ampoule, &pod).await?).await?;
    assert_eq!(ended.last().map(|app| app.output.as_str()), Some(VALUE), "{ended:?}");
    ampoule.stop().await?.ensure_clean()?;

    let ampoule = place.webhook("file, components: { source: config-map }").await?;
    let mutated = place.mutate(&ampoule, &pod).await?;
    let config_maps = place.namespace.api::<ConfigMap>();
    let list = config_maps.list(&ListParams::default().labels("ampoule.dev/injector=vault")).await?;
    let [shipped] = &list.items[..] else { anyhow::bail!("{:?}", list.items) };
    let name = shipped.metadata.name.clone().context("no name")?;
    assert_eq!(shipped.immutable, Some(true));
    let ended = place.run(&mutated).await?;
    assert_eq!(ended.last().map(|app| app.output.as_str()), Some(VALUE), "{ended:?}");

    // A user of the namespace replaces it: the pod runs nothing, and the webhook restores it.
    config_maps.delete(&name, &DeleteParams::default()).await?;
    config_maps.create(&PostParams::default(), &with_other_code(shipped)).await?;
    let ended = place.run(&mutated).await?;
    assert!(ended[0].reason.contains("was changed: its SHA-256 is not that of the webhook's code"), "{ended:?}");
    eventually("the component", LONGEST, async || {
        place.review(&ampoule, &pod).await?;
        ensure!(config_maps.get(&name).await?.binary_data == shipped.binary_data, "it has other code");
        Ok(())
    })
    .await?;
    eventually("no unused component", LONGEST, async || {
        ensure!(config_maps.get_opt(&name).await?.is_none(), "it exists");
        Ok(())
    })
    .await?;
    ampoule.stop().await?.ensure_clean()
}

/// The ConfigMap with the code of another component.
fn with_other_code(shipped: &ConfigMap) -> ConfigMap {
    let mut other = ConfigMap { binary_data: shipped.binary_data.clone(), ..ConfigMap::default() };
    other.metadata.name = shipped.metadata.name.clone();
    other.metadata.labels = shipped.metadata.labels.clone();
    for (key, value) in other.binary_data.iter_mut().flatten() {
        if key.ends_with(".cwasm") {
            let last = value.0.len() - 1;
            value.0[last] ^= 1;
        }
    }
    other
}

/// A container of the pod's author that reads the same secrets before the others.
fn own_init_container() -> Value {
    let script = "printenv DB_PASSWORD; cat $DB_PASSWORD_FILE /etc/flyte/secrets/db/token; id -u";
    json!({ "name": "own", "image": APP, "command": ["/bin/sh", "-c", script] })
}

/// The fields that the Pod Security Standard `restricted` requires.
fn restricted() -> Value {
    json!({ "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } } })
}

fn merge(target: &mut Value, changes: &Value) {
    for (key, value) in changes.as_object().into_iter().flatten() {
        target[key] = value.clone();
    }
}

/// Scans the memory of the webhook, which must never have had a value.
fn ensure_memory_absent(ampoule: &Ampoule) -> Result<()> {
    let maps = fs::read_to_string(format!("/proc/{}/maps", ampoule.id()))?;
    let memory = fs::File::open(format!("/proc/{}/mem", ampoule.id()))?;
    let mut scanned = 0;
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.starts_with("rw"))) {
        let (start, end) = line.split(' ').next().and_then(|range| range.split_once('-')).context("a range")?;
        let (start, end) = (u64::from_str_radix(start, 16)?, u64::from_str_radix(end, 16)?);
        let mut at = start;
        while at < end {
            let mut chunk = vec![0; usize::try_from((end - at).min(1 << 20))?];
            // Guard pages and reserved memory cannot be read.
            let Ok(read) = std::os::unix::fs::FileExt::read_at(&memory, &mut chunk, at) else { break };
            ensure!(read > 0, "the memory ends");
            scanned += read;
            let has_value = chunk[..read].windows(VALUE.len()).any(|bytes| bytes == VALUE.as_bytes());
            ensure!(!has_value, "the webhook's memory has the value in {line}");
            at += u64::try_from(read)?;
        }
    }
    ensure!(scanned > 1 << 20, "only {scanned} bytes were scanned");
    Ok(())
}

impl Vault {
    fn start(answers: fn(&Question, &mut Asked) -> (u16, String)) -> Self {
        let asked = Arc::<Mutex<Asked>>::default();
        let state = Arc::clone(&asked);
        let store = Store::answering(move |question| Some(answers(question, &mut state.lock().expect("no panic"))));
        Self { store, asked }
    }
}

impl<'a> Place<'a> {
    async fn new(name: &str, vault: &'a Vault) -> Result<Self> {
        let namespace = ApiServer::shared().await?.namespace(name).await?;
        let accounts = namespace.api::<ServiceAccount>();
        for account in ["default", "stranger"] {
            let account = serde_json::from_value(json!({ "metadata": { "name": account } }))?;
            accounts.create(&PostParams::default(), &account).await?;
        }
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("ca.crt"), certificate_pem(vault.store.root.as_ref()))?;
        let place = Self { namespace, folder, vault, component: "builtin:vault-kv".to_owned() };
        place.portable("components", &[])?;
        Ok(place)
    }

    /// Writes components and their code to a folder.
    fn portable(&self, folder: &str, components: &[&Path]) -> Result<()> {
        let folder = self.folder.path().join(folder);
        let written = Command::new(binary()?).arg("portable").arg(&folder).args(components).output()?;
        ensure!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
        Ok(())
    }

    /// A component that is not built in: the same plugin with another custom section.
    fn foreign_component(&self) -> Result<PathBuf> {
        let folder = self.folder.path().join("components");
        let index: Value = serde_json::from_slice(&fs::read(folder.join("index.json"))?)?;
        let digest = index["vault-kv"].as_str().context("a built-in plugin")?;
        let mut component = fs::read(folder.join(digest).with_extension("wasm"))?;
        component.extend_from_slice(b"\0\x05\x04test");
        let path = self.folder.path().join("foreign.wasm");
        fs::write(&path, component)?;
        Ok(path)
    }

    /// Starts a webhook with this form of variables, and further keys of `delivery.pod`.
    async fn webhook(&self, variables: &str) -> Result<Ampoule> {
        let (ca, component) = (self.folder.path().join("ca.crt").display().to_string(), &self.component);
        let credential = "{ vault: { address: 'https://192.0.2.1:8443', role: app, audience: vault } }";
        let injector = format!(
            "  - name: vault\n    component: {component}\n    delivery: pod\n    limits: {{ deadlineMillis: 20000 }}\n    \
             settings: {{ address: 'https://192.0.2.1:8443' }}\n    grants: {{ http: {{ caFile: {ca}, hosts: [{{ host: \
             '192.0.2.1:8443', credential: {credential} }}] }} }}\n"
        );
        let pods = format!("{{ image: '{IMAGE}', variables: {variables}, totalSeconds: 20 }}");
        let pods = format!("delivery: {{ pod: {pods}, graceSeconds: 10, sweepIntervalSeconds: 1 }}\n");
        if !variables.contains("config-map") {
            // Without the API server, whose version is not checked then.
            return Ampoule::start(&(pods + &config("flyte-v1", &injector))).await;
        }
        let kubeconfig = self.folder.path().join("kubeconfig");
        fs::write(&kubeconfig, ApiServer::shared().await?.admin_kubeconfig())?;
        let path = kubeconfig.to_str().context("a path in UTF-8")?;
        let environment = [("KUBECONFIG", path), ("POD_NAMESPACE", self.namespace.name())];
        Ampoule::start_with(&(pods + &config("flyte-v1", &injector)), &environment).await
    }

    /// The pod as the webhook answers it.
    async fn mutate(&self, ampoule: &Ampoule, pod: &Value) -> Result<Value> {
        let mutated = self.review(ampoule, pod).await?;
        assert_eq!(self.review(ampoule, &mutated).await?, mutated, "a second review must change nothing");
        Ok(mutated)
    }

    async fn review(&self, ampoule: &Ampoule, pod: &Value) -> Result<Value> {
        let response = ampoule.review_once(&Review::of(pod, self.namespace.name())).await?;
        ensure!(response.allowed, "{}", response.message);
        let mut pod = pod.clone();
        json_patch::patch(&mut pod, &response.patch)?;
        Ok(pod)
    }

    async fn run(&self, pod: &Value) -> Result<Vec<EndedContainer>> {
        let components = self.folder.path().join("components");
        let node = Node::new(vec![
            NodeImage {
                name: IMAGE.to_owned(),
                command: Vec::new(),
                user: 65532,
                folders: vec![(components, "/components".to_owned()), (program_folder()?, "/ampoule".to_owned())],
            },
            NodeImage { name: APP.to_owned(), command: Vec::new(), user: 1000, folders: Vec::new() },
            NodeImage {
                name: COMPONENT_IMAGE.to_owned(),
                command: Vec::new(),
                user: 0,
                folders: vec![(self.folder.path().join("image"), "/components".to_owned())],
            },
        ])?;
        node.run(pod.clone(), &self.namespace).await
    }
}

/// The folder with the program of this build.
fn program_folder() -> Result<PathBuf> {
    let binary = binary()?;
    Ok(binary.parent().context("the program has a folder")?.to_owned())
}

/// A pod with a variable and a file, whose container runs this script.
fn pod(script: &str) -> Value {
    let mut pod = asking("app", [request("db", "password", EnvVar, "DB_PASSWORD"), request("db", "token", File, "")]);
    pod["spec"]["containers"][0] = json!({ "name": "app", "image": APP, "command": ["/bin/sh", "-c", script] });
    pod
}

fn ensure_absent(pod: &Value) -> Result<()> {
    ensure!(!pod.to_string().contains("zq7canarybird"), "the pod has a value: {pod}");
    Ok(())
}

/// Vault: accepts the token of the service account `default`, with the audience `vault`.
fn answers(question: &Question, asked: &mut Asked) -> (u16, String) {
    let answer = |status, body: Value| (status, body.to_string());
    if question.target == "POST /v1/auth/kubernetes/login" {
        asked.logins += 1;
        let body: Value = serde_json::from_str(&question.body).unwrap_or_default();
        let claims = claims(body["jwt"].as_str().unwrap_or_default());
        let is_pod = claims["sub"].as_str().is_some_and(|name| name.ends_with(":default"));
        if body["role"] != "app" || !is_pod || claims["aud"] != json!(["vault"]) {
            return answer(403, json!({ "errors": [format!("permission denied: {claims}")] }));
        }
        let auth = json!({ "client_token": VAULT_TOKEN, "lease_duration": 3600, "renewable": true });
        return answer(200, json!({ "auth": auth }));
    }
    if !question.headers.contains(&format!("x-vault-token: {VAULT_TOKEN}")) {
        return answer(403, json!({ "errors": ["permission denied"] }));
    }
    asked.reads.push(question.target.clone());
    match question.target.as_str() {
        "GET /v1/secret/data/db" => {
            let data = json!({ "password": VALUE, "token": QUOTED });
            answer(200, json!({ "data": { "data": data, "metadata": { "version": 3 } } }))
        }
        "GET /v1/secret/data/forbidden" => answer(403, json!({ "errors": ["permission denied"] })),
        "GET /v1/secret/data/slow" => answer(503, json!({ "errors": ["sealed"] })),
        "GET /v1/secret/data/recovering" if asked.outages < 3 => {
            asked.outages += 1;
            answer(503, json!({ "errors": ["sealed"] }))
        }
        // A pod reads both keys at once.
        "GET /v1/secret/data/rotating" => {
            asked.rotations += 1;
            let value = format!("zq7canarybird-{}", asked.rotations.div_ceil(2));
            let data = json!({ "cert": value, "key": value });
            answer(200, json!({ "data": { "data": data, "metadata": { "version": asked.rotations } } }))
        }
        "GET /v1/secret/data/deleted" if asked.reads.iter().filter(|read| **read == question.target).count() == 1 => {
            let data = json!({ "password": VALUE });
            answer(200, json!({ "data": { "data": data, "metadata": { "version": 3 } } }))
        }
        "GET /v1/secret/data/recovering" => {
            let data = json!({ "password": VALUE });
            answer(200, json!({ "data": { "data": data, "metadata": { "version": 3 } } }))
        }
        _ => answer(404, json!({ "errors": [] })),
    }
}

/// The claims of a token, without its signature.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap_or_default();
    let bytes = BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}
