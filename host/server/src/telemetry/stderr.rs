//! Standard error for log lines: [`LineWriter`].
//!
//! The standard library's has a lock, and every admission writes several lines: under load its threads waited for each other.

use std::io::{self, Write};

use rustix::{io::write, stdio::stderr};

/// What the kernel writes whole to a pipe, whoever else writes to it (`PIPE_BUF`, pipe(7)).
const WHOLE: usize = 4096;

/// Writes a line that is given at once as a whole.
#[derive(Clone, Copy)]
pub(super) struct LineWriter;

// === impl LineWriter ===

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match line.len() {
            ..=WHOLE => Ok(write(stderr(), line)?),
            // In parts, perhaps: others of these wait.
            _ => io::stderr().write_all(line).map(|()| line.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
