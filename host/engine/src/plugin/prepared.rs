//! [`PreparedPlugin`]: what does not change between admissions.
//!
//! It holds the compiled component with resolved imports, the settings and the limits.

use std::sync::Arc;

use ampoule_core::Grant;
use tokio::sync::Semaphore;

use super::{
    recorded::RecordedPlans,
    runtime::PluginRuntime,
    values::{FetchPlace, ValueCache},
};
use crate::{
    contract::{info::PluginInfo, v0_2::exports::PluginPre},
    sandbox::context::PluginContext,
};

/// A plugin that accepted its settings.
pub(crate) struct PreparedPlugin {
    pub(crate) runtime: Arc<PluginRuntime>,
    pub(crate) context: Arc<PluginContext>,
    pub(crate) pre: PluginPre,
    /// Permits for concurrent instances of this plugin.
    pub(crate) instances: Arc<Semaphore>,
    pub(crate) info: PluginInfo,
    pub(crate) source: String,
    pub(crate) digest: String,
    /// The settings as JSON.
    pub(crate) settings: String,
    /// The values that it fetched; `None` if the host keeps none.
    pub(crate) values: Option<ValueCache>,
    /// Its recorded answers; `None` if the host records none.
    pub(crate) recorded: Option<RecordedPlans>,
    /// Where the values of its promises are fetched.
    pub(crate) fetch_place: FetchPlace,
    /// The grants that its imports need, and that it does not have.
    pub(crate) missing_grants: Vec<Grant>,
}
