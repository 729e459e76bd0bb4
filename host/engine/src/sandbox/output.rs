//! [`GuestOutput`]: standard output and standard error of a guest, as lines of the host's log, and
//! the last lines for the report of a trap.
//!
//! A JavaScript exception and a Python traceback are written to standard error before the trap.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use super::log::{GuestLogLevel, LogBudget};

/// Bytes of a line without its end. The log cuts lines earlier.
const MAX_PENDING: usize = 4 << 10;

/// Bytes of the last lines that are kept for the report of a trap.
const MAX_TAIL: usize = 4 << 10;

/// Bytes that a guest may write in one call of the host.
const CHUNK: usize = 64 << 10;

/// The end of what a guest has written. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct GuestOutput(Arc<Mutex<Vec<u8>>>);

/// One of the two streams of a guest.
#[derive(Clone)]
pub(crate) struct GuestStream {
    plugin: Arc<str>,
    level: GuestLogLevel,
    budget: Arc<LogBudget>,
    output: GuestOutput,
    pending: Arc<Mutex<Vec<u8>>>,
}

// === impl GuestOutput ===

impl GuestOutput {
    /// Opens a stream whose lines are logged at this level.
    pub(crate) fn stream(&self, plugin: &str, level: GuestLogLevel, budget: &Arc<LogBudget>) -> GuestStream {
        GuestStream {
            plugin: plugin.into(),
            level,
            budget: Arc::clone(budget),
            output: self.clone(),
            pending: Arc::default(),
        }
    }

    /// The last lines, for the report of a trap.
    pub(crate) fn tail(&self) -> String {
        String::from_utf8_lossy(&self.lock()).trim().to_owned()
    }

    /// Whether nothing was written.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Keeps the end of everything that was written.
    pub(crate) fn keep(&self, bytes: &[u8]) {
        let mut tail = self.lock();
        tail.extend_from_slice(bytes);
        let surplus = tail.len().saturating_sub(MAX_TAIL);
        tail.drain(..surplus);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl GuestStream ===

impl GuestStream {
    /// Logs every complete line, and keeps the rest for the next call.
    fn write_bytes(&self, bytes: &[u8]) {
        self.output.keep(bytes);
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = MAX_PENDING.saturating_sub(pending.len());
            pending.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                self.log_line(&pending);
                pending.clear();
            }
        }
    }

    fn log_line(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end();
        if !line.is_empty() {
            self.budget.write(&self.plugin, self.level, line);
        }
    }
}

impl Drop for GuestStream {
    /// Logs a last line without its end.
    fn drop(&mut self) {
        if Arc::strong_count(&self.pending) == 1 {
            let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            self.log_line(&pending);
        }
    }
}

impl IsTerminal for GuestStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for GuestStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.write_bytes(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK)
    }
}

#[async_trait::async_trait]
impl Pollable for GuestStream {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_end_of_the_output() {
        let output = GuestOutput::default();
        let stream = output.stream("plugin", GuestLogLevel::Error, &Arc::new(LogBudget::new(64, None)));
        stream.write_bytes(b"first\nsecond");
        assert_eq!(output.tail(), "first\nsecond");
        stream.write_bytes(&vec![b'x'; 1 << 20]);
        stream.write_bytes(b"\nTypeError: no");
        assert!(output.tail().ends_with("TypeError: no") && output.tail().len() <= MAX_TAIL);
        assert!(stream.pending.lock().unwrap().len() <= MAX_PENDING);
    }
}
