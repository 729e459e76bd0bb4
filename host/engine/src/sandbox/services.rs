//! [`HostServices`]: the parts of the host that plugins reach through their grants.
//!
//! All plugins of an engine share them.

use ampoule_core::ClusterSecrets;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::{
    log::PluginLog,
    outbound::{answers::HttpAnswers, resolve::Resolver},
};

/// The services behind the imports of a plugin.
pub(crate) struct HostServices {
    /// Resolves the hosts that plugins call.
    pub(crate) resolver: Arc<dyn Resolver>,
    /// Reads Kubernetes Secrets.
    pub(crate) secrets: Arc<dyn ClusterSecrets>,
    /// Answers HTTP requests instead of their hosts, in tests of plugins.
    pub(crate) http: Option<Arc<dyn HttpAnswers>>,
    /// Receives the log lines of plugins instead of the host's log, in tests of plugins.
    pub(crate) log: Option<Arc<dyn PluginLog>>,
    /// The runtime for network I/O that guests wait for.
    pub(crate) network: Handle,
}
