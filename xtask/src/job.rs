//! Runs other programs with a time limit, writes their output to a log, and reports the command and
//! the log in errors. No function waits without a limit, and no program inherits stdin.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::progress::Elapsed;

/// Interval for polling the end of a program, which is short compared with the time of the
/// programs.
const POLL: Duration = Duration::from_millis(20);
/// Number of log lines in an error message; they nearly always contain the reason.
const TAIL_LINES: usize = 12;

/// The log file for the programs of one task.
pub(crate) struct Log {
    path: PathBuf,
}

// === impl Log ===

impl Log {
    /// Creates an empty log, and its folder if necessary.
    pub(crate) fn create(path: PathBuf) -> Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
        }
        File::create(&path).with_context(|| format!("cannot write the log {}", path.display()))?;
        Ok(Self { path })
    }

    /// Runs a program to its end. An exit code other than 0 and a time above `limit` are errors
    /// that name the log.
    pub(crate) fn run(&self, command: &mut Command, limit: Duration) -> Result<()> {
        let mut log = self.append()?;
        writeln!(log, "$ {}", shown(command))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut child = spawn(command)?;
        let status = wait(&mut child, limit).with_context(|| format!("`{}`", shown(command)))?;
        self.check_status(command, status)
    }

    /// Returns an error for a failed program that wrote to this log.
    pub(crate) fn check_status(&self, command: &Command, status: ExitStatus) -> Result<()> {
        if status.success() {
            return Ok(());
        }
        bail!("`{}` failed ({status}); {}", shown(command), self.tail())
    }

    /// Opens the log for appending, as the output of a program.
    pub(crate) fn append(&self) -> Result<File> {
        OpenOptions::new()
            .append(true)
            .open(&self.path)
            .with_context(|| format!("cannot write the log {}", self.path.display()))
    }

    /// Returns the log's path and its last lines, for an error message.
    pub(crate) fn tail(&self) -> String {
        let text = fs::read(&self.path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        format!("its output is in {} and ends with:\n    {}", self.path.display(), last.join("\n    "))
    }
}

/// Waits for the end of a program. After `limit`, kills it and returns an error.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if begun.elapsed() > limit {
            child.kill().context("it exceeded its time limit and cannot be killed")?;
            child.wait()?;
            bail!("killed after the time limit of {}", Elapsed(limit));
        }
        thread::sleep(POLL);
    }
}

/// Returns the output of a short program, or `None` if it is missing, fails, or exceeds `limit`.
pub(crate) fn output(command: &mut Command, limit: Duration) -> Option<String> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let stdout = child.stdout.take()?;
    let reader = thread::spawn(move || std::io::read_to_string(stdout));
    let status = wait(&mut child, limit).ok()?;
    let text = reader.join().ok()?.ok()?;
    status.success().then_some(text)
}

/// Starts a program; the error names it.
pub(crate) fn spawn(command: &mut Command) -> Result<Child> {
    command.spawn().with_context(|| format!("cannot start `{}`", shown(command)))
}

/// Returns the first executable file of this name in the folders of `PATH`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| is_executable(file))
}

/// Returns whether the path is an executable file.
pub(crate) fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Formats a command for a shell, shortened, because some commands list eighty packages.
pub(crate) fn shown(command: &Command) -> String {
    const LONGEST: usize = 160;
    let line = shown_whole(command);
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Formats a command so that it can be pasted into a shell.
pub(crate) fn shown_whole(command: &Command) -> String {
    // This program calls cargo by its absolute path, which is not useful in a message.
    let is_cargo = std::env::var_os("CARGO").is_some_and(|cargo| cargo == command.get_program());
    let program = if is_cargo { "cargo".as_ref() } else { command.get_program() };
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn run(script: &str, limit: Duration) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = Log::create(path.clone()).unwrap();
        log.run(&mut shell(script), limit).map_err(|error| format!("{error:#}").replace(path.to_str().unwrap(), "LOG"))
    }

    #[test]
    fn the_error_of_a_failed_program_contains_its_log_and_last_lines() {
        assert_eq!(run("echo fine", Duration::from_secs(10)), Ok(()));
        assert_eq!(
            run("echo first; echo the reason >&2; exit 3", Duration::from_secs(10)).unwrap_err(),
            "`sh -c 'echo first; echo the reason >&2; exit 3'` failed (exit status: 3); its output is in LOG and ends with:\n    \
             $ sh -c 'echo first; echo the reason >&2; exit 3'\n    first\n    the reason"
        );
    }

    #[test]
    fn a_program_that_exceeds_its_time_limit_is_killed() {
        let begun = Instant::now();
        let error = run("exec sleep 60", Duration::from_millis(200)).unwrap_err();
        assert_eq!(error, "`sh -c 'exec sleep 60'`: killed after the time limit of 0.2s");
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn the_error_of_a_missing_program_contains_its_name() {
        let error = spawn(&mut Command::new("no-such-program-of-ours")).unwrap_err();
        assert_eq!(error.to_string(), "cannot start `no-such-program-of-ours`");
        assert_eq!(output(&mut Command::new("no-such-program-of-ours"), POLL), None);
        assert_eq!(on_path("no-such-program-of-ours"), None);
    }

    #[test]
    fn a_command_is_shown_in_shell_syntax() {
        let mut command = Command::new("curl");
        command.args(["--data", "@/tmp/a b", "it's", "", "https://127.0.0.1:1/x"]);
        assert_eq!(shown_whole(&command), r"curl --data '@/tmp/a b' 'it'\''s' '' https://127.0.0.1:1/x");
        assert_eq!(shown(command.arg("x".repeat(200))).chars().count(), 161);
    }

    #[test]
    fn returns_the_output_of_a_short_program() {
        assert_eq!(output(&mut shell("echo yes"), Duration::from_secs(10)).as_deref(), Some("yes\n"));
        assert_eq!(output(&mut shell("echo no; exit 1"), Duration::from_secs(10)), None);
    }
}
