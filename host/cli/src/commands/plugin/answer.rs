//! A plugin's answer to a case, and its document for comparison, output and recording:
//! [`CaseAnswer`].
//!
//! The document contains no secret value, with one exception: a value that equals the expected one
//! (`secretValue: { text: … }`) is shown.

use ampoule_core::{
    EnvSource, FileSource, Injection, InjectionError, InjectorAnswer, InjectorFailure, PodEdit, Refusal, SecretValue,
    Unavailable,
};
use serde_json::{Value, json};

/// The start and the end of an SDK's text for an exception that the plugin does not handle. The
/// class is between them.
const CAUGHT_EXCEPTION: [&str; 2] = ["the plugin failed (", "); the log of the webhook has the reason"];

/// A plugin's answer to one request.
#[derive(Debug, PartialEq)]
pub(super) enum CaseAnswer {
    /// The edits; empty if the pod already has the secret.
    Edits(Vec<PodEdit>),
    /// The injection error.
    Error(InjectionError),
    /// The plugin rejected the settings, with this message.
    Refused(String),
    /// The webhook refuses the pod because of the edits.
    Rejected(Refusal),
    /// An earlier request of the case was not injected.
    NotProcessed,
    /// The plugin trapped or exceeded a limit before it answered: the failure, and the details in
    /// several lines.
    Failed { failure: String, details: String },
}

// === impl CaseAnswer ===

impl CaseAnswer {
    /// Returns the document for comparison with the expected one.
    pub(super) fn document(&self, expected: Option<&Value>) -> Value {
        match self {
            Self::Edits(edits) => {
                let mut document = json!({ "edits": edits });
                for (i, edit) in edits.iter().enumerate() {
                    reveal(&mut document, expected, &format!("/edits/{i}"), edit);
                }
                document
            }
            Self::Error(InjectionError::Unavailable(unavailable)) => {
                json!({ "error": { "unavailable": unavailable_document(unavailable, expected) } })
            }
            Self::Error(error) => json!({ "error": error }),
            Self::Refused(reason) => json!({ "refused": reason }),
            Self::Rejected(refusal) => json!({ "rejected": refusal.message }),
            Self::NotProcessed => json!({ "notProcessed": "an earlier secret failed" }),
            Self::Failed { failure, .. } => json!({ "failed": failure }),
        }
    }

    /// Whether the answer is the fixed text of an SDK for an exception that the plugin does not
    /// handle.
    pub(super) fn is_caught_exception(&self) -> bool {
        let Self::Error(InjectionError::Internal(text)) = self else { return false };
        text.starts_with(CAUGHT_EXCEPTION[0]) && text.ends_with(CAUGHT_EXCEPTION[1])
    }

    /// The answer of a plugin, and what the webhook made of it.
    pub(super) fn new(injection: Injection, answer: &InjectorAnswer, refusal: Option<&Refusal>) -> Self {
        match (injection, answer, refusal) {
            (Ok(Ok(_)), answer, Some(refusal)) if !matches!(answer, InjectorAnswer::Injected { .. }) => {
                Self::Rejected(refusal.clone())
            }
            (Ok(Ok(edits)), ..) => Self::Edits(edits),
            (Ok(Err(error)), ..) => Self::Error(error),
            (Err(failure), ..) => failure.into(),
        }
    }
}

/// The text alone if the expected document has only the text, or if there is no time for a retry.
fn unavailable_document(unavailable: &Unavailable, expected: Option<&Value>) -> Value {
    let expected = expected.and_then(|expected| expected.pointer("/error/unavailable"));
    let is_object = expected.map_or(unavailable.retry_after.is_some(), Value::is_object);
    if !is_object {
        return json!(unavailable.text);
    }
    json!({ "text": unavailable.text, "retryAfterSeconds": unavailable.retry_after })
}

impl From<InjectorFailure> for CaseAnswer {
    fn from(failure: InjectorFailure) -> Self {
        let details = failure.reason().to_owned();
        Self::Failed { failure: failure.outside, details }
    }
}

/// Shows the secret values of an edit that the expected document contains as well.
fn reveal(document: &mut Value, expected: Option<&Value>, at: &str, edit: &PodEdit) {
    let (vars, at) = match edit {
        PodEdit::SetEnv(var) => (vec![var], format!("{at}/setEnv")),
        PodEdit::AddInitContainer(container) => (container.env.iter().collect(), format!("{at}/addInitContainer/env")),
        PodEdit::WriteFile(file) => {
            if let FileSource::SecretValue(value) = &file.source {
                show_expected(document, expected, &format!("{at}/writeFile/source/secretValue"), value);
            }
            return;
        }
        PodEdit::AddPullSecretValue(value) => {
            return show_expected(document, expected, &format!("{at}/addPullSecretValue"), value);
        }
        PodEdit::AddVolume(_)
        | PodEdit::MountVolume(_)
        | PodEdit::SetAnnotation(_)
        | PodEdit::AddImagePullSecret(_)
        | PodEdit::SetEnvFrom(_) => return,
    };
    let single = matches!(edit, PodEdit::SetEnv(_));
    for (i, var) in vars.into_iter().enumerate() {
        let EnvSource::SecretValue(value) = &var.source else { continue };
        let at = if single { format!("{at}/source/secretValue") } else { format!("{at}/{i}/source/secretValue") };
        show_expected(document, expected, &at, value);
    }
}

/// Shows a secret value if the expected document contains it at the same place.
fn show_expected(document: &mut Value, expected: Option<&Value>, at: &str, value: &SecretValue) {
    let wanted = expected.and_then(|expected| expected.pointer(at));
    let Some(text) = wanted.and_then(|wanted| wanted["text"].as_str()) else { return };
    if let (true, Some(place)) = (value.is(text.as_bytes()), document.pointer_mut(at)) {
        *place = json!({ "text": text });
    }
}
