//! Running other programs: with a limit in time, their output in a log, and an error that says what ran and where its output is.
//! Nothing here ever waits without a bound, and no program gets our stdin.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::progress::Elapsed;

/// How often an end is looked for: short beside what these programs take.
const POLL: Duration = Duration::from_millis(20);
/// So much of a log is repeated in an error; the reason is nearly always there.
const TAIL_LINES: usize = 12;

/// The file that the programs of one piece of work write to.
pub(crate) struct Log {
    path: PathBuf,
}

// === impl Log ===

impl Log {
    /// An empty log; the folder is made if there is none.
    pub(crate) fn create(path: PathBuf) -> Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        File::create(&path).with_context(|| format!("cannot write the log {}", path.display()))?;
        Ok(Self { path })
    }

    /// Runs the program to its end; an exit code other than 0, or more time than `limit`, is an error that names the log.
    pub(crate) fn run(&self, command: &mut Command, limit: Duration) -> Result<()> {
        let mut log = self.append()?;
        writeln!(log, "$ {}", shown(command))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut child = spawn(command)?;
        let status = wait(&mut child, limit).with_context(|| format!("`{}`", shown(command)))?;
        self.judge(command, status)
    }

    /// The error for a program that wrote to this log and ended badly.
    pub(crate) fn judge(&self, command: &Command, status: ExitStatus) -> Result<()> {
        if status.success() {
            return Ok(());
        }
        bail!("`{}` failed ({status}); {}", shown(command), self.tail())
    }

    /// Opened to write at its end, as the output of a program.
    pub(crate) fn append(&self) -> Result<File> {
        OpenOptions::new()
            .append(true)
            .open(&self.path)
            .with_context(|| format!("cannot write the log {}", self.path.display()))
    }

    /// Where the whole output is, and its last lines.
    pub(crate) fn tail(&self) -> String {
        let text = fs::read(&self.path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        format!("its output is in {} and ends with:\n    {}", self.path.display(), last.join("\n    "))
    }
}

/// Waits for the end of a program, at most `limit`; then it is killed, and that is an error.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if begun.elapsed() > limit {
            child.kill().context("it is over its time and cannot be killed")?;
            child.wait()?;
            bail!("not done after {}, so it was killed", Elapsed(limit));
        }
        thread::sleep(POLL);
    }
}

/// What a short program prints, or nothing if it is not there, fails, or takes longer than `limit`.
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

/// The first executable file of this name in the folders of `PATH`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| is_executable(file))
}

/// Whether this is a file that somebody may execute.
pub(crate) fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// A command as one would type it, shortened: one of ours lists eighty packages.
pub(crate) fn shown(command: &Command) -> String {
    const LONGEST: usize = 160;
    let line = shown_whole(command);
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// A command as one would type it, ready to paste into a shell.
pub(crate) fn shown_whole(command: &Command) -> String {
    // Our cargo is called by its whole path; nobody types that.
    let is_cargo = std::env::var_os("CARGO").is_some_and(|cargo| cargo == command.get_program());
    let program = if is_cargo { "cargo".as_ref() } else { command.get_program() };
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
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
    fn a_failed_program_is_named_with_its_log_and_its_last_words() {
        assert_eq!(run("echo fine", Duration::from_secs(10)), Ok(()));
        assert_eq!(
            run("echo first; echo the reason >&2; exit 3", Duration::from_secs(10)).unwrap_err(),
            "`sh -c 'echo first; echo the reason >&2; exit 3'` failed (exit status: 3); its output is in LOG and ends with:\n    \
             $ sh -c 'echo first; echo the reason >&2; exit 3'\n    first\n    the reason"
        );
    }

    #[test]
    fn a_program_over_its_time_is_killed() {
        let begun = Instant::now();
        let error = run("exec sleep 60", Duration::from_millis(200)).unwrap_err();
        assert_eq!(error, "`sh -c 'exec sleep 60'`: not done after 0.2s, so it was killed");
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = spawn(&mut Command::new("no-such-program-of-ours")).unwrap_err();
        assert_eq!(error.to_string(), "cannot start `no-such-program-of-ours`");
        assert_eq!(output(&mut Command::new("no-such-program-of-ours"), POLL), None);
        assert_eq!(on_path("no-such-program-of-ours"), None);
    }

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let mut command = Command::new("curl");
        command.args(["--data", "@/tmp/a b", "it's", "", "https://127.0.0.1:1/x"]);
        assert_eq!(shown_whole(&command), r"curl --data '@/tmp/a b' 'it'\''s' '' https://127.0.0.1:1/x");
        assert_eq!(shown(command.arg("x".repeat(200))).chars().count(), 161);
    }

    #[test]
    fn gives_the_output_of_a_short_program() {
        assert_eq!(output(&mut shell("echo yes"), Duration::from_secs(10)).as_deref(), Some("yes\n"));
        assert_eq!(output(&mut shell("echo no; exit 1"), Duration::from_secs(10)), None);
    }
}
