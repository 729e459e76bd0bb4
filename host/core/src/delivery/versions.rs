//! [`PodVersions`]: the versions of the values that a pod got, in the annotation
//! `ampoule.dev/versions`, and whether the pod reports changes of values that it fetches itself.
//!
//! A version is an HMAC, so it reveals nothing about a value. The annotation has the promises, so
//! that the values can be fetched again, and a seal: only promises that this webhook made for the
//! namespace are fetched, not those that someone wrote into a pod.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{DeliveredKind, DeliveredSecret, NamingKey};
use crate::edit::SecretValue;

/// The key of the annotation.
pub const VERSIONS_ANNOTATION: &str = "ampoule.dev/versions";
/// The annotation by which a pod's author excludes the pod from restarts, if its value is `false`.
pub const ROLLOUT_ANNOTATION: &str = "ampoule.dev/rollout";
/// The annotation of a pod template that restarts the workload.
pub const RESTARTED_FOR_ANNOTATION: &str = "ampoule.dev/restarted-for";
/// The annotation of a pod template that a restart sets: the pods that were created until this time
/// are being replaced, and what they report restarts the workload no more.
pub const REPLACED_UNTIL_ANNOTATION: &str = "ampoule.dev/replaced-until";
/// Bytes of the annotation. All annotations of an object have 256 KiB.
const MOST_BYTES: usize = 64 * 1024;
/// The purpose of the digest that seals the annotation.
const SEAL: &str = "versions";
/// What the seal covers after the versions, in a pod that reports changes.
const REPORTS: &str = "reports";

/// The versions of the values that a pod got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodVersions {
    versions: BTreeMap<PromiseOf, String>,
    /// Whether a sidecar of the pod reports changes of other values.
    reports_changes: bool,
}

/// A promise of an injector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PromiseOf {
    /// The name of the injector.
    pub injector: String,
    /// The text of the promise.
    pub promise: String,
}

/// The annotation's JSON.
#[derive(Deserialize, Serialize)]
struct VersionsDocument {
    versions: Vec<VersionEntry>,
    /// Whether the pod reports changes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    reports: bool,
    /// HMAC over the namespace, the versions and `reports`.
    seal: String,
}

#[derive(Deserialize, Serialize)]
struct VersionEntry {
    injector: String,
    promise: String,
    version: String,
}

// === impl PodVersions ===

impl PodVersions {
    /// The versions of the values in these Secrets. Image pull secrets do not count: a running pod
    /// has its images.
    pub(crate) fn of(secrets: &[DeliveredSecret], key: &NamingKey) -> Self {
        let mut versions = Self::default();
        for secret in secrets.iter().filter(|secret| secret.kind == DeliveredKind::Opaque) {
            for (injector, value) in secret.data.values().flat_map(SecretValue::origins) {
                let Some(source) = value.source() else { continue };
                let injector = injector.unwrap_or(&secret.injector).to_owned();
                let promise = PromiseOf { injector, promise: source.promise.clone() };
                let version = key.version(&promise, value);
                versions.versions.insert(promise, version);
            }
        }
        versions
    }

    /// The text of the annotation. `None` without versions, and if the text would be too large.
    pub(crate) fn to_annotation(&self, namespace: &str, key: &NamingKey) -> Option<String> {
        if self.versions.is_empty() && !self.reports_changes {
            return None;
        }
        let entries = self.versions.iter().map(|(promise, version)| VersionEntry {
            injector: promise.injector.clone(),
            promise: promise.promise.clone(),
            version: version.clone(),
        });
        let document = VersionsDocument {
            versions: entries.collect(),
            reports: self.reports_changes,
            seal: key.digest(SEAL, self.sealed_parts(namespace)),
        };
        serde_json::to_string(&document).ok().filter(|text| text.len() <= MOST_BYTES)
    }

    /// Reads the annotation of a pod. `None` if this webhook did not write it for this namespace.
    #[must_use]
    pub fn read(text: &str, namespace: &str, key: &NamingKey) -> Option<Self> {
        if text.len() > MOST_BYTES {
            return None;
        }
        let document: VersionsDocument = serde_json::from_str(text).ok()?;
        let entries = document
            .versions
            .into_iter()
            .map(|entry| (PromiseOf { injector: entry.injector, promise: entry.promise }, entry.version));
        let versions = Self { versions: entries.collect(), reports_changes: document.reports };
        key.is_digest(&document.seal, SEAL, versions.sealed_parts(namespace)).then_some(versions)
    }

    /// The promises and the versions of their values.
    pub fn iter(&self) -> impl Iterator<Item = (&PromiseOf, &str)> {
        self.versions.iter().map(|(promise, version)| (promise, version.as_str()))
    }

    /// The same versions, in a pod that reports changes of other values or does not.
    pub(crate) fn with_reports(self, reports_changes: bool) -> Self {
        Self { reports_changes, ..self }
    }

    /// Whether the pod reports changes of the values that it fetches itself.
    #[must_use]
    pub fn reports_changes(&self) -> bool {
        self.reports_changes
    }

    /// Whether there are no versions.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    /// A digest of these versions, which differs if one of them differs.
    #[must_use]
    pub fn digest(&self, key: &NamingKey) -> String {
        key.digest("rollout", self.sealed_parts(""))
    }

    fn sealed_parts<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let entries = self.versions.iter();
        let reports = self.reports_changes.then_some(REPORTS);
        let parts = entries.flat_map(|(promise, version)| [&promise.injector, &promise.promise, version]);
        [namespace].into_iter().chain(parts.map(String::as_str)).chain(reports).map(str::as_bytes)
    }
}

impl FromIterator<(PromiseOf, String)> for PodVersions {
    fn from_iter<I: IntoIterator<Item = (PromiseOf, String)>>(versions: I) -> Self {
        Self { versions: versions.into_iter().collect(), reports_changes: false }
    }
}

impl PodVersions {
    /// Adds the versions of other values.
    pub fn extend(&mut self, other: Self) {
        self.versions.extend(other.versions);
    }
}

// === impl NamingKey ===

impl NamingKey {
    /// The version of a value: an HMAC of the store's version, or of the value without one.
    #[must_use]
    pub fn version(&self, promise: &PromiseOf, value: &SecretValue) -> String {
        let named = value.source().and_then(|source| source.version.as_deref());
        let (kind, content) = named.map_or(("value", value.expose()), |version| ("version", version.as_bytes()));
        let names = [promise.injector.as_bytes(), promise.promise.as_bytes(), content];
        self.digest(kind, names.into_iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{edit::ValueSource, generated_name::GeneratedName};

    fn key(byte: u8) -> NamingKey {
        NamingKey::new([byte; NamingKey::BYTES])
    }

    fn value(bytes: &str, promise: &str, version: Option<&str>) -> SecretValue {
        let source = ValueSource { promise: promise.to_owned(), version: version.map(str::to_owned) };
        SecretValue::new(bytes.into()).with_source(source)
    }

    fn secret(kind: DeliveredKind, values: Vec<SecretValue>) -> DeliveredSecret {
        let digest = "0".repeat(64);
        DeliveredSecret {
            namespace: "team".to_owned(),
            name: GeneratedName::new(&digest, &digest),
            injector: "store".to_owned(),
            kind,
            data: values.into_iter().enumerate().map(|(i, value)| (format!("K{i}"), value)).collect(),
        }
    }

    fn annotation(values: Vec<SecretValue>) -> Option<String> {
        let versions = PodVersions::of(&[secret(DeliveredKind::Opaque, values)], &key(1));
        versions.to_annotation("team", &key(1))
    }

    #[test]
    fn a_version_depends_on_the_store_s_version_or_else_on_the_value() {
        let promise = |injector: &str| PromiseOf { injector: injector.to_owned(), promise: "p".to_owned() };
        let version = |byte, injector, value: SecretValue| key(byte).version(&promise(injector), &value);
        let one = version(1, "store", value("zq7canary", "p", Some("v1")));
        assert_eq!(one.len(), 32);
        assert_eq!(one, version(1, "store", value("other", "p", Some("v1"))), "the store knows best");
        let unnamed = version(1, "store", value("zq7canary", "p", None));
        for other in [
            version(1, "store", value("zq7canary", "p", Some("v2"))),
            version(2, "store", value("zq7canary", "p", Some("v1"))),
            version(1, "other", value("zq7canary", "p", Some("v1"))),
            unnamed.clone(),
            version(1, "store", value("v1", "p", None)),
        ] {
            assert_ne!(one, other);
        }
        assert_ne!(unnamed, version(1, "store", value("changed", "p", None)));
    }

    #[test]
    fn an_annotation_names_promises_and_versions_and_no_value() {
        let text = annotation(vec![value("zq7canary", "db/password", Some("v1"))]).unwrap();
        assert!(text.starts_with(r#"{"versions":[{"injector":"store","promise":"db/password","version":""#), "{text}");
        assert!(!text.contains("zq7canary") && !text.contains("v1\""), "{text}");
        let read = PodVersions::read(&text, "team", &key(1)).unwrap();
        assert_eq!(read.iter().map(|(promise, _)| promise.promise.as_str()).collect::<Vec<_>>(), ["db/password"]);
    }

    #[test]
    fn only_an_annotation_of_this_webhook_for_this_namespace_is_read() {
        let text = annotation(vec![value("a", "p", None), value("b", "q", None)]).unwrap();
        assert!(PodVersions::read(&text, "team", &key(1)).is_some());
        for (what, text, namespace, key) in [
            ("another namespace", text.clone(), "other", key(1)),
            ("another webhook", text.clone(), "team", key(2)),
            ("another promise", text.replace(r#""q""#, r#""r""#), "team", key(1)),
            ("another injector", text.replacen("store", "other", 1), "team", key(1)),
            ("no seal", text.replace("seal", "sea"), "team", key(1)),
            ("no JSON", "v1".to_owned(), "team", key(1)),
            ("too large", text.clone() + &" ".repeat(MOST_BYTES), "team", key(1)),
        ] {
            assert!(PodVersions::read(&text, namespace, &key).is_none(), "{what}");
        }
    }

    #[test]
    fn a_pod_that_reports_changes_has_an_annotation_also_without_versions() {
        let reporting = PodVersions::default().with_reports(true);
        let text = reporting.to_annotation("team", &key(1)).unwrap();
        assert!(text.starts_with(r#"{"versions":[],"reports":true,"seal":""#), "{text}");
        let read = PodVersions::read(&text, "team", &key(1)).unwrap();
        assert!(read.reports_changes() && read.is_empty());
        let without = annotation(vec![value("a", "p", None)]).unwrap();
        for (what, text, namespace) in [
            ("another namespace", text.clone(), "other"),
            ("no longer reporting", text.replace("true", "false"), "team"),
            ("not reporting at first", without.replace(r#"],"seal""#, r#"],"reports":true,"seal""#), "team"),
        ] {
            assert!(PodVersions::read(&text, namespace, &key(1)).is_none(), "{what}: {text}");
        }
    }

    #[test]
    fn a_pod_without_promises_or_with_too_many_has_no_annotation() {
        assert_eq!(annotation(vec![SecretValue::new(b"global".to_vec())]), None);
        let pulled = secret(DeliveredKind::DockerConfig, vec![value("{}", "p", None)]);
        assert_eq!(PodVersions::of(&[pulled], &key(1)), PodVersions::default());
        let many = (0..80).map(|i| value("a", &format!("{i}{}", "p".repeat(1000)), None)).collect();
        assert_eq!(annotation(many), None);
    }
}
