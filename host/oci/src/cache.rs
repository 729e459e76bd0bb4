//! Pulled blobs on disk, by digest: [`BlobCache`]. A restart then pulls no pinned component again.
//!
//! Content is returned only if it has the requested digest, so write access to the directory does
//! not allow anyone to replace a component. All operations block.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::SystemTime,
};

use hyper::body::Bytes;
use tracing::warn;

use crate::digest::sha256_digest;
use ampoule_net::file;

/// Limit for the number of files; the oldest are removed. A component has two: its manifest and
/// itself.
const MOST_FILES: usize = 64;
/// Limit for the total size in bytes. With the engine's cache it fits into the volume of the
/// manifests in `deploy`.
const MOST_BYTES: u64 = 512 << 20;

/// The number of writes of this process, for unique temporary names.
static WRITES: AtomicU32 = AtomicU32::new(0);

/// A directory of blobs.
pub(crate) struct BlobCache {
    folder: PathBuf,
}

// === impl BlobCache ===

impl BlobCache {
    /// Creates nothing yet; the directory is created with the first blob.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Returns the blob with this digest, if it is present, complete and not larger than `limit`
    /// bytes.
    pub(crate) fn get(&self, digest: &str, limit: usize) -> Option<Bytes> {
        let bytes = file::read(&self.path(digest)?, limit).ok()?;
        (sha256_digest(&bytes) == digest).then(|| bytes.into())
    }

    /// Stores a blob. A failure is logged; its only consequence is that the blob is pulled again.
    pub(crate) fn put(&self, digest: &str, bytes: &[u8]) {
        let Some(path) = self.path(digest) else { return };
        if let Err(reason) = self.write(&path, bytes) {
            warn!(path = %path.display(), %reason, "cannot cache a pulled blob; the next start pulls it again");
        }
    }

    fn path(&self, digest: &str) -> Option<PathBuf> {
        Some(self.folder.join(digest.strip_prefix("sha256:")?))
    }

    /// Writes to a temporary file and renames it, so that no reader sees an incomplete file.
    fn write(&self, path: &PathBuf, bytes: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        self.make_room(bytes.len() as u64)?;
        // Two injectors may pull the same component at the same time.
        let number = WRITES.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_added_extension(format!("{}-{number}.tmp", std::process::id()));
        let written = fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            // Best effort: the error to report is the first one.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Removes the oldest files until a blob of this size fits.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        if bytes > MOST_BYTES {
            return Err(io::Error::other(format!("larger than {MOST_BYTES} bytes")));
        }
        let listed = fs::read_dir(&self.folder)?.filter_map(Result::ok);
        let mut files: Vec<(SystemTime, u64, PathBuf)> = listed
            .filter_map(|entry| entry.metadata().ok().zip(Some(entry.path())))
            .filter_map(|(metadata, path)| Some((metadata.modified().ok()?, metadata.len(), path)))
            .collect();
        files.sort();
        let (mut count, mut total) = (files.len() + 1, bytes + files.iter().map(|(_, size, _)| size).sum::<u64>());
        for (_, size, path) in files {
            if count <= MOST_FILES && total <= MOST_BYTES {
                break;
            }
            match fs::remove_file(path) {
                // Another pull removed it at the same time.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            count -= 1;
            total -= size;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_only_content_with_the_requested_digest() {
        let folder = tempfile::tempdir().unwrap();
        let cache = BlobCache::new(folder.path().join("a/b"));
        let digest = sha256_digest(b"component");
        assert_eq!(cache.get(&digest, 100), None);
        cache.put(&digest, b"component");
        assert_eq!(cache.get(&digest, 9).unwrap(), "component");
        assert_eq!(cache.get(&digest, 8), None, "more than the limit");
        assert_eq!(cache.get("sha256:../b", 100), None);
        fs::write(cache.path(&digest).unwrap(), b"something").unwrap();
        assert_eq!(cache.get(&digest, 100), None, "another hash");
        cache.put(&digest, b"component");
        assert_eq!(cache.get(&digest, 100).unwrap(), "component");
    }

    #[test]
    fn removes_the_oldest_files_above_the_limits() {
        let folder = tempfile::tempdir().unwrap();
        let cache = BlobCache::new(folder.path().to_owned());
        for i in 0..=MOST_FILES {
            let bytes = i.to_string();
            cache.put(&sha256_digest(bytes.as_bytes()), bytes.as_bytes());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), MOST_FILES);
        assert!(cache.get(&sha256_digest(b"0"), 100).is_none());
        let last = MOST_FILES.to_string();
        assert!(cache.get(&sha256_digest(last.as_bytes()), 100).is_some());

        // A sparse file: large, without content on disk.
        fs::File::create(folder.path().join("large")).unwrap().set_len(MOST_BYTES - 4).unwrap();
        cache.put(&sha256_digest(b"four"), b"four");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the small ones are older");
        cache.put(&sha256_digest(b"more"), b"more");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the large one is the oldest");
        assert!(["four", "more"].iter().all(|text| cache.get(&sha256_digest(text.as_bytes()), 4).is_some()));
    }
}
