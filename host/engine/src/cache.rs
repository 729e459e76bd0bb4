//! Compiled components on disk, so that a restart does not compile them again.
//!
//! A compiled file is native code that will run in this process, outside any sandbox. So only files are read that this very
//! program wrote: from a folder that nobody else may write to, named after the component's SHA-256 and all that decides what
//! code is generated for it, with a checksum beside each. Whatever does not fit is compiled again.

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

/// Files kept; the oldest go. With fewer than a process has components, none would be there when it starts again.
const MAX_FILES: usize = 256;
/// Bytes kept, likewise: what a volume for them has to hold.
const MAX_BYTES: u64 = 1 << 30;

/// What the name of a compiled file ends with; its checksum is beside it with [`CHECKSUM`].
const COMPILED: &str = "cwasm";

/// As `sha256sum -c` reads it.
const CHECKSUM: &str = "sha256";

/// A private folder of compiled components.
pub(crate) struct CompileCache {
    folder: PathBuf,
}

// === impl CompileCache ===

impl CompileCache {
    /// Takes a folder, and makes it if it is not there.
    pub(crate) fn open(folder: PathBuf) -> Result<Self, EngineError> {
        let error = |reason: String| EngineError::CacheFolder { path: folder.clone(), reason };
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent).map_err(|e| error(format!("cannot be made: {e}")))?;
        }
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(error(format!("cannot be made: {e}"))),
            _ => check_private(&folder).map_err(error)?,
        }
        Ok(Self { folder })
    }

    /// The compiled component, if it is there and whole.
    pub(crate) fn get(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let path = self.path(engine, digest, COMPILED);
        let found = self.read(engine, &path);
        match found {
            Ok(component) => Some(component),
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => None,
            Err(reason) => {
                tracing::warn!(path = %path.display(), %reason, "a compiled plugin is not usable, it is compiled again");
                None
            }
        }
    }

    /// Keeps a compiled component of so many bytes, as wasmtime wrote it. That it cannot is logged, and costs no more than time.
    pub(crate) fn put(&self, engine: &Engine, digest: &str, image: impl Read, bytes: u64) {
        let path = self.path(engine, digest, COMPILED);
        if let Err(reason) = self.write(&path, image, bytes) {
            tracing::warn!(path = %path.display(), %reason, "a compiled plugin cannot be kept, the next start compiles it again");
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
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum is another"));
        }
        deserialize(engine, path)
    }

    /// Writes to the side and renames, so that no reader ever sees half a file; the checksum comes last.
    fn write(&self, path: &Path, image: impl Read, bytes: u64) -> io::Result<()> {
        check_private(&self.folder).map_err(io::Error::other)?;
        self.make_room(bytes)?;
        let digest = replace(path, image)?;
        replace(&path.with_extension(CHECKSUM), checksum_line(&digest, path).as_bytes()).map(drop)
    }

    /// For one file more, of so many bytes.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        if bytes > MAX_BYTES {
            return Err(io::Error::other(format!("it has more than {MAX_BYTES} bytes")));
        }
        let mut compiled: Vec<(SystemTime, u64, PathBuf)> = fs::read_dir(&self.folder)?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == COMPILED))
            .filter_map(|path| fs::metadata(&path).ok().zip(Some(path)))
            .filter_map(|(metadata, path)| Some((metadata.modified().ok()?, metadata.len(), path)))
            .collect();
        compiled.sort();
        let (mut count, mut total) =
            (compiled.len() + 1, bytes + compiled.iter().map(|(_, size, _)| size).sum::<u64>());
        for (_, size, path) in compiled {
            if count <= MAX_FILES && total <= MAX_BYTES {
                break;
            }
            fs::remove_file(path.with_extension(CHECKSUM)).or_else(ignore_missing)?;
            fs::remove_file(path).or_else(ignore_missing)?;
            count -= 1;
            total -= size;
        }
        Ok(())
    }
}

/// Hashes with SHA-256, because the standard library's hasher may change between releases of Rust.
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

/// Maps a file as code that a [`Compiler`](crate::Compiler) gave: one without a name, or one that has lost it.
pub(crate) fn map(engine: &Engine, file: &File) -> io::Result<Component> {
    deserialize(engine, Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())))
}

/// Maps a file of ours as code.
#[allow(
    unsafe_code,
    reason = "the only way to load compiled code; the callers of this function are what makes it sound"
)]
fn deserialize(engine: &Engine, path: &Path) -> io::Result<Component> {
    // SAFETY: the file must be what `Component::serialize` wrote, and must not change while it is mapped. Its folder is ours
    // and nobody else's to write (`check_private`), files in it are only ever replaced by a rename, never written in place,
    // and its checksum was right a moment ago. Or it is a compiler's, which vouches for the same. wasmtime itself checks that its
    // own version and settings wrote it.
    unsafe { Component::deserialize_file(engine, path) }
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{error:#}")))
}

/// Whether a folder is a real one that only this user may enter, and if not, why not.
fn check_private(folder: &Path) -> Result<(), String> {
    let metadata = fs::symlink_metadata(folder).map_err(|error| format!("cannot be read: {error}"))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if metadata.is_symlink() {
        Err("is a symbolic link; it must be a folder".to_owned())
    } else if !metadata.is_dir() {
        Err("is not a folder".to_owned())
    } else if metadata.uid() != rustix::process::geteuid().as_raw() {
        Err(format!(
            "belongs to user {}; name a folder below it, which will be made with the right owner",
            metadata.uid()
        ))
    } else if mode & 0o077 != 0 {
        Err(format!(
            "has mode {mode:04o}, and others may not enter it; name a folder below it, which will be made with mode 0700"
        ))
    } else {
        Ok(())
    }
}

/// Copies everything, and gives its SHA-256.
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

/// Gives the SHA-256 of what was written.
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
        // Best effort: the error to tell is the first one.
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
    fn keeps_a_component_in_a_private_file_of_a_private_folder() {
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
    fn compiled_for_another_engine_is_another_file() {
        let (folder, engine) = (tempfile::tempdir().unwrap(), engine());
        let cache = filled(folder.path(), &engine);
        let with_epochs = Engine::new(Config::new().epoch_interruption(true)).unwrap();
        assert!(cache.get(&with_epochs, DIGEST).is_none());
    }

    #[test]
    fn a_file_that_was_changed_in_any_way_is_not_run() {
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
    fn drops_the_oldest_files_that_are_too_many_or_too_large() {
        let (folder, engine) = (tempfile::tempdir().unwrap(), engine());
        let cache = filled(folder.path(), &engine);
        let component = cache.get(&engine, DIGEST).unwrap();
        for digest in 0..MAX_FILES {
            put(&cache, &engine, &format!("other-{digest}"), &component);
        }
        assert!(cache.get(&engine, DIGEST).is_none());
        assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), 2 * MAX_FILES);

        // Nothing is written of it, it only says that it is large.
        File::create(cache.path(&engine, "large", COMPILED)).unwrap().set_len(MAX_BYTES - 1).unwrap();
        put(&cache, &engine, DIGEST, &component);
        assert!(cache.get(&engine, DIGEST).is_some());
        assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), 2);
    }

    #[test]
    fn refuses_a_folder_that_others_may_write_to() {
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
                "has mode 0755, and others may not enter it; name a folder below it, which will be made with mode 0700",
            ),
            ("file", "is not a folder"),
            ("link", "is a symbolic link; it must be a folder"),
        ];
        for (name, reason) in cases {
            let error = CompileCache::open(path(name)).err().map(|error| error.to_string());
            assert_eq!(error, Some(format!("the folder for compiled plugins {} {reason}", path(name).display())));
        }
    }

    #[test]
    fn a_folder_that_was_opened_up_later_is_read_no_more() {
        let (folder, engine) = (tempfile::tempdir().unwrap(), engine());
        let cache = filled(folder.path(), &engine);
        fs::set_permissions(&cache.folder, Permissions::from_mode(0o777)).unwrap();
        assert!(cache.get(&engine, DIGEST).is_none());
    }
}
