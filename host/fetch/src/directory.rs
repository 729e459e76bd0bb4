//! [`publish`]: replaces the files of a directory.
//!
//! As in the kubelet's Secret volumes, `..data` is a link to the directory with the current files,
//! and a rename of `..data` replaces all of them at once. A program that reads several files, such
//! as a certificate and its key, never sees files of two versions through `..data`.
//!
//! Unlike there, each file beside `..data` is the file itself (a hard link). The directory of a
//! memory volume is sticky and belongs to root: on a node with `fs.protected_symlinks`, the default
//! of most distributions, only the user of a symbolic link could read through it.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink},
    path::Path,
};

/// The link to the directory with the current files.
const DATA: &str = "..data";
/// The next [`DATA`] or file, before the rename.
const NEXT: &str = "..data_tmp";
/// The start of the names of the directories with files.
const VERSION: &str = "..version-";

/// The content and the mode of a file. Without `Debug`: the content is a secret.
#[derive(Clone, Copy)]
pub(crate) struct FetchedContent<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) mode: u32,
}

/// Writes the files of a directory by name. Returns whether anything changed: without a change,
/// nothing is written, and programs that watch the directory are not woken.
pub(crate) fn publish(directory: &Path, files: &BTreeMap<String, FetchedContent<'_>>) -> io::Result<bool> {
    if is_current(directory, files) {
        return Ok(false);
    }
    // What an aborted attempt left takes space from this one.
    remove_outdated(directory)?;
    let version = [VERSION, &format!("{:016x}", fastrand::u64(..))].concat();
    let folder = directory.join(&version);
    let written = write_all(&folder, files).and_then(|()| point_to(directory, &version));
    if written.is_err() {
        let _ = fs::remove_dir_all(&folder);
    }
    written?;
    files.keys().try_for_each(|name| replace(directory, &folder, name))?;
    remove_outdated(directory)?;
    Ok(true)
}

/// Removes the directories with files that are not current.
fn remove_outdated(directory: &Path) -> io::Result<()> {
    let current = fs::read_link(directory.join(DATA)).unwrap_or_default();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let is_version = name.to_string_lossy().starts_with(VERSION);
        if is_version && Path::new(&name) != current {
            fs::remove_dir_all(directory.join(name))?;
        }
    }
    Ok(())
}

fn is_current(directory: &Path, files: &BTreeMap<String, FetchedContent<'_>>) -> bool {
    let is_same = |(name, file): (&String, &FetchedContent<'_>)| {
        [directory.join(name), directory.join(DATA).join(name)]
            .iter()
            .all(|path| !path.is_symlink() && fs::read(path).is_ok_and(|current| current == file.bytes))
    };
    files.iter().all(is_same)
}

fn write_all(folder: &Path, files: &BTreeMap<String, FetchedContent<'_>>) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(folder)?;
    for (name, content) in files {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(name))?;
        file.write_all(content.bytes)?;
        file.set_permissions(Permissions::from_mode(content.mode))?;
    }
    // The containers of the pod may run as another user.
    fs::set_permissions(folder, Permissions::from_mode(0o755))
}

/// Replaces the link to the current files.
fn point_to(directory: &Path, version: &str) -> io::Result<()> {
    let next = directory.join(NEXT);
    fs::remove_file(&next).or_else(ignore_missing)?;
    symlink(version, &next)?;
    fs::rename(&next, directory.join(DATA))
}

/// Replaces the file of a name by that of a version.
fn replace(directory: &Path, version: &Path, name: &str) -> io::Result<()> {
    let next = directory.join(NEXT);
    fs::remove_file(&next).or_else(ignore_missing)?;
    fs::hard_link(version.join(name), &next)?;
    fs::rename(&next, directory.join(name))
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files<'a>(contents: &[(&str, &'a [u8], u32)]) -> BTreeMap<String, FetchedContent<'a>> {
        let file =
            |(name, bytes, mode): &(&str, &'a [u8], u32)| ((*name).to_owned(), FetchedContent { bytes, mode: *mode });
        contents.iter().map(file).collect()
    }

    fn entries(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn all_files_of_a_directory_are_replaced_and_only_if_one_changed() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path();
        for (contents, changes) in [
            (vec![("cert", &b"one"[..], 0o444), ("key", b"one\xff\0", 0o400)], true),
            (vec![("cert", b"one", 0o444), ("key", b"one\xff\0", 0o400)], false),
            (vec![("cert", b"two", 0o444), ("key", b"two", 0o400)], true),
        ] {
            let wanted = files(&contents);
            let before = fs::read_link(directory.join(DATA)).ok();
            assert_eq!(publish(directory, &wanted).unwrap(), changes, "{contents:?}");
            assert_eq!(fs::read_link(directory.join(DATA)).ok() == before, !changes, "{contents:?}");
            for (name, bytes, mode) in contents {
                // Other users may not follow a symbolic link in a sticky directory.
                let metadata = fs::symlink_metadata(directory.join(name)).unwrap();
                assert!(metadata.is_file());
                assert_eq!(metadata.permissions().mode() & 0o777, mode);
                for path in [directory.join(name), directory.join(DATA).join(name)] {
                    assert_eq!(fs::read(path).unwrap(), bytes);
                }
            }
            // The link, its directory, and each file.
            assert_eq!(entries(directory), 4);
        }
    }

    #[test]
    fn an_interrupted_replacement_is_completed() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path();
        let wanted = files(&[("cert", b"two", 0o444), ("key", b"two", 0o444)]);
        publish(directory, &files(&[("cert", b"one", 0o444), ("key", b"one", 0o444)])).unwrap();
        // The process was ended after the rename of the link.
        let version = directory.join("..version-next");
        write_all(&version, &wanted).unwrap();
        point_to(directory, "..version-next").unwrap();
        assert!(publish(directory, &wanted).unwrap());
        assert_eq!(fs::read(directory.join("key")).unwrap(), b"two");
        assert_eq!(entries(directory), 4);
    }

    #[test]
    fn a_failure_changes_nothing_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path();
        publish(directory, &files(&[("token", b"one", 0o444)])).unwrap();
        let error = publish(directory, &files(&[("a/b", b"x", 0o444), ("token", b"two", 0o444)])).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(fs::read(directory.join("token")).unwrap(), b"one");
        assert_eq!(entries(directory), 3);
        // The process was ended while it wrote.
        fs::create_dir(directory.join("..version-aborted")).unwrap();
        assert!(publish(directory, &files(&[("token", b"two", 0o444)])).unwrap());
        assert_eq!(entries(directory), 3);
        let missing = publish(&directory.join("missing"), &files(&[("token", b"x", 0o444)])).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
