//! What the documentation promises: commands that exist, files that exist, configuration that loads.
//!
//! A reader who copies from the README must not be the first to try it.

use std::fs;

fn read(path: &str) -> String {
    fs::read_to_string(super::root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The fenced blocks of that language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// The pages of the book, and the pages at the top that show commands.
fn pages() -> Vec<String> {
    let folder = super::root().join("docs/src");
    let book = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let names = book.map(|entry| entry.expect("the folder can be listed").file_name().to_string_lossy().into_owned());
    let book = names.filter(|name| name.ends_with(".md")).map(|name| format!("docs/src/{name}"));
    ["README.md", "CONTRIBUTING.md", "deploy/README.md"].map(str::to_owned).into_iter().chain(book).collect()
}

#[test]
fn every_yaml_configuration_in_the_docs_loads() {
    let mut count = 0;
    for page in pages() {
        let text = read(&page);
        for block in blocks(&text, "yaml").into_iter().filter(|block| block.contains("injectors:")) {
            if let Err(error) = ampoule_config::Config::parse(block, &built_ins()) {
                panic!("a configuration in {page} does not load: {error}\n{block}");
            }
            count += 1;
        }
    }
    assert!(count > 2, "the documents show only {count} configurations");
}

#[test]
fn every_link_to_a_file_leads_somewhere() {
    let others = [
        "ARCHITECTURE.md",
        "DESIGN.md",
        "CHANGELOG.md",
        "wit/README.md",
        "plugins/README.md",
        "plugins/examples/http-json/README.md",
        "tests/fuzz/README.md",
    ];
    for page in pages().into_iter().chain(others.map(str::to_owned)) {
        let text = read(&page);
        let folder = super::root().join(&page);
        let folder = folder.parent().expect("a page is in a folder");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let local = !target.is_empty() && !target.contains("://");
            assert!(!local || folder.join(target).exists(), "{page} links to {target}, which does not exist");
        }
    }
}

#[test]
fn every_xtask_command_in_the_docs_exists() {
    let source = read("xtask/src/args.rs").to_lowercase();
    for page in pages() {
        for rest in read(&page).split("cargo xtask ").skip(1) {
            let command: String = rest.chars().take_while(char::is_ascii_alphabetic).collect();
            assert!(
                source.contains(&command),
                "{page} names `cargo xtask {command}`, which xtask/src/args.rs does not"
            );
        }
    }
}

fn built_ins() -> Vec<&'static str> {
    ampoule_plugin_bundle::COMPONENTS.iter().map(|(name, _)| *name).collect()
}
