//! Runs a plugin's logic natively, without WebAssembly: [`Harness`], and [`show()`] for what it answers.
//!
//! What the host adds (limits, checks of the edits, the patch) is not here; `ampoule mutate` on the built component shows
//! that. `plugins/k8s/src/tests.rs` is a test written on it.

#[cfg(any(feature = "environment", feature = "http", feature = "kubernetes-secrets"))]
mod granted;
mod show;

use std::{cell::RefCell, marker::PhantomData};

use crate::{Conventions, Edit, InjectionError, Injector, PodView, SecretRequest, log::Level, runtime::Instance};

#[cfg(any(feature = "environment", feature = "http", feature = "kubernetes-secrets"))]
pub use self::granted::*;
pub use self::show::show;

/// A plugin with settings and conventions, asked as the host asks: a fresh instance per request.
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

/// Takes the lines that plugins have logged on this thread.
#[must_use]
pub fn logs() -> Vec<(Level, String)> {
    LOGS.take()
}

/// Where [`crate::log`] writes off WebAssembly.
pub(crate) fn record(level: Level, message: &str) {
    LOGS.with_borrow_mut(|logs| logs.push((level, message.to_owned())));
}

// === impl Harness ===

impl<P: Injector> Harness<P> {
    /// Settings `{}`, profile `flyte-v1`, an empty pod in the namespace `default`.
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

    /// Settings as a JSON text, or as what `serde_json::json!` makes.
    #[must_use]
    pub fn settings(self, json: &(impl ToString + ?Sized)) -> Self {
        Self { settings: json.to_string(), ..self }
    }

    /// Sets the profile and the environment prefix that it stands for: `_FSEC_` for `flyte-v1`, else `_UNION_`.
    #[must_use]
    pub fn profile(mut self, name: impl Into<String>) -> Self {
        self.conventions.profile = name.into();
        self.conventions.env_prefix =
            if self.conventions.profile == "flyte-v1" { "_FSEC_" } else { "_UNION_" }.to_owned();
        self
    }

    /// Sets every convention.
    #[must_use]
    pub fn conventions(self, conventions: Conventions) -> Self {
        Self { conventions, ..self }
    }

    /// Sets the pod that asks.
    #[must_use]
    pub fn pod(self, pod: PodView) -> Self {
        Self { pod, ..self }
    }

    /// Only configures, as the host does when it loads the plugin.
    ///
    /// # Errors
    ///
    /// What the plugin has against its settings.
    pub fn configure(&self) -> Result<(), String> {
        Instance::<P>::new().configure(&self.settings, &self.conventions)
    }

    /// Configures a fresh instance and asks it.
    ///
    /// # Errors
    ///
    /// The plugin's own answer.
    ///
    /// # Panics
    ///
    /// The plugin refuses its settings; [`Harness::configure`] is for tests of that.
    pub fn inject(&self, request: &SecretRequest) -> Result<Vec<Edit>, InjectionError> {
        let instance = Instance::<P>::new();
        if let Err(error) = instance.configure(&self.settings, &self.conventions) {
            panic!("the plugin refuses its settings: {error}");
        }
        instance.inject(request, &self.pod)
    }
}

impl<P: Injector> Default for Harness<P> {
    fn default() -> Self {
        Self::new()
    }
}
