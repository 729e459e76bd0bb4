//! A folder as the kubelet mounts a ConfigMap or a Secret: [`Mounted`], whose files are links
//! through a link that is replaced.
//!
//! `file` → `..data/file`, `..data` → `..N`. A change is a new folder `..N`, which replaces all
//! files at once.

use std::{fs, os::unix::fs::symlink, path::Path};

use anyhow::Result;
use tempfile::TempDir;

/// A folder whose files change all at once.
pub struct Mounted {
    folder: TempDir,
    version: u32,
}

// === impl Mounted ===

impl Mounted {
    /// A folder with these files.
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    pub fn new<V: AsRef<[u8]>>(files: &[(&str, V)]) -> Result<Self> {
        let mut this = Self { folder: tempfile::tempdir()?, version: 0 };
        this.swap(files)?;
        Ok(this)
    }

    /// The path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces the files, as the kubelet does when the object changes.
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    pub fn swap<V: AsRef<[u8]>>(&mut self, files: &[(&str, V)]) -> Result<()> {
        let folder = self.path().to_owned();
        let old = format!("..{}", self.version);
        self.version += 1;
        let new = format!("..{}", self.version);
        fs::create_dir(folder.join(&new))?;
        for (name, content) in files {
            fs::write(folder.join(&new).join(name), content)?;
        }
        symlink(&new, folder.join("..data_tmp"))?;
        fs::rename(folder.join("..data_tmp"), folder.join("..data"))?;
        for (name, _) in files {
            let link = folder.join(name);
            if !link.is_symlink() {
                symlink(Path::new("..data").join(name), link)?;
            }
        }
        if self.version > 1 {
            fs::remove_dir_all(folder.join(old))?;
        }
        Ok(())
    }
}
