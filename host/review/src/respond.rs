//! The answer: a [`Verdict`] as the `AdmissionReview` that the API server expects, in the version that it asked in.
//!
//! The bytes are the same for the same verdict, so that a second review of one pod gets the same answer.

use ampoule_core::Refusal;
use data_encoding::BASE64;
use json_patch::Patch;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{ReviewIdentity, ReviewVersion};

/// The API server cuts a warning at 256 characters, and drops all of them above 4096 in sum.
const LONGEST_WARNING: usize = 255;
/// Bytes of an operation of a patch; longer ones are allocated twice.
const USUAL_OPERATION: usize = 256;
/// Bytes of an answer beside its patch and what it says for the audit.
const USUAL_ANSWER: usize = 512;
/// The one code that says that the same request will do a moment later.
const TOO_MANY_REQUESTS: u16 = 429;

/// What becomes of an object.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It may be created, with these changes.
    Allowed {
        /// Empty if there is nothing to change.
        patch: Patch,
        /// For its author; shown by `kubectl`.
        warnings: Vec<String>,
    },
    /// It may not be created.
    Refused {
        /// The HTTP status code that its creator gets.
        code: u16,
        /// The `reason` of the status, as Kubernetes spells it.
        reason: &'static str,
        /// Why, and what to do about it.
        message: String,
    },
}

/// A verdict, and what else an answer says.
#[derive(Clone, Debug)]
pub struct Reply {
    /// What was asked.
    pub identity: ReviewIdentity,
    /// What becomes of it.
    pub verdict: Verdict,
    /// What the API server's audit event says of the pod's secrets, under the webhook's name and `/secrets`. No value of one.
    pub audit: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    kind: &'static str,
    api_version: &'static str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit_annotations: Option<AuditAnnotations<'a>>,
}

/// The API server writes the webhook's name before each key.
#[derive(Serialize)]
struct AuditAnnotations<'a> {
    secrets: &'a str,
}

#[derive(Serialize)]
struct Status<'a> {
    status: &'static str,
    message: &'a str,
    reason: &'static str,
    code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

/// What the API server makes a `Retry-After` header of, which Kubernetes' own clients follow by themselves.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    retry_after_seconds: u32,
}

/// The answer to one review, as JSON.
#[must_use]
pub fn respond(reply: &Reply) -> Vec<u8> {
    let Reply { identity: ReviewIdentity { version, uid }, verdict, audit } = reply;
    let empty = Response {
        uid,
        allowed: true,
        status: None,
        patch_type: None,
        patch: None,
        warnings: Vec::new(),
        audit_annotations: audit.as_deref().map(|secrets| AuditAnnotations { secrets }),
    };
    let response = match verdict {
        Verdict::Allowed { patch, warnings } => {
            let patch = encode(patch);
            let warnings = match version {
                ReviewVersion::V1 => warnings.iter().map(|warning| fitted(warning)).collect(),
                ReviewVersion::V1Beta1 => Vec::new(),
            };
            Response { patch_type: patch.is_some().then_some("JSONPatch"), patch, warnings, ..empty }
        }
        Verdict::Refused { code, reason, message } => {
            let details = (*code == TOO_MANY_REQUESTS).then_some(Details { retry_after_seconds: 1 });
            let status = Status { status: "Failure", message, reason, code: *code, details };
            Response { allowed: false, status: Some(status), ..empty }
        }
    };
    let long = response.patch.as_ref().map_or(0, |patch| patch.get().len()) + audit.as_ref().map_or(0, String::len);
    let review = Review { kind: "AdmissionReview", api_version: version.api_version(), response };
    let mut answer = Vec::with_capacity(USUAL_ANSWER + long);
    serde_json::to_writer(&mut answer, &review).expect("strings, numbers and flags always serialise");
    answer
}

// === impl Verdict ===

impl Verdict {
    /// Allowed as it is.
    #[must_use]
    pub fn unchanged() -> Self {
        Self::Allowed { patch: Patch::default(), warnings: Vec::new() }
    }
}

impl From<Refusal> for Verdict {
    fn from(Refusal { code, message }: Refusal) -> Self {
        Self::Refused { code: code.http(), reason: code.reason(), message }
    }
}

/// The patch as the API server takes it; none if it changes nothing, for an empty one costs the API server a decode.
fn encode(patch: &Patch) -> Option<Box<RawValue>> {
    if patch.0.is_empty() {
        return None;
    }
    let mut json = Vec::with_capacity(USUAL_OPERATION * patch.0.len());
    serde_json::to_writer(&mut json, patch).expect("a patch of JSON values always serialises");
    // Quoted here, not escaped: half of the answer's bytes need no second look.
    let quoted = format!("\"{}\"", BASE64.encode_display(&json));
    Some(RawValue::from_string(quoted).expect("base64 between quotes is a JSON string"))
}

/// A warning as the API server passes it on: it drops one with a control character, and cuts a long one without a mark.
fn fitted(warning: &str) -> String {
    let clean = warning.chars().map(|c| if c.is_control() { ' ' } else { c });
    if warning.chars().count() <= LONGEST_WARNING {
        return clean.collect();
    }
    clean.take(LONGEST_WARNING - 1).chain(['…']).collect()
}
