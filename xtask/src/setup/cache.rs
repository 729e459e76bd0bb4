//! The cache folder of the set-up, outside the checkout: `$XDG_CACHE_HOME/ampoule`, otherwise
//! `~/.cache/ampoule`. Files are created atomically, and only one set-up at a time changes the
//! folder.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Another set-up may be building kube-apiserver, which takes minutes on a slow machine.
const OTHER_SETUP_MAX: Duration = Duration::from_secs(30 * 60);

/// Returns the cache folder, and creates it if necessary.
pub(crate) fn folder() -> Result<PathBuf> {
    let base = match (std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()), std::env::home_dir()) {
        (Some(base), _) => PathBuf::from(base),
        (None, Some(home)) => home.join(".cache"),
        (None, None) => bail!("found no cache folder: set HOME or XDG_CACHE_HOME"),
    };
    let folder = std::path::absolute(base)?.join("ampoule");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create the cache folder {}", folder.display()))?;
    Ok(folder)
}

/// Installs a program in the cache's `bin`. It first copies to a temporary name in the same folder
/// and then renames, so that an interrupted set-up leaves no partial file.
pub(crate) fn install(program: &Path, name: &str) -> Result<PathBuf> {
    let folder = folder()?.join("bin");
    fs::create_dir_all(&folder)?;
    let target = folder.join(name);
    let unfinished = folder.join(format!(".{name}.{}", std::process::id()));
    fs::copy(program, &unfinished)
        .and_then(|_| fs::rename(&unfinished, &target))
        .with_context(|| format!("cannot install {name} in {}", folder.display()))?;
    Ok(target)
}

/// Locks the cache for changes. The system releases the lock when the process ends, also after a
/// crash.
pub(crate) fn lock() -> Result<File> {
    let path = folder()?.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let begun = Instant::now();
    let mut reported = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error).context(format!("cannot lock {}", path.display())),
            Err(TryLockError::WouldBlock) if begun.elapsed() > OTHER_SETUP_MAX => {
                bail!("another set-up has held {} for half an hour: stop it, then try again", path.display())
            }
            Err(TryLockError::WouldBlock) => {}
        }
        if !reported {
            anstream::eprintln!("another set-up is running; waiting for its end");
            reported = true;
        }
        thread::sleep(Duration::from_millis(500));
    }
}
