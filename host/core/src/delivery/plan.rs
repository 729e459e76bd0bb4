//! [`DeliveryPlan`]: the values of one admission, and the edits that refer to them.
//!
//! The name of a Secret depends on all values of its injector, so the edits that refer to it wait
//! until the last injector has answered ([`DeliveryPlan::finish`]).

use std::collections::BTreeMap;

use super::{DeliveredKind, DeliveredSecret, Delivery, FetchPlan, NamingKey, fetch::TemplatePromise};
use crate::{
    edit::{EnvSource, EnvVar, FetchedOrigin, FileSource, PodEdit, SecretFile, SecretKeyRef, SecretValue},
    injector::InjectionError,
    request::{PartOfTemplate, RequestOptions},
};

/// Bytes of the values of a Secret. Kubernetes accepts 1 MiB of data.
const MOST_BYTES: usize = 1 << 20;
/// The key of an image pull secret.
const DOCKER_CONFIG: &str = ".dockerconfigjson";
/// Bytes of a key that is made from a name. Kubernetes accepts 253.
const MOST_KEY: usize = 200;

/// The values of one admission, and the edits that refer to them.
#[derive(Default)]
pub(crate) struct DeliveryPlan {
    edits: Vec<DeferredEdit>,
    secrets: Vec<PlannedSecret>,
    /// The values that the pod fetches.
    pub(crate) fetches: FetchPlan,
    /// The parts of the current template.
    parts: TemplateParts,
}

/// The parts of a template that were answered so far.
#[derive(Default)]
struct TemplateParts {
    /// The values, each with the name of its injector.
    values: Vec<(String, SecretValue)>,
    promises: Vec<TemplatePromise>,
}

/// An edit that waits for the name of a Secret.
struct DeferredEdit {
    /// The position of the request in the pod.
    request: usize,
    /// The position of the planned Secret.
    secret: usize,
    target: DeferredTarget,
}

/// What refers to the Secret.
enum DeferredTarget {
    Variable { name: String, key: String },
    File { path: String, mode: Option<u32>, key: String },
    PullSecret,
}

/// The edits of one request that refer to Secrets.
pub(crate) struct CompletedEdits {
    /// The position of the request in the pod.
    pub(crate) request: usize,
    pub(crate) edits: Vec<PodEdit>,
}

/// A Secret before its name is known.
struct PlannedSecret {
    injector: String,
    kind: DeliveredKind,
    data: BTreeMap<String, SecretValue>,
    bytes: usize,
}

// === impl DeliveryPlan ===

impl DeliveryPlan {
    /// Whether a value waits for a Secret.
    pub(crate) fn has_secrets(&self) -> bool {
        !self.edits.is_empty()
    }

    /// Splits an answer into the edits that can be applied at once, and the edits with values that
    /// need a Secret.
    ///
    /// # Errors
    ///
    /// The delivery does not cover an edit.
    pub(crate) fn split(
        &self,
        injector: &str,
        delivery: Delivery,
        edits: Vec<PodEdit>,
    ) -> Result<(Vec<PodEdit>, Vec<PodEdit>), InjectionError> {
        if !edits.iter().any(is_deferred) {
            return Ok((edits, Vec::new()));
        }
        edits.iter().try_for_each(|edit| check(injector, delivery, edit))?;
        self.check_size(injector, &edits)?;
        let waits = |edit: &PodEdit| is_deferred(edit) && delivery.needs_secret(edit);
        Ok(edits.into_iter().partition(|edit| !waits(edit)))
    }

    /// Collects the part of a template. Returns the edits to apply: those of the last part are the
    /// file and its variable; `None` before the last part. Returns other edits unchanged. `from` is
    /// the position of the request, and the position and name of the injector.
    ///
    /// # Errors
    ///
    /// The delivery does not cover the part, or the file is too large.
    pub(crate) fn collect(
        &mut self,
        options: &RequestOptions,
        (request, injector, name): (usize, usize, &str),
        delivery: Delivery,
        edits: Vec<PodEdit>,
    ) -> Result<Option<Vec<PodEdit>>, InjectionError> {
        let Some(PartOfTemplate { file, position }) = &options.template else { return Ok(Some(edits)) };
        if *position == 0 {
            self.parts = TemplateParts::default();
        }
        for edit in edits {
            check(name, delivery, &edit)?;
            match edit {
                PodEdit::WriteFile(SecretFile { source: FileSource::SecretValue(value), .. }) => {
                    self.parts.values.push((name.to_owned(), value));
                }
                PodEdit::WriteFile(SecretFile { source: FileSource::Promise(promise), .. }) => {
                    self.parts.promises.push(TemplatePromise { injector, name: name.to_owned(), promise });
                }
                _ => {}
            }
        }
        if position + 1 < file.content.secrets.len() {
            return Ok(None);
        }
        let TemplateParts { values, promises } = std::mem::take(&mut self.parts);
        let mut edits = Vec::new();
        if let Some(name) = &file.variable {
            let source = EnvSource::Literal(file.path.clone());
            edits.push(PodEdit::SetEnv(EnvVar { name: name.clone(), source }));
        }
        if values.len() == file.content.secrets.len() {
            let parts: Vec<_> = values.iter().map(|(_, value)| value.expose()).collect();
            let rendered = file.content.render(&parts);
            let rendered = rendered.map_err(|error| InjectionError::InvalidRequest(error.to_string()))?;
            // The Secret is that of this injector.
            let is_other = |injector: &String| injector != name;
            let origins = values.into_iter();
            let origins =
                origins.map(|(injector, value)| FetchedOrigin { injector: Some(injector).filter(is_other), value });
            let source = FileSource::SecretValue(SecretValue::new(rendered).made_of(origins.collect()));
            edits.push(PodEdit::WriteFile(SecretFile { path: file.path.clone(), mode: file.mode, source }));
        } else if promises.len() == file.content.secrets.len() {
            self.fetches.take_template(request, options, promises);
        } else {
            let reason = "some secrets of the template are fetched by the webhook, and others in the pod; use \
                          injectors with one delivery";
            return Err(InjectionError::Unsupported(reason.to_owned()));
        }
        Ok(Some(edits))
    }

    /// Takes the values and promises of an answer whose other edits are applied. The answer is that
    /// of the injector with this position and name.
    pub(crate) fn take(
        &mut self,
        (request, options): (usize, &RequestOptions),
        (position, injector): (usize, &str),
        edits: Vec<PodEdit>,
    ) {
        for edit in edits {
            if edit.has_promise() {
                self.fetches.take((request, options), (position, injector), edit);
                continue;
            }
            let (secret, target) = match edit {
                PodEdit::SetEnv(EnvVar { name, source: EnvSource::SecretValue(value) }) => {
                    let secret = self.opaque(injector);
                    let key = self.secrets[secret].add(&name, value);
                    (secret, DeferredTarget::Variable { name, key })
                }
                PodEdit::WriteFile(SecretFile { path, mode, source: FileSource::SecretValue(value) }) => {
                    let secret = self.opaque(injector);
                    let key = self.secrets[secret].add(path.rsplit('/').next().unwrap_or_default(), value);
                    (secret, DeferredTarget::File { path, mode, key })
                }
                PodEdit::AddPullSecretValue(value) => (self.docker_config(injector, value), DeferredTarget::PullSecret),
                PodEdit::SetEnv(_)
                | PodEdit::WriteFile(_)
                | PodEdit::AddVolume(_)
                | PodEdit::MountVolume(_)
                | PodEdit::AddInitContainer(_)
                | PodEdit::SetAnnotation(_)
                | PodEdit::AddImagePullSecret(_)
                | PodEdit::SetEnvFrom(_) => continue,
            };
            self.edits.push(DeferredEdit { request, secret, target });
        }
    }

    /// Names the Secrets, and returns them with the edits that refer to them, in the order of the
    /// requests.
    pub(crate) fn finish(self, namespace: &str, key: &NamingKey) -> (Vec<DeliveredSecret>, Vec<CompletedEdits>) {
        let secrets: Vec<_> = self.secrets.into_iter().map(|secret| secret.name(namespace, key)).collect();
        let mut completed: Vec<CompletedEdits> = Vec::new();
        for DeferredEdit { request, secret, target } in self.edits {
            let edit = target.complete(secrets[secret].name.as_str());
            match completed.last_mut() {
                Some(last) if last.request == request => last.edits.push(edit),
                _ => completed.push(CompletedEdits { request, edits: vec![edit] }),
            }
        }
        (secrets, completed)
    }

    /// The position of the Secret for the variables and files of an injector.
    fn opaque(&mut self, injector: &str) -> usize {
        let is_its = |secret: &PlannedSecret| secret.injector == injector && secret.kind == DeliveredKind::Opaque;
        self.secrets.iter().position(is_its).unwrap_or_else(|| {
            self.secrets.push(PlannedSecret::new(injector, DeliveredKind::Opaque));
            self.secrets.len() - 1
        })
    }

    /// The position of the image pull secret with this content.
    fn docker_config(&mut self, injector: &str, value: SecretValue) -> usize {
        let mut secret = PlannedSecret::new(injector, DeliveredKind::DockerConfig);
        secret.add(DOCKER_CONFIG, value);
        self.secrets.iter().position(|planned| planned.is_same(&secret)).unwrap_or_else(|| {
            self.secrets.push(secret);
            self.secrets.len() - 1
        })
    }

    fn check_size(&self, injector: &str, edits: &[PodEdit]) -> Result<(), InjectionError> {
        let planned: usize = self.secrets.iter().filter(|secret| secret.injector == injector).map(|s| s.bytes).sum();
        let added: usize = edits.iter().filter_map(PodEdit::value).map(|value| value.expose().len()).sum();
        if planned + added <= MOST_BYTES {
            return Ok(());
        }
        let reason = format!(
            "the values of this injector exceed {} KiB for the pod, the limit of a Kubernetes Secret; request fewer \
             secrets",
            MOST_BYTES / 1024
        );
        Err(InjectionError::InvalidRequest(reason))
    }
}

/// Checks that a delivery covers an edit.
fn check(injector: &str, delivery: Delivery, edit: &PodEdit) -> Result<(), InjectionError> {
    if edit.has_promise() {
        return check_promise(injector, delivery);
    }
    let Some(value) = edit.value() else { return Ok(()) };
    let key = |text: &str| format!("{text} (injectors[].delivery of {injector})");
    match (delivery, edit) {
        (Delivery::Reference, _) => {
            Err(InjectionError::Denied(key("the plugin fetched a value, and its delivery is `reference`")))
        }
        (Delivery::Pod, PodEdit::SetEnv(_) | PodEdit::WriteFile(_) | PodEdit::AddInitContainer(_)) => {
            Err(reloading(injector))
        }
        (Delivery::Inline, PodEdit::WriteFile(_)) => Err(InjectionError::Unsupported(key(
            "a fetched value cannot be a file with the delivery `inline`; use `secret`",
        ))),
        // The kubelet would drop the bytes that are not UTF-8 without an error.
        (Delivery::Secret, PodEdit::SetEnv(env)) => value.as_variable().map(drop).map_err(|problem| {
            let reason = format!("the value of environment variable {} {problem}; mount it as a file", env.name);
            InjectionError::InvalidRequest(reason)
        }),
        (_, PodEdit::AddPullSecretValue(_)) if !is_docker_config(value.expose()) => {
            let reason = "the value is no Docker configuration: a JSON object with the object `auths`";
            Err(InjectionError::InvalidRequest(reason.to_owned()))
        }
        (_, PodEdit::AddInitContainer(_)) if delivery == Delivery::Secret => {
            let reason = "an init container cannot have a fetched value with the delivery `secret`";
            Err(InjectionError::Unsupported(reason.to_owned()))
        }
        _ => Ok(()),
    }
}

/// Whether an edit has a value or a promise.
fn is_deferred(edit: &PodEdit) -> bool {
    edit.contains_value() || edit.has_promise()
}

/// Checks that a delivery covers a promise.
fn check_promise(injector: &str, delivery: Delivery) -> Result<(), InjectionError> {
    match delivery {
        Delivery::Pod => Ok(()),
        Delivery::Reference => {
            let reason = "the plugin would fetch a value, and its delivery is `reference`";
            Err(InjectionError::Denied(format!("{reason} (injectors[].delivery of {injector})")))
        }
        Delivery::Secret | Delivery::Inline => Err(reloading(injector)),
    }
}

/// The answer of a plugin that was loaded for another delivery.
fn reloading(injector: &str) -> InjectionError {
    let text = format!("the plugin is being loaded for another delivery (injectors[].delivery of {injector})");
    InjectionError::Unavailable(text.into())
}

/// Whether the API server accepts a value as an image pull secret.
fn is_docker_config(value: &[u8]) -> bool {
    let parsed: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_slice(value);
    parsed.is_ok_and(|config| config.get("auths").is_some_and(serde_json::Value::is_object))
}

// === impl Delivery ===

impl Delivery {
    /// Whether the value of an edit reaches the pod through a Secret.
    fn needs_secret(self, edit: &PodEdit) -> bool {
        match edit {
            PodEdit::WriteFile(_) | PodEdit::AddPullSecretValue(_) => true,
            _ => self == Self::Secret || edit.has_promise(),
        }
    }
}

// === impl DeferredTarget ===

impl DeferredTarget {
    fn complete(self, secret: &str) -> PodEdit {
        let reference = |key| SecretKeyRef { name: secret.to_owned(), key, optional: false };
        match self {
            Self::Variable { name, key } => {
                PodEdit::SetEnv(EnvVar { name, source: EnvSource::SecretKey(reference(key)) })
            }
            Self::File { path, mode, key } => {
                PodEdit::WriteFile(SecretFile { path, mode, source: FileSource::SecretKey(reference(key)) })
            }
            Self::PullSecret => PodEdit::AddImagePullSecret(secret.to_owned()),
        }
    }
}

// === impl PlannedSecret ===

impl PlannedSecret {
    fn new(injector: &str, kind: DeliveredKind) -> Self {
        Self { injector: injector.to_owned(), kind, data: BTreeMap::new(), bytes: 0 }
    }

    /// Adds a value, and returns its key: the name, or a similar one if another value has it.
    fn add(&mut self, name: &str, value: SecretValue) -> String {
        let base = key_of(name);
        let mut key = base.clone();
        let mut number = 2;
        // Equal values of different promises can differ later.
        let is_other = |existing: &SecretValue| *existing != value || !existing.has_same_sources(&value);
        while self.data.get(&key).is_some_and(is_other) {
            key = format!("{base}.{number}");
            number += 1;
        }
        if !self.data.contains_key(&key) {
            self.bytes += value.expose().len();
            self.data.insert(key.clone(), value);
        }
        key
    }

    fn is_same(&self, other: &Self) -> bool {
        (&self.injector, self.kind, &self.data) == (&other.injector, other.kind, &other.data)
    }

    fn name(self, namespace: &str, key: &NamingKey) -> DeliveredSecret {
        let name = key.name(namespace, &self.injector, self.kind, &self.data);
        let (injector, kind, data) = (self.injector, self.kind, self.data);
        DeliveredSecret { namespace: namespace.to_owned(), name, injector, kind, data }
    }
}

/// Returns a valid key of a Secret that resembles a name. `.` and names that begin with `..` are
/// not valid.
fn key_of(name: &str) -> String {
    let is_kept = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let key: String = name.chars().take(MOST_KEY).map(|c| if is_kept(c) { c } else { '_' }).collect();
    match key.trim_start_matches('.') {
        "" => "value".to_owned(),
        trimmed if trimmed.len() + 1 < key.len() || key == "." => trimmed.to_owned(),
        _ => key,
    }
}
