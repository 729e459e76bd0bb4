//! [`GuestThreads`]: the runtime of guests. A call starts on the caller's thread, and moves to this
//! runtime at its first wait.
//!
//! Most plugins answer within microseconds, and two switches between threads would cost more than
//! their call. A guest that computes for longer yields at the next tick of the epoch, after a
//! millisecond at most. From then on it occupies a thread of this runtime, and never one that
//! serves TLS or reads a request.

use std::{
    future::poll_fn,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::{JoinError, JoinHandle},
};
use tracing::Instrument as _;

use crate::error::RunError;

/// Polls of guests between two checks of timers, I/O and the global queue. A poll can take a
/// millisecond, so with tokio's default of 61 a finished wait could be noticed 61 ms late.
const POLLS_PER_CHECK: u32 = 4;

/// A runtime for guests that run for longer than a tick. Dropping it aborts its tasks.
pub(crate) struct GuestThreads {
    handle: Handle,
    runtime: Option<Runtime>,
}

// === impl GuestThreads ===

impl GuestThreads {
    /// Starts the threads.
    pub(crate) fn start(threads: usize) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("ampoule-guest")
            .event_interval(POLLS_PER_CHECK)
            .global_queue_interval(POLLS_PER_CHECK)
            .enable_all()
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Runs a future to completion. Dropping the returned future aborts it.
    pub(crate) fn run<F>(&self, future: F) -> impl Future<Output = Result<F::Output, RunError>> + Send + use<F>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        run_on(&self.handle, future)
    }

    /// The runtime, for work that guests wait for.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for GuestThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // An engine can be dropped on a thread of another runtime, where blocking would panic.
            runtime.shutdown_background();
        }
    }
}

/// Runs a future on this runtime, except for its first poll, which is on the caller's thread: a
/// future that does not wait needs no switch between threads. Dropping the returned future aborts
/// it.
pub(crate) fn run_on<F>(handle: &Handle, future: F) -> impl Future<Output = Result<F::Output, RunError>> + Send + use<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let handle = handle.clone();
    async move {
        let mut future = Box::pin(future);
        // Its timers, sockets and tasks belong to the runtime that polls it later.
        let first = |context: &mut Context<'_>| {
            let _entered = handle.enter();
            first_poll(future.as_mut(), context)
        };
        match poll_fn(first).await {
            Some(done) => done,
            None => spawn_on(&handle, future).await,
        }
    }
}

/// Polls a future once. Returns `None` if it is pending; the runtime that polls it next registers
/// its own waker.
fn first_poll<F: Future>(future: Pin<&mut F>, context: &mut Context<'_>) -> Poll<Option<Result<F::Output, RunError>>> {
    // Unwind safe: a future that panicked is dropped without another poll, so that no code sees its
    // inconsistent state.
    match catch_unwind(AssertUnwindSafe(|| future.poll(context))) {
        Ok(Poll::Ready(output)) => Poll::Ready(Some(Ok(output))),
        Ok(Poll::Pending) => Poll::Ready(None),
        Err(_) => Poll::Ready(Some(Err(RunError::Panicked))),
    }
}

/// Starts a task that is aborted when the returned handle is dropped.
pub(crate) fn spawn_on<F>(handle: &Handle, future: F) -> AbortOnDrop<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    AbortOnDrop(handle.spawn(future.in_current_span()))
}

/// The handle of a task. Dropping it aborts the task.
pub(crate) struct AbortOnDrop<T>(JoinHandle<T>);

// === impl AbortOnDrop ===

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, RunError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_err(|error| run_error(&error))
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn run_error(error: &JoinError) -> RunError {
    if error.is_panic() { RunError::Panicked } else { RunError::ShutDown }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;

    #[test]
    fn a_future_moves_to_the_threads_of_the_guests_at_its_first_wait() {
        let threads = GuestThreads::start(1).unwrap();
        // Without timers: those of the guests' runtime must do.
        let caller = Builder::new_current_thread().build().unwrap();
        let here = || thread::current().name().unwrap_or_default().to_owned();
        let before = here();
        let ran = caller.block_on(run_on(threads.handle(), async move {
            let first = here();
            tokio::time::sleep(Duration::from_millis(1)).await;
            (first, here())
        }));
        assert_eq!(ran.unwrap(), (before, "ampoule-guest".to_owned()));
    }
}
