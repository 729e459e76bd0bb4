//! Flyte's configuration files, as its webhook reads them: [`FlyteSource`] becomes a
//! [`Config`](crate::Config).
//!
//! The files are merged into one tree. The tree becomes a `ConfigFile`, which is checked like every
//! other. An error names the key and the file of Flyte. Only the sections `webhook` and `secrets`
//! are read. No other module of the host names a backend of Flyte.

mod embedded;
mod files;
mod global;
mod keys;
mod managers;
mod place;
#[cfg(test)]
mod tests;
mod translate;
mod tree;
mod value;

use std::fmt;

pub use self::keys::FLAGS;
use self::{translate::translate, tree::Tree};
use crate::{ConfigError, LoadedConfig, ProfileName};

/// Looks up an environment variable.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The source of a configuration in Flyte's terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlyteSource {
    /// Paths or patterns of files; the matches of a pattern are sorted by name. A later file wins.
    pub globs: Vec<String>,
    /// Single keys and their values, such as `webhook.certDir`; they override every file.
    pub flags: Vec<(String, String)>,
    /// The profile (default: detected from the keys).
    pub profile: Option<ProfileName>,
}

/// A remark for the author of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A choice that was made.
    Info(String),
    /// A key without its expected effect.
    Warning(String),
}

// === impl FlyteSource ===

impl FlyteSource {
    /// Reads, merges, translates and checks the files. `builtins` are the names of the built-in
    /// plugins.
    ///
    /// # Errors
    ///
    /// The first error in the files; a pattern that matches no file is an error.
    pub fn load(&self, builtins: &[&str]) -> Result<LoadedConfig, ConfigError> {
        let mut tree = Tree::default();
        for path in files::find(&self.globs)? {
            files::merge(&mut tree, &path)?;
        }
        for (key, value) in &self.flags {
            tree.set(key, value);
        }
        let lookup = |name: &str| std::env::var_os(name)?.into_string().ok();
        let translation = translate(&tree, self.profile, &lookup)?;
        let origins = translation.origins;
        let config = translation.file.check(builtins).map_err(|error| origins.explain(error))?;
        Ok(LoadedConfig { config, notices: translation.notices })
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
