//! The checksums of a frozen version: the file `SHA256SUMS` in the format of `sha256sum`.
//!
//! It lists every other file of the folder.

use std::{collections::BTreeMap, fs, path::Path};

use sha2::{Digest as _, Sha256};

/// The name of the file with the checksums.
pub(super) const CHECKSUMS: &str = "SHA256SUMS";

/// SHA-256 in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

/// The differences between the files of a folder and its checksums.
pub(super) fn changed_files(folder: &Path) -> Vec<String> {
    let (listed, found) = (listed(folder), found(folder));
    let mut changes = Vec::new();
    for (name, checksum) in &found {
        match listed.get(name) {
            None => changes.push(format!("{name} is not in {CHECKSUMS}")),
            Some(listed) if listed != checksum => changes.push(format!("{name} does not match {CHECKSUMS}")),
            Some(_) => {}
        }
    }
    let missing = listed.keys().filter(|name| !found.contains_key(*name));
    changes.extend(missing.map(|name| format!("{name} is missing")));
    changes
}

/// The checksums in the list, by file.
fn listed(folder: &Path) -> BTreeMap<String, String> {
    let list = fs::read_to_string(folder.join(CHECKSUMS)).unwrap_or_default();
    let lines = list.lines().map(|line| line.split_once("  ").expect("a line has a checksum and a name"));
    lines.map(|(checksum, name)| (name.to_owned(), checksum.to_owned())).collect()
}

/// The checksums of the files, by file.
fn found(folder: &Path) -> BTreeMap<String, String> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named = paths.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), path));
    let files = named.filter(|(name, _)| name != CHECKSUMS);
    files.map(|(name, path)| (name, sha256(&fs::read(path).unwrap()))).collect()
}
