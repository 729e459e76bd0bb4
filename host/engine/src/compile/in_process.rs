//! Runs the compiler of wasmtime in this process.
//!
//! Compiling a small Rust component takes 40 ms; a JavaScript or Python component takes seconds on
//! every available processor. It happens at start and when a plugin is replaced, while admissions
//! are served. Therefore the threads of the compiler have a low priority and leave one processor
//! free.

use ampoule_component::find_disabled;
use ampoule_core::text::clean;
use std::thread;

use super::wasmtime_config::{self, Allocation};
use crate::error::LoadErrorKind;

/// Niceness of the compiler's threads, relative to the rest of the process.
const NICE: i32 = 10;

/// Maximum number of threads. Each takes memory, and a memory limit that suits a small machine
/// should suit a large one.
const MAX_THREADS: usize = 4;

/// Bytes of a compiler's message.
pub(crate) const MAX_MESSAGE: usize = 1 << 10;

/// Compiles a component for an engine with this allocation, on its own threads. Neither reserves a
/// pool nor runs any guest code.
///
/// # Errors
///
/// The defect of the component, in the words of a load error. Finding it can take long, so it
/// happens in the process that compiles.
pub fn precompile(component: &[u8], allocation: Allocation) -> Result<Vec<u8>, String> {
    let message = |error: wasmtime::Error| compile_error(component, &format!("{error:#}")).to_string();
    let engine = wasmtime_config::compiler_engine(allocation).map_err(message)?;
    with_low_priority(|| engine.precompile_component(component)).map_err(message)
}

/// Converts wasmtime's error for a component. If the component needs disabled proposals, the result
/// names them, because wasmtime's error names only a byte offset.
pub(crate) fn compile_error(component: &[u8], error: &str) -> LoadErrorKind {
    let needed = find_disabled(component);
    if needed.is_empty() {
        LoadErrorKind::Compile(clean(error, MAX_MESSAGE))
    } else {
        LoadErrorKind::SwitchedOff(needed.join(", "))
    }
}

/// Runs the compiler on a few threads of its own with low priority. It would otherwise use the
/// threads of its caller's pool.
pub(crate) fn with_low_priority<T: Send>(work: impl FnOnce() -> wasmtime::Result<T> + Send) -> wasmtime::Result<T> {
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    rayon::ThreadPoolBuilder::new()
        .num_threads(processors.saturating_sub(1).clamp(1, MAX_THREADS))
        .thread_name(|i| format!("ampoule-compile-{i}"))
        // On Linux, niceness belongs to a thread. If the system refuses it, the threads keep their
        // priority.
        .start_handler(|_| {
            let _ = rustix::process::nice(NICE);
        })
        .build()
        .map_err(wasmtime::Error::new)?
        .install(work)
}
