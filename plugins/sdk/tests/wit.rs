//! The contract in this crate's package, `plugins/sdk/wit`, equals that of the repository, `wit`.
//!
//! A package cannot contain files outside its folder, so the SDK has a copy.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

fn files(folder: &str) -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).expect("the folder exists");
    let paths = entries.map(|entry| entry.expect("the folder is readable").path());
    let wit = paths.filter(|path| path.extension().is_some_and(|extension| extension == "wit"));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("the file is text");
        (path.file_name().expect("the path has a name").display().to_string(), text)
    };
    wit.map(read).collect()
}

#[test]
fn the_copy_of_the_contract_is_current() {
    let (contract, copy) = (files("../../wit"), files("wit"));
    assert!(!contract.is_empty());
    assert!(copy == contract, "update the copy: rm plugins/sdk/wit/*.wit && cp wit/*.wit plugins/sdk/wit/");
}
