//! Components in files: read when they are loaded, looked at every second in between ([`Digests`]).
//!
//! A look compares contents. A file of 18 MB is not read for that every second, though, as long as the system says that it is the
//! one that was read before and was left alone since.

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

/// A file that was changed a moment ago may change again within one tick of the file system's clock, and not show it.
const SETTLED: Duration = Duration::from_secs(2);

/// The digests of some files, by their paths.
pub(super) struct Digests {
    /// With the bytes that each may have.
    paths: BTreeMap<PathBuf, usize>,
    known: Mutex<BTreeMap<PathBuf, (Stamp, String)>>,
}

/// What a file has another of after any change: the system sets the last, and nobody else can.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: Duration,
}

// === impl Digests ===

impl Digests {
    /// Of these files, as far as the most that anybody reads of each.
    pub(super) fn of(files: impl IntoIterator<Item = (PathBuf, usize)>) -> Self {
        let mut paths = BTreeMap::new();
        for (path, limit) in files {
            paths.entry(path).and_modify(|most: &mut usize| *most = limit.max(*most)).or_insert(limit);
        }
        Self { paths, known: Mutex::default() }
    }

    /// The digest of each, or why there is none.
    pub(super) fn look(&self) -> BTreeMap<PathBuf, Result<String, String>> {
        let digest = |(path, limit): (&PathBuf, &usize)| self.digest(path, *limit).map_err(|error| error.to_string());
        self.paths.iter().map(|entry| (entry.0.clone(), digest(entry))).collect()
    }

    fn digest(&self, path: &Path, limit: usize) -> io::Result<String> {
        // Before the content: what changes in between is seen at the next look.
        let stamp = fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((before, digest)) = known.get(path)
            && stamp == Some(*before)
        {
            return Ok(digest.clone());
        }
        known.remove(path);
        let digest = digest(&file::read(path, limit)?);
        if let Some(stamp) = stamp.filter(Stamp::is_settled) {
            known.insert(path.to_owned(), (stamp, digest.clone()));
        }
        Ok(digest)
    }
}

// === impl Stamp ===

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
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
    fn a_change_is_seen_however_soon_and_however_late_it_comes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("component");
        let digests = Digests::of([(path.clone(), 1), (path.clone(), 2), (path.clone(), 1)]);
        let look = || digests.look().remove(&path).unwrap();
        assert!(look().is_err());
        for (content, wait) in [("a", 0), ("b", 0), ("c", 0), ("d", 3), ("e", 3), ("f", 0)] {
            // Of one length, at one path, within one tick of the clock, and again after a rest.
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
        assert_eq!(look(), Err("it has more than 2 bytes".to_owned()));
        fs::remove_file(&path).unwrap();
        assert!(look().is_err());
    }
}
