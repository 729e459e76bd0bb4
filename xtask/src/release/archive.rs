//! Archives with the same bytes on every machine: sorted entries, one modification time, no owner,
//! no time in the gzip header. The `tar` of a machine would write its user, its clock and the order
//! of its file system.

use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::GzBuilder;
use flate2::read::GzDecoder;

/// A file in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) is_executable: bool,
    pub(crate) bytes: Vec<u8>,
}

// === impl Entry ===

impl Entry {
    /// A file without the right to execute.
    pub(crate) fn plain(path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), is_executable: false, bytes: bytes.into() }
    }

    /// A program.
    pub(crate) fn program(path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), is_executable: true, bytes: bytes.into() }
    }
}

/// All files below a folder, by their paths from it.
pub(crate) fn entries_below(folder: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for item in fs::read_dir(&next).with_context(|| format!("cannot read {}", next.display()))? {
            let path = item?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).expect("the path is below the folder").to_string_lossy().into_owned();
            entries.push(Entry::plain(name, fs::read(&path)?));
        }
    }
    Ok(entries)
}

/// Writes a tar archive. `epoch` is the modification time of every entry.
pub(crate) fn tar(mut entries: Vec<Entry>, epoch: u64) -> Result<Vec<u8>> {
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    let twice = entries.windows(2).find(|pair| pair[0].path == pair[1].path);
    ensure!(twice.is_none(), "the archive has {} twice", twice.map_or("", |pair| &pair[0].path));
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(if entry.is_executable { 0o755 } else { 0o644 });
        header.set_mtime(epoch);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(entry.bytes.len() as u64);
        builder.append_data(&mut header, &entry.path, entry.bytes.as_slice()).context(entry.path)?;
    }
    Ok(builder.into_inner()?)
}

/// Compresses without a file name or a time in the header.
pub(crate) fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// Reads a compressed tar archive back.
pub(crate) fn read_tar_gz(bytes: &[u8]) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in tar::Archive::new(GzDecoder::new(Cursor::new(bytes))).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let is_executable = entry.header().mode()? & 0o111 != 0;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        entries.push(Entry { path, is_executable, bytes });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: u64 = 1_700_000_000;

    fn entries() -> Vec<Entry> {
        // The chart's templates and the blobs of an image have longer paths than the 100 bytes of
        // the first tar format.
        vec![Entry::program("b/ampoule", "x"), Entry::plain("a", "yy"), Entry::plain("n/".repeat(80) + "long", "z")]
    }

    #[test]
    fn the_order_of_the_entries_does_not_change_the_bytes() {
        let mut reversed = entries();
        reversed.reverse();
        let archive = gzip(&tar(entries(), EPOCH).unwrap()).unwrap();
        assert_eq!(archive, gzip(&tar(reversed, EPOCH).unwrap()).unwrap());
        assert_eq!(archive[4..8], [0; 4], "the gzip header contains a date");
    }

    #[test]
    fn every_entry_has_the_time_of_the_commit_and_no_owner() {
        let archive = tar(entries(), EPOCH).unwrap();
        let mut count = 0;
        for entry in tar::Archive::new(Cursor::new(archive)).entries().unwrap() {
            let header = entry.unwrap().header().clone();
            assert_eq!((header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (EPOCH, 0, 0));
            count += 1;
        }
        assert_eq!(count, entries().len());
    }

    #[test]
    fn an_archive_is_read_back_as_it_was_written() {
        let read = read_tar_gz(&gzip(&tar(entries(), EPOCH).unwrap()).unwrap()).unwrap();
        let mut expected = entries();
        expected.sort_by(|one, other| one.path.cmp(&other.path));
        assert_eq!(read, expected);
    }

    #[test]
    fn a_path_that_occurs_twice_is_an_error() {
        let error = tar(vec![Entry::plain("a", ""), Entry::plain("a", "b")], EPOCH).unwrap_err();
        assert_eq!(error.to_string(), "the archive has a twice");
    }

    #[test]
    fn files_of_subfolders_are_found() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
        fs::write(folder.path().join("blobs/sha256/00"), "blob").unwrap();
        fs::write(folder.path().join("index.json"), "{}").unwrap();
        let mut paths: Vec<_> = entries_below(folder.path()).unwrap().into_iter().map(|entry| entry.path).collect();
        paths.sort();
        assert_eq!(paths, ["blobs/sha256/00", "index.json"]);
    }
}
