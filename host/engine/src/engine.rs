//! [`PluginEngine`]: the entry point of this crate. It loads plugins, and runs the code that calls
//! them.
//!
//! [`crate::threads`] describes which thread runs which code.

use ampoule_core::{CallObserver, ClusterSecrets, NoCluster, Unobserved};
use std::{num::NonZero, path::PathBuf, sync::Arc, thread};

use tokio::sync::Semaphore;
use wasmtime::Engine;

#[cfg(feature = "compiler")]
use crate::compile::{cache::CompileCache, component_compiler::ComponentCompiler};
use crate::{
    compile::{
        code::CodeSource,
        compiler::Compiler,
        component::{ComponentBytes, digest},
        portable::{PortableCode, PortableFolders},
        wasmtime_config::{self, Allocation},
    },
    error::{EngineError, LoadError, LoadErrorKind, RunError},
    plugin::{
        injector::PluginInjector,
        inspect::{self, Inspection},
        load::{self, PluginSpec},
        runtime::PluginRuntime,
    },
    sandbox::{
        log::PluginLog,
        outbound::{
            answers::HttpAnswers,
            resolve::{Resolver, SystemResolver},
        },
        services::HostServices,
    },
    threads::GuestThreads,
};

/// Runs plugins. Dropping it aborts the calls in progress.
pub struct PluginEngine {
    runtime: Arc<PluginRuntime>,
    threads: GuestThreads,
}

/// The configuration of an engine.
#[derive(Clone)]
pub struct EngineConfig {
    /// A private directory for compiled components. It is created if it does not exist. With
    /// `None`, every start compiles all components.
    pub cache_dir: Option<PathBuf>,
    /// Compiles foreign components. With `None`, this process compiles them like the built-in ones.
    pub compiler: Option<Arc<dyn Compiler>>,
    /// Concurrent instances, over all plugins. Together with the memory limits of the plugins it
    /// bounds the memory of guests.
    pub max_concurrent: usize,
    /// Threads for guests that compute for longer than a millisecond. The default follows the CPU
    /// limit of the container.
    pub guest_threads: usize,
    /// Receives every call.
    pub observer: Arc<dyn CallObserver>,
    /// Resolves the hosts that plugins call.
    pub resolver: Arc<dyn Resolver>,
    /// Reads Kubernetes Secrets for plugins.
    pub secrets: Arc<dyn ClusterSecrets>,
    /// Answers the HTTP requests of plugins. With `None`, requests go to their hosts.
    pub http: Option<Arc<dyn HttpAnswers>>,
    /// Receives the log lines of plugins. With `None`, they go to the host's log.
    pub log: Option<Arc<dyn PluginLog>>,
    /// Whether the answer of a plugin is given again, without a call, where the plugin would give
    /// the same one.
    pub reuse_answers: bool,
}

// === impl PluginEngine ===

impl PluginEngine {
    /// Starts the threads and reserves the pool.
    ///
    /// # Errors
    ///
    /// If the directory of the cache is not private, or if the system refuses threads or memory.
    #[cfg(feature = "compiler")]
    pub fn new(mut config: EngineConfig) -> Result<Self, EngineError> {
        let pool_size = u32::try_from(config.instances()).unwrap_or(u32::MAX);
        let (engine, allocation) = wasmtime_config::running_engine(pool_size).map_err(wasmtime_error)?;
        let cache = config.cache_dir.take().map(CompileCache::open).transpose()?;
        let compiler = ComponentCompiler::new(engine.clone(), allocation, cache, config.compiler.take());
        Self::start(&engine, CodeSource::Compiled(Arc::new(compiler)), config)
    }

    /// Starts an engine that compiles nothing: it loads portable code. The compiler and the cache
    /// of the configuration have no effect.
    ///
    /// # Errors
    ///
    /// If the system refuses threads.
    pub fn portable(config: EngineConfig, folders: PortableFolders) -> Result<Self, EngineError> {
        let engine = wasmtime_config::portable_engine().map_err(wasmtime_error)?;
        let code = PortableCode::new(engine.clone(), folders);
        Self::start(&engine, CodeSource::Portable(code), config)
    }

    fn start(engine: &Engine, code: CodeSource, config: EngineConfig) -> Result<Self, EngineError> {
        let instances = config.instances();
        let threads = GuestThreads::start(config.guest_threads)?;
        let services = HostServices {
            resolver: config.resolver,
            secrets: config.secrets,
            http: config.http,
            log: config.log,
            network: threads.handle().clone(),
        };
        let runtime = PluginRuntime::start(engine, code, instances, config.observer, services, config.reuse_answers)?;
        Ok(Self { runtime: Arc::new(runtime), threads })
    }

    /// Loads a plugin: checks its component, compiles it or takes it from the cache, asks for its
    /// description, and configures it.
    ///
    /// # Errors
    ///
    /// Any defect of the component or its settings, with the plugin's name, its source and the
    /// start of its SHA-256.
    pub async fn load(&self, spec: PluginSpec) -> Result<PluginInjector, LoadError> {
        let digest = digest(&spec.component);
        let plugin = Some(spec.name.clone());
        let source = Some(spec.source.clone());
        let loaded = self.run_load(load::load(Arc::clone(&self.runtime), spec, digest.clone())).await;
        loaded.map_err(|kind| LoadError { plugin, source, digest, kind })
    }

    /// Lets a plugin check its configuration, if it exports `lifecycle`. Returns the problem that
    /// it reports, or that it did not answer in time: the backend may only be down for now.
    ///
    /// # Errors
    ///
    /// If the plugin traps, or exceeds a limit other than its deadline.
    pub async fn check(&self, plugin: &PluginInjector) -> Result<Option<String>, LoadError> {
        let checked = self.run_load(load::check_configuration(Arc::clone(plugin.prepared()))).await;
        checked.map_err(|kind| LoadError {
            plugin: Some(plugin.name().to_owned()),
            source: Some(plugin.source().to_owned()),
            digest: plugin.digest().to_owned(),
            kind,
        })
    }

    /// Describes a component, without settings.
    ///
    /// # Errors
    ///
    /// Any defect of the component that [`load`](Self::load) would find.
    pub async fn inspect(&self, component: ComponentBytes) -> Result<Inspection, LoadError> {
        let digest = digest(&component);
        let inspected = self.run_load(inspect::inspect(Arc::clone(&self.runtime), component, digest.clone())).await;
        inspected.map_err(|kind| LoadError { plugin: None, source: None, digest, kind })
    }

    /// Compiles a component to portable code, which [`PortableFolders`] describes.
    ///
    /// # Errors
    ///
    /// The component cannot be compiled, or not in time.
    #[cfg(feature = "compiler")]
    pub async fn portable_code(&self, component: ComponentBytes) -> Result<Vec<u8>, LoadErrorKind> {
        self.runtime.code.compile_portable(component).await
    }

    /// Runs a future: on the caller's thread until it first waits, then on the threads of the
    /// guests. Dropping the returned future aborts it.
    ///
    /// The whole mutation of one admission runs here. It must not block a thread. Guests do not
    /// block: they yield within a millisecond. The caller must be on a tokio runtime with timers.
    ///
    /// # Errors
    ///
    /// If the future panics, or if the engine is dropped before the future ends.
    pub fn run<F>(&self, future: F) -> impl Future<Output = Result<F::Output, RunError>> + Send + use<F>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.threads.run(future)
    }

    /// The source of the memory of instances.
    #[must_use]
    pub fn allocation(&self) -> Allocation {
        self.runtime.code.allocation()
    }

    /// The reader of Kubernetes Secrets, which the credentials of hosts share with the plugins.
    #[must_use]
    pub fn cluster_secrets(&self) -> Arc<dyn ClusterSecrets> {
        Arc::clone(&self.runtime.services.secrets)
    }

    /// The observer of all plugins.
    #[must_use]
    pub fn observer(&self) -> &dyn CallObserver {
        &*self.runtime.observer
    }

    /// Runs a load, and converts the errors of the run.
    async fn run_load<T: Send + 'static>(
        &self,
        load: impl Future<Output = Result<T, LoadErrorKind>> + Send + 'static,
    ) -> Result<T, LoadErrorKind> {
        self.run(load).await.unwrap_or_else(|error| Err(LoadErrorKind::Run(error)))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of map_err")]
fn wasmtime_error(error: wasmtime::Error) -> EngineError {
    EngineError::Wasmtime(format!("{error:#}"))
}

// === impl EngineConfig ===

impl EngineConfig {
    fn instances(&self) -> usize {
        self.max_concurrent.clamp(1, Semaphore::MAX_PERMITS)
    }
}

impl Default for EngineConfig {
    /// 64 concurrent instances, one guest thread per processor, no cache, no external compiler, no
    /// observer, the system's resolver, no cluster, no local HTTP answers, the host's log, and
    /// recorded answers.
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
            log: None,
            reuse_answers: true,
        }
    }
}
