//! The threads of guests: work starts on the thread that asks for it, and moves here at its first wait.
//!
//! Most plugins answer within microseconds, and two hops between threads would cost more than their call. A guest that
//! computes on gives way at the next tick of the epoch, a millisecond at most: from then on it holds a thread of its own
//! kind, never one that serves TLS or reads a request.

use std::{
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

/// Polls of guests between two looks at timers and at work from outside. With polls of up to a millisecond, tokio's 61
/// would keep a finished wait waiting for 61 ms.
const POLLS_PER_LOOK: u32 = 4;

/// A runtime for guests that took longer than a tick. Dropping it breaks off what still runs on it.
pub(crate) struct GuestThreads {
    handle: Handle,
    runtime: Option<Runtime>,
}

// === impl GuestThreads ===

impl GuestThreads {
    /// Starts them.
    pub(crate) fn start(threads: usize) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("ampoule-guest")
            .event_interval(POLLS_PER_LOOK)
            .global_queue_interval(POLLS_PER_LOOK)
            .enable_all()
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Runs a future to its end; it is broken off when what this returns is dropped.
    pub(crate) fn run<F>(&self, future: F) -> impl Future<Output = Result<F::Output, RunError>> + Send + use<F>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let handle = self.handle.clone();
        async move {
            let mut future = Box::pin(future);
            if let Some(done) = std::future::poll_fn(|context| first_poll(future.as_mut(), context)).await {
                return done;
            }
            spawn_on(&handle, future).await
        }
    }

    /// Where work goes that guests wait for.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for GuestThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // An engine may be dropped on a thread of another runtime, where waiting is a panic.
            runtime.shutdown_background();
        }
    }
}

/// Polls once. None if the future waits: whoever polls it next gives it a waker of their own.
fn first_poll<F: Future>(future: Pin<&mut F>, context: &mut Context<'_>) -> Poll<Option<Result<F::Output, RunError>>> {
    // A future that panicked is dropped without another poll, so nobody sees what the panic left.
    match catch_unwind(AssertUnwindSafe(|| future.poll(context))) {
        Ok(Poll::Ready(output)) => Poll::Ready(Some(Ok(output))),
        Ok(Poll::Pending) => Poll::Ready(None),
        Err(_) => Poll::Ready(Some(Err(RunError::Panicked))),
    }
}

/// Starts work that is broken off when what this returns is dropped.
pub(crate) fn spawn_on<F>(handle: &Handle, future: F) -> AbortOnDrop<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    AbortOnDrop(handle.spawn(future.in_current_span()))
}

/// A task that ends with its handle.
pub(crate) struct AbortOnDrop<T>(JoinHandle<T>);

// === impl AbortOnDrop ===

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, RunError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let end = |error: JoinError| if error.is_panic() { RunError::Panicked } else { RunError::ShutDown };
        Pin::new(&mut self.0).poll(context).map_err(end)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
