//! Versions that several files pin, because authors and tests read different files.
//!
//! The templates of `ampoule plugin new` pin the same tool versions as the tests.

use std::collections::BTreeSet;

/// The pins `NAME==VERSION`, without the rest of their lines.
fn pins(path: &str) -> BTreeSet<String> {
    let text = super::repository::read(path);
    let words = text.lines().filter_map(|line| line.split_whitespace().next());
    let pins: BTreeSet<_> = words.filter(|word| word.contains("==")).map(str::to_owned).collect();
    assert!(!pins.is_empty(), "{path} pins nothing");
    pins
}

#[test]
fn examples_pin_the_tools_that_they_are_tested_with() {
    let tested = pins("tests/authors/requirements.in");
    for example in ["c", "python"] {
        let path = format!("plugins/examples/{example}/requirements.txt");
        for pin in pins(&path) {
            assert!(tested.contains(&pin), "{path} pins {pin}, tests/authors/requirements.in does not");
        }
    }
}

#[test]
fn requirements_are_compiled_from_their_sources() {
    for folder in ["authors", "deploy", "sdks", "stores", "typos"] {
        let made = pins(&format!("tests/{folder}/requirements.txt"));
        for pin in pins(&format!("tests/{folder}/requirements.in")) {
            assert!(
                made.contains(&pin),
                "tests/{folder}/requirements.txt was made before {pin}: see the head of the .in"
            );
        }
    }
}
