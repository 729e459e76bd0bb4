//! [`Limits`]: the bounds of one plugin; [`PodLimits`]: the bounds of one pod.
//!
//! The engine enforces them, and the configuration sets some of them.

use std::time::Duration;

/// The bounds of one plugin.
///
/// A bound applies to each instance unless its comment names another scope. An admission has one
/// instance of a plugin, and gets a new one after an answer without edits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory, over all memories of the instance (`limits.memoryMiB`). 16 MiB: a
    /// Rust guest needs one or two.
    pub memory: usize,
    /// Time from a request to its answer, including the start of the instance
    /// (`limits.deadlineMillis`). 200 ms: a Rust guest takes 0.1 ms, a Python guest 2 ms.
    pub deadline: Duration,
    /// Elements over all tables. 20,000: a C# module needed half of it (wasmtime #8504).
    pub table_elements: usize,
    /// Resource handles alive at once. 256: an admission needs three, a guest with WASI holds about
    /// ten, and ten more for each HTTP request in progress.
    pub handles: usize,
    /// Calls of the host per admission, including `log` and WASI. 50,000: a Python guest makes a
    /// few hundred when it starts, and a pod can start several instances.
    pub host_calls: u32,
    /// Bytes that pass to the host in one call or one answer. 1 MiB: etcd rejects objects above
    /// 1.5 MiB.
    pub host_call_bytes: usize,
    /// HTTP requests and reads of Kubernetes Secrets per admission, for a plugin with these grants
    /// (`limits.outboundCalls`). 32: one for each secret of a pod, and a few to log in.
    pub outbound_calls: u32,
    /// Bytes per admission: the sum over the bodies of those requests, the bodies of their
    /// responses, and the values of those Secrets. 1 MiB: the maximum of a Kubernetes Secret.
    pub outbound_bytes: usize,
    /// Log lines that are kept. 64, as the contract specifies.
    pub log_lines: u32,
    /// Maximum number of edits of one request. 256: the largest answer of a real plugin has six.
    pub edits: usize,
    /// Bytes of text in the edits of one request, and as many in its secret values. 256 KiB: a pod
    /// with more is near etcd's limit.
    pub output_bytes: usize,
    /// Concurrent instances of this plugin (`limits.instances`); further admissions wait. 16: a
    /// share of `engine.maxConcurrent`, so that one
    /// plugin cannot use all instances of the engine.
    pub instances: usize,
    /// Time that an admission waits for an instance (`limits.queueWaitMillis`). 500 ms.
    pub queue_wait: Duration,
    /// Bytes of the component file (`limits.componentMiB`). 64 MiB: a Python component has 18 MB.
    pub component_bytes: usize,
}

/// The bounds of one pod with secret requests, independent of its plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodLimits {
    /// Containers, with init containers (`pods.maxContainers`). 400: the largest pods known have
    /// some dozens.
    pub containers: usize,
    /// Containers and elements of lists that all edits together visit. 200,000 take about 20 ms.
    pub steps: usize,
    /// Bytes that all edits together add to the pod. 2 MiB: etcd rejects objects above 1.5 MiB.
    pub patch_bytes: usize,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 16 << 20,
            deadline: Duration::from_millis(200),
            table_elements: 20_000,
            handles: 256,
            host_calls: 50_000,
            host_call_bytes: 1 << 20,
            outbound_calls: 32,
            outbound_bytes: 1 << 20,
            log_lines: 64,
            edits: 256,
            output_bytes: 256 << 10,
            instances: 16,
            queue_wait: Duration::from_millis(500),
            component_bytes: 64 << 20,
        }
    }
}

// === impl PodLimits ===

impl Default for PodLimits {
    fn default() -> Self {
        Self { containers: 400, steps: 200_000, patch_bytes: 2 << 20 }
    }
}
