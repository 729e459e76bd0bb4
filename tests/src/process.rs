//! A program under test: [`Process`], with its whole output in a file, ended only by its own id.
//!
//! A watchdog ends it when the test process ends, so a killed test run leaves nothing behind. The
//! watchdog is a shell that reads from a pipe whose other end only the test process holds; the
//! system closes that end however the process ends.

use std::{
    fs::File,
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::eventually;

/// Number of output lines in an error.
const SHOWN: usize = 25;
/// First words of a Go program's crash report.
const CRASH: [&str; 2] = ["panic: ", "fatal error: "];
/// Waits for the pipe to close, ends the process, and removes the folder if one is given.
const WATCHDOG: &str = r#"read -r word; [ "$word" = done ] && exit; kill -9 "$1"; [ -z "$2" ] || rm -rf -- "$2""#;

/// A program that runs until it is ended or this value is dropped.
pub struct Process {
    name: String,
    child: Mutex<Child>,
    id: u32,
    output: PathBuf,
    watchdog: Child,
}

// === impl Process ===

impl Process {
    /// Starts a program, with its standard output and error in a new file.
    ///
    /// # Errors
    ///
    /// If the program or its watchdog cannot be started.
    pub fn spawn(command: &mut Command, output: &Path) -> Result<Self> {
        Self::spawn_in(command, output, Path::new(""))
    }

    /// Starts a program like [`Process::spawn`]; the folder is also removed if the test process
    /// dies.
    ///
    /// # Errors
    ///
    /// If the program or its watchdog cannot be started.
    pub fn spawn_in(command: &mut Command, output: &Path, folder: &Path) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let file = File::create(output).with_context(|| format!("cannot write {}", output.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let mut watchdog = Command::new("sh");
        watchdog.args(["-c", WATCHDOG, "watchdog"]).arg(child.id().to_string()).arg(folder);
        // In a group of its own: Ctrl-C in a terminal must not end it before it has cleaned up.
        watchdog.process_group(0);
        let watchdog = watchdog.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        match watchdog {
            Ok(watchdog) => {
                Ok(Self { name, id: child.id(), child: Mutex::new(child), output: output.to_owned(), watchdog })
            }
            Err(error) => {
                end(&mut child);
                Err(error).context("cannot start sh as the watchdog")
            }
        }
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The output so far.
    ///
    /// # Errors
    ///
    /// If the file does not exist.
    pub fn output(&self) -> Result<String> {
        let bytes = std::fs::read(&self.output).with_context(|| format!("cannot read {}", self.output.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The name, the state, and the most relevant part of the output, for errors.
    #[must_use]
    pub fn describe(&self) -> String {
        let ended = self.child().try_wait();
        let state = match ended {
            Ok(Some(status)) => format!("ended with {status}"),
            _ => "runs".to_owned(),
        };
        let output = self.output().unwrap_or_default();
        let lines: Vec<_> = output.lines().collect();
        // A Go program that crashes writes the reason, and then the stack of every goroutine.
        let crash = lines.iter().position(|line| CRASH.iter().any(|head| line.starts_with(head)));
        let start = crash.unwrap_or_else(|| lines.len().saturating_sub(SHOWN));
        let shown: Vec<_> = lines.into_iter().skip(start).take(SHOWN).collect();
        format!("{} {state}; of its output:\n{}", self.name, shown.join("\n"))
    }

    /// Returns an error once the process has ended.
    ///
    /// # Errors
    ///
    /// The exit status and the end of the output.
    pub fn ensure_running(&self) -> Result<()> {
        // Not within the condition, which would hold the lock: `describe` takes it as well.
        let ended = self.child().try_wait()?;
        if ended.is_some() {
            bail!("{}", self.describe());
        }
        Ok(())
    }

    /// Sends a signal to this process.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.id).ok().and_then(rustix::process::Pid::from_raw);
        let id = id.context("no process id")?;
        rustix::process::kill_process(id, signal).with_context(|| format!("{signal:?} to {}", self.name))
    }

    /// Waits for the end.
    ///
    /// # Errors
    ///
    /// If it still runs after `limit`.
    pub async fn wait(&self, limit: Duration) -> Result<ExitStatus> {
        let ended = eventually("the end of a process", limit, async || self.child().try_wait()?.context("it runs"));
        ended.await.with_context(|| self.describe())
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The watchdog first, so that it never uses an id that has been reused.
        if let Some(mut pipe) = self.watchdog.stdin.take() {
            let _ = pipe.write_all(b"done\n");
        }
        let _ = self.watchdog.wait();
        end(&mut self.child());
    }
}

/// Kills and waits. A failure means that the process has already ended.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
