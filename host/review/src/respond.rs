//! [`respond`]: a [`Verdict`] as the `AdmissionReview` that the API server expects, in the version
//! of the request.
//!
//! Equal verdicts give equal bytes, so that a second review of a pod gets the same answer.

use ampoule_core::{Refusal, RefusalCode, text::clean_chars};
use base64_simd::STANDARD;
use json_patch::Patch;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{ReviewIdentity, ReviewVersion};

/// Characters of a warning. The API server cuts a warning at 256 without a mark, drops one with a
/// control character, and drops warnings above 4096 in total.
const MAX_WARNING: usize = 255;
/// Usual bytes of a patch operation, for the buffer's first allocation.
const USUAL_OPERATION: usize = 256;
/// Usual bytes of an answer without its patch and audit annotation.
const USUAL_ANSWER: usize = 512;
/// Seconds after which a client may retry a request that found too many others.
const BUSY_RETRY: u32 = 1;

/// The decision on an object, in the terms of a review.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The object is allowed, with these changes.
    Allowed {
        /// Empty if nothing changes.
        patch: Patch,
        /// Warnings for the object's author; `kubectl` shows them.
        warnings: Vec<String>,
    },
    /// The object is refused.
    Refused {
        /// The HTTP status code that the creator gets.
        code: u16,
        /// The `reason` of the status, in Kubernetes' spelling.
        reason: &'static str,
        /// The reason, and what to do about it.
        message: String,
        /// Seconds after which the client may retry.
        retry_after: Option<u32>,
    },
}

/// Everything that an answer contains.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The request that it answers.
    pub identity: ReviewIdentity,
    /// The decision.
    pub verdict: Verdict,
    /// The annotation `<webhook name>/secrets` of the API server's audit event. It never contains a
    /// value.
    pub audit: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReviewAnswer<'a> {
    kind: &'static str,
    api_version: &'static str,
    response: ReviewResponse<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReviewResponse<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<ResponseStatus<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit_annotations: Option<AuditAnnotations<'a>>,
}

/// The API server adds the webhook's name to each key.
#[derive(Serialize)]
struct AuditAnnotations<'a> {
    secrets: &'a str,
}

#[derive(Serialize)]
struct ResponseStatus<'a> {
    status: &'static str,
    message: &'a str,
    reason: &'static str,
    code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<StatusDetails>,
}

/// The API server turns this into a `Retry-After` header, which Kubernetes' own clients follow.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusDetails {
    retry_after_seconds: u32,
}

/// Serializes the answer to one review as JSON.
#[must_use]
pub fn respond(reply: &Reply) -> Vec<u8> {
    let Reply { identity: ReviewIdentity { version, uid }, verdict, audit } = reply;
    let empty = ReviewResponse {
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
                ReviewVersion::V1 => warnings.iter().map(|warning| clean_chars(warning, MAX_WARNING)).collect(),
                ReviewVersion::V1Beta1 => Vec::new(),
            };
            ReviewResponse { patch_type: patch.is_some().then_some("JSONPatch"), patch, warnings, ..empty }
        }
        Verdict::Refused { code, reason, message, retry_after } => {
            let details = retry_after.map(|seconds| StatusDetails { retry_after_seconds: seconds });
            let status = ResponseStatus { status: "Failure", message, reason, code: *code, details };
            ReviewResponse { allowed: false, status: Some(status), ..empty }
        }
    };
    let long = response.patch.as_ref().map_or(0, |patch| patch.get().len()) + audit.as_ref().map_or(0, String::len);
    let review = ReviewAnswer { kind: "AdmissionReview", api_version: version.api_version(), response };
    let mut answer = Vec::with_capacity(USUAL_ANSWER + long);
    serde_json::to_writer(&mut answer, &review).expect("strings, numbers and booleans always serialize");
    answer
}

// === impl Verdict ===

impl Verdict {
    /// Allowed without changes.
    #[must_use]
    pub fn unchanged() -> Self {
        Self::Allowed { patch: Patch::default(), warnings: Vec::new() }
    }
}

impl From<Refusal> for Verdict {
    fn from(Refusal { code, message, retry_after }: Refusal) -> Self {
        let retry_after = retry_after.or((code == RefusalCode::TooManyRequests).then_some(BUSY_RETRY));
        Self::Refused { code: code.http(), reason: code.reason(), message, retry_after }
    }
}

/// The patch in the form of the answer. `None` for an empty patch, which would cost the API server
/// a decode.
fn encode(patch: &Patch) -> Option<Box<RawValue>> {
    if patch.0.is_empty() {
        return None;
    }
    let mut json = Vec::with_capacity(USUAL_OPERATION * patch.0.len());
    serde_json::to_writer(&mut json, patch).expect("a patch of JSON values always serializes");
    // Base64 needs no escaping, so the serializer does not look at these bytes, half of the answer,
    // again.
    let mut quoted = String::with_capacity(STANDARD.encoded_length(json.len()) + 2);
    quoted.push('"');
    STANDARD.encode_append(&json, &mut quoted);
    quoted.push('"');
    Some(RawValue::from_string(quoted).expect("base64 between quotes is a JSON string"))
}
