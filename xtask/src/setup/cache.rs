//! The folder outside the checkout where set-up keeps what it made: `$XDG_CACHE_HOME/ampoule`, else `~/.cache/ampoule`.
//! A file appears there whole or not at all, and one set-up at a time works on it.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Another set-up may be building kube-apiserver, minutes on a slow machine.
const OTHER_SETUP_MAX: Duration = Duration::from_secs(30 * 60);

/// The cache folder; it exists after this.
pub(crate) fn folder() -> Result<PathBuf> {
    let base = match (std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()), std::env::home_dir()) {
        (Some(base), _) => PathBuf::from(base),
        (None, Some(home)) => home.join(".cache"),
        (None, None) => bail!("no place for the cache: set HOME or XDG_CACHE_HOME"),
    };
    let folder = std::path::absolute(base)?.join("ampoule");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make the cache folder {}", folder.display()))?;
    Ok(folder)
}

/// Puts a finished program into the cache's `bin`: copied beside its place first, then renamed, so that an interrupted set-up
/// leaves nothing half-written there.
pub(crate) fn install(program: &Path, name: &str) -> Result<PathBuf> {
    let folder = folder()?.join("bin");
    fs::create_dir_all(&folder)?;
    let target = folder.join(name);
    let unfinished = folder.join(format!(".{name}.{}", std::process::id()));
    fs::copy(program, &unfinished)
        .and_then(|_| fs::rename(&unfinished, &target))
        .with_context(|| format!("cannot put {name} into {}", folder.display()))?;
    Ok(target)
}

/// Held while a set-up changes the cache; the system lets go of it when the process ends, however it ends.
pub(crate) fn lock() -> Result<File> {
    let path = folder()?.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let begun = Instant::now();
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error).context(format!("cannot lock {}", path.display())),
            Err(TryLockError::WouldBlock) if begun.elapsed() > OTHER_SETUP_MAX => {
                bail!("another set-up has held {} for half an hour: end it, then try again", path.display())
            }
            Err(TryLockError::WouldBlock) => {}
        }
        if !told {
            anstream::eprintln!("another set-up is at work; waiting for it to end");
            told = true;
        }
        thread::sleep(Duration::from_millis(500));
    }
}
