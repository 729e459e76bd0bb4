//! From bytes to a compiled component: from the cache, by whoever compiles what is not this program's own, or here, on threads that give
//! way to everything else.
//!
//! Compiling a small Rust component takes 40 ms, a JavaScript or Python one seconds of every processor it may have. It
//! happens at start and when a plugin is exchanged, while admissions are served, so its threads run at a lower priority and
//! leave a processor free.

use std::{
    fs::File,
    io::{self, Seek as _},
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::{sync::OwnedSemaphorePermit, task::spawn_blocking, time::timeout};
use wasmtime::component::Component;

use crate::{
    cache,
    compiler::{Compiler, CompilerError},
    component::ComponentBytes,
    engine::Shared,
    error::{LoadErrorKind, RunError},
    proposals,
    text::clean,
};

/// How long a load waits for its component to be compiled. Python's 18 MB took 6 s on two processors; on a machine that has more
/// urgent work than processors it may take minutes.
const DEADLINE: Duration = Duration::from_secs(300);

/// How much kinder than the rest of the process the compiler's threads are.
const NICE: i32 = 10;

/// Each takes memory of its own, and a limit that does for a small machine should do for a large one.
const MOST_THREADS: usize = 4;

/// What is said of a component that the compiler fails on.
const PANICKED: &str = "the compiler panicked, which is a defect of its own; what it said is on standard error";

/// What is said of a component that waited for its turn in vain.
const BUSY: &str = "the one that is being compiled before it does not come to an end";

/// Bytes of a compiler's message.
const MAX_MESSAGE: usize = 1 << 10;

/// Compiles a component, or takes it from the cache. One at a time: each takes memory by the hundred megabytes.
pub(crate) async fn compile(
    shared: &Arc<Shared>,
    bytes: ComponentBytes,
    digest: &str,
) -> Result<Component, LoadErrorKind> {
    if let Some(component) = cached(shared, digest).await {
        return Ok(component);
    }
    let turn = timeout(DEADLINE, Arc::clone(&shared.compiling).acquire_owned()).await;
    let turn = turn.map_err(|_| LoadErrorKind::Compile(BUSY.to_owned()))?;
    let turn = turn.map_err(|_| LoadErrorKind::Run(RunError::ShutDown))?;
    let compiled = async {
        // By whoever had the turn before, perhaps.
        if let Some(component) = cached(shared, digest).await {
            return Ok(component);
        }
        match (&bytes, &shared.compiler) {
            (ComponentBytes::Foreign(bytes), Some(compiler)) => elsewhere(&**compiler, shared, bytes, digest).await,
            _ => here(Arc::clone(shared), bytes, digest.to_owned(), turn).await,
        }
    };
    let compiled = timeout(DEADLINE, compiled).await;
    compiled.unwrap_or(Err(LoadErrorKind::CompileDeadline(DEADLINE)))
}

async fn cached(shared: &Arc<Shared>, digest: &str) -> Option<Component> {
    let (shared, digest) = (Arc::clone(shared), digest.to_owned());
    spawn_blocking(move || shared.cache.as_ref()?.get(&shared.engine, &digest)).await.unwrap_or_default()
}

async fn elsewhere(
    compiler: &dyn Compiler,
    shared: &Arc<Shared>,
    bytes: &[u8],
    digest: &str,
) -> Result<Component, LoadErrorKind> {
    let compiled = compiler.compile(bytes, shared.allocation).await;
    let (shared, digest) = (Arc::clone(shared), digest.to_owned());
    let taken = spawn_blocking(move || match compiled {
        Ok(file) => take(&shared, &file, &digest)
            .map_err(|error| LoadErrorKind::Compile(clean(&error.to_string(), MAX_MESSAGE))),
        Err(CompilerError::Refused(reason)) => Err(LoadErrorKind::Refused(clean(&reason, MAX_MESSAGE))),
        Err(CompilerError::Failed(reason)) => Err(LoadErrorKind::Compile(clean(&reason, MAX_MESSAGE))),
    });
    taken.await.unwrap_or(Err(LoadErrorKind::Run(RunError::Panicked)))
}

/// Maps what was compiled elsewhere: by way of the cache if there is one, as the system may drop pages of a file on disk.
fn take(shared: &Shared, mut file: &File, digest: &str) -> io::Result<Component> {
    let Shared { engine, cache, .. } = shared;
    if let Some(cache) = cache {
        file.rewind()?;
        cache.put(engine, digest, file, file.metadata()?.len());
        if let Some(component) = cache.get(engine, digest) {
            return Ok(component);
        }
    }
    cache::map(engine, file)
}

/// The turn ends with the work, which nothing can break off.
async fn here(
    shared: Arc<Shared>,
    bytes: ComponentBytes,
    digest: String,
    turn: OwnedSemaphorePermit,
) -> Result<Component, LoadErrorKind> {
    let compiled = spawn_blocking(move || {
        let _turn = turn;
        let Shared { engine, cache, .. } = &*shared;
        let component = in_the_background(|| Component::from_binary(engine, &bytes))
            .map_err(|error| explain(&bytes, &format!("{error:#}")))?;
        if let Some(cache) = cache {
            match component.serialize() {
                Ok(image) => cache.put(engine, &digest, &*image, image.len() as u64),
                Err(error) => tracing::warn!(error = format!("{error:#}"), "a compiled plugin cannot be kept"),
            }
        }
        Ok(component)
    });
    compiled.await.unwrap_or_else(|_| Err(LoadErrorKind::Compile(PANICKED.to_owned())))
}

/// Why a component cannot be compiled. Where a proposal is missing, wasmtime says at which byte.
pub(crate) fn explain(component: &[u8], error: &str) -> LoadErrorKind {
    let needed = proposals::switched_off(component);
    if needed.is_empty() {
        LoadErrorKind::Compile(clean(error, MAX_MESSAGE))
    } else {
        LoadErrorKind::SwitchedOff(needed.join(", "))
    }
}

/// Runs the compiler, which uses the threads it finds itself on, on a few of its own.
pub(crate) fn in_the_background<T: Send>(work: impl FnOnce() -> wasmtime::Result<T> + Send) -> wasmtime::Result<T> {
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    rayon::ThreadPoolBuilder::new()
        .num_threads(processors.saturating_sub(1).clamp(1, MOST_THREADS))
        .thread_name(|i| format!("ampoule-compile-{i}"))
        // On Linux a thread's niceness is its own. Where that is refused, the compiler merely is not kind.
        .start_handler(|_| {
            let _ = rustix::process::nice(NICE);
        })
        .build()
        .map_err(wasmtime::Error::new)?
        .install(work)
}
