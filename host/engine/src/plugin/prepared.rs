//! [`PreparedPlugin`]: what does not change between admissions.
//!
//! It holds the compiled component with resolved imports, the settings and the limits.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{instance::PluginSettings, runtime::PluginRuntime};
use crate::{
    contract::{info::PluginInfo, v0_1::bindings::PluginPre},
    sandbox::{context::PluginContext, store::GuestState},
};

/// A plugin that accepted its settings.
pub(crate) struct PreparedPlugin {
    pub(crate) runtime: Arc<PluginRuntime>,
    pub(crate) context: Arc<PluginContext>,
    pub(crate) pre: PluginPre<GuestState>,
    /// Permits for concurrent instances of this plugin.
    pub(crate) instances: Arc<Semaphore>,
    pub(crate) info: PluginInfo,
    pub(crate) source: String,
    pub(crate) digest: String,
    pub(crate) settings: PluginSettings,
}
