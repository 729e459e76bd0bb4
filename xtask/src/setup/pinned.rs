//! A folder of the cache with pinned packages: [`PinnedFolder`]. Its name contains the hash of the
//! files with the pins, so a changed pin results in a different folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::cache;
use crate::workspace;

/// The file that marks a complete folder. It is written last.
const COMPLETE: &str = "complete";

/// A folder that is either complete or recreated.
pub(super) struct PinnedFolder {
    path: PathBuf,
}

// === impl PinnedFolder ===

impl PinnedFolder {
    /// Returns the cache folder whose name contains the hash of these files' content. The folder
    /// may not exist yet.
    pub(super) fn of(kind: &str, files: &[&str]) -> Result<Self> {
        let mut pins = Vec::new();
        for file in files {
            pins.extend(fs::read(workspace::root().join(file)).with_context(|| format!("cannot read {file}"))?);
        }
        Ok(Self { path: cache::folder()?.join(name(kind, &pins)) })
    }

    /// Returns the folder, and recreates it if it is missing or does not work any more, for example
    /// because a program that it depends on was removed.
    pub(super) fn ensure(
        self,
        works: impl Fn(&Path) -> bool,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let Self { path } = self;
        let is_complete = || path.join(COMPLETE).is_file() && works(&path);
        if is_complete() {
            return Ok(path);
        }
        let _lock = cache::lock()?;
        // Another set-up may have created it while this one waited for the lock.
        if !is_complete() {
            if path.exists() {
                fs::remove_dir_all(&path)
                    .with_context(|| format!("cannot delete the incomplete folder {}", path.display()))?;
            }
            make(&path)?;
            fs::write(path.join(COMPLETE), "").with_context(|| format!("cannot write into {}", path.display()))?;
        }
        Ok(path)
    }
}

/// Returns the folder's name. Tests that run without `cargo xtask` compute the same name.
fn name(kind: &str, pins: &[u8]) -> String {
    let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(pins));
    format!("{kind}-{}", &hash[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_pin_results_in_a_different_folder() {
        let pins = "# made\nflyte==2.0.1 \\\n    --hash=sha256:00\nflyteidl2==9.9 \\\nflytekit==1.16.3 \\\n";
        assert_eq!(name("sdks", pins.as_bytes()), "sdks-a782554df7ca58bb");
        assert_ne!(name("sdks", pins.as_bytes()), name("sdks", pins.replace("2.0.1", "2.0.2").as_bytes()));
    }
}
