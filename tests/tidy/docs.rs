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

#[test]
fn every_yaml_configuration_in_the_readme_loads() {
    let readme = read("README.md");
    let configurations = blocks(&readme, "yaml").into_iter().filter(|block| block.contains("injectors:"));
    let mut count = 0;
    for block in configurations {
        if let Err(error) = ampoule_config::Config::parse(block, &built_ins()) {
            panic!("a configuration in the README does not load: {error}\n{block}");
        }
        count += 1;
    }
    assert!(count > 0, "the README shows no configuration");
}

#[test]
fn every_link_to_a_file_leads_somewhere() {
    for page in [
        "README.md",
        "ARCHITECTURE.md",
        "DESIGN.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "wit/README.md",
        "plugins/README.md",
        "plugins/examples/http-json/README.md",
        "tests/fuzz/README.md",
        "deploy/README.md",
        "deploy/METRICS.md",
        "deploy/MIGRATION.md",
    ] {
        let text = read(page);
        let folder = super::root().join(page);
        let folder = folder.parent().expect("a page stands in a folder");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let local = !target.is_empty() && !target.contains("://");
            assert!(!local || folder.join(target).exists(), "{page} links to {target}, which is not there");
        }
    }
}

#[test]
fn every_xtask_command_in_the_docs_exists() {
    let source = read("xtask/src/args.rs").to_lowercase();
    for page in ["README.md", "CONTRIBUTING.md", "deploy/README.md"] {
        for rest in read(page).split("cargo xtask ").skip(1) {
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
