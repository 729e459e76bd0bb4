//! Standard error for log lines: [`LineWriter`].
//!
//! `std::io::Stderr` takes a lock for each write, and every admission writes several lines: under
//! load, threads waited for each other. The kernel needs no lock for a line of usual length, and
//! [`together`] writes the lines of an admission by one system call.

use std::{
    cell::RefCell,
    io::{self, Write},
    sync::{PoisonError, RwLock},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::{Errno, write},
    stdio::stderr,
};

/// Bytes that the kernel writes to a pipe atomically (`PIPE_BUF`, pipe(7)).
const ATOMIC_WRITE: usize = 4096;

/// Held exclusively for a line that the kernel may split, so that no other line interleaves.
static LINE_LOCK: RwLock<()> = RwLock::new(());

thread_local! {
    /// The lines of this thread that [`together`] has not written yet.
    static HELD: RefCell<HeldLines> = const { RefCell::new(HeldLines { lines: Vec::new(), holds: false }) };
}

/// Writer for log lines: each call to `write` gets one complete line.
#[derive(Clone, Copy)]
pub struct LineWriter;

/// Writes complete lines.
type WriteLines<'a> = &'a mut dyn FnMut(&[u8]) -> io::Result<()>;

/// Lines that wait for the end of [`together`].
struct HeldLines {
    /// At most [`ATOMIC_WRITE`] bytes.
    lines: Vec<u8>,
    /// Whether lines are held.
    holds: bool,
}

/// Writes the held lines when it is dropped, even by a panic.
struct Release;

/// Runs `work`, and writes the log lines of this thread together when it returns, or earlier if
/// they are longer than the kernel writes atomically. No line is lost: `together` returns after the
/// write.
pub fn together<T>(work: impl FnOnce() -> T) -> T {
    HELD.with_borrow_mut(|held| held.holds = true);
    let _release = Release;
    work()
}

// === impl HeldLines ===

impl HeldLines {
    /// Holds a line, or writes it, after the held lines if it does not fit.
    fn take(&mut self, line: &[u8], out: WriteLines<'_>) -> io::Result<()> {
        if self.lines.len() + line.len() > ATOMIC_WRITE {
            self.write(out)?;
        }
        if self.holds && line.len() <= ATOMIC_WRITE {
            self.lines.extend_from_slice(line);
            return Ok(());
        }
        out(line)
    }

    fn write(&mut self, out: WriteLines<'_>) -> io::Result<()> {
        let written = if self.lines.is_empty() { Ok(()) } else { out(&self.lines) };
        self.lines.clear();
        written
    }
}

// === impl Release ===

impl Drop for Release {
    fn drop(&mut self) {
        HELD.with_borrow_mut(|held| {
            held.holds = false;
            // Like every log line: there is no other place to report the failure.
            let _ = held.write(&mut write_lines);
        });
    }
}

// === impl LineWriter ===

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let held = HELD.try_with(|held| held.borrow_mut().take(line, &mut write_lines));
        // A thread that ends has no held lines any more.
        held.unwrap_or_else(|_| write_lines(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes complete lines, which no other line interrupts.
fn write_lines(lines: &[u8]) -> io::Result<()> {
    if lines.len() <= ATOMIC_WRITE {
        let _shared = LINE_LOCK.read().unwrap_or_else(PoisonError::into_inner);
        write_all(lines)
    } else {
        let _exclusive = LINE_LOCK.write().unwrap_or_else(PoisonError::into_inner);
        write_all(lines)
    }
}

fn write_all(mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match write(stderr(), rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            // Stderr is non-blocking and its buffer is full: wait instead of dropping the line.
            Err(Errno::AGAIN) => drop(poll(&mut [PollFd::new(&stderr(), PollFlags::OUT)], None)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_lines_are_written_in_order_and_never_longer_than_the_kernel_writes_atomically() {
        let mut held = HeldLines { lines: Vec::new(), holds: true };
        let mut writes = Vec::new();
        let mut out = |lines: &[u8]| {
            writes.push(lines.len());
            Ok(())
        };
        for length in [100, 3_000, 996, 1, 5_000, 4_096, 200] {
            held.take(&vec![b'x'; length], &mut out).unwrap();
        }
        held.holds = false;
        held.write(&mut out).unwrap();
        held.take(b"alone", &mut out).unwrap();
        held.write(&mut out).unwrap();
        assert_eq!(writes, [4_096, 1, 5_000, 4_096, 200, 5]);
    }
}
