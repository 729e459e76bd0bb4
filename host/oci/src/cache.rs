//! What was pulled, on disk by its digest: [`BlobCache`], so that a restart asks a registry for nothing that is pinned and pulled.
//!
//! What is read has the digest that it is asked for by, so nobody who can write into the folder can make anybody load anything.

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

use super::digest_of;
use ampoule_net::file;

/// Files kept; the oldest go. A component is two: its manifest and itself.
const MOST_FILES: usize = 64;
/// Bytes kept; with what the engine keeps they fit into the volume that `deploy` gives to both.
const MOST_BYTES: u64 = 512 << 20;

/// How often this process wrote one.
static WRITES: AtomicU32 = AtomicU32::new(0);

/// A folder of blobs.
pub(super) struct BlobCache {
    folder: PathBuf,
}

// === impl BlobCache ===

impl BlobCache {
    /// The folder is made when something is put into it.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// What has this digest, if it is there, whole, and of no more bytes than the limit.
    pub(super) fn get(&self, digest: &str, limit: usize) -> Option<Bytes> {
        let bytes = file::read(&self.path(digest)?, limit).ok()?;
        (digest_of(&bytes) == digest).then(|| bytes.into())
    }

    /// Keeps it. That it cannot is logged, and costs no more than time.
    pub(super) fn put(&self, digest: &str, bytes: &[u8]) {
        let Some(path) = self.path(digest) else { return };
        if let Err(reason) = self.write(&path, bytes) {
            warn!(path = %path.display(), %reason, "what was pulled cannot be kept, the next start pulls it again");
        }
    }

    fn path(&self, digest: &str) -> Option<PathBuf> {
        Some(self.folder.join(digest.strip_prefix("sha256:")?))
    }

    /// Writes to the side and renames, so that no reader ever sees half a file.
    fn write(&self, path: &PathBuf, bytes: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        self.make_room(bytes.len() as u64)?;
        // Two injectors may have one component, and pull it at once.
        let number = WRITES.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_added_extension(format!("{}-{number}.tmp", std::process::id()));
        let written = fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            // Best effort: the error to tell is the first one.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// For so many bytes more.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        if bytes > MOST_BYTES {
            return Err(io::Error::other(format!("it has more than {MOST_BYTES} bytes")));
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
                // Another pull made room at once.
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
    fn gives_what_was_put_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let cache = BlobCache::new(folder.path().join("a/b"));
        let digest = digest_of(b"component");
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
    fn drops_the_oldest_files_that_are_too_many_or_too_large() {
        let folder = tempfile::tempdir().unwrap();
        let cache = BlobCache::new(folder.path().to_owned());
        for i in 0..=MOST_FILES {
            let bytes = i.to_string();
            cache.put(&digest_of(bytes.as_bytes()), bytes.as_bytes());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), MOST_FILES);
        assert!(cache.get(&digest_of(b"0"), 100).is_none());
        let last = MOST_FILES.to_string();
        assert!(cache.get(&digest_of(last.as_bytes()), 100).is_some());

        // Nothing is written of it, it only says that it is large.
        fs::File::create(folder.path().join("large")).unwrap().set_len(MOST_BYTES - 4).unwrap();
        cache.put(&digest_of(b"four"), b"four");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the small ones are older");
        cache.put(&digest_of(b"more"), b"more");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the large one is the oldest");
        assert!(["four", "more"].iter().all(|text| cache.get(&digest_of(text.as_bytes()), 4).is_some()));
    }
}
