//! Versions that stand in more than one place, because authors and tests read different files.
//!
//! What `ampoule plugin new` writes asks for the tools that the tests have built it with.

use std::{collections::BTreeSet, fs};

/// The lines `NAME==VERSION`, without what follows them.
fn pins(path: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(super::root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let words = text.lines().filter_map(|line| line.split_whitespace().next());
    let pins: BTreeSet<_> = words.filter(|word| word.contains("==")).map(str::to_owned).collect();
    assert!(!pins.is_empty(), "{path} pins nothing");
    pins
}

#[test]
fn examples_ask_for_the_tools_that_they_are_tested_with() {
    let tested = pins("tests/authors/requirements.in");
    for example in ["c", "python"] {
        let path = format!("plugins/examples/{example}/requirements.txt");
        for pin in pins(&path) {
            assert!(tested.contains(&pin), "{path} asks for {pin}, which tests/authors/requirements.in does not");
        }
    }
}

#[test]
fn what_is_installed_is_what_is_asked_for() {
    for folder in ["authors", "deploy", "sdks", "typos"] {
        let made = pins(&format!("tests/{folder}/requirements.txt"));
        for pin in pins(&format!("tests/{folder}/requirements.in")) {
            assert!(
                made.contains(&pin),
                "tests/{folder}/requirements.txt was made before {pin}: see the head of the .in"
            );
        }
    }
}
