//! From bytes to a compiled component, on threads that give way to everything else.
//!
//! Compiling a small Rust component takes 40 ms, a JavaScript or Python one seconds of every processor it may have. It
//! happens at start and when a plugin is exchanged, while admissions are served, so its threads run at a lower priority and
//! leave a processor free.

use std::{borrow::Cow, sync::Arc, thread, time::Duration};

use wasmtime::{Engine, component::Component};

use crate::{
    cache::CompileCache,
    engine::Shared,
    error::{LoadErrorKind, RunError},
    proposals,
    text::clean,
};

/// How long a load waits for its component to be compiled. Python's 18 MB took 6 s on two processors.
const DEADLINE: Duration = Duration::from_secs(120);

/// How much kinder than the rest of the process the compiler's threads are.
const NICE: i32 = 10;

/// Bytes of a compiler's message.
const MAX_MESSAGE: usize = 1 << 10;

/// Compiles a component, or takes it from the cache. One at a time: each takes memory by the hundred megabytes.
pub(crate) async fn compile(
    shared: &Arc<Shared>,
    bytes: Cow<'static, [u8]>,
    digest: &str,
) -> Result<Component, LoadErrorKind> {
    let ours = Arc::clone(shared);
    let digest = digest.to_owned();
    let turn =
        Arc::clone(&shared.compiling).acquire_owned().await.map_err(|_| LoadErrorKind::Run(RunError::ShutDown))?;
    let work = tokio::task::spawn_blocking(move || {
        let compiled = from_cache_or_new(&ours.engine, ours.cache.as_ref(), &bytes, &digest);
        drop(turn);
        compiled
    });
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(Ok(compiled)) => compiled,
        Ok(Err(_)) => Err(LoadErrorKind::Run(RunError::Panicked)),
        Err(_) => Err(LoadErrorKind::CompileDeadline(DEADLINE)),
    }
}

fn from_cache_or_new(
    engine: &Engine,
    cache: Option<&CompileCache>,
    bytes: &[u8],
    digest: &str,
) -> Result<Component, LoadErrorKind> {
    if let Some(component) = cache.and_then(|cache| cache.get(engine, digest)) {
        return Ok(component);
    }
    let component = in_the_background(|| Component::from_binary(engine, bytes))
        .map_err(|error| explain(bytes, &format!("{error:#}")))?;
    if let Some(cache) = cache {
        cache.put(engine, digest, &component);
    }
    Ok(component)
}

/// Why a component cannot be compiled. Where a proposal is missing, wasmtime says at which byte.
fn explain(component: &[u8], error: &str) -> LoadErrorKind {
    let needed = proposals::switched_off(component);
    if needed.is_empty() {
        LoadErrorKind::Compile(clean(error, MAX_MESSAGE))
    } else {
        LoadErrorKind::SwitchedOff(needed.join(", "))
    }
}

/// Runs the compiler, which uses the threads it finds itself on, on a few of its own.
fn in_the_background<T: Send>(work: impl FnOnce() -> wasmtime::Result<T> + Send) -> wasmtime::Result<T> {
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    rayon::ThreadPoolBuilder::new()
        .num_threads(processors.saturating_sub(1).max(1))
        .thread_name(|i| format!("ampoule-compile-{i}"))
        // On Linux a thread's niceness is its own. Where that is refused, the compiler merely is not kind.
        .start_handler(|_| {
            let _ = rustix::process::nice(NICE);
        })
        .build()
        .map_err(wasmtime::Error::new)?
        .install(work)
}
