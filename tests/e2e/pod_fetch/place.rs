//! The place of the tests: a webhook, a store, and a node with the image of the program.
//!
//! Vault answers as its API reference describes, and accepts only the token of the pod's service
//! account.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::Instant,
};

use ampoule_tests::{
    Ampoule, ApiServer, EndedContainer, Namespace, Node, NodeImage, Review, System, binary, fetch_program,
    network::{Question, Store, in_own_network},
};
use anyhow::{Context as _, Result, ensure};
use data_encoding::BASE64URL_NOPAD;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::{certificate_pem, config};

/// Not a word of the program or of its dependencies.
pub(super) const VALUE: &str = "zq7canarybird-value";
/// The value of a secret that only the search of the node's disk uses.
pub(super) const ON_DISK: &str = "zq7canarybird-on-disk";
/// A value that `fileKeyRef` cannot express.
pub(super) const QUOTED: &str = "zq7canarybird's value";
/// The image of the program, by a digest.
const IMAGE: &str = "example.org/ampoule-fetch@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// An image with components, by its digest.
pub(super) const COMPONENT_IMAGE: &str =
    "example.org/plugins@sha256:1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// The image of the pod's own container.
pub(super) const APP: &str = "alpine:3";
/// An image with one program and nothing else.
pub(super) const SCRATCH: &str = "only-a-shell:1";
/// An image with libraries, certificates and one program, and a user of its own.
pub(super) const DISTROLESS: &str = "distroless:1";
/// The token that Vault gives to the pod.
const VAULT_TOKEN: &str = "hvs.zq7canarybird-token";

/// What Vault was asked.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) logins: usize,
    pub(super) reads: Vec<String>,
    /// The answers of a store that was down at first.
    outages: usize,
    /// The end of the time in which the store is down.
    pub(super) down_until: Option<Instant>,
    /// The reads of the secret that changes.
    rotations: usize,
    /// The changes of a secret by the test.
    pub(super) changes: usize,
}

/// A server of a store, which runs as long as this value.
pub(super) struct PodStore {
    store: Store,
    pub(super) asked: Arc<Mutex<Asked>>,
}

/// A webhook, its API server, its store and the image of the program.
pub(super) struct Place<'a> {
    pub(super) namespace: Namespace,
    folder: tempfile::TempDir,
    pub(super) store: &'a PodStore,
    /// The name of the injector.
    pub(super) injector: &'static str,
    /// The component of the injector, its settings, and the credential for its store.
    pub(super) component: String,
    pub(super) settings: String,
    pub(super) credential: String,
    /// Further sections of the configuration. With them, the webhook uses the API server.
    pub(super) further: &'static str,
}

/// Runs a test with Vault, in a network of its own. `name` is the name of the test.
pub(super) fn with_vault(name: &str, test: impl AsyncFnOnce(&PodStore) -> Result<()>) {
    in_own_network(name, || {
        let vault = PodStore::vault();
        Runtime::new().expect("a runtime").block_on(test(&vault)).expect("the pods run");
    });
}

impl PodStore {
    /// A server of Vault.
    pub(super) fn vault() -> Self {
        Self::answering(answers)
    }

    /// A server with these answers.
    pub(super) fn answering(answers: impl Fn(&Question, &mut Asked) -> (u16, String) + Send + Sync + 'static) -> Self {
        let asked = Arc::<Mutex<Asked>>::default();
        let state = Arc::clone(&asked);
        let store = Store::answering(move |question| Some(answers(question, &mut state.lock().expect("no panic"))));
        Self { store, asked }
    }
}

impl<'a> Place<'a> {
    pub(super) async fn new(name: &str, store: &'a PodStore) -> Result<Self> {
        let namespace = ApiServer::shared().await?.namespace(name).await?;
        let accounts = namespace.api::<ServiceAccount>();
        for account in ["default", "stranger"] {
            let account = serde_json::from_value(json!({ "metadata": { "name": account } }))?;
            accounts.create(&PostParams::default(), &account).await?;
        }
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("ca.crt"), certificate_pem(store.store.root.as_ref()))?;
        let place = Self {
            namespace,
            folder,
            store,
            injector: "vault",
            component: "builtin:vault-kv".to_owned(),
            settings: "{ address: 'https://192.0.2.1:8443' }".to_owned(),
            credential: "{ vault: { address: 'https://192.0.2.1:8443', role: app, audience: vault } }".to_owned(),
            further: "",
        };
        place.portable("components", &[])?;
        Ok(place)
    }

    /// Writes components and their code to a folder.
    pub(super) fn portable(&self, folder: &str, components: &[&Path]) -> Result<()> {
        let folder = self.folder.path().join(folder);
        let written = Command::new(binary()?).arg("portable").arg(&folder).args(components).output()?;
        ensure!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
        Ok(())
    }

    /// Writes a component to a file.
    pub(super) fn write_component(&self, component: &[u8]) -> Result<PathBuf> {
        let path = self.folder.path().join("component.wasm");
        fs::write(&path, component)?;
        Ok(path)
    }

    /// A component that is not built in: the same plugin with another custom section.
    pub(super) fn foreign_component(&self) -> Result<PathBuf> {
        let folder = self.folder.path().join("components");
        let index: Value = serde_json::from_slice(&fs::read(folder.join("index.json"))?)?;
        let digest = index["vault-kv"].as_str().context("a built-in plugin")?;
        let mut component = fs::read(folder.join(digest).with_extension("wasm"))?;
        component.extend_from_slice(b"\0\x05\x04test");
        self.write_component(&component)
    }

    /// Starts a webhook with this form of variables, and further keys of `delivery.pod`.
    pub(super) async fn webhook(&self, variables: &str) -> Result<Ampoule> {
        self.webhook_with(variables, 20).await
    }

    /// Starts a webhook whose pods fetch for at most this number of seconds.
    pub(super) async fn webhook_with(&self, variables: &str, seconds: u64) -> Result<Ampoule> {
        let ca = self.folder.path().join("ca.crt").display().to_string();
        let Self { injector, component, settings, credential, .. } = self;
        let injector = format!(
            "  - name: {injector}\n    component: {component}\n    delivery: pod\n    limits: {{ deadlineMillis: 20000 \
             }}\n    settings: {settings}\n    grants: {{ http: {{ caFile: {ca}, hosts: [{{ host: \
             '192.0.2.1:8443', credential: {credential} }}] }} }}\n"
        );
        let pods = format!("{{ image: '{IMAGE}', variables: {variables}, totalSeconds: {seconds} }}");
        let namespace = self.namespace.name();
        let pods = format!(
            "delivery: {{ pod: {pods}, graceSeconds: 10, sweepIntervalSeconds: 1, namespaces: [{namespace}] }}\n\
             {}",
            self.further
        );
        if !variables.contains("config-map") && self.further.is_empty() {
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
    pub(super) async fn mutate(&self, ampoule: &Ampoule, pod: &Value) -> Result<Value> {
        let mutated = self.review(ampoule, pod).await?;
        assert_eq!(self.review(ampoule, &mutated).await?, mutated, "a second review must change nothing");
        Ok(mutated)
    }

    pub(super) async fn review(&self, ampoule: &Ampoule, pod: &Value) -> Result<Value> {
        let response = ampoule.review_once(&Review::of(pod, self.namespace.name())).await?;
        ensure!(response.allowed, "{}", response.message);
        let mut pod = pod.clone();
        json_patch::patch(&mut pod, &response.patch)?;
        Ok(pod)
    }

    pub(super) async fn run(&self, pod: &Value) -> Result<Vec<EndedContainer>> {
        self.node()?.run(pod.clone(), &self.namespace).await
    }

    /// A node with the images of the tests.
    pub(super) fn node(&self) -> Result<Node> {
        Node::new(self.images()?)
    }

    /// The images of the tests.
    pub(super) fn images(&self) -> Result<Vec<NodeImage>> {
        let image = |name: &str, user, system, folders: &[(&Path, &str)]| NodeImage {
            name: name.to_owned(),
            command: Vec::new(),
            user,
            system,
            folders: folders.iter().map(|(source, path)| ((*source).to_owned(), (*path).to_owned())).collect(),
        };
        let (components, of_image) = (self.folder.path().join("components"), self.folder.path().join("image"));
        let program = fetch_program()?;
        let shell = (Path::new("/bin/busybox"), "/app/sh");
        let certificates = (Path::new("/etc/ssl/certs/ca-certificates.crt"), "/etc/ssl/certs/ca-certificates.crt");
        let parts = [(&*components, "/components"), (&*program, "/usr/local/bin/ampoule-fetch")];
        Ok(vec![
            image(IMAGE, 65532, System::Libraries, &parts),
            image(SCRATCH, 1000, System::Nothing, &[shell]),
            image(DISTROLESS, 65532, System::Libraries, &[shell, certificates]),
            image(APP, 1000, System::Programs, &[]),
            image(COMPONENT_IMAGE, 0, System::Nothing, &[(&*of_image, "/components")]),
        ])
    }
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
        target if target.starts_with("GET /v1/secret/data/many/") => {
            answer(200, json!({ "data": { "data": { "password": VALUE }, "metadata": { "version": 3 } } }))
        }
        "GET /v1/secret/data/db" => {
            let data = json!({ "password": VALUE, "token": QUOTED });
            answer(200, json!({ "data": { "data": data, "metadata": { "version": 3 } } }))
        }
        "GET /v1/secret/data/on-disk" => {
            answer(200, json!({ "data": { "data": { "password": ON_DISK }, "metadata": { "version": 3 } } }))
        }
        "GET /v1/secret/data/forbidden" => answer(403, json!({ "errors": ["permission denied"] })),
        "GET /v1/secret/data/slow" => answer(503, json!({ "errors": ["sealed"] })),
        "GET /v1/secret/data/outage" if asked.down_until.is_some_and(|end| Instant::now() < end) => {
            answer(503, json!({ "errors": ["sealed"] }))
        }
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
        "GET /v1/secret/data/changing" => {
            let data = json!({ "password": format!("zq7canarybird-{}", asked.changes) });
            answer(200, json!({ "data": { "data": data, "metadata": { "version": 3 } } }))
        }
        "GET /v1/secret/data/dynamic" => {
            let data = json!({ "password": format!("zq7canarybird-{}", asked.reads.len()) });
            answer(200, json!({ "data": { "data": data, "metadata": { "version": 3 } } }))
        }
        "GET /v1/secret/data/deleted" if asked.reads.iter().filter(|read| **read == question.target).count() == 1 => {
            let data = json!({ "password": VALUE });
            answer(200, json!({ "data": { "data": data, "metadata": { "version": 3 } } }))
        }
        "GET /v1/secret/data/recovering" | "GET /v1/secret/data/outage" => {
            let data = json!({ "password": VALUE });
            answer(200, json!({ "data": { "data": data, "metadata": { "version": 3 } } }))
        }
        _ => answer(404, json!({ "errors": [] })),
    }
}

/// The claims of a token, without its signature.
pub(super) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap_or_default();
    let bytes = BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}
