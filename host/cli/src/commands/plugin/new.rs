//! `ampoule plugin new`: creates a directory with a plugin that builds and passes its own tests, or
//! fills an empty one.
//!
//! The grants change one file: the world of the plugin, or the features of the Rust SDK. With an
//! SDK and the grant of HTTP, the plugin fetches values from a store.

mod templates;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail, ensure};

use self::templates::{WORLD, template};
use crate::{
    args::{Language, NewArgs, ScaffoldGrant},
    commands::output,
};

/// The name of the example plugins, replaced by the new plugin's name.
const EXAMPLE: &str = "example-plugin";
/// The dependency of the example for the Rust SDK, replaced by the dependency of a new plugin.
const RUST_DEPENDENCY: &str = r#"path = "../../sdk", features = []"#;
/// The lines of the world for a plugin that fetches values. An SDK exports both interfaces.
const FETCHING: [&str; 3] = [
    "import ampoule:injector/fetching@0.2.0;",
    "export ampoule:injector/fetcher@0.2.0;",
    "export ampoule:injector/lifecycle@0.2.0;",
];
/// Maximum length of a name: it must be valid as a package name in each language and as the name of
/// a Kubernetes object.
const MAX_NAME_LEN: usize = 63;
/// The entry that an empty directory may contain.
const REPOSITORY: &str = ".git";

/// A plugin to create.
struct Scaffold<'a> {
    name: String,
    language: Language,
    /// The source of the SDK; empty for the one in this program.
    sdk: Option<&'a str>,
    grants: &'a [ScaffoldGrant],
}

pub(crate) fn plugin_new(args: &NewArgs) -> anyhow::Result<ExitCode> {
    let scaffold = Scaffold::of(args)?;
    scaffold.create(&args.folder)?;
    let readme = args.folder.join("README.md");
    output::print(&format!("created {}; next steps: {}\n", scaffold.name, readme.display()))?;
    Ok(ExitCode::SUCCESS)
}

// === impl Scaffold ===

impl<'a> Scaffold<'a> {
    fn of(args: &'a NewArgs) -> anyhow::Result<Self> {
        let NewArgs { folder, name, language, sdk, grants } = args;
        let name = match name {
            Some(name) => name.clone(),
            None => folder_name(folder)?,
        };
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        ensure!(
            name.len() <= MAX_NAME_LEN
                && name.chars().all(known)
                && name.starts_with(|c: char| c.is_ascii_lowercase())
                && !name.ends_with('-'),
            "invalid plugin name {name:?}: use up to {MAX_NAME_LEN} of a-z, 0-9 and -, with a letter first and no - at \
             the end, or set --name"
        );
        match (language, sdk.as_deref()) {
            (Language::C, Some(_)) => bail!("--sdk: the language c has no SDK"),
            (Language::Rust, Some("")) => {
                bail!("--sdk: set --sdk=SOURCE to the git URL or a local clone of Ampoule's repository")
            }
            (Language::Javascript | Language::Python, Some(source)) => {
                ensure!(source.is_empty(), "--sdk: {source}: only the language rust has a source");
            }
            _ => {}
        }
        Ok(Self { name, language: *language, sdk: sdk.as_deref(), grants })
    }

    /// Writes the files into a new directory, or into an empty one.
    fn create(&self, folder: &Path) -> anyhow::Result<()> {
        let files = self.files()?;
        ensure_empty(folder)?;
        for (path, text) in files {
            let path = folder.join(path);
            let written = path.parent().map_or(Ok(()), fs::create_dir_all);
            written
                .and_then(|()| fs::write(&path, text))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    fn files(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        let is_store = self.grants.contains(&ScaffoldGrant::Http);
        let files = template(self.language, self.sdk.is_some(), is_store).into_iter();
        files
            .map(|(path, text)| {
                let text = text.replace(EXAMPLE, &self.name);
                let text = match path {
                    WORLD => self.world(&text)?,
                    "Cargo.toml" => self.manifest(&text)?,
                    _ => text,
                };
                Ok((path, text))
            })
            .collect()
    }

    /// Returns the world with the imports of the grants.
    fn world(&self, text: &str) -> anyhow::Result<String> {
        let mut lines: Vec<_> = self.grants.iter().map(|grant| grant.import()).collect();
        if self.sdk.is_some() && !lines.is_empty() {
            lines.extend(FETCHING);
        }
        let mut world = text.to_owned();
        for line in lines {
            let disabled = format!("// {line}");
            ensure!(world.contains(&disabled), "the template of the world lacks {line}");
            world = world.replace(&disabled, line);
        }
        Ok(world)
    }

    /// Returns the manifest with the source and the features of the SDK.
    fn manifest(&self, text: &str) -> anyhow::Result<String> {
        let Some(source) = self.sdk else { return Ok(text.to_owned()) };
        let sdk = Path::new(source).join("plugins/sdk");
        let source = if sdk.is_dir() {
            let sdk = sdk.canonicalize().with_context(|| format!("cannot read {}", sdk.display()))?;
            format!("path = {:?}", sdk.display().to_string())
        } else {
            ensure!(source.contains("://") || source.contains('@'), "--sdk: {source} contains no plugins/sdk");
            format!("git = {source:?}")
        };
        let features: Vec<_> = self.grants.iter().map(|grant| grant.feature()).collect();
        Ok(text.replace(RUST_DEPENDENCY, &format!("{source}, features = {features:?}")))
    }
}

/// Returns the last component of a directory's path.
fn folder_name(folder: &Path) -> anyhow::Result<String> {
    let absolute: PathBuf = match folder.canonicalize() {
        Ok(folder) => folder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => folder.to_owned(),
        Err(error) => return Err(error).with_context(|| format!("cannot read the directory {}", folder.display())),
    };
    let name = absolute.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).with_context(|| format!("{} has no name for a plugin: set --name", folder.display()))
}

/// Creates the directory if it does not exist. Otherwise it may contain only a repository.
fn ensure_empty(folder: &Path) -> anyhow::Result<()> {
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return fs::create_dir(folder).with_context(|| format!("cannot create the directory {}", folder.display()));
        }
        listed => listed.with_context(|| format!("cannot read the directory {}", folder.display()))?,
    };
    for entry in listed {
        let name = entry.with_context(|| format!("cannot read the directory {}", folder.display()))?.file_name();
        ensure!(name == REPOSITORY, "the directory {} is not empty: it contains {}", folder.display(), name.display());
    }
    Ok(())
}
