//! File heads, sizes and places.
//!
//! Only files that git knows, or would take, are looked at.

use std::{fs, path::PathBuf, process::Command};

/// The most lines that a file may have; 250 is the aim.
const LONGEST: usize = 500;

fn files(pattern: &str) -> String {
    let mut git = Command::new("git");
    let listed = git.args(["ls-files", "-co", "--exclude-standard", pattern]).current_dir(super::root()).output();
    String::from_utf8(listed.expect("git lists the files").stdout).expect("paths are UTF-8")
}

fn rust_files() -> Vec<(PathBuf, String)> {
    let (root, listed) = (super::root(), files("*.rs"));
    let files = listed.lines().filter_map(|path| Some((path.into(), fs::read_to_string(root.join(path)).ok()?)));
    let files: Vec<_> = files.collect();
    assert!(files.len() > 50, "git lists too few files: {}", files.len());
    files
}

#[test]
fn nothing_that_a_build_made_is_kept() {
    let listed = files("*");
    let made: Vec<_> = listed.lines().filter(|path| path.split('/').any(|folder| folder == "target")).collect();
    assert!(listed.lines().count() > 500 && made.is_empty(), "{made:?}");
}

#[test]
fn every_file_says_what_it_is_in_two_lines_or_more() {
    for (path, text) in rust_files() {
        let head = text.lines().take_while(|line| line.starts_with("//!")).count();
        assert!(head >= 2, "{} must open with `//!` on two lines or more, and has {head}", path.display());
    }
}

#[test]
fn no_file_is_longer_than_its_budget() {
    for (path, text) in rust_files() {
        let lines = text.lines().count();
        assert!(lines <= LONGEST, "{} has {lines} lines, and {LONGEST} is the most: split it", path.display());
    }
}

#[test]
fn modules_stand_beside_their_folder() {
    for (path, _) in rust_files() {
        assert!(!path.ends_with("mod.rs"), "{} should be the folder's name with .rs, beside it", path.display());
    }
}

#[test]
fn main_and_the_built_in_plugins_stay_small() {
    let plugins = ampoule_plugin_bundle::COMPONENTS.iter().map(|(name, _)| (format!("plugins/{name}/src/lib.rs"), 150));
    for (path, most) in plugins.chain([("host/src/main.rs".to_owned(), 25)]) {
        let text = fs::read_to_string(super::root().join(&path)).expect("the file is there");
        assert!(text.lines().count() <= most, "{path} must stay within {most} lines");
    }
}

#[test]
fn one_module_knows_the_shape_of_a_review_and_one_the_contract() {
    let homes = [
        ("admission.k8s.io/v1beta1\"", "host/review/src"),
        ("wasmtime::component::bindgen!", "host/engine/src/contract"),
    ];
    for (word, home) in homes {
        let elsewhere = rust_files().into_iter().map(|(path, text)| (path.to_string_lossy().into_owned(), text));
        let elsewhere = elsewhere
            .filter(|(path, _)| path.starts_with("host") && !path.contains("tests") && !path.starts_with(home));
        let found: Vec<_> = elsewhere.filter(|(_, text)| text.contains(word)).map(|(path, _)| path).collect();
        assert!(found.is_empty(), "{word} belongs into {home} only, and is in {found:?}");
    }
    assert!(rust_files().iter().any(|(path, text)| path.starts_with("host/engine/src") && text.contains(homes[1].0)));
}
