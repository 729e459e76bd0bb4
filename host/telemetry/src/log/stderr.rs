//! Standard error for log lines: [`LineWriter`].
//!
//! The standard library's has a lock, and every admission writes several lines: under load its threads waited for each other. The kernel
//! needs none for a line of the usual length.

use std::{
    io::{self, Write},
    sync::{PoisonError, RwLock},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::{Errno, write},
    stdio::stderr,
};

/// What the kernel writes whole to a pipe, whoever else writes to it (`PIPE_BUF`, pipe(7)).
const WHOLE: usize = 4096;

/// Held alone for a line that the kernel may take in parts, so that no other comes between them.
static WHOLE_LINES: RwLock<()> = RwLock::new(());

/// Writes a line that is given at once as a whole.
#[derive(Clone, Copy)]
pub struct LineWriter;

// === impl LineWriter ===

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match line.len() {
            ..=WHOLE => {
                let _others_too = WHOLE_LINES.read().unwrap_or_else(PoisonError::into_inner);
                write_all(line)?;
            }
            _ => {
                let _alone = WHOLE_LINES.write().unwrap_or_else(PoisonError::into_inner);
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
            // Whoever started this process wants no write of it to wait, and has no room now. A line is not dropped for that.
            Err(Errno::AGAIN) => drop(poll(&mut [PollFd::new(&stderr(), PollFlags::OUT)], None)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
