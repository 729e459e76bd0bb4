//! Rules for files: their first lines, their size and their place.
//!
//! The limits are those of CONTRIBUTING.md.

use super::repository::{File, files, paths, read};

/// Maximum number of lines in a file; the aim is 250.
const LONGEST: usize = 500;

fn rust_files() -> Vec<File> {
    let files = files(&["*.rs"]);
    assert!(files.len() > 50, "git lists too few files: {}", files.len());
    files
}

#[test]
fn no_build_output_is_committed() {
    let listed = paths(&["*"]);
    let made: Vec<_> = listed.iter().filter(|path| path.split('/').any(|folder| folder == "target")).collect();
    assert!(listed.len() > 500 && made.is_empty(), "{made:?}");
}

#[test]
fn every_file_begins_with_two_lines_of_documentation() {
    for File { path, text } in rust_files() {
        let head = text.lines().take_while(|line| line.starts_with("//!")).count();
        assert!(head >= 2, "{path} must begin with `//!` on two lines or more, and has {head}");
    }
}

#[test]
fn no_file_is_longer_than_its_budget() {
    for File { path, text } in rust_files() {
        let lines = text.lines().count();
        assert!(lines <= LONGEST, "{path} has {lines} lines, the limit is {LONGEST}: split it");
    }
}

#[test]
fn modules_are_next_to_their_folder() {
    for File { path, .. } in rust_files() {
        assert!(!path.ends_with("/mod.rs"), "{path} should have the folder's name with .rs, next to the folder");
    }
}

#[test]
fn main_and_the_built_in_plugins_stay_small() {
    let plugins = ampoule_plugin_bundle::COMPONENTS.iter().map(|(name, _)| (format!("plugins/{name}/src/lib.rs"), 150));
    for (path, limit) in plugins.chain([("host/src/main.rs".to_owned(), 25)]) {
        let lines = read(&path).lines().count();
        assert!(lines <= limit, "{path} has {lines} lines, the limit is {limit}");
    }
}

#[test]
fn one_module_defines_the_shape_of_a_review_and_one_the_contract() {
    let homes = [
        ("admission.k8s.io/v1beta1\"", "host/review/src"),
        ("wasmtime::component::bindgen!", "host/engine/src/contract"),
    ];
    for (word, home) in homes {
        let sources = rust_files().into_iter().filter(|file| file.path.starts_with("host") && file.text.contains(word));
        let (inside, outside): (Vec<_>, Vec<_>) = sources
            .map(|file| file.path)
            .filter(|path| !path.contains("tests"))
            .partition(|path| path.starts_with(home));
        assert!(outside.is_empty(), "{word} belongs in {home} only, and is in {outside:?}");
        assert!(!inside.is_empty(), "{word} is not in {home}: correct this test");
    }
}
