//! [`Inspection`]: describes a component without settings and without grants.
//!
//! `ampoule inspect` shows it.

use std::sync::Arc;

use ampoule_core::{Grant, Limits, Profile, Unobserved};

use super::{
    load::{check, try_out},
    runtime::PluginRuntime,
};
use crate::{
    compile::component::ComponentBytes,
    contract::info::PluginInfo,
    error::LoadErrorKind,
    sandbox::{cache::PluginCache, context::PluginContext, grants::Grants},
};

/// The description of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// SHA-256, in hexadecimal.
    pub digest: String,
    /// Bytes of the component.
    pub size: usize,
    /// The version of `ampoule:injector` that it exports.
    pub contract_version: String,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
    /// The interfaces that it exports.
    pub exports: Vec<String>,
    /// The grants for its imports.
    pub grants: Vec<Grant>,
    /// The description that the plugin gives of itself.
    pub info: PluginInfo,
}

/// Inspects a component with this SHA-256.
pub(crate) async fn inspect(
    runtime: Arc<PluginRuntime>,
    component: ComponentBytes,
    digest: String,
) -> Result<Inspection, LoadErrorKind> {
    let limits = Limits::default();
    let size = component.len();
    let checked = check(&component, &limits)?;
    let component = runtime.code.code(component, &digest).await?;
    let pre = runtime.link(&component, &checked.surface)?;
    // Without grants, every import can be linked, and every call of a granted interface is refused.
    let context = PluginContext {
        name: "(inspected)".to_owned(),
        reuses_answers: false,
        limits,
        conventions: Profile::FlyteV2.conventions(),
        cache: PluginCache::default(),
        grants: Grants::default(),
        observer: Arc::new(Unobserved),
        services: Arc::clone(&runtime.services),
    };
    let info = try_out(&runtime, &Arc::new(context), &pre, None).await?;
    let surface = checked.surface;
    let grants = surface.grants().into_keys().collect();
    Ok(Inspection {
        digest,
        size,
        contract_version: checked.contract_version,
        imports: surface.imports,
        exports: surface.exports,
        grants,
        info,
    })
}
