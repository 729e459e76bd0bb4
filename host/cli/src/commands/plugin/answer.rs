//! A plugin's answer as a document that can be compared, printed and kept: [`Answer`].
//!
//! No secret value is in it. Where the expected document holds one (`secretValue: { text: … }`), the two are compared here, and
//! only an equal one becomes that.

use ampoule_core::{EnvSource, Injection, InjectionError, PodEdit};
use serde_json::{Value, json};

/// What came of one question.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// Edits, none if the secret is there already.
    Edits(Vec<PodEdit>),
    /// Why there are none.
    Error(InjectionError),
    /// The settings were refused, with this text.
    Refused(String),
    /// The plugin did not get to answer.
    Failed(String),
}

// === impl Answer ===

impl Answer {
    /// The document, to be compared with the expected one.
    pub(super) fn document(&self, expected: Option<&Value>) -> Value {
        match self {
            Self::Edits(edits) => {
                let mut document = json!({ "edits": edits });
                for (place, edit) in edits.iter().enumerate() {
                    reveal(&mut document, expected, &format!("/edits/{place}"), edit);
                }
                document
            }
            Self::Error(error) => json!({ "error": error }),
            Self::Refused(reason) => json!({ "refused": reason }),
            Self::Failed(reason) => json!({ "failed": reason }),
        }
    }
}

impl From<Injection> for Answer {
    fn from(injection: Injection) -> Self {
        match injection {
            Ok(Ok(edits)) => Self::Edits(edits),
            Ok(Err(error)) => Self::Error(error),
            Err(failure) if failure.inside.is_empty() => Self::Failed(failure.outside),
            Err(failure) => Self::Failed(format!("{}: {}", failure.outside, failure.inside)),
        }
    }
}

/// Writes those secret values of an edit into its document that the expected one holds as well.
fn reveal(document: &mut Value, expected: Option<&Value>, at: &str, edit: &PodEdit) {
    let (vars, at) = match edit {
        PodEdit::SetEnv(var) => (vec![var], format!("{at}/setEnv")),
        PodEdit::AddInitContainer(container) => (container.env.iter().collect(), format!("{at}/addInitContainer/env")),
        PodEdit::AddVolume(_)
        | PodEdit::MountVolume(_)
        | PodEdit::SetAnnotation(_)
        | PodEdit::AddImagePullSecret(_) => return,
    };
    let single = matches!(edit, PodEdit::SetEnv(_));
    for (i, var) in vars.into_iter().enumerate() {
        let EnvSource::SecretValue(value) = &var.source else { continue };
        let at = if single { format!("{at}/source/secretValue") } else { format!("{at}/{i}/source/secretValue") };
        let wanted = expected.and_then(|expected| expected.pointer(&at));
        let Some(text) = wanted.and_then(|wanted| wanted["text"].as_str()) else { continue };
        if let (true, Some(place)) = (value.is(text.as_bytes()), document.pointer_mut(&at)) {
            *place = json!({ "text": text });
        }
    }
}
