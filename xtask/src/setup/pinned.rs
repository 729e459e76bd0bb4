//! A folder of the cache that is made of pinned packages: [`PinnedFolder`]. Its name holds the hash of the files that pin them: another
//! pin is another folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::cache;
use crate::workspace;

/// Written last: a folder without it is half-made.
const COMPLETE: &str = "complete";

/// A folder that is there whole or not at all.
pub(super) struct PinnedFolder {
    path: PathBuf,
}

// === impl PinnedFolder ===

impl PinnedFolder {
    /// The folder for these files of the checkout, which need not be there yet.
    pub(super) fn of(kind: &str, files: &[&str]) -> Result<Self> {
        let mut pins = Vec::new();
        for file in files {
            pins.extend(fs::read(workspace::root().join(file)).with_context(|| format!("cannot read {file}"))?);
        }
        Ok(Self { path: cache::folder()?.join(name(kind, &pins)) })
    }

    /// Gives the folder, made where it is not there or does not work any more: what it holds may need what is gone by now.
    pub(super) fn ensure(
        self,
        works: impl Fn(&Path) -> bool,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let Self { path } = self;
        let is_whole = || path.join(COMPLETE).is_file() && works(&path);
        if is_whole() {
            return Ok(path);
        }
        let _lock = cache::lock()?;
        // Another set-up may have made it while we waited for the lock.
        if !is_whole() {
            if path.exists() {
                fs::remove_dir_all(&path).with_context(|| format!("cannot delete the half-made {}", path.display()))?;
            }
            make(&path)?;
            fs::write(path.join(COMPLETE), "").with_context(|| format!("cannot write into {}", path.display()))?;
        }
        Ok(path)
    }
}

/// The tests look for the same name when they are run without `cargo xtask`.
fn name(kind: &str, pins: &[u8]) -> String {
    let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(pins));
    format!("{kind}-{}", &hash[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_pin_is_another_folder() {
        let pins = "# made\nflyte==2.0.1 \\\n    --hash=sha256:00\nflyteidl2==9.9 \\\nflytekit==1.16.3 \\\n";
        assert_eq!(name("sdks", pins.as_bytes()), "sdks-a782554df7ca58bb");
        assert_ne!(name("sdks", pins.as_bytes()), name("sdks", pins.replace("2.0.1", "2.0.2").as_bytes()));
    }
}
