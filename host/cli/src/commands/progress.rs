//! Lines on stderr for a step of an author's command that takes long: the compilation of a large
//! component, a language's tool, a measurement.
//!
//! The lines are plain text without cursor movements, because the tools of the languages write to
//! stderr as well.

use std::{
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::output::eprint_line;

/// The time after which a step is shown. Most steps of a small plugin end before it.
const FIRST: Duration = Duration::from_secs(2);
/// The time between two lines of a step.
const NEXT: Duration = Duration::from_secs(10);

/// A step that is shown from its third second on, until this value is dropped.
pub(super) struct Progress {
    running: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

// === impl Progress ===

impl Progress {
    /// Starts a step. `step` is a clause such as `compiling the component`.
    pub(super) fn start(step: &str) -> Self {
        Self::start_with(step, FIRST, eprint_line)
    }

    fn start_with(step: &str, first: Duration, print: impl Fn(&str) + Send + 'static) -> Self {
        let (running, ended) = mpsc::channel::<()>();
        let (step, begun) = (step.to_owned(), Instant::now());
        let thread = thread::spawn(move || {
            let mut pause = first;
            while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                print(&format!("{step} … {} s", begun.elapsed().as_secs()));
                pause = NEXT;
            }
        });
        Self { running: Some(running), thread: Some(thread) }
    }
}

impl Drop for Progress {
    /// Waits for the thread, so that no line follows the end of the step.
    fn drop(&mut self) {
        drop(self.running.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread can only cost lines.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(first: Duration, work: impl FnOnce(&mpsc::Receiver<String>)) -> Vec<String> {
        let (sender, printed) = mpsc::channel();
        let progress = Progress::start_with("compiling", first, move |line| sender.send(line.to_owned()).unwrap());
        work(&printed);
        drop(progress);
        printed.iter().collect()
    }

    #[test]
    fn a_step_is_shown_only_if_it_takes_long() {
        assert_eq!(lines(Duration::from_secs(600), |_| {}), [""; 0]);
        let rest = lines(Duration::ZERO, |printed| assert_eq!(printed.recv().unwrap(), "compiling … 0 s"));
        assert_eq!(rest, [""; 0]);
    }
}
