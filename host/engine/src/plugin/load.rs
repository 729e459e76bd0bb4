//! Loads a plugin: checks its component, compiles it, asks for its description, and configures it
//! once.
//!
//! This finds every defect of a component and its settings outside the request path, so that a
//! defective plugin never replaces a working one.

use std::{sync::Arc, time::Duration};

use ampoule_component::{Surface, check_format};
use ampoule_core::{Conventions, Limits};
use tokio::{sync::Semaphore, time::Instant};

use super::{
    failure::Failure,
    injector::PluginInjector,
    instance::PluginInstance,
    prepared::PreparedPlugin,
    recorded::RecordedPlans,
    runtime::PluginRuntime,
    values::{FetchPlace, ValueCache, ValueCachePolicy},
};
use crate::{
    compile::component::ComponentBytes,
    contract::{info::PluginInfo, v0_2::exports::PluginPre},
    error::{LoadErrorKind, RunError},
    sandbox::{budgets::AdmissionBudgets, cache::PluginCache, context::PluginContext, grants::Grants},
};

/// Time for `describe` and `configure` together. It is long, so that a busy machine does not reject
/// a plugin that serves well.
const DEADLINE: Duration = Duration::from_secs(5);

/// Bytes of a plugin's settings. A ConfigMap cannot hold more, and every instance receives them.
const MAX_SETTINGS: usize = 1 << 20;

/// A plugin to load.
#[derive(Clone, Debug)]
pub struct PluginSpec {
    /// Its name in the configuration.
    pub name: String,
    /// The source of the component, as written in the configuration (`builtin:k8s`).
    pub source: String,
    /// The component.
    pub component: ComponentBytes,
    /// Its settings, for `configure`.
    pub settings: serde_json::Value,
    /// The webhook's conventions, from which it takes its defaults.
    pub conventions: Conventions,
    /// Its limits.
    pub limits: Limits,
    /// Its grants.
    pub grants: Grants,
    /// How long the host keeps the values that it fetches.
    pub value_cache: ValueCachePolicy,
    /// Where the values of its promises are fetched.
    pub fetch_place: FetchPlace,
    /// Whether a component that needs a grant is rejected without it (`plugins.strictGrants`).
    pub strict_grants: bool,
}

/// The names of a component that is a plugin.
pub(crate) struct CheckedComponent {
    pub(crate) surface: Surface,
    pub(crate) contract_version: String,
}

/// Loads a plugin from a component with this SHA-256.
pub(crate) async fn load(
    runtime: Arc<PluginRuntime>,
    spec: PluginSpec,
    digest: String,
) -> Result<PluginInjector, LoadErrorKind> {
    let PluginSpec {
        name,
        source,
        component,
        settings,
        conventions,
        limits,
        grants,
        value_cache,
        fetch_place,
        strict_grants,
    } = spec;
    let settings = settings.to_string();
    if settings.len() > MAX_SETTINGS {
        return Err(LoadErrorKind::SettingsSize { size: settings.len(), limit: MAX_SETTINGS });
    }
    let checked = check(&component, &limits)?;
    if strict_grants {
        checked.surface.check_grants(|grant| grants.has(grant))?;
    }
    let missing_grants = checked.surface.missing_grants(|grant| grants.has(grant));
    let component = runtime.code.code(component, &digest).await?;
    let pre = runtime.link(&component, &checked.surface)?;
    let instances = Arc::new(Semaphore::new(limits.instances.clamp(1, Semaphore::MAX_PERMITS)));
    let observer = runtime.observer.of_plugin(&name, &digest);
    let services = Arc::clone(&runtime.services);
    let sees_no_time = !checked.surface.imports_timers() && grants.is_deterministic();
    let (reuses_answers, searches) = (runtime.reuses_answers && sees_no_time, limits.instances);
    let context = Arc::new(PluginContext {
        reuses_answers,
        name,
        limits,
        conventions,
        cache: PluginCache::default(),
        grants,
        observer,
        services,
    });
    let info = try_out(&runtime, &context, &pre, Some(&settings)).await?;
    Ok(PluginInjector::new(PreparedPlugin {
        runtime,
        context,
        pre,
        instances,
        info,
        source,
        digest,
        settings,
        values: ValueCache::new(value_cache),
        recorded: reuses_answers.then(|| RecordedPlans::new(searches)),
        fetch_place,
        missing_grants,
    }))
}

/// Makes every check that needs no compilation.
pub(crate) fn check(component: &[u8], limits: &Limits) -> Result<CheckedComponent, LoadErrorKind> {
    check_format(component, limits.component_bytes)?;
    let surface = Surface::read(component)?;
    let contract_version = surface.check()?.to_owned();
    Ok(CheckedComponent { surface, contract_version })
}

/// Runs a component once: gets its description and, if there are settings, configures it.
pub(crate) async fn try_out(
    runtime: &PluginRuntime,
    plugin: &Arc<PluginContext>,
    pre: &PluginPre,
    settings: Option<&String>,
) -> Result<PluginInfo, LoadErrorKind> {
    let limits = &plugin.limits;
    let _permit = runtime.instances.acquire().await.map_err(|_| LoadErrorKind::Run(RunError::ShutDown))?;
    let _ticking = runtime.ticker.hold();
    let deadline = Instant::now() + DEADLINE;
    let budgets = AdmissionBudgets::new(plugin);
    let instance = PluginInstance::start(plugin, pre, &budgets, deadline).await;
    let mut instance = instance.map_err(|failure| LoadErrorKind::Start(failure_reason(&failure, limits)))?;
    let info = instance.describe().await;
    let info = info.map_err(|failure| LoadErrorKind::Describe(failure_reason(&failure, limits)))?;
    let info = info.map_err(LoadErrorKind::Description)?;
    if let Some(settings) = settings {
        let accepted = instance.configure(settings).await;
        let accepted = accepted.map_err(|failure| LoadErrorKind::Configure(failure_reason(&failure, limits)))?;
        accepted.map_err(LoadErrorKind::Settings)?;
    }
    Ok(info)
}

/// Lets a plugin check its configuration. Returns the problem that it reports.
pub(crate) async fn check_configuration(plugin: Arc<PreparedPlugin>) -> Result<Option<String>, LoadErrorKind> {
    if !plugin.pre.has_check() {
        return Ok(None);
    }
    let (limits, runtime) = (&plugin.context.limits, &plugin.runtime);
    let failed = |failure: Failure| LoadErrorKind::Check(failure_reason(&failure, limits));
    let _permit = runtime.instances.acquire().await.map_err(|_| LoadErrorKind::Run(RunError::ShutDown))?;
    let _ticking = runtime.ticker.hold();
    let deadline = Instant::now() + DEADLINE;
    let budgets = AdmissionBudgets::new(&plugin.context);
    let mut instance = PluginInstance::start(&plugin.context, &plugin.pre, &budgets, deadline).await.map_err(failed)?;
    instance.configure(&plugin.settings).await.map_err(failed)?.map_err(LoadErrorKind::Settings)?;
    match instance.check_configuration(deadline).await {
        Ok(checked) => Ok(checked.err()),
        // A backend that is slow may answer later.
        Err(Failure::Deadline) => Ok(Some(failure_reason(&Failure::Deadline, limits))),
        Err(failure) => Err(failed(failure)),
    }
}

/// Describes a failure of a plugin that is being loaded. It has all details, because its reader is
/// the admin.
pub(crate) fn failure_reason(failure: &Failure, limits: &Limits) -> String {
    match failure {
        Failure::Deadline => format!("it did not finish within {} s", DEADLINE.as_secs()),
        Failure::Trap { reason: _, detail } | Failure::Start { reason: _, detail } => {
            let lines: Vec<_> = detail.lines().map(str::trim).collect();
            format!("it {}: {}", failure.predicate(limits), lines.join(" | "))
        }
        _ => format!("it {}", failure.predicate(limits)),
    }
}
