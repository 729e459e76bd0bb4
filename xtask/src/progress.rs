//! Progress of long tasks: one line per step, `[n/m] step … elapsed`, without the output of the
//! commands. Their output is in a log file, which the error of a failure names. Progress is written
//! to stderr.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use anyhow::Result;

use crate::job::Log;

/// Style for success.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Style for failure.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Style for headings.
pub(crate) const STRONG: Style = Style::new().bold();
/// Style for less important text.
pub(crate) const FAINT: Style = Style::new().dimmed();

/// Interval for redrawing a terminal's line; the elapsed time is in seconds.
const REDRAW: Duration = Duration::from_secs(1);
/// Interval for lines in a log of continuous integration. Many runners stop a job without output
/// for ten minutes.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The counted steps of one task.
pub(crate) struct Progress {
    total: usize,
    begun: usize,
    log: Log,
}

/// A duration in readable form: `0.4s`, `12s`, `2m34s`.
pub(crate) struct Elapsed(pub(crate) Duration);

/// Additional text of a step, such as the number of built crates.
pub(crate) type Detail = Mutex<String>;

// === impl Progress ===

impl Progress {
    /// Starts a task with `total` steps. Their commands write to the file `log`; its folder is
    /// created, and its old content is removed.
    pub(crate) fn start(total: usize, log: PathBuf) -> Result<Self> {
        Ok(Self { total, begun: 0, log: Log::create(log)? })
    }

    /// Runs one step, and shows its progress and its duration.
    pub(crate) fn step<T>(&mut self, what: &str, work: impl FnOnce(&Log) -> Result<T>) -> Result<T> {
        self.step_with_detail(what, |log, _| work(log))
    }

    /// Like [`step`](Self::step), for a step with additional text.
    pub(crate) fn step_with_detail<T>(
        &mut self,
        what: &str,
        work: impl FnOnce(&Log, &Detail) -> Result<T>,
    ) -> Result<T> {
        self.begun += 1;
        let line = Line {
            head: format!("[{}/{}] {what}", self.begun, self.total),
            detail: Detail::default(),
            begun: Instant::now(),
            terminal: std::io::stderr().is_terminal(),
        };
        let result = thread::scope(|scope| {
            let (running, ended) = mpsc::channel();
            let line = &line;
            scope.spawn(move || line.redraw_until(&ended));
            let result = work(&self.log, &line.detail);
            drop(running);
            result
        });
        line.end(result.is_ok());
        result
    }
}

/// The line of the current step.
struct Line {
    head: String,
    detail: Detail,
    begun: Instant,
    terminal: bool,
}

// === impl Line ===

impl Line {
    /// Redraws the line until the sender is dropped, which also happens if the step panics.
    fn redraw_until(&self, ended: &Receiver<()>) {
        self.write(&if self.terminal { self.head.clone() } else { format!("{} …\n", self.head) });
        let pause = if self.terminal { REDRAW } else { LOG_INTERVAL };
        while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            self.draw();
        }
    }

    fn draw(&self) {
        let (before, after) = if self.terminal { ("\r", "\x1b[K") } else { ("", "\n") };
        self.write(&format!("{before}{} … {}{after}", self.head, self.status()));
    }

    fn end(&self, good: bool) {
        let (before, after) = if self.terminal { ("\r", "\x1b[K\n") } else { ("", "\n") };
        let (style, word) = if good { (GOOD, "done") } else { (BAD, "failed") };
        self.write(&format!("{before}{} {style}{word}{style:#} {}{after}", self.head, self.status()));
    }

    fn status(&self) -> String {
        let elapsed = Elapsed(self.begun.elapsed());
        match self.detail.lock().ok().filter(|detail| !detail.is_empty()) {
            Some(detail) => format!("{FAINT}{detail}, {elapsed}{FAINT:#}"),
            None => format!("{FAINT}{elapsed}{FAINT:#}"),
        }
    }

    /// Ignores write errors, because the step should continue without progress output.
    fn write(&self, text: &str) {
        let mut stderr = anstream::stderr().lock();
        let _ = stderr.write_all(text.as_bytes());
        let _ = stderr.flush();
    }
}

// === impl Elapsed ===

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            0..10 => write!(f, "{:.1}s", self.0.as_secs_f64()),
            seconds @ 10..60 => write!(f, "{seconds}s"),
            seconds => write!(f, "{}m{:02}s", seconds / 60, seconds % 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_a_duration_in_readable_form() {
        for (millis, expected) in [(0, "0.0s"), (410, "0.4s"), (9_900, "9.9s"), (12_700, "12s"), (154_529, "2m34s")] {
            assert_eq!(Elapsed(Duration::from_millis(millis)).to_string(), expected);
        }
    }

    #[test]
    fn a_step_returns_the_result_of_its_work() {
        let folder = tempfile::tempdir().unwrap();
        let mut progress = Progress::start(2, folder.path().join("new/log")).unwrap();
        assert_eq!(progress.step("counts", |_| Ok(7)).unwrap(), 7);
        let error = progress.step("fails", |_| -> Result<()> { anyhow::bail!("the reason") }).unwrap_err();
        assert_eq!(error.to_string(), "the reason");
    }
}
