//! Spelling of the whole checkout, with the program `typos` and the exceptions of `typos.toml`.
//!
//! `cargo xtask setup` installs the pinned version; `AMPOULE_TYPOS` names another folder.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::repository::root;

/// Runs `typos` over a folder; the lines that name mistakes.
fn mistakes(folder: &Path) -> Vec<String> {
    let program = ampoule_tests::typos().expect("typos is installed").join("bin/typos");
    let mut typos = Command::new(program);
    typos.args(["--format", "brief", "--config"]).arg(root().join("typos.toml")).arg(".").current_dir(folder);
    let output = typos.output().expect("typos starts");
    // 2: it found mistakes.
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 2)), "typos failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn no_word_is_misspelt() {
    let mistakes = mistakes(&root());
    assert!(mistakes.is_empty(), "correct these words, or except them in typos.toml:\n{}", mistakes.join("\n"));
}

#[test]
fn a_misspelt_word_is_found() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    // Split, so that this file itself passes.
    let mistake = ["recie", "ve"].concat();
    fs::write(folder.path().join("page.md"), format!("Plugins {mistake} requests.\n")).expect("a file can be written");
    let found = mistakes(folder.path());
    assert!(found.len() == 1 && found[0].contains("`receive`"), "{found:?}");
}
