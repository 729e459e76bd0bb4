//! Flyte's own configuration files, as its webhook reads them: [`FlyteSource`] becomes a [`Config`](super::Config).
//!
//! The files are merged into one tree, the tree becomes a [`ConfigFile`](super::ConfigFile), and that is checked as every other: there is one
//! validation. An error names the key and the file that the reader of Flyte's file can change. Only the sections `webhook` and
//! `secrets` are looked at. Everything that knows a backend of Flyte by name is below this module, and nowhere else in the host.

mod files;
mod global;
mod keys;
mod managers;
#[cfg(test)]
mod tests;
mod translate;
mod tree;
mod value;

use std::{fmt, path::PathBuf};

pub use self::keys::FLAGS;
use self::{translate::Translation, tree::Tree};
use super::{ConfigError, LoadedConfig, ProfileName, check};

/// Where a configuration in Flyte's terms comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlyteSource {
    /// Paths or patterns of files; of each pattern the matches in the order of their names. A later file wins.
    pub globs: Vec<String>,
    /// Single keys and their values, such as `webhook.certDir`; they win over every file.
    pub flags: Vec<(String, String)>,
    /// The profile; without it, it follows from the keys.
    pub profile: Option<ProfileName>,
}

/// Something that the author of a configuration should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A choice that was made.
    Info(String),
    /// Something that has not the effect that it seems to have.
    Warning(String),
}

/// A key as its author wrote it, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    key: String,
    file: Option<PathBuf>,
}

// === impl FlyteSource ===

impl FlyteSource {
    /// Reads, merges, translates and checks. `builtins` are the names of the plugins in this program.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong; a pattern that matches nothing is.
    pub fn load(&self, builtins: &[&str]) -> Result<LoadedConfig, ConfigError> {
        let Self { globs, flags, profile } = self;
        let mut tree = Tree::default();
        for path in files::find(globs)? {
            files::merge(&mut tree, &path)?;
        }
        for (key, value) in flags {
            tree.set(key, value);
        }
        let lookup = |name: &str| std::env::var_os(name)?.into_string().ok();
        let Translation { file, origins, notices } = translate::translate(&tree, *profile, &lookup)?;
        let config = check::config(file, builtins).map_err(|error| origins.explain(error))?;
        Ok(LoadedConfig { config, notices })
    }
}

// === impl Notice ===

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Info(text) => write!(f, "note: {text}"),
            Self::Warning(text) => write!(f, "warning: {text}"),
        }
    }
}

// === impl Place ===

impl Place {
    /// That this key is wrong.
    fn error(&self, reason: impl Into<String>) -> ConfigError {
        let Self { key, file } = self.clone();
        ConfigError { file, place: None, key, reason: reason.into() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, file } = self;
        match file {
            Some(file) => write!(f, "{key} ({})", file.display()),
            None => f.write_str(key),
        }
    }
}
