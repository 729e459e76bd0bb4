//! [`FileOfVariables`]: the values that the kubelet reads as environment variables.
//!
//! Its form is that of KEP-3721: `NAME='value'`, without escapes.

use std::collections::BTreeMap;

/// Bytes of a variable's value, by the KEP. The kubelet does not read longer lines than 64 KiB.
const MAX_VARIABLE: usize = 32 << 10;
/// Bytes of the file, by the KEP.
const MAX_FILE: usize = 64 << 10;

/// The content of the file.
pub(crate) struct FileOfVariables(Vec<u8>);

// === impl FileOfVariables ===

impl FileOfVariables {
    /// With its final capacity: a buffer that grows would leave copies of values in memory.
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(MAX_FILE))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Adds a variable. The error is a predicate about the value.
    pub(crate) fn add(&mut self, name: &str, value: &[u8]) -> Result<(), &'static str> {
        check(name, value)?;
        if self.0.len() + name.len() + value.len() + 4 > MAX_FILE {
            return Err("makes the values of all variables larger than 64 KiB");
        }
        for part in [name.as_bytes(), b"='", value, b"'\n"] {
            self.0.extend_from_slice(part);
        }
        Ok(())
    }
}

/// The variables in a file of this form. What has another form is left out.
pub(crate) fn variables_in(mut file: &[u8]) -> BTreeMap<&str, &[u8]> {
    let mut variables = BTreeMap::new();
    while let Some((name, rest)) = split_at(file, b"='")
        && let Some((value, rest)) = split_at(rest, b"'\n")
    {
        if let Ok(name) = std::str::from_utf8(name) {
            variables.insert(name, value);
        }
        file = rest;
    }
    variables
}

fn split_at<'f>(file: &'f [u8], mark: &[u8; 2]) -> Option<(&'f [u8], &'f [u8])> {
    let position = file.windows(mark.len()).position(|bytes| bytes == mark)?;
    Some((&file[..position], &file[position + mark.len()..]))
}

/// Checks that the kubelet reads exactly this value. The error is a predicate about the value.
///
/// The rules are those of `pkg/kubelet/util/env` and of `makeEnvironmentVariables` in Kubernetes
/// 1.35: its line reader drops a carriage return before a line break, and an empty value counts as
/// a missing one.
fn check(name: &str, value: &[u8]) -> Result<(), &'static str> {
    if value.is_empty() {
        return Err("is empty");
    }
    if value.len() > MAX_VARIABLE {
        return Err("is larger than 32 KiB");
    }
    if value.contains(&b'\'') {
        return Err("contains a single quote");
    }
    if value.contains(&0) {
        return Err("contains a NUL byte");
    }
    if value.windows(2).any(|pair| pair == b"\r\n") {
        return Err("contains a carriage return before a line break");
    }
    if std::str::from_utf8(value).is_err() {
        return Err("is not UTF-8");
    }
    if name.starts_with('#') || name.trim() != name {
        return Err("belongs to a name with a space or # at its ends");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_the_form_of_the_kubelet() {
        let mut file = FileOfVariables::new();
        file.add("A", b"one \"$x\" \\n # two").unwrap();
        file.add("B", b"two\nlines\r").unwrap();
        assert_eq!(String::from_utf8_lossy(file.bytes()), "A='one \"$x\" \\n # two'\nB='two\nlines\r'\n");
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let mut file = FileOfVariables::new();
        for (name, value) in [("A", &b"one"[..]), ("B", b"two\nC=\nlines"), ("D", b"=")] {
            file.add(name, value).unwrap();
        }
        let variables: Vec<_> = variables_in(file.bytes()).into_iter().collect();
        assert_eq!(variables, [("A", &b"one"[..]), ("B", b"two\nC=\nlines"), ("D", b"=")]);
        for other in [&b""[..], b"A=one", b"A='one", b"\xff='x'\n"] {
            assert_eq!(variables_in(other).len(), 0, "{other:?}");
        }
    }

    #[test]
    fn a_value_that_the_kubelet_would_not_read_is_refused() {
        for (name, bytes, reason) in [
            ("A", &b""[..], "is empty"),
            ("A", b"it's", "contains a single quote"),
            ("A", b"a\0b", "contains a NUL byte"),
            ("A", b"a\r\nb", "contains a carriage return before a line break"),
            ("A", b"\xff", "is not UTF-8"),
            ("A", &[b'x'; MAX_VARIABLE + 1], "is larger than 32 KiB"),
            ("#A", b"x", "belongs to a name with a space or # at its ends"),
        ] {
            assert_eq!(FileOfVariables::new().add(name, bytes), Err(reason));
        }
        let mut file = FileOfVariables::new();
        let large = [b'x'; 30 << 10];
        file.add("A", &large).unwrap();
        file.add("B", &large).unwrap();
        assert_eq!(file.add("C", &large), Err("makes the values of all variables larger than 64 KiB"));
    }
}
