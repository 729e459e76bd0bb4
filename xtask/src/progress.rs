//! What a person sees while something takes long: one line a step, `[n/m] what … elapsed`, and nothing of the commands' own output.
//! That output goes to a log file, which a failure names. Everything here is written to stderr.

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

/// How good news is written.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// How bad news is written.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// How a heading is written.
pub(crate) const STRONG: Style = Style::new().bold();
/// How what matters less is written.
pub(crate) const FAINT: Style = Style::new().dimmed();

/// A terminal's line is redrawn this often: the clock shows seconds.
const REDRAW: Duration = Duration::from_secs(1);
/// A log of continuous integration gets a sign of life this often; many runners end a job that is silent for ten minutes.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);

/// The steps of one piece of work, counted.
pub(crate) struct Progress {
    total: usize,
    begun: usize,
    log: Log,
}

/// A time as a person says it: `0.4s`, `12s`, `2m34s`.
pub(crate) struct Elapsed(pub(crate) Duration);

/// What a step says beside its clock, for instance how many crates are built.
pub(crate) type Detail = Mutex<String>;

// === impl Progress ===

impl Progress {
    /// Will count `total` steps, whose commands write to the file `log` (its folder is made, its old content goes).
    pub(crate) fn start(total: usize, log: PathBuf) -> Result<Self> {
        Ok(Self { total, begun: 0, log: Log::create(log)? })
    }

    /// Does one step and shows it: while it runs, and how long it took.
    pub(crate) fn step<T>(&mut self, what: &str, work: impl FnOnce(&Log) -> Result<T>) -> Result<T> {
        self.step_with_detail(what, |log, _| work(log))
    }

    /// The same for work that has more to say than its time.
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

/// The line of the step that runs now.
struct Line {
    head: String,
    detail: Detail,
    begun: Instant,
    terminal: bool,
}

// === impl Line ===

impl Line {
    /// `running` is dropped at the end of the work, also when the work panics, which ends this.
    fn redraw_until(&self, ended: &Receiver<()>) {
        self.write(&if self.terminal { self.head.clone() } else { format!("{} …\n", self.head) });
        let pause = if self.terminal { REDRAW } else { SIGN_OF_LIFE };
        while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            self.draw();
        }
    }

    fn draw(&self) {
        let (before, after) = if self.terminal { ("\r", "\x1b[K") } else { ("", "\n") };
        self.write(&format!("{before}{} … {}{after}", self.head, self.says()));
    }

    fn end(&self, good: bool) {
        let (before, after) = if self.terminal { ("\r", "\x1b[K\n") } else { ("", "\n") };
        let (style, word) = if good { (GOOD, "done") } else { (BAD, "failed") };
        self.write(&format!("{before}{} {style}{word}{style:#} {}{after}", self.head, self.says()));
    }

    fn says(&self) -> String {
        let elapsed = Elapsed(self.begun.elapsed());
        match self.detail.lock().ok().filter(|detail| !detail.is_empty()) {
            Some(detail) => format!("{FAINT}{detail}, {elapsed}{FAINT:#}"),
            None => format!("{FAINT}{elapsed}{FAINT:#}"),
        }
    }

    /// A progress line that cannot be written is no reason to end the work.
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
    fn says_a_time_as_a_person_does() {
        for (millis, expected) in [(0, "0.0s"), (410, "0.4s"), (9_900, "9.9s"), (12_700, "12s"), (154_529, "2m34s")] {
            assert_eq!(Elapsed(Duration::from_millis(millis)).to_string(), expected);
        }
    }

    #[test]
    fn a_step_gives_what_its_work_gives() {
        let folder = tempfile::tempdir().unwrap();
        let mut progress = Progress::start(2, folder.path().join("new/log")).unwrap();
        assert_eq!(progress.step("counts", |_| Ok(7)).unwrap(), 7);
        let error = progress.step("fails", |_| -> Result<()> { anyhow::bail!("the reason") }).unwrap_err();
        assert_eq!(error.to_string(), "the reason");
    }
}
