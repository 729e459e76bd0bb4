//! [`Outputs`]: where the values go, in files and in the file of variables.
//!
//! All values are there before the first one is written, so that a failure changes nothing.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use ampoule_core::{PromisedValue, SecretValue};

use crate::{
    changes::ChangeLog,
    directory::{FetchedContent, publish},
    error::PodFetchError,
    replace::replace,
    variables::FileOfVariables,
};

/// Mode of a file that every user may read, also in an image that runs as any user.
const DEFAULT_MODE: u32 = 0o444;
/// Bytes of the files of one directory. Its volume holds them twice.
const MAX_DIRECTORY: usize = 4 << 20;

/// The values of a pod, by the place where they go.
pub(crate) struct Outputs<'v> {
    directories: BTreeMap<PathBuf, BTreeMap<String, FetchedContent<'v>>>,
    variables_path: PathBuf,
    /// `None` without variables.
    variables: Option<FileOfVariables>,
}

// === impl Outputs ===

impl<'v> Outputs<'v> {
    pub(crate) fn new(variables_path: impl Into<PathBuf>) -> Self {
        Self { directories: BTreeMap::new(), variables_path: variables_path.into(), variables: None }
    }

    /// Takes a value for its files and variables.
    pub(crate) fn add(&mut self, value: &PromisedValue, bytes: &'v SecretValue) -> Result<(), PodFetchError> {
        let secret = &value.secret;
        for file in &value.files {
            let (directory, name) = file.path.rsplit_once('/').unwrap_or_default();
            let files = self.directories.entry(directory.into()).or_default();
            let mode = file.mode.unwrap_or(DEFAULT_MODE);
            files.insert(name.to_owned(), FetchedContent { bytes: bytes.expose(), mode });
            if files.values().map(|file| file.bytes.len()).sum::<usize>() > MAX_DIRECTORY {
                return Err(PodFetchError::Size { secret: secret.clone(), directory: directory.to_owned() });
            }
        }
        for variable in &value.variables {
            let variables = self.variables.get_or_insert_with(FileOfVariables::new);
            match variables.add(&variable.name, bytes.expose()) {
                Err(reason) if !variable.optional => {
                    let (secret, variable) = (secret.clone(), variable.name.clone());
                    return Err(PodFetchError::Variable { secret, variable, reason });
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Takes the places of a value that the store does not have. The kubelet needs the file of
    /// variables nevertheless.
    pub(crate) fn add_absent(&mut self, value: &PromisedValue) {
        if !value.variables.is_empty() {
            self.variables.get_or_insert_with(FileOfVariables::new);
        }
    }

    /// Writes the files of each directory, and the file of variables. Returns whether anything
    /// changed. The log gets the changes of variables first: without them, a change would be
    /// forgotten if the process ended.
    pub(crate) fn write(&self, log: Option<&mut ChangeLog>) -> Result<bool, PodFetchError> {
        let mut changed = false;
        for (directory, files) in &self.directories {
            changed |= publish(directory, files).map_err(|reason| write_error("the files", directory, reason))?;
        }
        // The kubelet needs the file of variables also if none of them can be expressed.
        if let Some(variables) = &self.variables {
            let path = &self.variables_path;
            if let Some(log) = log {
                let current = fs::read(path).unwrap_or_default();
                let seen = log.see(&current, variables.bytes());
                seen.map_err(|reason| write_error("the log of changes beside the file of variables", path, reason))?;
            }
            let written = replace(path, variables.bytes());
            changed |= written.map_err(|reason| write_error("the file of variables", path, reason))?;
        }
        Ok(changed)
    }
}

fn write_error(what: &'static str, path: &Path, reason: io::Error) -> PodFetchError {
    PodFetchError::Write { what, path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use ampoule_core::{FetchedFile, FetchedVariable};

    use super::*;

    fn value(files: &[(&Path, Option<u32>)], variables: &[(&str, bool)]) -> PromisedValue {
        let file = |(path, mode): &(&Path, Option<u32>)| FetchedFile { path: path.display().to_string(), mode: *mode };
        let variable =
            |(name, optional): &(&str, bool)| FetchedVariable { name: (*name).to_owned(), optional: *optional };
        PromisedValue {
            promise: "p".to_owned(),
            secret: "group/key".to_owned(),
            optional: false,
            files: files.iter().map(file).collect(),
            folders: Vec::new(),
            variables: variables.iter().map(variable).collect(),
        }
    }

    fn secret(bytes: &[u8]) -> SecretValue {
        SecretValue::new(bytes.to_vec())
    }

    #[test]
    fn the_file_of_variables_has_every_variable_that_can_be_expressed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("env");
        let (one, two, odd) = (secret(b"one"), secret(b"two"), secret(b"it's"));
        let mut outputs = Outputs::new(&path);
        outputs.add(&value(&[], &[("A", false)]), &one).unwrap();
        outputs.add(&value(&[], &[("B", false), ("C", false)]), &two).unwrap();
        outputs.add(&value(&[], &[("D", true)]), &odd).unwrap();
        assert!(!path.exists(), "nothing is written before all values are there");
        assert!(outputs.write(None).unwrap());
        assert!(!outputs.write(None).unwrap(), "the second time changes nothing");
        assert_eq!(fs::read_to_string(&path).unwrap(), "A='one'\nB='two'\nC='two'\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
        let error = outputs.add(&value(&[], &[("E", false)]), &odd).unwrap_err().to_string();
        let expected = "the value of secret group/key contains a single quote, which fileKeyRef cannot express for the \
                        variable E; request the secret as a file, or set delivery.pod.variables to file or both";
        assert_eq!(error, expected);
    }

    #[test]
    fn the_file_of_variables_exists_only_with_variables() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("env");
        let odd = secret(b"it's");
        let mut outputs = Outputs::new(&path);
        assert!(!outputs.write(None).unwrap() && !path.exists());
        outputs.add(&value(&[], &[("A", true)]), &odd).unwrap();
        assert!(outputs.write(None).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn the_file_of_variables_exists_without_an_optional_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("env");
        let mut outputs = Outputs::new(&path);
        outputs.add_absent(&value(&[(&folder.path().join("file"), None)], &[]));
        assert!(!outputs.write(None).unwrap() && !path.exists());
        outputs.add_absent(&value(&[], &[("A", false)]));
        assert!(outputs.write(None).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn a_file_has_its_mode_and_a_place_that_exists() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let bytes = secret(b"two\xff\0");
        for (mode, expected) in [(None, 0o444), (Some(0o400), 0o400)] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("token");
            let mut outputs = Outputs::new("/nowhere");
            outputs.add(&value(&[(&path, mode)], &[]), &bytes).unwrap();
            assert!(outputs.write(None).unwrap());
            assert_eq!(fs::read(&path).unwrap(), bytes.expose());
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, expected);
        }
        let missing = folder.path().join("missing/token");
        let mut outputs = Outputs::new("/nowhere");
        outputs.add(&value(&[(&missing, None)], &[]), &bytes).unwrap();
        let error = outputs.write(None).unwrap_err().to_string();
        assert!(error.starts_with("the files cannot be written to ") && error.contains("missing: No such"), "{error}");
        let large = secret(&vec![b'x'; MAX_DIRECTORY]);
        let mut outputs = Outputs::new("/nowhere");
        outputs.add(&value(&[(&missing, None)], &[]), &large).unwrap();
        let error = outputs.add(&value(&[(&path, None), (&missing.with_file_name("b"), None)], &[]), &bytes);
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("the value of secret group/key makes the files of "), "{error}");
    }
}
