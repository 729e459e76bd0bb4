//! Runs a plugin natively, without WebAssembly: [`Harness`], and [`show()`], which formats an
//! answer.
//!
//! The harness does not include the host's part (limits, validation of edits, the patch); use
//! `ampoule mutate` with the built component for that. `plugins/k8s/src/tests.rs` is an example.

#[cfg(any(feature = "environment", feature = "http", feature = "kubernetes-secrets"))]
mod granted;
mod show;

use std::{cell::RefCell, marker::PhantomData};

use crate::{Conventions, Edit, InjectionError, Injector, PodView, SecretRequest, log::Level, runtime::Instance};

#[cfg(any(feature = "environment", feature = "http", feature = "kubernetes-secrets"))]
pub use self::granted::*;
pub use self::show::show;

/// A plugin with settings and conventions. Like the host, it uses a fresh instance for each
/// request.
#[derive(Clone, Debug)]
pub struct Harness<P> {
    settings: String,
    conventions: Conventions,
    pod: PodView,
    plugin: PhantomData<fn() -> P>,
}

thread_local! {
    static LOGS: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
}

/// Takes the lines that plugins logged on this thread.
#[must_use]
pub fn logs() -> Vec<(Level, String)> {
    LOGS.take()
}

/// Records a line of [`crate::log`] on native targets.
pub(crate) fn record(level: Level, message: &str) {
    LOGS.with_borrow_mut(|logs| logs.push((level, message.to_owned())));
}

// === impl Harness ===

impl<P: Injector> Harness<P> {
    /// Creates a harness with the settings `{}`, the profile `flyte-v1`, and an empty pod in the
    /// namespace `default`.
    #[must_use]
    pub fn new() -> Self {
        let conventions = Conventions {
            profile: String::new(),
            env_prefix: String::new(),
            mount_directory: "/etc/flyte/secrets".to_owned(),
        };
        Self { settings: "{}".to_owned(), conventions, pod: PodView::new("default"), plugin: PhantomData }
            .profile("flyte-v1")
    }

    /// Sets the settings, as JSON text or as a `serde_json::Value`.
    #[must_use]
    pub fn settings(self, json: &(impl ToString + ?Sized)) -> Self {
        Self { settings: json.to_string(), ..self }
    }

    /// Sets the profile and its environment prefix: `_FSEC_` for `flyte-v1`, otherwise `_UNION_`.
    #[must_use]
    pub fn profile(mut self, name: impl Into<String>) -> Self {
        self.conventions.profile = name.into();
        self.conventions.env_prefix =
            if self.conventions.profile == "flyte-v1" { "_FSEC_" } else { "_UNION_" }.to_owned();
        self
    }

    /// Sets all conventions.
    #[must_use]
    pub fn conventions(self, conventions: Conventions) -> Self {
        Self { conventions, ..self }
    }

    /// Sets the pod.
    #[must_use]
    pub fn pod(self, pod: PodView) -> Self {
        Self { pod, ..self }
    }

    /// Only configures an instance, as the host does when it loads the plugin.
    ///
    /// # Errors
    ///
    /// The plugin rejects its settings.
    pub fn configure(&self) -> Result<(), String> {
        Instance::<P>::new().configure(&self.settings, &self.conventions)
    }

    /// Configures a fresh instance and calls `inject`.
    ///
    /// # Errors
    ///
    /// The plugin's own error.
    ///
    /// # Panics
    ///
    /// The plugin rejects its settings; use [`Harness::configure`] to test that.
    pub fn inject(&self, request: &SecretRequest) -> Result<Vec<Edit>, InjectionError> {
        let instance = Instance::<P>::new();
        if let Err(error) = instance.configure(&self.settings, &self.conventions) {
            panic!("the plugin rejects its settings: {error}");
        }
        instance.inject(request, &self.pod)
    }
}

impl<P: Injector> Default for Harness<P> {
    fn default() -> Self {
        Self::new()
    }
}
