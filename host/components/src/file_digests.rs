//! FileDigests of component files, for a watch that compares them every second: [`FileDigests`].
//!
//! A component may have 18 MB. It is read again only if the metadata shows another file or a change
//! since the last read.

use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ampoule_engine::digest;
use ampoule_net::file;

/// A second change within one tick of the file system's clock does not change the metadata. A
/// digest is therefore reused only for a file that has not changed for this long.
const SETTLED: Duration = Duration::from_secs(2);

/// The digests of some files by path.
pub(crate) struct FileDigests {
    /// With a limit in bytes for each.
    paths: BTreeMap<PathBuf, usize>,
    known: Mutex<BTreeMap<PathBuf, (FileStamp, String)>>,
}

/// Metadata that any change alters: only the system can set the time of the last change.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileStamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: Duration,
}

// === impl FileDigests ===

impl FileDigests {
    /// Returns the digests of these files. The largest limit of each path applies.
    pub(crate) fn new(files: impl IntoIterator<Item = (PathBuf, usize)>) -> Self {
        let mut paths = BTreeMap::new();
        for (path, limit) in files {
            paths.entry(path).and_modify(|most: &mut usize| *most = limit.max(*most)).or_insert(limit);
        }
        Self { paths, known: Mutex::default() }
    }

    /// Returns the digest of each file, or the error of reading it. Blocks.
    pub(crate) fn read(&self) -> BTreeMap<PathBuf, Result<String, String>> {
        let mut digests = BTreeMap::new();
        for (path, limit) in &self.paths {
            let digest = self.digest(path, *limit).map_err(|error| error.to_string());
            digests.insert(path.clone(), digest);
        }
        digests
    }

    fn digest(&self, path: &Path, limit: usize) -> io::Result<String> {
        // Before the content: the next read then detects a change in between.
        let stamp = fs::metadata(path).ok().map(|metadata| FileStamp::from_metadata(&metadata));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((before, digest)) = known.get(path)
            && stamp == Some(*before)
        {
            return Ok(digest.clone());
        }
        known.remove(path);
        let digest = digest(&file::read(path, limit)?);
        if let Some(stamp) = stamp.filter(FileStamp::is_settled) {
            known.insert(path.to_owned(), (stamp, digest.clone()));
        }
        Ok(digest)
    }
}

// === impl FileStamp ===

impl FileStamp {
    fn from_metadata(metadata: &Metadata) -> Self {
        let seconds = Duration::from_secs(metadata.ctime().unsigned_abs());
        let nanos = Duration::from_nanos(metadata.ctime_nsec().unsigned_abs());
        Self { device: metadata.dev(), inode: metadata.ino(), size: metadata.len(), changed: seconds + nanos }
    }

    fn is_settled(&self) -> bool {
        SystemTime::now().duration_since(UNIX_EPOCH + self.changed).is_ok_and(|age| age > SETTLED)
    }
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use super::*;

    #[test]
    fn every_change_is_detected_within_and_after_one_clock_tick() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("component");
        let digests = FileDigests::new([(path.clone(), 1), (path.clone(), 2), (path.clone(), 1)]);
        let look = || digests.read().remove(&path).unwrap();
        assert!(look().is_err());
        for (content, wait) in [("a", 0), ("b", 0), ("c", 0), ("d", 3), ("e", 3), ("f", 0)] {
            // Same length and path, within one tick of the clock and after it.
            fs::write(&path, content).unwrap();
            assert_eq!(look(), Ok(digest(content.as_bytes())));
            sleep(Duration::from_secs(wait));
            assert_eq!(look(), Ok(digest(content.as_bytes())));
        }
        let other = folder.path().join("other");
        fs::write(&other, "g").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(look(), Ok(digest(b"g")));
        fs::write(&path, "gg").unwrap();
        assert_eq!(look(), Ok(digest(b"gg")));
        fs::write(&path, "ggg").unwrap();
        assert_eq!(look(), Err("larger than 2 bytes".to_owned()));
        fs::remove_file(&path).unwrap();
        assert!(look().is_err());
    }
}
