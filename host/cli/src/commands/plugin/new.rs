//! `ampoule plugin new`: a folder with a plugin that builds and passes its own test as it is.
//!
//! What is written are the examples of the repository, and the contract, both as they were when this program was built.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context as _, ensure};

use crate::{
    args::{Language, NewArgs},
    commands::output,
};

/// A file of a template: its path in the plugin's folder, and its text.
type File = (&'static str, &'static str);

/// What the examples are called, and a new plugin no more.
const EXAMPLE: &str = "example-plugin";
/// A name is one of a package in every language's registry, and of a Kubernetes object.
const LONGEST: usize = 63;

macro_rules! files {
    ($folder:literal: $($file:literal),+ $(,)?) => {
        &[$(($file, include_str!(concat!("../../../../../", $folder, "/", $file)))),+]
    };
}

const RUST: &[File] =
    files!("plugins/examples/rust-minimal": "Cargo.toml", "Cargo.lock", "src/lib.rs", "README.md", ".gitignore");
const JAVASCRIPT: &[File] =
    files!("plugins/examples/javascript": "package.json", "package-lock.json", "plugin.js", "README.md", ".gitignore");
const PYTHON: &[File] = files!("plugins/examples/python": "requirements.txt", "app.py", "README.md", ".gitignore");
const C: &[File] = files!("plugins/examples/c": "requirements.txt", "injector.c", "README.md", ".gitignore");
const COMMON: [&[File]; 2] = [
    files!("plugins/examples":
        "cases/asks-for-a-file.yaml", "cases/asks-for-a-file.expected.yaml",
        "cases/asks-for-a-variable.yaml", "cases/asks-for-a-variable.expected.yaml",
        "cases/has-a-setting-nobody-knows.yaml", "cases/has-a-setting-nobody-knows.expected.yaml",
        "cases/has-settings-that-are-wrong.yaml", "cases/has-settings-that-are-wrong.expected.yaml",
        "cases/leaves-the-choice.yaml", "cases/leaves-the-choice.expected.yaml",
        "cases/names-no-key.yaml", "cases/names-no-key.expected.yaml",
    ),
    files!("": "wit/README.md", "wit/injector.wit", "wit/kubernetes-secrets.wit", "wit/log.wit", "wit/types.wit", "wit/world.wit"),
];

pub(crate) fn plugin_new(args: &NewArgs) -> anyhow::Result<ExitCode> {
    let NewArgs { name, language } = args;
    write(Path::new(name), name, *language)?;
    output::print(&format!("{name}/README.md says what to do next\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a plugin of this name into a folder that is not there yet.
pub(super) fn write(folder: &Path, name: &str, language: Language) -> anyhow::Result<()> {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    ensure!(
        name.len() <= LONGEST
            && name.chars().all(known)
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && !name.ends_with('-'),
        "{name:?} is no name for a plugin: use up to {LONGEST} of a-z, 0-9 and -, a letter first"
    );
    let own = match language {
        Language::Rust => RUST,
        Language::Javascript => JAVASCRIPT,
        Language::Python => PYTHON,
        Language::C => C,
    };
    fs::create_dir(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for (path, text) in own.iter().chain(COMMON.iter().copied().flatten()) {
        let path = folder.join(path);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all);
        let written = written.and_then(|()| fs::write(&path, text.replace(EXAMPLE, name)));
        written.with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

    #[test]
    fn every_case_and_every_file_of_the_contract_is_written() {
        let written: BTreeSet<_> = COMMON.iter().copied().flatten().map(|(path, _)| (*path).to_owned()).collect();
        let there = |folder: &str, below: &str| -> Vec<String> {
            let listed = fs::read_dir(format!("{ROOT}/{folder}")).unwrap();
            listed.map(|entry| format!("{below}/{}", entry.unwrap().file_name().to_str().unwrap())).collect()
        };
        let there = [there("plugins/examples/cases", "cases"), there("wit", "wit")].concat();
        assert_eq!(written, there.into_iter().collect());
    }

    #[test]
    fn a_plugin_has_its_name_everywhere() {
        let folder = tempfile::tempdir().unwrap();
        for (language, mark) in [
            (Language::Rust, "Cargo.toml"),
            (Language::Javascript, "package.json"),
            (Language::Javascript, "package-lock.json"),
            (Language::Python, "app.py"),
            (Language::C, "injector.c"),
        ] {
            let plugin = folder.path().join(mark);
            write(&plugin, "my-plugin", language).unwrap();
            let text = fs::read_to_string(plugin.join(mark)).unwrap();
            assert!(text.contains("my-plugin") && !text.contains(EXAMPLE), "{text}");
        }
    }

    #[test]
    fn says_what_a_name_may_be_and_writes_over_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "A", "1a", "a_b", "a/b", "../a", "a-", &"a".repeat(64)] {
            let expected = format!("{name:?} is no name for a plugin: use up to 63 of a-z, 0-9 and -, a letter first");
            assert_eq!(write(folder.path(), name, Language::Rust).unwrap_err().to_string(), expected);
        }
        let error = format!("{:#}", write(folder.path(), "a", Language::Rust).unwrap_err());
        let expected = "cannot make the folder DIR: File exists (os error 17)";
        assert_eq!(error.replace(folder.path().to_str().unwrap(), "DIR"), expected);
    }
}
