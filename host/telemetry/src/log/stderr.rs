//! Standard error for log lines: [`LineWriter`].
//!
//! `std::io::Stderr` takes a lock for each write, and every admission writes several lines: under
//! load, threads waited for each other. The kernel needs no lock for a line of usual length.

use std::{
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

/// Writer for log lines: each call to `write` gets one complete line.
#[derive(Clone, Copy)]
pub struct LineWriter;

// === impl LineWriter ===

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match line.len() {
            ..=ATOMIC_WRITE => {
                let _shared = LINE_LOCK.read().unwrap_or_else(PoisonError::into_inner);
                write_all(line)?;
            }
            _ => {
                let _exclusive = LINE_LOCK.write().unwrap_or_else(PoisonError::into_inner);
                write_all(line)?;
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
