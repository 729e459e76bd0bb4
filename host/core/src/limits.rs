//! What one plugin may use: [`Limits`], every bound that a guest can run into, in one place.
//!
//! The bounds that shape the engine itself (tables, memories and core instances per plugin, stack
//! size) are constants of the engine, because it sizes its pool before it knows any plugin.

use std::time::Duration;

/// Bounds of one plugin. Everything is per instance unless it says otherwise; an admission has one
/// instance, and a new one after an answer without edits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory, over all memories of the instance (`limits.memoryMiB`). 16 MiB: a
    /// Rust guest needs one or two.
    pub memory: usize,
    /// Time from an `inject` being asked to its answer, start of the instance included
    /// (`limits.deadlineMillis`). 200 ms: a Rust guest takes 0.1, a Python one 2.
    pub deadline: Duration,
    /// Elements over all tables. 20,000: a C# module was seen with half of it (wasmtime #8504).
    pub table_elements: usize,
    /// Resource handles alive at once. 256: only WASI has resources, and a guest with WASI holds
    /// about ten, and ten more for each HTTP request under way.
    pub handles: usize,
    /// Calls of the host, `log` and WASI alike. 10,000: a Python guest makes a few hundred when it
    /// starts.
    pub host_calls: u32,
    /// Bytes that cross to the host in one call or one answer. 1 MiB: etcd takes no object above
    /// 1.5 MiB.
    pub host_call_bytes: usize,
    /// HTTP requests and look-ups of Kubernetes Secrets per admission, of a plugin that was granted
    /// them. 32: one for each secret that a pod asks for, and a few to log in.
    pub outbound_calls: u32,
    /// Bytes of the bodies of those requests, of their answers and of those Secrets, together, per
    /// admission. 1 MiB, as Kubernetes' Secrets.
    pub outbound_bytes: usize,
    /// Lines of log that are kept. 64, as the contract says.
    pub log_lines: u32,
    /// Edits in one answer. 256: the largest real answer is six.
    pub edits: usize,
    /// Bytes of text and secret values in the edits of one answer. 256 KiB: a pod that much larger
    /// is near etcd's limit.
    pub output_bytes: usize,
    /// Instances of this plugin at once (`limits.instances`); further admissions wait for one. 16:
    /// a share of `engine.maxConcurrent`, so that one plugin cannot use up the engine.
    pub instances: usize,
    /// How long an admission waits for an instance (`limits.queueWaitMillis`). 500 ms.
    pub queue_wait: Duration,
    /// Bytes of the component file (`limits.componentMiB`). 64 MiB: a Python component has 18 MB.
    pub component_bytes: usize,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 16 << 20,
            deadline: Duration::from_millis(200),
            table_elements: 20_000,
            handles: 256,
            host_calls: 10_000,
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
