//! The contract in this crate's package, `plugins/sdk/wit`, equals that of the repository, `wit`.
//!
//! A package cannot contain files outside its folder, so the SDK has a copy.

use std::{collections::BTreeMap, fs, path::Path};

fn files(folder: &str) -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let wit = entries.filter(|path| path.extension().is_some_and(|extension| extension == "wit"));
    wit.map(|path| (path.file_name().unwrap().display().to_string(), fs::read_to_string(&path).unwrap())).collect()
}

#[test]
fn the_copy_of_the_contract_is_current() {
    let (contract, copy) = (files("../../wit"), files("wit"));
    assert!(!contract.is_empty());
    assert!(copy == contract, "update the copy: rm plugins/sdk/wit/*.wit && cp wit/*.wit plugins/sdk/wit/");
}
