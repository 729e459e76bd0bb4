//! [`publish`]: replaces all files of a directory in one step.
//!
//! The layout is that of the kubelet's Secret volumes, so programs that watch those find the same
//! here: `..data` is a link to the directory with the current files, each file is a link through
//! it, and a rename of `..data` replaces all of them at once. A program that reads several files,
//! such as a certificate and its key, never sees files of two versions through `..data`.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink},
    path::Path,
};

/// The link to the directory with the current files.
const DATA: &str = "..data";
/// The next [`DATA`], before the rename.
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
    remove_outdated(directory)?;
    files.keys().try_for_each(|name| link(directory, name))?;
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
        directory.join(name).is_symlink()
            && fs::read(directory.join(DATA).join(name)).is_ok_and(|current| current == file.bytes)
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

/// Makes the file of a name a link to its current content.
fn link(directory: &Path, name: &str) -> io::Result<()> {
    let path = directory.join(name);
    match symlink(Path::new(DATA).join(name), &path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_symlink() => Ok(()),
        other => other,
    }
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
    fn all_files_of_a_directory_are_replaced_in_one_step_and_only_if_one_changed() {
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
                assert_eq!(fs::read(directory.join(name)).unwrap(), bytes);
                assert_eq!(fs::metadata(directory.join(name)).unwrap().permissions().mode() & 0o777, mode);
            }
            // The link, its directory, and a link for each file.
            assert_eq!(entries(directory), 4);
        }
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
