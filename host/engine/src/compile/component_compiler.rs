//! [`ComponentCompiler`]: compiles a component, or takes it from the cache.
//!
//! One component is compiled at a time, in this process or in another one.

use ampoule_core::text::clean;
use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout,
};
use wasmtime::{Engine, component::Component};

use super::{
    cache::{self, CompileCache},
    compiler::{Compiler, CompilerError},
    component::ComponentBytes,
    in_process::{MAX_MESSAGE, compile_error, precompile, with_low_priority},
    wasmtime_config::Allocation,
};
use crate::error::{LoadErrorKind, RunError};

/// Time that a load waits for the compilation. A Python component of 18 MB took 6 s on two
/// processors; on a busy machine it can take minutes.
const DEADLINE: Duration = Duration::from_secs(300);

/// The message for a component on which the compiler panics.
const PANICKED: &str = "the compiler panicked, which is a defect of the compiler; its message is on standard error";

/// The message for a component that waited in vain for the previous one.
const BUSY: &str = "timed out waiting for the compilation of another component";

/// Compiles components for one engine.
pub(crate) struct ComponentCompiler {
    engine: Engine,
    allocation: Allocation,
    cache: Option<CompileCache>,
    external: Option<Arc<dyn Compiler>>,
    /// One permit: a compilation takes hundreds of megabytes.
    permits: Arc<Semaphore>,
}

// === impl ComponentCompiler ===

impl ComponentCompiler {
    pub(crate) fn new(
        engine: Engine,
        allocation: Allocation,
        cache: Option<CompileCache>,
        external: Option<Arc<dyn Compiler>>,
    ) -> Self {
        Self { engine, allocation, cache, external, permits: Arc::new(Semaphore::new(1)) }
    }

    /// The source of the memory of instances, for which the code is compiled.
    pub(crate) fn allocation(&self) -> Allocation {
        self.allocation
    }

    /// Compiles a component, or takes it from the cache.
    pub(crate) async fn compile(
        self: &Arc<Self>,
        bytes: ComponentBytes,
        digest: &str,
    ) -> Result<Component, LoadErrorKind> {
        if let Some(component) = self.find_cached(digest).await {
            return Ok(component);
        }
        let permit = timeout(DEADLINE, Arc::clone(&self.permits).acquire_owned()).await;
        let permit = permit.map_err(|_| LoadErrorKind::Compile(BUSY.to_owned()))?;
        let permit = permit.map_err(|_| LoadErrorKind::Run(RunError::ShutDown))?;
        let compiled = timeout(DEADLINE, self.compile_uncached(bytes, digest, permit)).await;
        compiled.unwrap_or(Err(LoadErrorKind::CompileDeadline(DEADLINE)))
    }

    async fn compile_uncached(
        self: &Arc<Self>,
        bytes: ComponentBytes,
        digest: &str,
        permit: OwnedSemaphorePermit,
    ) -> Result<Component, LoadErrorKind> {
        // The previous holder of the permit may have compiled the same component.
        if let Some(component) = self.find_cached(digest).await {
            return Ok(component);
        }
        match (&bytes, &self.external) {
            (ComponentBytes::Foreign(foreign), Some(external)) => {
                // Held until the end, although the work is in another process.
                let _permit = permit;
                self.compile_externally(&**external, foreign, digest).await
            }
            _ => self.compile_here(bytes, digest.to_owned(), permit).await,
        }
    }

    /// Compiles a component for `ampoule-fetch`. The result is not kept.
    pub(crate) async fn compile_portable(&self, bytes: ComponentBytes) -> Result<Vec<u8>, LoadErrorKind> {
        let permit = timeout(DEADLINE, Arc::clone(&self.permits).acquire_owned()).await;
        let permit = permit.map_err(|_| LoadErrorKind::Compile(BUSY.to_owned()))?;
        let permit = permit.map_err(|_| LoadErrorKind::Run(RunError::ShutDown))?;
        let external = self.external.clone();
        let compiled = async {
            if let (ComponentBytes::Foreign(foreign), Some(external)) = (&bytes, &external) {
                let _permit = permit;
                let file = external.compile(foreign, Allocation::Portable).await.map_err(external_error)?;
                return read_compiled(file).map_err(|error| LoadErrorKind::Compile(error.to_string()));
            }
            let compiled = spawn_blocking(move || {
                let _permit = permit;
                precompile(&bytes, Allocation::Portable)
            });
            let compiled = compiled.await.map_err(|_| LoadErrorKind::Compile(PANICKED.to_owned()))?;
            compiled.map_err(LoadErrorKind::Compile)
        };
        timeout(DEADLINE, compiled).await.unwrap_or(Err(LoadErrorKind::CompileDeadline(DEADLINE)))
    }

    async fn find_cached(self: &Arc<Self>, digest: &str) -> Option<Component> {
        let this = Arc::clone(self);
        let digest = digest.to_owned();
        let found = spawn_blocking(move || this.cache.as_ref()?.get(&this.engine, &digest));
        found.await.unwrap_or_default()
    }

    async fn compile_externally(
        self: &Arc<Self>,
        external: &dyn Compiler,
        bytes: &[u8],
        digest: &str,
    ) -> Result<Component, LoadErrorKind> {
        let file = external.compile(bytes, self.allocation).await.map_err(external_error)?;
        let this = Arc::clone(self);
        let digest = digest.to_owned();
        let loaded = spawn_blocking(move || this.load_compiled(&file, &digest)).await;
        let loaded = loaded.map_err(|_| LoadErrorKind::Run(RunError::Panicked))?;
        loaded.map_err(|error| LoadErrorKind::Compile(clean(&error.to_string(), MAX_MESSAGE)))
    }

    /// Maps a compiled component into memory. Maps the cache's copy if there is a cache, because
    /// the system can evict pages of a file on disk.
    fn load_compiled(&self, mut file: &File, digest: &str) -> io::Result<Component> {
        if let Some(cache) = &self.cache {
            file.rewind()?;
            cache.put(&self.engine, digest, file, file.metadata()?.len());
            if let Some(component) = cache.get(&self.engine, digest) {
                return Ok(component);
            }
        }
        cache::map_compiled(&self.engine, file)
    }

    /// The permit is held until the work ends, which a dropped load does not abort.
    async fn compile_here(
        self: &Arc<Self>,
        bytes: ComponentBytes,
        digest: String,
        permit: OwnedSemaphorePermit,
    ) -> Result<Component, LoadErrorKind> {
        let this = Arc::clone(self);
        let compiled = spawn_blocking(move || {
            let _permit = permit;
            let component = with_low_priority(|| Component::from_binary(&this.engine, &bytes))
                .map_err(|error| compile_error(&bytes, &format!("{error:#}")))?;
            this.store_in_cache(&component, &digest);
            Ok(component)
        });
        compiled.await.unwrap_or_else(|_| Err(LoadErrorKind::Compile(PANICKED.to_owned())))
    }

    fn store_in_cache(&self, component: &Component, digest: &str) {
        let Some(cache) = &self.cache else { return };
        match component.serialize() {
            Ok(image) => cache.put(&self.engine, digest, &*image, image.len() as u64),
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "cannot serialize a compiled plugin for the cache");
            }
        }
    }
}

fn read_compiled(mut file: File) -> io::Result<Vec<u8>> {
    let mut code = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut code)?;
    Ok(code)
}

fn external_error(error: CompilerError) -> LoadErrorKind {
    match error {
        CompilerError::Refused(reason) => LoadErrorKind::Refused(clean(&reason, MAX_MESSAGE)),
        CompilerError::Failed(reason) => LoadErrorKind::Compile(clean(&reason, MAX_MESSAGE)),
    }
}
