//! [`Pod`]: what a plugin may read of a pod.
//!
//! The host keeps the data, and each method asks it. In tests, the data comes from
//! [`testing::PodBuilder`](crate::testing::PodBuilder).

#[cfg(target_arch = "wasm32")]
use crate::bindings::ampoule::injector::admission::Pod as Source;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::PodData as Source;

/// The pod, with the edits of its earlier requests. A plugin never sees an environment value or a
/// command.
///
/// Each call of a method is a call of the host: keep an answer that you need twice.
#[derive(Debug)]
#[repr(transparent)]
pub struct Pod(Source);

// === impl Pod ===

impl Pod {
    /// The namespace of the pod.
    #[must_use]
    pub fn namespace(&self) -> String {
        self.0.namespace()
    }

    /// `metadata.name`, or `metadata.generateName` if the API server has not generated the name
    /// yet. May be empty.
    #[must_use]
    pub fn name(&self) -> String {
        self.0.name()
    }

    /// `spec.serviceAccountName`. Empty if the pod does not set it.
    #[must_use]
    pub fn service_account(&self) -> String {
        self.0.service_account()
    }

    /// `spec.os.name`, if the pod sets it.
    #[must_use]
    pub fn operating_system(&self) -> Option<String> {
        self.0.operating_system()
    }

    /// The value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<String> {
        self.0.label(key)
    }

    /// The value of an annotation; see [`Pod::annotations`].
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<String> {
        self.0.annotation(key)
    }

    /// The labels, sorted by key.
    #[must_use]
    pub fn labels(&self) -> Vec<(String, String)> {
        self.0.labels()
    }

    /// The annotations, sorted by key, without two kinds: those that request secrets, since a
    /// plugin sees only its own requests, and `kubectl.kubernetes.io/last-applied-configuration`,
    /// since it repeats the pod with its environment values.
    #[must_use]
    pub fn annotations(&self) -> Vec<(String, String)> {
        self.0.annotations()
    }

    /// The names of `spec.containers`, in the pod's order.
    #[must_use]
    pub fn containers(&self) -> Vec<String> {
        self.0.containers()
    }

    /// The names of `spec.initContainers`, in the pod's order, native sidecars included.
    #[must_use]
    pub fn init_containers(&self) -> Vec<String> {
        self.0.init_containers()
    }

    /// The image of the first container or init container with this name, if it has one.
    #[must_use]
    pub fn image(&self, container: &str) -> Option<String> {
        self.0.image(container)
    }

    /// Wraps the host's resource.
    #[cfg(target_arch = "wasm32")]
    #[allow(unsafe_code, reason = "a plugin takes a reference without a lifetime in its type")]
    pub(crate) fn of(source: &Source) -> &Self {
        // SAFETY: the wrapper is transparent, and the result has the lifetime of the source.
        unsafe { &*core::ptr::from_ref(source).cast::<Self>() }
    }

    /// Wraps the data of a test.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn of(source: Source) -> Self {
        Self(source)
    }
}
