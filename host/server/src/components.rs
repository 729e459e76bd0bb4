//! Where components come from: [`Components`], which gives their bytes, and tells when one that was asked for holds others.
//!
//! The only place that reads a component. A further kind of source is an arm of [`Components::fetch`], which may take as long as
//! fetching takes, and one of [`Components::changed`].

mod files;

use std::{borrow::Cow, collections::BTreeMap, path::PathBuf};

use ampoule_engine::digest;
use anyhow::Context as _;
use tokio::task::spawn_blocking;

use self::files::Digests;
use crate::{config::ComponentSource, plugins::Builtins, watch::Watch};

/// What a source holds.
#[derive(Clone, Debug)]
pub(crate) struct Component {
    pub(crate) bytes: Cow<'static, [u8]>,
    /// SHA-256, in hexadecimal.
    pub(crate) digest: String,
}

/// What a source holds, or why that cannot be said. The reason names the source.
pub(crate) type Fetched = anyhow::Result<Component>;

/// The components that somebody asked for.
pub(crate) struct Components {
    builtins: Builtins,
    files: Watch<BTreeMap<PathBuf, Result<String, String>>>,
}

// === impl Components ===

impl Components {
    /// Follows nothing yet.
    pub(crate) fn new(builtins: Builtins) -> Self {
        Self { builtins, files: Watch::new(BTreeMap::new(), BTreeMap::new) }
    }

    /// What each of these holds now, in this order. These are followed from now on, and no others.
    pub(crate) async fn fetch(&mut self, sources: impl Iterator<Item = &ComponentSource>) -> Vec<Fetched> {
        let mut fetched = Vec::new();
        let mut files = BTreeMap::new();
        for source in sources {
            fetched.push(match source {
                ComponentSource::Builtin(name) => builtin(name, self.builtins),
                ComponentSource::File(path) => {
                    let read = file(path.clone()).await;
                    let seen = read.as_ref().map(|component| component.digest.clone());
                    files.insert(path.clone(), seen.map_err(|error| format!("{error:#}")));
                    read
                }
            });
        }
        let digests = Digests::of(files.keys().cloned());
        self.files = Watch::new(files, move || digests.look());
        fetched
    }

    /// Waits until one of those that were fetched last holds something else than it did then. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        self.files.changed().await;
    }
}

fn builtin(name: &str, builtins: Builtins) -> Fetched {
    let found = builtins.iter().find(|(builtin, _)| *builtin == name);
    let (_, component) = found.with_context(|| format!("no built-in plugin {name}"))?;
    Ok(Component::new(Cow::Borrowed(component)))
}

async fn file(path: PathBuf) -> Fetched {
    // Hashing 18 MB is nothing for a thread that serves.
    spawn_blocking(move || Ok(Component::new(Cow::Owned(files::read(&path)?)))).await?
}

// === impl Component ===

impl Component {
    pub(crate) fn new(bytes: Cow<'static, [u8]>) -> Self {
        let digest = digest(&bytes);
        Self { bytes, digest }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use tokio::time::timeout;

    use super::*;

    fn table(fetched: &[Fetched]) -> Vec<String> {
        let say = |component: &Component| String::from_utf8_lossy(&component.bytes).into_owned();
        fetched.iter().map(|fetched| fetched.as_ref().map_or_else(|error| format!("{error:#}"), say)).collect()
    }

    #[tokio::test]
    async fn gives_what_is_there_and_follows_the_files_of_the_last_request() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        fs::write(&one, "1").unwrap();
        let sources = [
            ComponentSource::Builtin("k8s".to_owned()),
            ComponentSource::File(one.clone()),
            ComponentSource::File(two.clone()),
            ComponentSource::Builtin("aws".to_owned()),
        ];
        let mut components = Components::new(&[("k8s", b"k")]);
        let missing = format!("cannot read the component {}: No such file or directory (os error 2)", two.display());
        let fetched = components.fetch(sources.iter()).await;
        assert_eq!(table(&fetched), ["k", "1", &missing, "no built-in plugin aws"]);

        fs::write(&two, "2").unwrap();
        components.changed().await;
        let fetched = components.fetch(sources[..2].iter()).await;
        assert_eq!(table(&fetched), ["k", "1"]);
        // Nobody asks for the second any more.
        fs::write(&two, "3").unwrap();
        assert!(timeout(Duration::from_secs(3), components.changed()).await.is_err());
        fs::remove_file(&one).unwrap();
        components.changed().await;
    }
}
