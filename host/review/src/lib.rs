//! `AdmissionReview`: bytes to [`AdmissionRequest`], and [`Verdict`] to bytes. No other crate knows
//! the format.
//!
//! Unknown fields are skipped; the object under review stays as it arrived. No error of this crate
//! repeats a value of the body.

mod respond;
mod shape;
#[cfg(test)]
mod tests;
mod user;

use std::{fmt, marker::PhantomData};

use ampoule_core::{Pod, PodError, Requester, is_dns_label};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Unexpected, Visitor, value::MapAccessDeserializer},
};
use serde_json::Value;

use self::shape::DocumentShape;
pub use self::{
    respond::{Reply, Verdict, respond},
    user::parse_requester,
};

/// JSON values per body. A pod of 400 containers with all their managed fields has about 50,000.
/// [`memory_bound`] bounds the memory of the values; this limit bounds the time to parse them.
const MAX_VALUES: usize = 100_000;

/// The request of a review.
#[derive(Clone, Debug)]
pub struct AdmissionRequest {
    /// The fields that the answer repeats.
    pub identity: ReviewIdentity,
    /// The namespace that the object is created in. Empty if neither the request nor the object has
    /// one.
    pub namespace: String,
    /// The object's name, or its `generateName` if it has no name yet. May be empty.
    pub name: String,
    /// Whether the API server stores nothing.
    pub dry_run: bool,
    /// The user that creates the object. [`parse`] leaves it empty; [`parse_requester`] reads it.
    pub requester: Requester,
    /// The object to decide on.
    pub subject: ReviewSubject,
}

/// The fields that an answer must repeat for the API server to accept it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewIdentity {
    /// The version of the review.
    pub version: ReviewVersion,
    /// The request's `uid`.
    pub uid: String,
}

/// The versions of `AdmissionReview`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviewVersion {
    /// `admission.k8s.io/v1`.
    V1,
    /// `admission.k8s.io/v1beta1`, of API servers before 1.22.
    V1Beta1,
}

/// The object under review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReviewSubject {
    /// A pod to be created, or a running pod to which ephemeral containers are added.
    Pod(Pod),
    /// An object to be created that is not a pod.
    NotAPod(PodError),
    /// A request that neither creates a pod nor adds ephemeral containers. It is allowed as it is.
    OutOfScope,
}

/// What a request does, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReviewScope {
    /// Creates an object.
    Creation,
    /// Changes the ephemeral containers of a pod (`kubectl debug`).
    EphemeralContainers,
    /// Anything else.
    Other,
}

/// Why a body is not a readable review. The answer is an HTTP error, because a review needs the
/// `uid`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// The body has no content.
    #[error("the body is empty; an AdmissionReview is expected")]
    Empty,
    /// The body is not JSON, is nested too deeply, or ends early.
    #[error("the body is not readable JSON: {0}")]
    Json(String),
    /// The body holds too many JSON values, which take far more memory than their text.
    #[error("the body holds more than {MAX_VALUES} values")]
    TooManyValues,
    /// The document has another kind or version.
    #[error("the body is not an AdmissionReview of admission.k8s.io/v1 or admission.k8s.io/v1beta1")]
    NotAReview,
    /// A field of the review is missing or has the wrong JSON type.
    #[error("{path} must be {expected}")]
    Field {
        /// The field's path, such as `request.uid`.
        path: &'static str,
        /// The expected type or property.
        expected: &'static str,
    },
}

/// Returns an upper bound of the bytes that [`parse`] allocates for this body, without the body
/// itself. Text that is not JSON has a bound too.
///
/// # Errors
///
/// If the body has too many values.
pub fn memory_bound(body: &[u8]) -> Result<usize, ReviewError> {
    let shape = DocumentShape::at_most(body);
    if shape.values > MAX_VALUES { Err(ReviewError::TooManyValues) } else { Ok(shape.memory(body)) }
}

/// Parses a review.
///
/// # Errors
///
/// If the body is not an `AdmissionReview` with a request and a `uid`. An object that is not a pod
/// is not an error here but a [`ReviewSubject`], because it gets a review as its answer.
pub fn parse(body: &[u8]) -> Result<AdmissionRequest, ReviewError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(ReviewError::Empty);
    }
    // Each value needs at least one byte, so bodies of the usual size need no count.
    if body.len() > MAX_VALUES && DocumentShape::count(body).values > MAX_VALUES {
        return Err(ReviewError::TooManyValues);
    }
    let ReviewDocument { api_version, kind, request } = ReviewDocument::read(body)?;
    let version = ReviewVersion::named(&api_version, &kind).ok_or(ReviewError::NotAReview)?;
    let OnlyObject(request) = request.ok_or(NO_REQUEST)?;
    let RequestFields { uid, operation, sub_resource, namespace, name, dry_run, object, old_object } = request;
    let uid = text(uid, "request.uid")?;
    if uid.is_empty() {
        return Err(ReviewError::Field { path: "request.uid", expected: "given" });
    }
    let scope = ReviewScope::detect(operation, sub_resource)?;
    let mut namespace = text(namespace, "request.namespace")?;
    let mut name = text(name, "request.name")?;
    let dry_run = dry_run.as_bool().unwrap_or(false);
    let metadata = &object["metadata"];
    let fallback = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
    if namespace.is_empty() {
        namespace = fallback("namespace");
    }
    if !is_namespace(&namespace) {
        return Err(ReviewError::Field { path: "request.namespace", expected: "the name of a namespace" });
    }
    for key in ["name", "generateName"] {
        if name.is_empty() {
            name = fallback(key);
        }
    }
    let subject = ReviewSubject::classify(object, &old_object, scope);
    let (identity, requester) = (ReviewIdentity { version, uid }, Requester::default());
    Ok(AdmissionRequest { identity, namespace, name, dry_run, requester, subject })
}

/// The fields of a review that are read. Other fields, about half of the body, are skipped without
/// a copy.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ReviewDocument {
    api_version: Value,
    kind: Value,
    request: Option<OnlyObject<RequestFields>>,
}

/// The fields of a request that are read. Types are checked field by field, so that an error can
/// name the field.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RequestFields {
    uid: Value,
    operation: Value,
    sub_resource: Value,
    namespace: Value,
    name: Value,
    dry_run: Value,
    object: Value,
    /// Null for a creation.
    old_object: Value,
}

/// A struct that is read only from a JSON object. Serde also accepts a list of the fields in order.
struct OnlyObject<T>(T);

const NO_REQUEST: ReviewError = ReviewError::Field { path: "request", expected: "an object" };

// === impl ReviewDocument ===

impl ReviewDocument {
    fn read(body: &[u8]) -> Result<Self, ReviewError> {
        let read = serde_json::from_slice(body).map(|OnlyObject(review)| review);
        read.map_err(|error| match serde_json::from_slice::<Value>(body) {
            Err(error) => ReviewError::Json(describe(&error)),
            Ok(review) if ReviewVersion::detect(&review).is_none() => ReviewError::NotAReview,
            Ok(review) if !review["request"].is_object() => NO_REQUEST,
            Ok(_) => ReviewError::Json(describe(&error)),
        })
    }
}

// === impl OnlyObject ===

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OnlyObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = OnlyObject<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(OnlyObject)
            }

            /// The usual error repeats the text, which would take several times its memory.
            fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
                Err(E::invalid_type(Unexpected::Other("a string"), &self))
            }
        }

        // `deserialize_map` would create the usual error without a call of the visitor.
        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

// === impl ReviewVersion ===

impl ReviewVersion {
    /// The `apiVersion` of the review and of its answer.
    #[must_use]
    pub fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "admission.k8s.io/v1",
            Self::V1Beta1 => "admission.k8s.io/v1beta1",
        }
    }

    /// The version of a document. `None` if it is not a review of a known version.
    #[must_use]
    pub fn detect(document: &Value) -> Option<Self> {
        Self::named(document.get("apiVersion")?, document.get("kind")?)
    }

    fn named(api_version: &Value, kind: &Value) -> Option<Self> {
        let known = [Self::V1, Self::V1Beta1].into_iter().find(|known| api_version == known.api_version());
        known.filter(|_| kind == "AdmissionReview")
    }
}

// === impl ReviewSubject ===

impl ReviewSubject {
    fn classify(object: Value, old_object: &Value, scope: ReviewScope) -> Self {
        match scope {
            ReviewScope::Creation if !object.is_null() => Pod::parse(object).map_or_else(Self::NotAPod, Self::Pod),
            // API servers before 1.22 send an object of another kind.
            ReviewScope::EphemeralContainers if object["kind"] == "Pod" => {
                Pod::parse_update(object, old_object).map_or_else(Self::NotAPod, Self::Pod)
            }
            _ => Self::OutOfScope,
        }
    }
}

// === impl ReviewScope ===

impl ReviewScope {
    /// Only ephemeral containers of an existing pod can change, and another subresource
    /// (`pods/exec`, `pods/binding`, …) is not a pod. A registration with our rules sends nothing
    /// else.
    fn detect(operation: Value, sub_resource: Value) -> Result<Self, ReviewError> {
        let operation = text(operation, "request.operation")?;
        let sub_resource = text(sub_resource, "request.subResource")?;
        Ok(match (operation.as_str(), sub_resource.as_str()) {
            ("" | "CREATE", "") => Self::Creation,
            ("UPDATE", "ephemeralcontainers") => Self::EphemeralContainers,
            _ => Self::Other,
        })
    }
}

/// Whether a text is empty or a DNS label. A forged review could otherwise name another object in
/// the paths of the API server's requests, which are not encoded.
fn is_namespace(text: &str) -> bool {
    text.is_empty() || is_dns_label(text)
}

fn text(value: Value, path: &'static str) -> Result<String, ReviewError> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text),
        _ => Err(ReviewError::Field { path, expected: "a string" }),
    }
}

/// The parser's message, without parts of the body that some messages repeat.
fn describe(error: &serde_json::Error) -> String {
    if error.is_data() {
        return format!("a value has the wrong type at line {} column {}", error.line(), error.column());
    }
    error.to_string()
}
