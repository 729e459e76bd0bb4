//! Streams the output of a program line by line, with both streams in one pipe, so that their order
//! is kept. A program without output for too long is killed. If the program ends while its child
//! process keeps the pipe open, the stream ends.

use std::io::{BufRead, BufReader, PipeReader, pipe};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::job;
use crate::progress::Elapsed;

/// No test and no compilation of a crate is silent for so long, unless it hangs.
const SILENCE_MAX: Duration = Duration::from_secs(15 * 60);
/// Interval for checking the end of a silent program.
const POLL: Duration = Duration::from_millis(200);

/// Runs the program, calls `on_line` for each line, and returns the exit status.
pub(super) fn stream(command: &mut Command, on_line: impl FnMut(&str)) -> Result<ExitStatus> {
    let (reader, writer) = pipe().context("cannot create a pipe")?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = job::spawn(command)?;
    // Drop the command's ends of the pipe; otherwise the reader never reaches the end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || read_lines(reader, |line| sender.send(line).is_ok()));
    forward(&lines, on_line, || child.try_wait().map(|status| status.is_some()).unwrap_or(true), SILENCE_MAX)
        .inspect_err(|_| {
            let _ = child.kill();
        })
        .with_context(|| format!("`{}`", job::shown(command)))?;
    job::wait(&mut child, Duration::from_secs(10))
}

/// Forwards lines until the pipe is closed, or until the program has ended and no line is left.
fn forward(
    lines: &Receiver<String>,
    mut on_line: impl FnMut(&str),
    mut ended: impl FnMut() -> bool,
    silence_max: Duration,
) -> Result<()> {
    let mut last_line = Instant::now();
    loop {
        // Check before the wait, so that every line from before the end is already in the pipe.
        let had_ended = ended();
        match lines.recv_timeout(POLL) {
            Ok(line) => {
                last_line = Instant::now();
                on_line(&line);
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) if had_ended => return Ok(()),
            Err(RecvTimeoutError::Timeout) if last_line.elapsed() > silence_max => {
                bail!("killed after {} without output; its last line is above", Elapsed(silence_max))
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Reads lines. Bytes that are not UTF-8 are replaced.
fn read_lines(reader: PipeReader, mut send: impl FnMut(String) -> bool) {
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
        if !send(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned()) {
            return;
        }
        bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(script: &str) -> (Vec<String>, bool) {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        let status = stream(command.args(["-c", script]), |line| lines.push(line.to_owned())).unwrap();
        (lines, status.success())
    }

    #[test]
    fn keeps_the_order_of_both_streams() {
        let (lines, good) = lines_of("echo 1; echo 2 >&2; echo 3; printf 4; exit 1");
        assert_eq!((lines, good), (["1", "2", "3", "4"].map(str::to_owned).to_vec(), false));
    }

    #[test]
    fn does_not_wait_for_a_grandchild_that_keeps_the_pipe() {
        let begun = Instant::now();
        assert_eq!(lines_of("sleep 30 & echo done"), (vec!["done".to_owned()], true));
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn kills_a_program_without_output() {
        let (_sender, lines) = mpsc::channel();
        let error = forward(&lines, |_| {}, || false, Duration::from_millis(100)).unwrap_err();
        assert_eq!(error.to_string(), "killed after 0.1s without output; its last line is above");
    }
}
