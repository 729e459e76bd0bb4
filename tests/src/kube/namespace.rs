//! A test's own part of the cluster: [`Namespace`] creates pods and secrets, and registers the
//! webhook.
//!
//! Objects are JSON in both directions, so that no field of the server's answer is lost in a type.

use std::{collections::BTreeMap, time::Duration};

use ampoule_core::TRIGGER_LABELS;
use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::{
    ByteString,
    api::{
        admissionregistration::v1::MutatingWebhookConfiguration,
        core::v1::{Secret, ServiceAccount},
    },
};
use kube::{
    Api, Client,
    api::{GetParams, Patch, PatchParams, PostParams, Request},
};
use serde_json::{Value, json};

use super::ApiServer;
use crate::{Ampoule, asking, eventually};

/// The API server notices a registration within a second or two.
const NOTICED: Duration = Duration::from_secs(30);

/// A namespace and a client for it.
#[derive(Clone)]
pub struct Namespace {
    server: &'static ApiServer,
    pub(super) client: Client,
    name: String,
}

/// The options of a webhook registration.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The name; the API server calls webhooks in the order of their names.
    pub name: &'static str,
    /// Versions of `AdmissionReview`, the preferred one first.
    pub review_versions: Vec<&'static str>,
}

/// The API server's error for an object that it refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub code: u16,
    /// `reason` of the status.
    pub reason: String,
    /// `message` of the status.
    pub message: String,
}

// === impl Namespace ===

impl Namespace {
    pub(super) async fn create(server: &'static ApiServer, name: &str) -> Result<Self> {
        let this = Self { server, client: server.client()?, name: name.to_owned() };
        // API servers before 1.21 do not set this label themselves.
        let labels = json!({ "kubernetes.io/metadata.name": name });
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } });
        this.post("/api/v1/namespaces", &PostParams::default(), &namespace).await?.map_err(anyhow::Error::from)?;
        Ok(this)
    }

    /// Its API server.
    pub(crate) fn server(&self) -> &'static ApiServer {
        self.server
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A typed client for objects of this namespace.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// A typed client for cluster-scoped objects.
    #[must_use]
    pub fn cluster_wide<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::ClusterResourceScope>,
        K::DynamicType: Default,
    {
        Api::all(self.client.clone())
    }

    /// Creates a Secret.
    ///
    /// # Errors
    ///
    /// If the API server refuses it.
    pub async fn create_secret<V: AsRef<[u8]>>(&self, name: &str, data: &[(&str, V)]) -> Result<()> {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_ref().to_vec()))).collect();
        let metadata = kube::api::ObjectMeta { name: Some(name.to_owned()), ..Default::default() };
        let secret = Secret { metadata, data: Some(data), ..Secret::default() };
        self.api::<Secret>().create(&PostParams::default(), &secret).await?;
        Ok(())
    }

    /// The keys and values of a Secret, if it exists.
    ///
    /// # Errors
    ///
    /// If the API server does not answer.
    pub async fn secret(&self, name: &str) -> Result<Option<BTreeMap<String, Vec<u8>>>> {
        let secret = self.api::<Secret>().get_opt(name).await?;
        let data = secret.map(|secret| secret.data.unwrap_or_default());
        Ok(data.map(|data| data.into_iter().map(|(key, value)| (key, value.0)).collect()))
    }

    /// Creates a service account, and returns a token for it.
    ///
    /// # Errors
    ///
    /// If the API server refuses it.
    pub async fn create_service_account(&self, name: &str) -> Result<String> {
        let account: ServiceAccount = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
        let accounts = self.api::<ServiceAccount>();
        accounts.create(&PostParams::default(), &account).await?;
        self.token(name).await
    }

    /// A token of an existing service account.
    ///
    /// # Errors
    ///
    /// If the API server refuses it.
    pub async fn token(&self, name: &str) -> Result<String> {
        let accounts = self.api::<ServiceAccount>();
        let request = serde_json::from_value(json!({ "metadata": {}, "spec": { "audiences": [] } }))?;
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await?;
        answer.status.and_then(|status| status.token).context("a token request has no token")
    }

    /// Creates a pod, and reads it back.
    ///
    /// # Errors
    ///
    /// If the API server refuses it ([`Refusal`]), or does not answer.
    pub async fn create_pod(&self, pod: &Value) -> Result<Value> {
        let created = self.try_create_pod(pod).await??;
        let name = created["metadata"]["name"].as_str().context("a pod without a name")?;
        let request = Request::new(self.pods()).get(name, &GetParams::default())?;
        Ok(self.client.request(request).await?)
    }

    /// Creates a pod; returns the API server's answer, or its refusal.
    ///
    /// # Errors
    ///
    /// If the API server does not answer.
    pub async fn try_create_pod(&self, pod: &Value) -> Result<Result<Value, Refusal>> {
        self.post(&self.pods(), &PostParams::default(), pod).await
    }

    /// Creates a pod, and returns the warnings that `kubectl` would show.
    ///
    /// # Errors
    ///
    /// If the API server refuses it, or does not answer.
    pub async fn warnings(&self, pod: &Value) -> Result<Vec<String>> {
        let request = Request::new(self.pods()).create(&PostParams::default(), serde_json::to_vec(pod)?)?;
        let answer = self.client.send(request.map(kube::client::Body::from)).await?;
        ensure!(answer.status().is_success(), "the pod got {}", answer.status());
        // RFC 7234 section 5.5: a code, an agent, and the text in quotes.
        let text = |header: &str| Some(header.split_once('"')?.1.strip_suffix('"')?.replace("\\\"", "\""));
        let headers = answer.headers().get_all("warning").iter();
        Ok(headers.filter_map(|header| text(header.to_str().ok()?)).collect())
    }

    /// Adds an ephemeral container to a running pod, as `kubectl debug` does; returns the API
    /// server's answer, or its refusal.
    ///
    /// # Errors
    ///
    /// If the API server does not answer.
    pub async fn debug_pod(&self, pod: &str, container: &Value) -> Result<Result<Value, Refusal>> {
        let patch = json!({ "spec": { "ephemeralContainers": [container] } });
        let (params, patch) = (PatchParams::default(), Patch::Strategic(patch));
        self.send(Request::new(self.pods()).patch_subresource("ephemeralcontainers", pod, &params, &patch)?).await
    }

    /// Sets annotations of a pod.
    ///
    /// # Errors
    ///
    /// If the API server refuses them, or does not answer.
    pub async fn annotate_pod(&self, pod: &str, annotations: &Value) -> Result<()> {
        let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
        let request = Request::new(self.pods()).patch(pod, &PatchParams::default(), &patch)?;
        self.send(request).await??;
        Ok(())
    }

    /// Creates a pod as a dry run.
    ///
    /// # Errors
    ///
    /// If the API server does not answer.
    pub async fn dry_run_pod(&self, pod: &Value) -> Result<Result<Value, Refusal>> {
        self.post(&self.pods(), &PostParams { dry_run: true, ..PostParams::default() }, pod).await
    }

    /// Whether a pod exists.
    ///
    /// # Errors
    ///
    /// If the API server does not answer.
    pub async fn has_pod(&self, name: &str) -> Result<bool> {
        Ok(self.api::<k8s_openapi::api::core::v1::Pod>().get_opt(name).await?.is_some())
    }

    /// Registers the webhook for the labelled pods of this namespace, and waits until the API
    /// server calls it.
    ///
    /// # Errors
    ///
    /// If the registration is refused, or has no effect in time.
    pub async fn register(&self, ampoule: &Ampoule) -> Result<()> {
        self.register_as(ampoule, &Registration::default()).await
    }

    /// Registers the webhook like [`Namespace::register`], with these options.
    ///
    /// # Errors
    ///
    /// If the registration is refused, or has no effect in time.
    pub async fn register_as(&self, ampoule: &Ampoule, registration: &Registration) -> Result<()> {
        let webhooks: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let configuration = registration.configuration(&self.name, ampoule)?;
        webhooks.create(&PostParams::default(), &configuration).await.context("registration")?;
        // Only the webhook refuses an annotation that cannot be parsed.
        let probe = asking("probe", ["!"]);
        eventually("an effect of the registration", NOTICED, async || match self.dry_run_pod(&probe).await? {
            Err(refusal) if refusal.by(registration.name).is_some() => Ok(()),
            answer => bail!("the probe got {answer:?}"),
        })
        .await
    }

    fn pods(&self) -> String {
        format!("/api/v1/namespaces/{}/pods", self.name)
    }

    async fn post(&self, path: &str, params: &PostParams, object: &Value) -> Result<Result<Value, Refusal>> {
        self.send(Request::new(path).create(params, serde_json::to_vec(object)?)?).await
    }

    async fn send(&self, request: hyper::Request<Vec<u8>>) -> Result<Result<Value, Refusal>> {
        let what = format!("{} {}", request.method(), request.uri());
        match self.client.request::<Value>(request).await {
            Ok(created) => Ok(Ok(created)),
            Err(kube::Error::Api(status)) => {
                let kube::core::Status { code, reason, message, .. } = *status;
                Ok(Err(Refusal { code, reason, message }))
            }
            Err(error) => Err(error).with_context(|| format!("{what}: {}", self.server.describe())),
        }
    }
}

// === impl Registration ===

impl Default for Registration {
    fn default() -> Self {
        Self { name: "secrets", review_versions: vec!["v1", "v1beta1"] }
    }
}

impl Registration {
    fn configuration(&self, namespace: &str, ampoule: &Ampoule) -> Result<MutatingWebhookConfiguration> {
        let Self { name, review_versions } = self;
        let ca: Vec<u8> = ampoule.ca().into();
        let [flyte, people] = TRIGGER_LABELS;
        let webhook = |name: &str, selector: Value| {
            json!({
                "name": format!("{name}.ampoule.test"),
                "clientConfig": {
                    "url": format!("https://{}/mutate--v1-pod", ampoule.webhook()),
                    "caBundle": data_encoding::BASE64.encode(&ca),
                },
                "rules": [{
                    "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]
                }],
                "objectSelector": selector,
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
                "failurePolicy": "Fail",
                "sideEffects": "NoneOnDryRun",
                "reinvocationPolicy": "IfNeeded",
                "admissionReviewVersions": review_versions,
                "timeoutSeconds": 10,
            })
        };
        // As in `deploy/kustomize/base`.
        let not_flyte = json!([{ "key": flyte, "operator": "NotIn", "values": ["true"] }]);
        let configuration = json!({
            "metadata": { "name": format!("{name}-{namespace}") },
            "webhooks": [
                webhook(name, json!({ "matchLabels": { flyte: "true" } })),
                webhook(
                    &format!("people.{name}"),
                    json!({ "matchLabels": { people: "true" }, "matchExpressions": not_flyte }),
                ),
            ],
        });
        Ok(serde_json::from_value(configuration)?)
    }
}

// === impl Refusal ===

impl Refusal {
    /// The webhook's message, if the webhook with this name refused the object.
    #[must_use]
    pub fn by(&self, webhook: &str) -> Option<&str> {
        self.message.strip_prefix(&format!("admission webhook \"{webhook}.ampoule.test\" denied the request: "))
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.code, self.reason, self.message)
    }
}

impl std::error::Error for Refusal {}
