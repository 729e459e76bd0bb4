//! [`Outputs`]: writes the values to their files, and to the file of variables.
//!
//! A file appears whole: it is written under another name and renamed. The form of the file of
//! variables is that of the kubelet (KEP-3721): `NAME='value'`, without escapes.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use ampoule_core::{FetchedFile, PromisedValue, SecretValue};

use crate::error::PodFetchError;

/// Mode of a file that every user may read, also in an image that runs as any user.
const DEFAULT_MODE: u32 = 0o444;
/// Bytes of a variable's value, by the KEP. The kubelet does not read longer lines than 64 KiB.
const MAX_VARIABLE: usize = 32 << 10;
/// Bytes of the file of variables, by the KEP.
const MAX_VARIABLES: usize = 64 << 10;

/// The values written so far.
pub(crate) struct Outputs {
    variables_path: PathBuf,
    /// The content of the file of variables. `None` without variables.
    variables: Option<Vec<u8>>,
}

// === impl Outputs ===

impl Outputs {
    pub(crate) fn new(variables_path: impl Into<PathBuf>) -> Self {
        Self { variables_path: variables_path.into(), variables: None }
    }

    /// Writes the files of a value, and remembers its variables.
    pub(crate) fn write(&mut self, value: &PromisedValue, bytes: &SecretValue) -> Result<(), PodFetchError> {
        for file in &value.files {
            write_file(file, &value.secret, bytes.expose())?;
        }
        for variable in &value.variables {
            match self.add_variable(&variable.name, bytes.expose()) {
                Err(_) if variable.optional => {}
                Err(reason) => {
                    let (secret, variable) = (value.secret.clone(), variable.name.clone());
                    return Err(PodFetchError::Variable { secret, variable, reason });
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Writes the file of variables, if there are any. The kubelet needs the file also if none of
    /// them can be expressed.
    pub(crate) fn finish(&self) -> Result<(), PodFetchError> {
        match &self.variables {
            // Only the kubelet reads it, as root.
            Some(variables) => replace("the file of variables", &self.variables_path, variables, 0o400),
            None => Ok(()),
        }
    }

    fn add_variable(&mut self, name: &str, value: &[u8]) -> Result<(), &'static str> {
        // With its final capacity: a buffer that grows would leave copies of values in memory.
        let variables = self.variables.get_or_insert_with(|| Vec::with_capacity(MAX_VARIABLES));
        check_variable(name, value)?;
        if variables.len() + name.len() + value.len() + 4 > MAX_VARIABLES {
            return Err("makes the values of all variables larger than 64 KiB");
        }
        for part in [name.as_bytes(), b"='", value, b"'\n"] {
            variables.extend_from_slice(part);
        }
        Ok(())
    }
}

/// Checks that the kubelet reads exactly this value. The error is a predicate about the value.
///
/// The rules are those of `pkg/kubelet/util/env` and of `makeEnvironmentVariables` in Kubernetes
/// 1.35: its line reader drops a carriage return before a line break, and an empty value counts as
/// a missing one.
fn check_variable(name: &str, value: &[u8]) -> Result<(), &'static str> {
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

fn write_file(file: &FetchedFile, secret: &str, bytes: &[u8]) -> Result<(), PodFetchError> {
    replace(&format!("secret {secret}"), Path::new(&file.path), bytes, file.mode.unwrap_or(DEFAULT_MODE))
}

/// Replaces a file in one step. `what` names the content in the error.
fn replace(what: &str, path: &Path, bytes: &[u8], mode: u32) -> Result<(), PodFetchError> {
    let write = || -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = path.with_file_name(format!("..{name}.tmp"));
        if let Err(error) = fs::remove_file(&temporary)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        fs::rename(&temporary, path)
    };
    write().map_err(|reason| PodFetchError::Write { what: what.to_owned(), path: path.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use ampoule_core::FetchedVariable;

    use super::*;

    fn value(files: &[(&Path, Option<u32>)], variables: &[(&str, bool)]) -> PromisedValue {
        let file = |(path, mode): &(&Path, Option<u32>)| FetchedFile { path: path.display().to_string(), mode: *mode };
        let variable =
            |(name, optional): &(&str, bool)| FetchedVariable { name: (*name).to_owned(), optional: *optional };
        PromisedValue {
            promise: "p".to_owned(),
            secret: "group/key".to_owned(),
            files: files.iter().map(file).collect(),
            variables: variables.iter().map(variable).collect(),
        }
    }

    fn secret(bytes: &[u8]) -> SecretValue {
        SecretValue::new(bytes.to_vec())
    }

    #[test]
    fn the_file_of_variables_has_the_form_of_the_kubelet() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("env");
        let mut outputs = Outputs::new(&path);
        outputs.write(&value(&[], &[("A", false)]), &secret(b"one \"$x\" \\n # two")).unwrap();
        outputs.write(&value(&[], &[("B", false), ("C", false)]), &secret(b"two\nlines\r")).unwrap();
        outputs.write(&value(&[], &[("D", true)]), &secret(b"it's")).unwrap();
        outputs.finish().unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "A='one \"$x\" \\n # two'\nB='two\nlines\r'\nC='two\nlines\r'\n"
        );
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
    }

    #[test]
    fn the_file_of_variables_exists_also_if_no_variable_can_be_expressed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("env");
        let mut outputs = Outputs::new(&path);
        outputs.finish().unwrap();
        assert!(!path.exists());
        outputs.write(&value(&[], &[("A", true)]), &secret(b"it's")).unwrap();
        outputs.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
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
            let mut outputs = Outputs::new("/nowhere");
            let error = outputs.write(&value(&[], &[(name, false)]), &secret(bytes)).unwrap_err().to_string();
            let expected = format!(
                "the value of secret group/key {reason}, which fileKeyRef cannot express for the variable {name}; \
                 request the secret as a file, or set delivery.pod.variables to file or both"
            );
            assert_eq!(error, expected);
        }
        let mut outputs = Outputs::new("/nowhere");
        let large = [b'x'; 30 << 10];
        outputs.write(&value(&[], &[("A", false), ("B", false)]), &secret(&large)).unwrap();
        let error = outputs.write(&value(&[], &[("C", false)]), &secret(&large)).unwrap_err().to_string();
        assert!(error.contains("makes the values of all variables larger than 64 KiB"), "{error}");
    }

    #[test]
    fn a_file_is_replaced_whole_and_has_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let mut outputs = Outputs::new("/nowhere");
        for (bytes, mode, expected) in [(&b"one"[..], None, 0o444), (b"two\xff\0", Some(0o400), 0o400)] {
            outputs.write(&value(&[(&path, mode)], &[]), &secret(bytes)).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, expected);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        outputs.finish().unwrap();
        let missing = folder.path().join("missing/token");
        let error = outputs.write(&value(&[(&missing, None)], &[]), &secret(b"x")).unwrap_err().to_string();
        let expected = "missing/token: No such file or directory (os error 2)";
        assert!(error.starts_with("secret group/key cannot be written to ") && error.ends_with(expected), "{error}");
    }
}
