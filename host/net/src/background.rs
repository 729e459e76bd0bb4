//! [`spawn_in_background`]: serves a port on a thread of its own with a low priority, so that it
//! takes processor time that the webhook does not need.
//!
//! A request of the console costs a TLS connection to the API server, a millisecond of processor
//! time in one piece, which admissions on the same thread would wait for.

use std::io;

use tokio::{
    runtime::Builder,
    task::{JoinHandle, spawn_blocking},
};

/// Added to the niceness of the thread. The scheduler gives it a tenth of the time of a thread of
/// the webhook that wants the same processor.
const NICE: i32 = 10;

/// Runs a future on a thread of its own, with a runtime of its own, on which it may spawn tasks.
///
/// # Errors
///
/// The runtime cannot be created.
pub fn spawn_in_background<F>(future: F) -> io::Result<JoinHandle<()>>
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = Builder::new_current_thread().enable_all().build()?;
    Ok(spawn_blocking(move || {
        // On Linux, niceness belongs to a thread. If the system refuses it, the thread keeps its
        // priority.
        let _ = rustix::process::nice(NICE);
        runtime.block_on(future);
    }))
}

#[cfg(test)]
mod tests {
    use rustix::process::nice;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn the_future_and_its_tasks_run_on_one_thread_with_a_low_priority() {
        let (sender, receiver) = oneshot::channel();
        let before = nice(0).unwrap();
        let task = spawn_in_background(async move {
            let inner = tokio::spawn(async { (nice(0), std::thread::current().id()) }).await.unwrap();
            sender.send((inner, std::thread::current().id())).unwrap();
        });
        let ((niceness, inner), outer) = receiver.await.unwrap();
        task.unwrap().await.unwrap();
        assert_eq!(niceness.unwrap(), (before + NICE).min(19));
        assert_eq!(inner, outer);
        assert_eq!(nice(0).unwrap(), before, "the threads of the webhook keep their priority");
    }
}
