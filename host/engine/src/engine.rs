//! [`PluginEngine`]: wasmtime, the threads that guests run on, and what all plugins share.
//!
//! What runs where is [`crate::threads`]' business.

use std::{num::NonZero, path::PathBuf, sync::Arc, thread};

use tokio::{runtime::Handle, sync::Semaphore};
use wasmtime::{Engine, component::Linker};

use crate::{
    cache::CompileCache,
    compiler::Compiler,
    config,
    contract::Plugin,
    error::{EngineError, RunError},
    observer::{CallObserver, Unobserved},
    outbound::{HttpAnswers, Resolver, SystemResolver},
    secrets::{ClusterSecrets, NoCluster},
    store::PluginState,
    threads::GuestThreads,
    ticker::EpochTicker,
    wasi,
};

/// Runs plugins. Dropping it breaks off what still runs on it.
pub struct PluginEngine {
    pub(crate) shared: Arc<Shared>,
    threads: GuestThreads,
}

/// How an engine is to be.
#[derive(Clone)]
pub struct EngineConfig {
    /// A private folder for compiled components; it is made if it is not there. None: every start compiles.
    pub cache_dir: Option<PathBuf>,
    /// Who compiles components that are not this program's own. None: this process, as it does its own.
    pub compiler: Option<Arc<dyn Compiler>>,
    /// Instances at once, over all plugins. Together with the plugins' memory limits this bounds what guests can take.
    pub max_concurrent: usize,
    /// Threads for guests that compute for longer than a millisecond.
    pub guest_threads: usize,
    /// Who is told of every call.
    pub observer: Arc<dyn CallObserver>,
    /// Who finds the addresses of hosts that plugins call.
    pub resolver: Arc<dyn Resolver>,
    /// Who reads Kubernetes Secrets for plugins.
    pub secrets: Arc<dyn ClusterSecrets>,
    /// Who answers HTTP requests of plugins. None: the hosts that they are for.
    pub http: Option<Arc<dyn HttpAnswers>>,
}

/// Where the memory of instances comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// From a pool that is reserved at start: the fast way.
    Pooling,
    /// From the operating system, for each instance: where the address space has no room for the pool.
    OnDemand,
}

/// What all plugins of an engine share.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<PluginState>,
    pub(crate) cache: Option<CompileCache>,
    pub(crate) compiler: Option<Arc<dyn Compiler>>,
    pub(crate) ticker: EpochTicker,
    pub(crate) instances: Arc<Semaphore>,
    pub(crate) compiling: Arc<Semaphore>,
    pub(crate) observer: Arc<dyn CallObserver>,
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) secrets: Arc<dyn ClusterSecrets>,
    pub(crate) http: Option<Arc<dyn HttpAnswers>>,
    /// Where work goes that guests wait for.
    pub(crate) network: Handle,
    pub(crate) allocation: Allocation,
}

// === impl PluginEngine ===

impl PluginEngine {
    /// Starts the threads and reserves the pool.
    ///
    /// # Errors
    ///
    /// If the cache's folder is not private, or if threads or memory cannot be had.
    pub fn new(config: EngineConfig) -> Result<Self, EngineError> {
        let EngineConfig { cache_dir, compiler, max_concurrent, guest_threads, observer, resolver, secrets, http } =
            config;
        let max_concurrent = max_concurrent.clamp(1, Semaphore::MAX_PERMITS);
        let slots = u32::try_from(max_concurrent).unwrap_or(u32::MAX);
        let (engine, allocation) = config::engine(slots).map_err(|error| wasmtime_error(&error))?;
        let threads = GuestThreads::start(guest_threads)?;
        let shared = Shared {
            linker: linker(&engine).map_err(|error| wasmtime_error(&error))?,
            cache: cache_dir.map(CompileCache::open).transpose()?,
            compiler,
            ticker: EpochTicker::start(&engine)?,
            instances: Arc::new(Semaphore::new(max_concurrent)),
            compiling: Arc::new(Semaphore::new(1)),
            observer,
            resolver,
            secrets,
            http,
            network: threads.handle().clone(),
            allocation,
            engine,
        };
        Ok(Self { shared: Arc::new(shared), threads })
    }

    /// Runs a future: here until it first waits, from then on on the guests' threads. It is broken off when what this
    /// returns is dropped.
    ///
    /// The whole mutation of one admission runs here. It must not block a thread, and guests do not: they yield within a
    /// millisecond. Call it on a tokio runtime with timers.
    ///
    /// # Errors
    ///
    /// If the future panics, or if the engine is dropped before it is done.
    pub fn run<F>(&self, future: F) -> impl Future<Output = Result<F::Output, RunError>> + Send + use<F>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.threads.run(future)
    }

    /// Where the memory of instances comes from.
    #[must_use]
    pub fn allocation(&self) -> Allocation {
        self.shared.allocation
    }
}

// === impl EngineConfig ===

impl Default for EngineConfig {
    /// 64 instances at once, a thread per processor, no cache, nobody else to compile, nobody told; the system's resolver, no cluster,
    /// and hosts that answer for themselves.
    fn default() -> Self {
        Self {
            cache_dir: None,
            compiler: None,
            max_concurrent: 64,
            guest_threads: thread::available_parallelism().map_or(1, NonZero::get),
            observer: Arc::new(Unobserved),
            resolver: Arc::new(SystemResolver),
            secrets: Arc::new(NoCluster),
            http: None,
        }
    }
}

// === impl Allocation ===

impl Allocation {
    /// Its name in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pooling => "pooling",
            Self::OnDemand => "on-demand",
        }
    }
}

/// The types that the interfaces share have no functions.
impl crate::contract::ampoule::injector::types::Host for PluginState {}

/// The one linker: what it holds is checked against [`crate::imports`] for every component.
fn linker(engine: &Engine) -> wasmtime::Result<Linker<PluginState>> {
    let mut linker = Linker::new(engine);
    Plugin::add_to_linker::<_, wasmtime::component::HasSelf<_>>(&mut linker, |state: &mut PluginState| state)?;
    wasi::add_to_linker(&mut linker)?;
    Ok(linker)
}

fn wasmtime_error(error: &wasmtime::Error) -> EngineError {
    EngineError::Wasmtime(format!("{error:#}"))
}
