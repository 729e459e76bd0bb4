//! Runs a plugin natively, without WebAssembly: [`Harness`], and [`show()`], which formats an
//! answer.
//!
//! The harness does not include the host's part (limits, validation of edits, the patch); use
//! `ampoule mutate` with the built component for that. `plugins/k8s/src/tests.rs` is an example.

#[cfg(any(feature = "cache", feature = "environment", feature = "http", feature = "kubernetes-secrets"))]
mod granted;
mod pod;
mod show;

use std::{cell::RefCell, marker::PhantomData};

use crate::{Conventions, Edit, FetchedValue, InjectionError, Injector, SecretRequest, log::Level, runtime::Instance};

#[cfg(any(feature = "cache", feature = "environment", feature = "http", feature = "kubernetes-secrets"))]
pub use self::granted::*;
pub(crate) use self::pod::PodData;
pub use self::{
    pod::PodBuilder,
    show::{show, show_value},
};

/// A plugin with settings and conventions. Like the host, it uses a fresh instance for each
/// request.
#[derive(Clone, Debug)]
pub struct Harness<P> {
    settings: String,
    conventions: Conventions,
    pod: PodBuilder,
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
        Self {
            settings: "{}".to_owned(),
            conventions: Conventions::new("flyte-v1"),
            pod: PodBuilder::new("default"),
            plugin: PhantomData,
        }
    }

    /// Sets the settings, as JSON text or as a `serde_json::Value`.
    #[must_use]
    pub fn settings(self, json: &(impl ToString + ?Sized)) -> Self {
        Self { settings: json.to_string(), ..self }
    }

    /// Sets the conventions to those of a profile: [`Conventions::new`].
    #[must_use]
    pub fn profile(self, name: impl Into<String>) -> Self {
        self.conventions(Conventions::new(name))
    }

    /// Sets all conventions.
    #[must_use]
    pub fn conventions(self, conventions: Conventions) -> Self {
        Self { conventions, ..self }
    }

    /// Sets the pod.
    #[must_use]
    pub fn pod(self, pod: PodBuilder) -> Self {
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
        self.instance().inject(request, &self.pod.clone().build())
    }

    /// Configures a fresh instance and calls `fetch`.
    ///
    /// # Errors
    ///
    /// The plugin's own error.
    ///
    /// # Panics
    ///
    /// The plugin rejects its settings.
    pub fn fetch(&self, promise: &str) -> Result<FetchedValue, InjectionError> {
        self.instance().fetch(promise)
    }

    /// Configures a fresh instance and calls `check`.
    ///
    /// # Errors
    ///
    /// The plugin's own error.
    ///
    /// # Panics
    ///
    /// The plugin rejects its settings.
    pub fn check(&self) -> Result<(), String> {
        self.instance().check()
    }

    fn instance(&self) -> Instance<P> {
        let instance = Instance::<P>::new();
        match instance.configure(&self.settings, &self.conventions) {
            Ok(()) => instance,
            Err(error) => panic!("the plugin rejects its settings: {error}"),
        }
    }
}

impl<P: Injector> Default for Harness<P> {
    fn default() -> Self {
        Self::new()
    }
}
