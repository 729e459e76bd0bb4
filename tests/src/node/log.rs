//! The log of a container as the kubelet keeps it: [`ContainerLog`] has the output and the errors
//! of the container byte by byte.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

/// The output of a container.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ContainerLog {
    /// The standard output.
    pub(super) output: String,
    /// The standard error.
    pub(super) errors: String,
}

impl ContainerLog {
    /// Reads a log file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or has another form.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| path.display().to_string())?;
        Self::parse(&String::from_utf8_lossy(&bytes)).with_context(|| path.display().to_string())
    }

    /// Each line has a time, a stream, `F` for a complete line or `P` for a part without its line
    /// break, and the text.
    fn parse(text: &str) -> Result<Self> {
        let mut log = Self::default();
        for line in text.split_terminator('\n') {
            let mut fields = line.splitn(4, ' ').skip(1);
            let (stream, tag, text) = (fields.next(), fields.next(), fields.next().unwrap_or_default());
            let stream = match stream.context("no stream")? {
                "stdout" => &mut log.output,
                _ => &mut log.errors,
            };
            stream.push_str(text);
            if tag.context("no tag")? == "F" {
                stream.push('\n');
            }
        }
        Ok(log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_both_streams_without_added_line_breaks() {
        let text = "2026-01-02T03:04:05.6Z stdout F one two\n2026-01-02T03:04:05.6Z stderr F error\n\
                    2026-01-02T03:04:05.6Z stdout F \n2026-01-02T03:04:05.6Z stdout P end\n";
        let log = ContainerLog::parse(text).expect("a log");
        assert_eq!(log, ContainerLog { output: "one two\n\nend".to_owned(), errors: "error\n".to_owned() });
        assert!(ContainerLog::parse("text\n").is_err());
    }
}
