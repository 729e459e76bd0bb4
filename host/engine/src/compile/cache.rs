//! [`CompileCache`]: compiled components on disk, so that a restart does not compile them again.
//!
//! A compiled file is native code that runs in this process, outside any sandbox. Therefore the
//! cache reads only files that this program wrote. They are in a directory that no other user can
//! write to. Their names contain the SHA-256 of the component and a hash of everything that affects
//! code generation. Each has a checksum file beside it. A file that does not match is ignored, and
//! its component is compiled again.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    hash::{Hash, Hasher},
    io::{self, Read, Write},
    os::{
        fd::AsRawFd as _,
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    time::SystemTime,
};

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use wasmtime::{Engine, component::Component};

use crate::error::EngineError;

/// Maximum number of files; the oldest are removed. It must exceed the number of components of a
/// process: otherwise a start would remove each file before the next start reads it.
const MAX_FILES: usize = 256;
/// Maximum number of bytes, and therefore the size that a volume for the cache needs.
const MAX_BYTES: u64 = 1 << 30;

/// File extension of a compiled component. Its checksum file has the extension [`CHECKSUM`].
const COMPILED: &str = "cwasm";

/// File extension of a checksum, in the format of `sha256sum -c`.
const CHECKSUM: &str = "sha256";

/// A private directory of compiled components.
pub(crate) struct CompileCache {
    folder: PathBuf,
}

// === impl CompileCache ===

impl CompileCache {
    /// Opens a directory, and creates it if it does not exist.
    pub(crate) fn open(folder: PathBuf) -> Result<Self, EngineError> {
        match create_private(&folder) {
            Ok(()) => Ok(Self { folder }),
            Err(reason) => Err(EngineError::CacheFolder { path: folder, reason }),
        }
    }

    /// Returns the compiled component, if it is in the cache and intact.
    pub(crate) fn get(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let path = self.path(engine, digest, COMPILED);
        match self.read(engine, &path) {
            Ok(component) => Some(component),
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => None,
            Err(reason) => {
                tracing::warn!(
                    path = %path.display(), %reason,
                    "cannot use a compiled plugin from the cache; compiling it again"
                );
                None
            }
        }
    }

    /// Stores a compiled component of `bytes` bytes, as wasmtime serialized it. A failure is
    /// logged, and costs only the time of the next compilation.
    pub(crate) fn put(&self, engine: &Engine, digest: &str, image: impl Read, bytes: u64) {
        let path = self.path(engine, digest, COMPILED);
        if let Err(reason) = self.write(&path, image, bytes) {
            tracing::warn!(
                path = %path.display(), %reason,
                "cannot store a compiled plugin in the cache; the next start compiles it again"
            );
        }
    }

    fn path(&self, engine: &Engine, digest: &str, extension: &str) -> PathBuf {
        let mut hasher = Sha256Hasher::default();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        self.folder.join(format!("{digest}-{:016x}.{extension}", hasher.finish()))
    }

    fn read(&self, engine: &Engine, path: &Path) -> io::Result<Component> {
        check_private(&self.folder).map_err(io::Error::other)?;
        let expected = fs::read_to_string(path.with_extension(CHECKSUM))?;
        if expected != checksum_line(&copy(File::open(path)?, io::sink())?, path) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum does not match"));
        }
        deserialize(engine, path)
    }

    /// Writes a temporary file and renames it, so that a reader never sees an incomplete file.
    /// Writes the checksum last.
    fn write(&self, path: &Path, image: impl Read, bytes: u64) -> io::Result<()> {
        check_private(&self.folder).map_err(io::Error::other)?;
        self.make_room(bytes)?;
        let digest = replace(path, image)?;
        replace(&path.with_extension(CHECKSUM), checksum_line(&digest, path).as_bytes()).map(drop)
    }

    /// Removes the oldest files until another file of `bytes` bytes fits.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        if bytes > MAX_BYTES {
            return Err(io::Error::other(format!("it has {bytes} bytes, more than the limit of {MAX_BYTES}")));
        }
        let files = self.compiled_files()?;
        let mut count = files.len() + 1;
        let mut total = bytes + files.iter().map(|file| file.size).sum::<u64>();
        for file in files {
            if count <= MAX_FILES && total <= MAX_BYTES {
                break;
            }
            fs::remove_file(file.path.with_extension(CHECKSUM)).or_else(ignore_missing)?;
            fs::remove_file(file.path).or_else(ignore_missing)?;
            count -= 1;
            total -= file.size;
        }
        Ok(())
    }

    /// The compiled components in the directory, the oldest first.
    fn compiled_files(&self) -> io::Result<Vec<CachedFile>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)?.filter_map(Result::ok) {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == COMPILED) {
                // Another process may have removed the file.
                files.extend(CachedFile::read(path).ok());
            }
        }
        files.sort();
        Ok(files)
    }
}

/// A compiled component on disk, ordered by its time of modification.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct CachedFile {
    modified: SystemTime,
    size: u64,
    path: PathBuf,
}

// === impl CachedFile ===

impl CachedFile {
    fn read(path: PathBuf) -> io::Result<Self> {
        let metadata = fs::metadata(&path)?;
        Ok(Self { modified: metadata.modified()?, size: metadata.len(), path })
    }
}

/// A hasher with SHA-256, because the standard library's hasher may change between releases of
/// Rust.
#[derive(Default)]
struct Sha256Hasher(Sha256);

// === impl Sha256Hasher ===

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest: [u8; 32] = self.0.clone().finalize().into();
        u64::from_be_bytes(*digest.first_chunk().expect("a SHA-256 has more than eight bytes"))
    }
}

/// Maps the file that a [`Compiler`](crate::Compiler) returned as code. The file may have no path
/// any more.
pub(crate) fn map_compiled(engine: &Engine, file: &File) -> io::Result<Component> {
    deserialize(engine, Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())))
}

/// Maps a trusted file as code.
#[allow(unsafe_code, reason = "the only way to load compiled code; its callers make it sound")]
fn deserialize(engine: &Engine, path: &Path) -> io::Result<Component> {
    // SAFETY: the file must be the output of `Component::serialize`, and must not change while it
    // is mapped. A file of the cache is in a directory that only this user can write to
    // (`check_private`), is replaced only by a rename and never written in place, and its checksum
    // was just verified. For a file of a `Compiler`, the implementation vouches for the same.
    // wasmtime itself checks that the same version with the same settings wrote the file.
    unsafe { Component::deserialize_file(engine, path) }
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{error:#}")))
}

/// Creates the directory and its parents if they do not exist. The error is a predicate about the
/// directory.
fn create_private(folder: &Path) -> Result<(), String> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(|error| format!("cannot be created: {error}"))?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(format!("cannot be created: {error}")),
        _ => check_private(folder),
    }
}

/// Checks that a path is a directory, without a symbolic link, that only this user can enter. The
/// error is a predicate about the directory.
fn check_private(folder: &Path) -> Result<(), String> {
    let metadata = fs::symlink_metadata(folder).map_err(|error| format!("cannot be read: {error}"))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if metadata.is_symlink() {
        Err("is a symbolic link; it must be a directory".to_owned())
    } else if !metadata.is_dir() {
        Err("is not a directory".to_owned())
    } else if metadata.uid() != rustix::process::geteuid().as_raw() {
        Err(format!(
            "belongs to user {}; specify a subdirectory of it, which Ampoule creates with the right owner",
            metadata.uid()
        ))
    } else if mode & 0o077 != 0 {
        Err(format!(
            "has mode {mode:04o} and is accessible to other users; \
             specify a subdirectory of it, which Ampoule creates with mode 0700"
        ))
    } else {
        Ok(())
    }
}

/// Copies everything, and returns its SHA-256.
fn copy(mut from: impl Read, mut to: impl Write) -> io::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().into()),
            n => {
                hasher.update(&buffer[..n]);
                to.write_all(&buffer[..n])?;
            }
        }
    }
}

fn checksum_line(digest: &[u8; 32], path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("{}  {name}\n", HEXLOWER.encode(digest))
}

/// Replaces a file in one step, and returns the SHA-256 of its new content.
fn replace(path: &Path, bytes: impl Read) -> io::Result<[u8; 32]> {
    let temporary = path.with_added_extension(format!("{}.tmp", std::process::id()));
    fs::remove_file(&temporary).or_else(ignore_missing)?;
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|file| {
            file.set_permissions(Permissions::from_mode(0o600))?;
            copy(bytes, file)
        })
        .and_then(|digest| fs::rename(&temporary, path).map(|()| digest));
    if written.is_err() {
        // Best effort: the first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use wasmtime::Config;

    use super::*;

    const DIGEST: &str = "0123";

    fn engine() -> Engine {
        Engine::new(&Config::new()).unwrap()
    }

    /// A cache with one component in it.
    fn filled(folder: &Path, engine: &Engine) -> CompileCache {
        let cache = CompileCache::open(folder.join("parent/cache")).unwrap();
        let component = Component::from_binary(engine, &wat::parse_str("(component)").unwrap()).unwrap();
        assert!(cache.get(engine, DIGEST).is_none());
        put(&cache, engine, DIGEST, &component);
        cache
    }

    fn put(cache: &CompileCache, engine: &Engine, digest: &str, component: &Component) {
        let image = component.serialize().unwrap();
        cache.put(engine, digest, &*image, image.len() as u64);
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn stores_a_component_in_a_private_file_of_a_private_directory() {
        let (folder, engine) = (tempfile::tempdir().unwrap(), engine());
        let cache = filled(folder.path(), &engine);
        assert!(cache.get(&engine, DIGEST).is_some());
        assert!(cache.get(&engine, "4567").is_none());
        assert_eq!(mode(&cache.folder), 0o700);
        let files: Vec<_> = fs::read_dir(&cache.folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 2, "{files:?}");
        assert!(files.iter().all(|file| mode(file) == 0o600));
    }

    #[test]
    fn an_engine_with_other_settings_has_its_own_file() {
        let (folder, engine) = (tempfile::tempdir().unwrap(), engine());
        let cache = filled(folder.path(), &engine);
        let with_epochs = Engine::new(Config::new().epoch_interruption(true)).unwrap();
        assert!(cache.get(&with_epochs, DIGEST).is_none());
    }

    #[test]
    fn a_damaged_file_is_not_used() {
        type Damage = fn(&Path, Vec<u8>);
        let damages: [(&str, Damage); 4] = [
            ("one bit of code", |path, mut bytes| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(path, bytes).unwrap();
            }),
            ("cut short", |path, bytes| fs::write(path, &bytes[..bytes.len() / 2]).unwrap()),
            ("no checksum", |path, _| fs::remove_file(path.with_extension(CHECKSUM)).unwrap()),
            ("something else with the right checksum", |path, _| replace_with_checksum(path, b"not compiled code")),
        ];
        for (what, damage) in damages {
            let (folder, engine) = (tempfile::tempdir().unwrap(), engine());
            let cache = filled(folder.path(), &engine);
            let path = cache.path(&engine, DIGEST, COMPILED);
            damage(&path, fs::read(&path).unwrap());
            assert!(cache.get(&engine, DIGEST).is_none(), "{what}");
        }
    }

    fn replace_with_checksum(path: &Path, bytes: &[u8]) {
        fs::write(path, bytes).unwrap();
        fs::write(path.with_extension(CHECKSUM), checksum_line(&Sha256::digest(bytes).into(), path)).unwrap();
    }

    #[test]
    fn removes_the_oldest_files_when_they_are_too_many_or_too_large() {
        let (folder, engine) = (tempfile::tempdir().unwrap(), engine());
        let cache = filled(folder.path(), &engine);
        let component = cache.get(&engine, DIGEST).unwrap();
        for digest in 0..MAX_FILES {
            put(&cache, &engine, &format!("other-{digest}"), &component);
        }
        assert!(cache.get(&engine, DIGEST).is_none());
        assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), 2 * MAX_FILES);

        // A sparse file: it has the size, but takes no space.
        File::create(cache.path(&engine, "large", COMPILED)).unwrap().set_len(MAX_BYTES - 1).unwrap();
        put(&cache, &engine, DIGEST, &component);
        assert!(cache.get(&engine, DIGEST).is_some());
        assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), 2);
    }

    #[test]
    fn rejects_a_directory_that_others_can_access() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("open")).unwrap();
        fs::set_permissions(path("open"), Permissions::from_mode(0o755)).unwrap();
        fs::write(path("file"), "").unwrap();
        CompileCache::open(path("private")).unwrap();
        symlink(path("private"), path("link")).unwrap();
        let cases = [
            (
                "open",
                "has mode 0755 and is accessible to other users; \
                 specify a subdirectory of it, which Ampoule creates with mode 0700",
            ),
            ("file", "is not a directory"),
            ("link", "is a symbolic link; it must be a directory"),
        ];
        for (name, reason) in cases {
            let error = CompileCache::open(path(name)).err().map(|error| error.to_string());
            let path = path(name);
            let expected = format!("the cache directory {} (engine.cacheDirectory) {reason}", path.display());
            assert_eq!(error, Some(expected));
        }
    }

    #[test]
    fn does_not_read_a_directory_that_others_gained_access_to() {
        let (folder, engine) = (tempfile::tempdir().unwrap(), engine());
        let cache = filled(folder.path(), &engine);
        fs::set_permissions(&cache.folder, Permissions::from_mode(0o777)).unwrap();
        assert!(cache.get(&engine, DIGEST).is_none());
    }
}
