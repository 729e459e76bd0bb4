//! The one place that knows `AdmissionReview`: bytes to [`AdmissionRequest`], and [`Verdict`] to bytes.
//!
//! Of the review only what matters is kept: an unknown field is skipped, and the object under review stays as it came. No error
//! of this module repeats a value of the body.

mod respond;
#[cfg(test)]
mod tests;

use std::{fmt, marker::PhantomData};

use ampoule_core::{Pod, PodError};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::Value;

pub use self::respond::{Reply, Verdict, respond};

/// A value takes 72 bytes in memory and may take two in a body; the largest object that etcd stores has fewer than this.
const MOST_VALUES: usize = 250_000;

/// What the API server asks.
#[derive(Clone, Debug)]
pub struct AdmissionRequest {
    /// What the answer has to repeat.
    pub identity: ReviewIdentity,
    /// Where the object is to be created. Empty if neither request nor object says.
    pub namespace: String,
    /// The object's name, or the start of it where the API server has yet to make it. May be empty.
    pub name: String,
    /// Nothing will be stored.
    pub dry_run: bool,
    /// What is to be judged.
    pub subject: Subject,
}

/// What an answer has to repeat for the API server to accept it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewIdentity {
    /// The version that the review came in.
    pub version: ReviewVersion,
    /// The request's `uid`.
    pub uid: String,
}

/// Versions of `AdmissionReview` that the API server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviewVersion {
    /// `admission.k8s.io/v1`.
    V1,
    /// `admission.k8s.io/v1beta1`, of API servers before 1.22.
    V1Beta1,
}

/// What is to be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A pod about to be created.
    Pod(Pod),
    /// An object that claims to be created and is no pod.
    NotAPod(PodError),
    /// Something that no secret goes into: allowed as it is.
    OutOfScope,
}

/// Why a body is no review. Nothing can be answered but an HTTP error, for there is no `uid` to answer to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// Nothing came.
    #[error("the body is empty; an AdmissionReview is expected")]
    Empty,
    /// Not JSON, or nested too deeply, or cut short.
    #[error("the body is not readable JSON: {0}")]
    Json(String),
    /// Far more in memory than it is as text.
    #[error("the body holds more than {MOST_VALUES} values")]
    TooManyValues,
    /// JSON of another kind or version.
    #[error("the body is not an AdmissionReview of admission.k8s.io/v1 or admission.k8s.io/v1beta1")]
    NotAReview,
    /// A part of the review has the wrong JSON type, or is missing.
    #[error("{path} must be {expected}")]
    Field {
        /// The field's path, such as `request.uid`.
        path: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}

/// Reads a review.
///
/// # Errors
///
/// If the body is no `AdmissionReview` with a request and a `uid`. An object that is no pod is not an error here but a
/// [`Subject`], for it can be answered.
pub fn parse(body: &[u8]) -> Result<AdmissionRequest, ReviewError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(ReviewError::Empty);
    }
    // Each needs a byte at least, so a body of the usual size is not counted.
    if body.len() > MOST_VALUES && values(body) > MOST_VALUES {
        return Err(ReviewError::TooManyValues);
    }
    let Review { api_version, kind, request } = Review::read(body)?;
    let version = ReviewVersion::named(&api_version, &kind).ok_or(ReviewError::NotAReview)?;
    let Object(request) = request.ok_or(NO_REQUEST)?;
    let Request { uid, operation, sub_resource, namespace, name, dry_run, object } = request;
    let uid = text(uid, "request.uid")?;
    if uid.is_empty() {
        return Err(ReviewError::Field { path: "request.uid", expected: "given" });
    }
    let in_scope = is_in_scope(operation, sub_resource)?;
    let mut namespace = text(namespace, "request.namespace")?;
    let mut name = text(name, "request.name")?;
    let dry_run = dry_run.as_bool().unwrap_or(false);
    let metadata = &object["metadata"];
    let fallback = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
    if namespace.is_empty() {
        namespace = fallback("namespace");
    }
    for key in ["name", "generateName"] {
        if name.is_empty() {
            name = fallback(key);
        }
    }
    let subject = Subject::of(object, in_scope);
    Ok(AdmissionRequest { identity: ReviewIdentity { version, uid }, namespace, name, dry_run, subject })
}

/// A review, as far as it is read. What no field here names is skipped without a copy, and that is half of what comes.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Review {
    api_version: Value,
    kind: Value,
    request: Option<Object<Request>>,
}

/// A review's request. Types are checked field by field, so that an error can name the field.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Request {
    uid: Value,
    operation: Value,
    sub_resource: Value,
    namespace: Value,
    name: Value,
    dry_run: Value,
    object: Value,
}

/// A struct that only an object is read for: serde takes a list as well, for its fields in order.
struct Object<T>(T);

const NO_REQUEST: ReviewError = ReviewError::Field { path: "request", expected: "an object" };

// === impl Review ===

impl Review {
    fn read(body: &[u8]) -> Result<Self, ReviewError> {
        let read = serde_json::from_slice(body).map(|Object(review)| review);
        read.map_err(|error| match serde_json::from_slice::<Value>(body) {
            Err(error) => ReviewError::Json(describe(&error)),
            Ok(review) if ReviewVersion::of(&review).is_none() => ReviewError::NotAReview,
            Ok(review) if !review["request"].is_object() => NO_REQUEST,
            Ok(_) => ReviewError::Json(describe(&error)),
        })
    }
}

// === impl Object ===

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(Fields(PhantomData))
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

    /// The version of a document; none if it is no review of a version that is known here.
    #[must_use]
    pub fn of(document: &Value) -> Option<Self> {
        Self::named(document.get("apiVersion")?, document.get("kind")?)
    }

    fn named(api_version: &Value, kind: &Value) -> Option<Self> {
        let known = [Self::V1, Self::V1Beta1].into_iter().find(|known| api_version == known.api_version());
        known.filter(|_| kind == "AdmissionReview")
    }
}

// === impl Subject ===

impl Subject {
    fn of(object: Value, in_scope: bool) -> Self {
        if !in_scope || object.is_null() {
            return Self::OutOfScope;
        }
        Pod::parse(object).map_or_else(Self::NotAPod, Self::Pod)
    }
}

/// Only the creation of an object itself takes secrets: the containers of a pod that exists cannot be changed, and a
/// subresource (`pods/exec`, `pods/binding`, …) is no pod. A registration that follows our rules sends nothing else.
fn is_in_scope(operation: Value, sub_resource: Value) -> Result<bool, ReviewError> {
    let operation = text(operation, "request.operation")?;
    let sub_resource = text(sub_resource, "request.subResource")?;
    Ok(matches!(operation.as_str(), "" | "CREATE") && sub_resource.is_empty())
}

/// An upper bound of how many values a JSON document has: what separates or opens them, outside strings.
fn values(body: &[u8]) -> usize {
    let (mut values, mut quoted, mut escaped) = (1, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b',' | b'[' | b'{' if !quoted => values += 1,
            _ => {}
        }
    }
    values
}

fn text(value: Value, path: &'static str) -> Result<String, ReviewError> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text),
        _ => Err(ReviewError::Field { path, expected: "a string" }),
    }
}

/// What the parser says, without the part of the body that some of its messages repeat.
fn describe(error: &serde_json::Error) -> String {
    if error.is_data() {
        return format!("a value has the wrong type at line {} column {}", error.line(), error.column());
    }
    error.to_string()
}
