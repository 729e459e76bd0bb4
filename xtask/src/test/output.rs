//! The output of a program, line by line as it comes: both of its streams through one pipe, so that their order is kept.
//! A program that is silent for too long is ended, and one that ends while a child of its own keeps the pipe open is not waited for.

use std::io::{BufRead, BufReader, PipeReader, pipe};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::job;
use crate::progress::Elapsed;

/// No test of ours is silent for so long, and no crate takes so long to compile; this one hangs.
const SILENCE_MAX: Duration = Duration::from_secs(15 * 60);
/// How often the end of the program is looked for while it is silent.
const POLL: Duration = Duration::from_millis(200);

/// Runs the program, gives each line to `see`, and gives the exit status.
pub(super) fn stream(command: &mut Command, see: impl FnMut(&str)) -> Result<ExitStatus> {
    let (reader, writer) = pipe().context("cannot make a pipe")?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = job::spawn(command)?;
    // The command keeps its ends of the pipe until they are replaced; while they live, the reader sees no end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || read_lines(reader, |line| sender.send(line).is_ok()));
    pass_on(&lines, see, || child.try_wait().map(|status| status.is_some()).unwrap_or(true), SILENCE_MAX)
        .inspect_err(|_| {
            let _ = child.kill();
        })
        .with_context(|| format!("`{}`", job::shown(command)))?;
    job::wait(&mut child, Duration::from_secs(10))
}

/// Until the pipe is closed, or the program has ended and no line waits any more.
fn pass_on(
    lines: &Receiver<String>,
    mut see: impl FnMut(&str),
    mut ended: impl FnMut() -> bool,
    silence_max: Duration,
) -> Result<()> {
    let mut last_line = Instant::now();
    loop {
        // Asked before the wait: a line written before the end is then in the pipe for certain.
        let had_ended = ended();
        match lines.recv_timeout(POLL) {
            Ok(line) => {
                last_line = Instant::now();
                see(&line);
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) if had_ended => return Ok(()),
            Err(RecvTimeoutError::Timeout) if last_line.elapsed() > silence_max => {
                bail!("silent for {}, so it was ended; its last line is above", Elapsed(silence_max))
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Tests may write bytes that are no text; they are shown as well as can be.
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
    fn ends_a_program_that_is_silent() {
        let (_sender, lines) = mpsc::channel();
        let error = pass_on(&lines, |_| {}, || false, Duration::from_millis(100)).unwrap_err();
        assert_eq!(error.to_string(), "silent for 0.1s, so it was ended; its last line is above");
    }
}
