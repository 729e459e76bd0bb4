//! An engine, guests by name, and their answers as one line of text.
//!
//! The line begins with the kind of the answer, so that a table can distinguish a guest's answer
//! from its failure.

use std::sync::Arc;

use ampoule_core::{EnvSource, EnvVar, Injection, PodEdit, PodView, Profile, SecretInjector, SecretRequest};
use ampoule_engine::{
    ComponentBytes, EngineConfig, FetchPlace, Grants, Limits, LoadError, PluginEngine, PluginInjector, PluginSpec,
    ValueCachePolicy,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// An engine, and a runtime to wait on it.
pub(crate) struct Sandbox {
    pub(crate) runtime: Runtime,
    pub(crate) engine: Arc<PluginEngine>,
}

// === impl Sandbox ===

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self::with(EngineConfig::default())
    }

    pub(crate) fn with(config: EngineConfig) -> Self {
        let engine = PluginEngine::new(config).expect("an engine");
        Self { runtime: Runtime::new().expect("a runtime"), engine: Arc::new(engine) }
    }

    pub(crate) fn load(
        &self,
        name: &str,
        component: &'static [u8],
        settings: Value,
    ) -> Result<PluginInjector, Box<LoadError>> {
        self.load_within(name, component, settings, Limits::default())
    }

    pub(crate) fn load_within(
        &self,
        name: &str,
        component: &'static [u8],
        settings: Value,
        limits: Limits,
    ) -> Result<PluginInjector, Box<LoadError>> {
        self.load_granted(name, component, settings, limits, Grants::default())
    }

    pub(crate) fn load_granted(
        &self,
        name: &str,
        component: &'static [u8],
        settings: Value,
        limits: Limits,
        grants: Grants,
    ) -> Result<PluginInjector, Box<LoadError>> {
        let spec = Self::spec(name, component, settings, limits, grants);
        self.runtime.block_on(self.engine.load(spec)).map_err(Box::new)
    }

    /// Loads a plugin without grants, and rejects it if its imports need one.
    pub(crate) fn load_strictly(&self, name: &str, component: &'static [u8]) -> Result<PluginInjector, Box<LoadError>> {
        let spec = Self::spec(name, component, json!({}), Limits::default(), Grants::default());
        self.runtime.block_on(self.engine.load(PluginSpec { strict_grants: true, ..spec })).map_err(Box::new)
    }

    fn spec(name: &str, component: &'static [u8], settings: Value, limits: Limits, grants: Grants) -> PluginSpec {
        PluginSpec {
            name: name.to_owned(),
            source: format!("file:/plugins/{name}.wasm"),
            component: ComponentBytes::BuiltIn(component),
            settings,
            conventions: Profile::FlyteV1.conventions(),
            limits,
            grants,
            value_cache: ValueCachePolicy::default(),
            fetch_place: FetchPlace::Here,
            strict_grants: false,
        }
    }

    /// The well-behaved neighbour: the built-in injector.
    pub(crate) fn neighbour(&self) -> PluginInjector {
        let component = ampoule_plugin_bundle::component("k8s").expect("k8s is built in");
        self.load("k8s", component, json!({})).expect("a built-in plugin loads")
    }

    /// A plugin's answer as one line; verifies that the neighbour is served after it.
    pub(crate) fn answer(&self, injector: &PluginInjector) -> String {
        let answer = line(&self.runtime.block_on(Self::ask(&self.engine, injector.clone(), request("group"))));
        let neighbour = self.neighbour();
        let served = self.runtime.block_on(Self::ask(&self.engine, neighbour, request("user-info")));
        assert!(matches!(served, Ok(Ok(_))), "the neighbour gets: {}", line(&served));
        answer
    }

    /// Calls a plugin once, as an admission does.
    pub(crate) async fn ask(engine: &PluginEngine, injector: PluginInjector, request: SecretRequest) -> Injection {
        let asked = engine.run(async move { injector.open().inject(&request, &view().into()).await });
        asked.await.expect("the work on an admission ends by itself")
    }
}

/// A guest by the name of its file.
pub(crate) fn guest(name: &str) -> &'static [u8] {
    let found = ampoule_test_guests::GUESTS.iter().find(|(guest, _)| *guest == name);
    found.unwrap_or_else(|| panic!("no guest is named {name}")).1
}

pub(crate) fn request(group: &str) -> SecretRequest {
    SecretRequest { group: group.to_owned(), key: "key".to_owned(), ..SecretRequest::default() }
}

/// The answer as one line.
pub(crate) fn line(injection: &Injection) -> String {
    match injection {
        Ok(Ok(edits)) => format!("injected {}", edits.iter().map(edit).collect::<Vec<_>>().join(" ")),
        Ok(Err(error)) => format!("declined: {error}"),
        Err(failure) => format!("{}: {failure}", failure.kind.as_str()),
    }
}

/// A variable with its public value; any other edit by its kind.
fn edit(edit: &PodEdit) -> String {
    match edit {
        PodEdit::SetEnv(EnvVar { name, source: EnvSource::Literal(value) }) => format!("{name}={value}"),
        PodEdit::SetEnv(EnvVar { name, source }) => format!("{name}={source:?}"),
        other => format!("{other:?}"),
    }
}

/// An error at load without the digest, which differs between compilers.
pub(crate) fn refusal(error: &LoadError) -> String {
    let text = error.to_string();
    match text.split_once("sha256:") {
        Some((before, after)) => {
            format!("{before}sha256:…{}", after.trim_start_matches(|c: char| c.is_ascii_hexdigit()))
        }
        None => text,
    }
}

fn view() -> PodView {
    PodView { namespace: "team-a".to_owned(), name: "pod".to_owned(), ..PodView::default() }
}
