//! `ampoule plugin new`: creates a directory with a plugin that builds and passes its own tests.
//!
//! The templates are the repository's examples and the WIT contract, embedded when this program was
//! built.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context as _, ensure};

use crate::{
    args::{Language, NewArgs},
    commands::output,
};

/// A file of a template: its path in the plugin's directory, and its content.
type TemplateFile = (&'static str, &'static str);

/// The name of the example plugins, replaced by the new plugin's name.
const EXAMPLE: &str = "example-plugin";
/// Maximum length of a name: it must be valid as a package name in each language and as the name of
/// a Kubernetes object.
const MAX_NAME_LEN: usize = 63;

macro_rules! files {
    ($folder:literal: $($file:literal),+ $(,)?) => {
        &[$(($file, include_str!(concat!("../../../../../", $folder, "/", $file)))),+]
    };
}

const RUST: &[TemplateFile] =
    files!("plugins/examples/rust-minimal": "Cargo.toml", "Cargo.lock", "src/lib.rs", "README.md", ".gitignore");
const JAVASCRIPT: &[TemplateFile] =
    files!("plugins/examples/javascript": "package.json", "package-lock.json", "plugin.js", "README.md", ".gitignore");
const PYTHON: &[TemplateFile] =
    files!("plugins/examples/python": "requirements.txt", "app.py", "README.md", ".gitignore");
const C: &[TemplateFile] = files!("plugins/examples/c": "requirements.txt", "injector.c", "README.md", ".gitignore");
const COMMON: [&[TemplateFile]; 2] = [
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
    let name = &args.name;
    create_plugin(Path::new(name), name, args.language)?;
    output::print(&format!("created {name}; next steps: {name}/README.md\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Creates a plugin in a new directory.
fn create_plugin(folder: &Path, name: &str, language: Language) -> anyhow::Result<()> {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    ensure!(
        name.len() <= MAX_NAME_LEN
            && name.chars().all(known)
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && !name.ends_with('-'),
        "invalid plugin name {name:?}: use up to {MAX_NAME_LEN} of a-z, 0-9 and -, with a letter first and no - at the end"
    );
    let own = match language {
        Language::Rust => RUST,
        Language::Javascript => JAVASCRIPT,
        Language::Python => PYTHON,
        Language::C => C,
    };
    fs::create_dir(folder).with_context(|| format!("cannot create the directory {}", folder.display()))?;
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
    fn writes_every_case_and_every_file_of_the_contract() {
        let written: BTreeSet<_> = COMMON.iter().copied().flatten().map(|(path, _)| (*path).to_owned()).collect();
        let there = |folder: &str, below: &str| -> Vec<String> {
            let listed = fs::read_dir(format!("{ROOT}/{folder}")).unwrap();
            listed.map(|entry| format!("{below}/{}", entry.unwrap().file_name().to_str().unwrap())).collect()
        };
        let there = [there("plugins/examples/cases", "cases"), there("wit", "wit")].concat();
        assert_eq!(written, there.into_iter().collect());
    }

    #[test]
    fn replaces_the_name_in_every_file() {
        let folder = tempfile::tempdir().unwrap();
        for (language, mark) in [
            (Language::Rust, "Cargo.toml"),
            (Language::Javascript, "package.json"),
            (Language::Javascript, "package-lock.json"),
            (Language::Python, "app.py"),
            (Language::C, "injector.c"),
        ] {
            let plugin = folder.path().join(mark);
            create_plugin(&plugin, "my-plugin", language).unwrap();
            let text = fs::read_to_string(plugin.join(mark)).unwrap();
            assert!(text.contains("my-plugin") && !text.contains(EXAMPLE), "{text}");
        }
    }

    #[test]
    fn rejects_an_invalid_name_and_an_existing_directory() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "A", "1a", "a_b", "a/b", "../a", "a-", &"a".repeat(64)] {
            let expected = format!(
                "invalid plugin name {name:?}: use up to 63 of a-z, 0-9 and -, with a letter first and no - at the end"
            );
            assert_eq!(create_plugin(folder.path(), name, Language::Rust).unwrap_err().to_string(), expected);
        }
        let error = format!("{:#}", create_plugin(folder.path(), "a", Language::Rust).unwrap_err());
        let expected = "cannot create the directory DIR: File exists (os error 17)";
        assert_eq!(error.replace(folder.path().to_str().unwrap(), "DIR"), expected);
    }
}
