//! From a component to a plugin that serves: checked, compiled, asked what it is, and given its settings once.
//!
//! Everything that can be wrong with a component or its settings is found here, off the request path, so that a bad plugin
//! never takes the place of a good one.

use std::{sync::Arc, time::Duration};

use ampoule_core::{ContainerKind, ContainerView, Conventions, MountRequirement, PodEdit, PodView, SecretRequest};
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use tokio::{sync::Semaphore, time::Instant};
use wasmtime::component::Component;

use crate::{
    compile::compile,
    component::ComponentBytes,
    context::PluginContext,
    contract::PluginPre,
    convert,
    engine::{PluginEngine, Shared},
    error::{LoadError, LoadErrorKind, RunError},
    failure::Failure,
    format,
    grants::{Grant, Grants},
    imports::{CONTRACT, Surface},
    limits::Limits,
    observer::Unobserved,
    outbound::OutboundBudget,
    plugin::{Loaded, PluginInjector},
    running::{PluginSettings, Running},
    session::{PluginSession, Spent},
    store::PluginState,
    text::clean,
};

/// How long `describe` and `configure` may take together at load: a busy machine must not refuse a plugin that serves well.
const DEADLINE: Duration = Duration::from_secs(5);

/// How long a trial of `inject` may take: it tells a plugin that traps, and nobody waits for one that does not.
const TRIAL: Duration = Duration::from_secs(1);

/// Bytes of a plugin's settings: a ConfigMap holds no more, and every instance is given them.
const MAX_SETTINGS: usize = 1 << 20;

/// Bytes of wasmtime's explanation of what does not fit.
const MAX_MISMATCH: usize = 1 << 10;

/// A plugin to be loaded.
#[derive(Clone, Debug)]
pub struct PluginSpec {
    /// Its name in the configuration.
    pub name: String,
    /// Where the component came from, as the configuration writes it (`builtin:k8s`).
    pub source: String,
    /// The component.
    pub component: ComponentBytes,
    /// Its settings, for `configure`.
    pub settings: serde_json::Value,
    /// What it takes its defaults from.
    pub conventions: Conventions,
    /// What it may use.
    pub limits: Limits,
    /// What it may reach beyond its sandbox.
    pub grants: Grants,
}

/// What a trial of a plugin came to that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It answers, or is slow.
    Good,
    /// It answers the same question with other edits each time.
    Differs,
}

/// What a component is, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// SHA-256, in hexadecimal.
    pub digest: String,
    /// Bytes of the component.
    pub size: usize,
    /// The version of `ampoule:injector` that it exports.
    pub contract_version: String,
    /// The interfaces it imports.
    pub imports: Vec<String>,
    /// The interfaces it exports.
    pub exports: Vec<String>,
    /// The grants that its imports are about, [required](Grant::is_required) ones and others.
    pub grants: Vec<Grant>,
    /// What it says of itself.
    pub info: PluginInfo,
}

/// What a plugin says of itself. Name and version are fit to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginInfo {
    /// The backend's name.
    pub name: String,
    /// The plugin's version.
    pub version: String,
    /// How it can deliver a secret.
    pub mounts: Vec<MountRequirement>,
    /// JSON schema of its settings, as the plugin wrote it.
    pub settings_schema: String,
}

/// A component that was found to be a plugin.
struct Checked {
    surface: Surface,
    contract_version: String,
}

// === impl PluginEngine ===

impl PluginEngine {
    /// Makes a plugin of a component: checks it, compiles it or takes it from the cache, asks it what it is, and has it take
    /// its settings.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the component or its settings, with the plugin's name, its source and the start of its SHA-256.
    pub async fn load(&self, spec: PluginSpec) -> Result<PluginInjector, LoadError> {
        let digest = digest(&spec.component);
        let (plugin, source) = (Some(spec.name.clone()), Some(spec.source.clone()));
        let work = load(Arc::clone(&self.shared), spec, digest.clone());
        self.run(work).await.unwrap_or_else(|error| Err(LoadErrorKind::Run(error))).map_err(|kind| LoadError {
            plugin,
            source,
            digest,
            kind,
        })
    }

    /// Asks a plugin twice for a secret that nobody has, for a pod that nobody creates: `ampoule.dev/trial`, as a variable.
    ///
    /// Any answer is good, and so is none in time: a backend may be slow today. Whether both answers have the same edits is what
    /// this returns: a pod may be reviewed twice.
    ///
    /// # Errors
    ///
    /// If the plugin fails otherwise: it traps, or wants more than a limit gives.
    pub async fn try_inject(&self, plugin: &PluginInjector) -> Result<Trial, LoadError> {
        let tried = self.run(try_inject(plugin.loaded())).await.unwrap_or_else(|error| Err(LoadErrorKind::Run(error)));
        tried.map_err(|kind| LoadError {
            plugin: Some(plugin.name().to_owned()),
            source: Some(plugin.source().to_owned()),
            digest: plugin.digest().to_owned(),
            kind,
        })
    }

    /// Says what a component is, without giving it settings.
    ///
    /// # Errors
    ///
    /// What [`load`](Self::load) would find wrong with the component.
    pub async fn inspect(&self, component: ComponentBytes) -> Result<Inspection, LoadError> {
        let digest = digest(&component);
        let work = inspect(Arc::clone(&self.shared), component, digest.clone());
        let inspected = self.run(work).await.unwrap_or_else(|error| Err(LoadErrorKind::Run(error)));
        inspected.map_err(|kind| LoadError { plugin: None, source: None, digest, kind })
    }
}

async fn load(shared: Arc<Shared>, spec: PluginSpec, digest: String) -> Result<PluginInjector, LoadErrorKind> {
    let PluginSpec { name, source, component, settings, conventions, limits, grants } = spec;
    let settings = settings.to_string();
    if settings.len() > MAX_SETTINGS {
        return Err(LoadErrorKind::SettingsSize { size: settings.len(), limit: MAX_SETTINGS });
    }
    check(&component, &limits)?.surface.check_grants(|grant| grants.has(grant))?;
    let component = compile(&shared, component, &digest).await?;
    let pre = link(&shared, &component)?;
    let instances = Arc::new(Semaphore::new(limits.instances.clamp(1, Semaphore::MAX_PERMITS)));
    let observer = shared.observer.of_plugin(&name, &digest);
    let context = Arc::new(PluginContext { observer, name, limits, grants, shared });
    let settings = PluginSettings { json: settings, conventions: convert::conventions(&conventions) };
    let info = try_out(&context, &pre, Some(&settings)).await?;
    Ok(PluginInjector::new(Loaded { context, pre, instances, info, source, digest, settings }))
}

async fn inspect(shared: Arc<Shared>, component: ComponentBytes, digest: String) -> Result<Inspection, LoadErrorKind> {
    let limits = Limits::default();
    let size = component.len();
    let Checked { surface, contract_version } = check(&component, &limits)?;
    let component = compile(&shared, component, &digest).await?;
    let pre = link(&shared, &component)?;
    // Without a grant: what it imports is there, and every call of it is refused.
    let name = "(inspected)".to_owned();
    let observer = Arc::new(Unobserved);
    let context = PluginContext { name, limits, grants: Grants::default(), observer, shared };
    let info = try_out(&Arc::new(context), &pre, None).await?;
    let grants = surface.grants().into_keys().collect();
    let Surface { imports, exports } = surface;
    Ok(Inspection { digest, size, contract_version, imports, exports, grants, info })
}

/// Everything that can be said of a component without compiling it.
fn check(component: &[u8], limits: &Limits) -> Result<Checked, LoadErrorKind> {
    format::check(component, limits.component_bytes)?;
    let surface = Surface::read(component)?;
    let contract_version = surface.check()?.to_owned();
    Ok(Checked { surface, contract_version })
}

fn link(shared: &Shared, component: &Component) -> Result<PluginPre<PluginState>, LoadErrorKind> {
    shared.linker.instantiate_pre(component).and_then(PluginPre::new).map_err(|error| mismatch(&error))
}

/// Runs a component once: what it says of itself, and, with settings, whether it takes them.
async fn try_out(
    plugin: &Arc<PluginContext>,
    pre: &PluginPre<PluginState>,
    settings: Option<&PluginSettings>,
) -> Result<PluginInfo, LoadErrorKind> {
    let PluginContext { limits, shared, .. } = &**plugin;
    let _instance = shared.instances.acquire().await.map_err(|_| LoadErrorKind::Run(RunError::ShutDown))?;
    let _ticking = shared.ticker.hold();
    let deadline = Instant::now() + DEADLINE;
    let outbound = Arc::new(OutboundBudget::new(limits));
    let start = Running::start(plugin, pre, &outbound, deadline).await;
    let mut running = start.map_err(|failure| LoadErrorKind::Start(reason(&failure, limits)))?;
    let info = running.describe().await.map_err(|failure| LoadErrorKind::Describe(reason(&failure, limits)))?;
    if let Some(settings) = settings {
        let taken = running.configure(settings).await;
        taken
            .map_err(|failure| LoadErrorKind::Configure(reason(&failure, limits)))?
            .map_err(LoadErrorKind::Settings)?;
    }
    Ok(info)
}

async fn try_inject(plugin: Arc<Loaded>) -> Result<Trial, LoadErrorKind> {
    let first = injects(&plugin).await?;
    // A fresh instance each, as two reviews have.
    let differs = first.is_some() && injects(&plugin).await?.is_some_and(|second| Some(second) != first);
    Ok(if differs { Trial::Differs } else { Trial::Good })
}

/// The edits that a fresh instance answers with, if it does.
async fn injects(plugin: &Arc<Loaded>) -> Result<Option<Vec<PodEdit>>, LoadErrorKind> {
    let (group, key) = ("ampoule.dev".to_owned(), "trial".to_owned());
    let request = SecretRequest { group, key, mount: MountRequirement::EnvVar, ..SecretRequest::default() };
    let container = ContainerView { name: "trial".to_owned(), kind: ContainerKind::Main };
    let (namespace, name) = ("ampoule".to_owned(), "trial".to_owned());
    let pod = PodView { namespace, name, containers: vec![container], ..PodView::default() };
    let (limits, mut spent) = (&plugin.context.limits, Spent::default());
    match PluginSession::new(Arc::clone(plugin)).ask(&request, &pod, limits.deadline.min(TRIAL), &mut spent).await {
        Ok(answer) => Ok(answer.ok()),
        Err(Failure::Deadline | Failure::Busy) => Ok(None),
        Err(failure) => Err(LoadErrorKind::Inject(reason(&failure, limits))),
    }
}

/// What went wrong in a trial. The admin reads it, so it says everything.
fn reason(failure: &Failure, limits: &Limits) -> String {
    match failure {
        Failure::Deadline => format!("it ran for longer than {} s", DEADLINE.as_secs()),
        Failure::Trap { reason: _, detail } | Failure::Start { reason: _, detail } => {
            format!("it {}: {detail}", failure.predicate(limits))
        }
        Failure::Exceeded(_) | Failure::Busy => format!("it {}", failure.predicate(limits)),
    }
}

fn mismatch(error: &wasmtime::Error) -> LoadErrorKind {
    LoadErrorKind::Mismatch { contract: CONTRACT, reason: clean(&format!("{error:#}"), MAX_MISMATCH) }
}

/// SHA-256 of a component, in hexadecimal: what two components are told apart by.
#[must_use]
pub fn digest(component: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(component))
}
