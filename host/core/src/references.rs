//! References in place: a variable that the pod's author wrote as `value: "secret://GROUP/KEY"`
//! becomes the secret, at its place in the list.
//!
//! A replaced variable no longer has the text. The annotation [`REFERENCES_ANNOTATION`] keeps it,
//! so that a second review asks for the same secrets.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use crate::{
    edit::EnvVar,
    pod::{Pod, list},
    reference_syntax::ReferenceSyntax,
    request::{
        AnnotationError, ContainerScope, MountRequirement, REFERENCES_ANNOTATION, RequestOptions, RequestedSecret,
        SecretRequest, annotation_text,
    },
    text::escape_name,
};

/// Bytes of the annotation: a quarter of Kubernetes' limit for all annotations of an object.
const MAX_RECORD: usize = 64 * 1024;

/// The variables with one name and one text.
struct FoundReference<'p> {
    variable: &'p str,
    text: &'p str,
    containers: Vec<&'p str>,
}

/// The references of a pod.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct PodReferences {
    /// The requests.
    pub(crate) requests: Vec<RequestedSecret>,
    /// Whether a value can be a text that was meant as a reference. The search for such texts, for
    /// warnings, reads all variables again.
    pub(crate) may_have_near_misses: bool,
}

/// What the texts of a container are.
#[derive(Default)]
struct ContainerTexts {
    has_reference: bool,
    has_near_miss: bool,
}

/// Reads the references of a pod, in the order of its containers and their variables. Of a running
/// pod, only new ephemeral containers have texts that are replaced.
///
/// # Errors
///
/// The first text that is no valid reference, with its container and variable; or a reference in
/// `command` or `args`.
pub(crate) fn read_requests(pod: &Pod, syntax: &ReferenceSyntax) -> Result<PodReferences, AnnotationError> {
    let recorded = recorded(pod)?;
    let mut may_have_near_misses = !recorded.is_empty();
    let mut found: Vec<FoundReference<'_>> = Vec::new();
    let mut positions = BTreeMap::new();
    for (container, is_new) in containers(pod) {
        if recorded.is_empty() {
            let texts = if is_new { ContainerTexts::read(container, syntax) } else { ContainerTexts::default() };
            may_have_near_misses |= texts.has_near_miss;
            if !texts.has_reference {
                continue;
            }
        }
        let name = container["name"].as_str().unwrap_or_default();
        if is_new {
            check_words(container, name, syntax)?;
        }
        for entry in list(container, "env") {
            let Some(variable) = entry["name"].as_str() else { continue };
            let text = entry["value"].as_str().filter(|text| is_new && syntax.is_reference(text));
            let earlier =
                || if recorded.is_empty() { None } else { recorded.get(&record_key(name, variable)).copied() };
            let Some(text) = text.or_else(earlier) else { continue };
            let position = *positions.entry((variable, text)).or_insert_with(|| {
                found.push(FoundReference { variable, text, containers: Vec::new() });
                found.len() - 1
            });
            found[position].containers.push(name);
        }
    }
    let requests = found.iter().map(|found| found.request(syntax)).collect::<Result<_, _>>()?;
    Ok(PodReferences { requests, may_have_near_misses })
}

/// Returns the annotation for the references among these requests; `None` without one.
pub(crate) fn record<'r>(requests: impl Iterator<Item = (&'r SecretRequest, &'r RequestOptions)>) -> Option<String> {
    let mut texts = BTreeMap::new();
    for (request, options) in requests {
        let (Some(text), Some(variable)) = (&options.replaces, &request.env_var) else { continue };
        for container in options.containers.names().into_iter().flatten() {
            texts.insert(record_key(container, variable), &**text);
        }
    }
    (!texts.is_empty()).then(|| serde_json::to_string(&texts).expect("texts always serialize"))
}

/// The containers whose texts are replaced: all of a new pod.
pub(crate) fn read_containers(pod: &Pod) -> impl Iterator<Item = &Value> {
    containers(pod).filter(|(_, is_new)| *is_new).map(|(container, _)| container)
}

/// The containers whose variables are read, each with whether its texts are replaced.
fn containers(pod: &Pod) -> impl Iterator<Item = (&Value, bool)> {
    let spec = &pod.as_json()["spec"];
    let is_update = pod.is_update();
    let running = ["initContainers", "containers"].into_iter().flat_map(|key| list(spec, key));
    let debuggers = list(spec, "ephemeralContainers");
    let added = pod.new_ephemeral_containers().iter().filter_map(|position| debuggers.get(*position));
    running.map(move |container| (container, !is_update)).chain(added.map(|container| (container, true)))
}

/// The texts of variables that an earlier review replaced.
fn recorded(pod: &Pod) -> Result<BTreeMap<String, &str>, AnnotationError> {
    let Some(value) = pod.annotations().get(REFERENCES_ANNOTATION) else { return Ok(BTreeMap::new()) };
    let refuse = |reason: String| AnnotationError { annotation: REFERENCES_ANNOTATION.to_owned(), reason };
    let text = annotation_text(value).map_err(|error| refuse(error.to_string()))?;
    if text.len() > MAX_RECORD {
        return Err(refuse(format!("must be at most {MAX_RECORD} bytes long, got {}", text.len())));
    }
    // Texts with escapes cannot be borrowed; a reference has none.
    serde_json::from_str(text).map_err(|_| refuse("is not an object that Ampoule wrote; remove it".to_owned()))
}

fn record_key(container: &str, variable: &str) -> String {
    [container, "/", variable].concat()
}

/// Refuses references in `command` and `args`.
fn check_words(container: &Value, name: &str, syntax: &ReferenceSyntax) -> Result<(), AnnotationError> {
    for key in ["command", "args"] {
        let words = list(container, key).iter().enumerate();
        let found = words.filter_map(|(i, word)| Some((i, word.as_str()?))).find(|(_, word)| syntax.is_in_word(word));
        if let Some((i, _)) = found {
            return Err(AnnotationError {
                annotation: format!("{key}[{i}] of container {}", escape_name(name)),
                reason: "a secret in an argument would be visible to every reader of the pod and in the list of \
                         processes; write the reference as the value of a variable, and $(NAME) here"
                    .to_owned(),
            });
        }
    }
    Ok(())
}

// === impl ContainerTexts ===

impl ContainerTexts {
    /// Reads the texts of a container. Most containers have none, and one pass over their fields
    /// costs less than several look-ups.
    fn read(container: &Value, syntax: &ReferenceSyntax) -> Self {
        let shortest = syntax.shortest();
        let mut texts = Self::default();
        for (key, value) in container.as_object().into_iter().flatten() {
            let elements = value.as_array().map_or(&[][..], Vec::as_slice);
            match key.as_str() {
                "env" => {
                    let values = elements.iter().filter_map(|entry| entry.get("value")?.as_str());
                    // Most values are shorter than any reference.
                    for text in values.filter(|text| text.len() >= shortest) {
                        texts.has_reference |= syntax.is_reference(text);
                        texts.has_near_miss |= syntax.near_miss(text).is_some();
                    }
                }
                "command" | "args" => {
                    // Most words have no colon.
                    for word in elements.iter().filter_map(Value::as_str).filter(|word| word.contains(':')) {
                        texts.has_reference |= syntax.is_in_word(word);
                        texts.has_near_miss |= syntax.has_near_miss_in_word(word);
                    }
                }
                _ => {}
            }
        }
        texts
    }
}

// === impl FoundReference ===

impl FoundReference<'_> {
    fn request(&self, syntax: &ReferenceSyntax) -> Result<RequestedSecret, AnnotationError> {
        let annotation = self.place();
        let refuse = |reason| AnnotationError { annotation: annotation.clone(), reason };
        EnvVar::validate_name(self.variable).map_err(|_| refuse("Kubernetes does not accept the name".to_owned()))?;
        let reference = syntax.parse(self.text).map_err(refuse)?;
        let request = SecretRequest {
            group: reference.group,
            group_version: reference.version,
            key: reference.key,
            mount: MountRequirement::EnvVar,
            env_var: Some(self.variable.to_owned()),
            ..SecretRequest::default()
        };
        let options = RequestOptions {
            optional: Some(reference.optional),
            containers: ContainerScope::of(self.containers.iter().map(|&name| name.to_owned())),
            injector: reference.injector,
            replaces: Some(Arc::from(self.text)),
            ..RequestOptions::default()
        };
        Ok(RequestedSecret { annotation, request, options })
    }

    /// The variable and its containers, for messages.
    fn place(&self) -> String {
        let (variable, first) = (escape_name(self.variable), escape_name(self.containers[0]));
        match self.containers.len() - 1 {
            0 => format!("variable {variable} of container {first}"),
            others => format!("variable {variable} of container {first} and {others} more"),
        }
    }
}

#[cfg(test)]
mod tests;
