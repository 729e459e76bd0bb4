//! The input of `mutate` and `explain`: a Pod, a workload with a pod template, or an
//! `AdmissionReview`, as YAML or JSON. `explain` also reads a stream of objects.
//!
//! Each is converted to the request that the API server would send.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    path::Path,
};

use ampoule_core::{Pod, RequestUser, Requester, text};
use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::args::PodArg;
use ampoule_review as review;
use ampoule_review::{AdmissionRequest, ReviewIdentity, ReviewSubject, ReviewVersion};

/// The path of the pod template in each workload kind.
const TEMPLATES: [(&str, &str); 8] = [
    ("Deployment", "/spec/template"),
    ("StatefulSet", "/spec/template"),
    ("DaemonSet", "/spec/template"),
    ("ReplicaSet", "/spec/template"),
    ("ReplicationController", "/spec/template"),
    ("Job", "/spec/template"),
    ("CronJob", "/spec/jobTemplate/spec/template"),
    ("PodTemplate", "/template"),
];

/// The uid of a request that does not come from the API server.
const NO_UID: &str = "00000000-0000-0000-0000-000000000000";

/// Pod templates of other kinds, such as an Argo Rollout or a Knative Service.
const OTHER_TEMPLATES: [&str; 2] = ["/spec/template", "/spec/jobTemplate/spec/template"];

/// A document that contains a pod.
#[derive(Debug)]
pub(super) struct PodDocument {
    /// The unchanged object; for an `AdmissionReview`, the reviewed object.
    pub(super) object: Value,
    /// The JSON pointer of the pod in the object; empty if the object is the pod.
    pub(super) pod_at: &'static str,
    /// The request that the API server would send.
    pub(super) request: AdmissionRequest,
}

/// The objects of a stream such as the output of `kustomize build`.
#[derive(Debug, Default)]
pub(super) struct PodStream {
    /// The objects with a pod, each with its position in the stream, from 1.
    pub(super) pods: Vec<(usize, PodDocument)>,
    /// The numbers of other objects by their kind.
    pub(super) passed_over: BTreeMap<String, usize>,
    /// Whether the input has several documents, or is a list.
    pub(super) is_stream: bool,
}

// === impl PodDocument ===

impl PodDocument {
    /// Reads a file or stdin.
    pub(super) fn load(arg: &PodArg) -> anyhow::Result<Self> {
        let (text, place) = read(&arg.path)?;
        Ok(Self::parse(&text).context(place)?.with_arguments(arg))
    }

    /// Parses a document.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut documents = parse_yaml_or_json(text)?;
        match documents.pop() {
            Some(document) if documents.is_empty() => Self::from_value(document),
            _ => bail!("the input has {} documents; `ampoule explain` reads several", documents.len() + 1),
        }
    }

    fn from_value(mut document: Value) -> anyhow::Result<Self> {
        if ReviewVersion::detect(&document).is_some() {
            let body = serde_json::to_vec(&document)?;
            let mut request = review::parse(&body)?;
            request.requester = review::parse_requester(&body);
            let object = document.pointer_mut("/request/object").map(Value::take).unwrap_or_default();
            return Ok(Self { object, pod_at: "", request });
        }
        let pod_at = pod_pointer(&document)?;
        let pod = document.pointer(pod_at).with_context(|| format!("{} is missing", dotted(pod_at)))?;
        let pod = Pod::parse(pod.clone()).with_context(|| format!("{} is not a pod", named(pod_at)))?;
        let text = |key: &str| document["metadata"][key].as_str().map(str::to_owned);
        let request = AdmissionRequest {
            identity: ReviewIdentity { version: ReviewVersion::V1, uid: NO_UID.to_owned() },
            namespace: text("namespace").unwrap_or_else(|| "default".to_owned()),
            name: text("name").or_else(|| text("generateName")).unwrap_or_default(),
            dry_run: true,
            requester: Requester::default(),
            subject: ReviewSubject::Pod(pod),
        };
        Ok(Self { object: document, pod_at, request })
    }

    /// Applies the namespace and the user of the command line.
    fn with_arguments(mut self, arg: &PodArg) -> Self {
        if let Some(namespace) = &arg.namespace {
            self.request.namespace.clone_from(namespace);
        }
        if let Some(user) = &arg.user {
            self.request.requester = Requester::User(RequestUser {
                username: user.clone(),
                uid: arg.uid.clone().unwrap_or_default(),
                groups: arg.groups.clone(),
                extra: Vec::new(),
            });
        }
        self
    }
}

// === impl PodStream ===

impl PodStream {
    /// Reads a file or stdin.
    pub(super) fn load(arg: &PodArg) -> anyhow::Result<Self> {
        let (text, place) = read(&arg.path)?;
        let stream = Self::parse(&text).context(place)?;
        let pods = stream.pods.into_iter().map(|(position, pod)| (position, pod.with_arguments(arg)));
        Ok(Self { pods: pods.collect(), ..stream })
    }

    /// Parses documents. The items of a `List`, such as the output of `kubectl get`, are objects of
    /// the stream.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let documents = parse_yaml_or_json(text)?;
        let is_list = |document: &Value| document["kind"] == "List" && document["items"].is_array();
        if documents.len() == 1 && !documents.iter().any(is_list) {
            let pods = documents.into_iter().map(|document| Ok((1, PodDocument::from_value(document)?)));
            return Ok(Self { pods: pods.collect::<anyhow::Result<_>>()?, ..Self::default() });
        }
        let mut stream = Self { is_stream: true, ..Self::default() };
        let objects = documents.into_iter().flat_map(|mut document| match document["items"].take() {
            Value::Array(items) if document["kind"] == "List" => items,
            items => {
                if let Some(place) = document.get_mut("items") {
                    *place = items;
                }
                vec![document]
            }
        });
        for (position, object) in (1..).zip(objects) {
            stream.add(position, object).with_context(|| format!("object {position}"))?;
        }
        Ok(stream)
    }

    fn add(&mut self, position: usize, object: Value) -> anyhow::Result<()> {
        if object.is_null() {
            return Ok(());
        }
        let kind = object["kind"].as_str().unwrap_or("(no kind)");
        if kind != "AdmissionReview" && (object["kind"].is_null() || pod_pointer(&object).is_err()) {
            *self.passed_over.entry(text::printable(kind).into_owned()).or_default() += 1;
            return Ok(());
        }
        self.pods.push((position, PodDocument::from_value(object)?));
        Ok(())
    }
}

fn read(path: &Path) -> anyhow::Result<(String, String)> {
    if path.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context("cannot read stdin")?;
        return Ok((text, "stdin".to_owned()));
    }
    let place = path.display().to_string();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {place}"))?;
    Ok((text, place))
}

/// Parses one document at least.
fn parse_yaml_or_json(text: &str) -> anyhow::Result<Vec<Value>> {
    if text.trim().is_empty() {
        bail!("the document is empty: expected a Pod, a workload or an AdmissionReview");
    }
    if text.trim_start().starts_with('{') {
        let documents = serde_json::Deserializer::from_str(text).into_iter();
        return documents.collect::<Result<_, _>>().context("invalid JSON");
    }
    // YAML 1.1, as in kubectl: `defaultMode: 0644` is octal.
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options).context("invalid YAML")?;
    if documents.is_empty() {
        bail!("the document is empty: expected a Pod, a workload or an AdmissionReview");
    }
    Ok(documents)
}

fn pod_pointer(document: &Value) -> anyhow::Result<&'static str> {
    match document.get("kind").and_then(Value::as_str) {
        None | Some("Pod") => Ok(""),
        Some("AdmissionReview") => {
            bail!("unsupported apiVersion of the AdmissionReview: expected admission.k8s.io/v1 or v1beta1")
        }
        Some(kind) => {
            if let Some((_, pointer)) = TEMPLATES.iter().find(|(template, _)| *template == kind) {
                return Ok(pointer);
            }
            let has_pod = |at: &&str| document.pointer(&format!("{at}/spec/containers")).is_some_and(Value::is_array);
            OTHER_TEMPLATES.into_iter().find(has_pod).with_context(|| {
                let known = TEMPLATES.map(|(template, _)| template).join(", ");
                format!("kind {kind} has no pod: expected Pod, AdmissionReview, {known}, or a pod at spec.template")
            })
        }
    }
}

fn dotted(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

fn named(pod_at: &str) -> String {
    if pod_at.is_empty() { "the document".to_owned() } else { dotted(pod_at) }
}
