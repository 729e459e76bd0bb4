//! The input of `mutate` and `explain`: a Pod, a workload with a pod template, or an
//! `AdmissionReview`, as YAML or JSON.
//!
//! Each is converted to the request that the API server would send.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use ampoule_core::{Pod, RequestUser, Requester};
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

// === impl PodDocument ===

impl PodDocument {
    /// Reads a file or stdin.
    pub(super) fn load(arg: &PodArg) -> anyhow::Result<Self> {
        let (text, place) = read(&arg.path)?;
        let mut input = Self::parse(&text).context(place)?;
        if let Some(namespace) = &arg.namespace {
            input.request.namespace.clone_from(namespace);
        }
        if let Some(user) = &arg.user {
            input.request.requester = Requester::User(RequestUser {
                username: user.clone(),
                uid: arg.uid.clone().unwrap_or_default(),
                groups: arg.groups.clone(),
                extra: Vec::new(),
            });
        }
        Ok(input)
    }

    /// Parses a document.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut document = parse_yaml_or_json(text)?;
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

fn parse_yaml_or_json(text: &str) -> anyhow::Result<Value> {
    if text.trim().is_empty() {
        bail!("the document is empty: expected a Pod, a workload or an AdmissionReview");
    }
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).context("invalid JSON");
    }
    // YAML 1.1, as in kubectl: `defaultMode: 0644` is octal.
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_str_with_options(text, options).context("invalid YAML")
}

fn pod_pointer(document: &Value) -> anyhow::Result<&'static str> {
    match document.get("kind").and_then(Value::as_str) {
        None | Some("Pod") => Ok(""),
        Some("AdmissionReview") => {
            bail!("unsupported apiVersion of the AdmissionReview: expected admission.k8s.io/v1 or v1beta1")
        }
        Some(kind) => {
            let found = TEMPLATES.iter().find(|(template, _)| *template == kind);
            let (_, pointer) = found.with_context(|| {
                let known = TEMPLATES.map(|(template, _)| template).join(", ");
                format!("kind {kind} has no pod: expected Pod, AdmissionReview, {known}")
            })?;
            Ok(pointer)
        }
    }
}

fn dotted(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

fn named(pod_at: &str) -> String {
    if pod_at.is_empty() { "the document".to_owned() } else { dotted(pod_at) }
}
