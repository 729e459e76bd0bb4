//! Flyte's SDKs from PyPI, the clients of the end-to-end tests, in a virtual environment in the cache folder. Its name holds the
//! hash of `tests/sdks/requirements.txt`, which pins every package by version and hash: another pin is another environment.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::{cache, debian};
use crate::job;
use crate::progress::Progress;
use crate::workspace;

const REQUIREMENTS: &str = "tests/sdks/requirements.txt";
/// What the tests import; the other packages are theirs.
const SDKS: [&str; 2] = ["flytekit", "flyte"];
/// Where a Python that both SDKs support may be. The last is Debian's, for machines whose `python3` is another.
const PYTHONS: [&str; 4] = ["python3", "python3.12", "python3.11", "/usr/bin/python3"];
/// Fails where the packages are pinned for another Python, and where Debian has left out the modules that make an environment.
const SUITABLE: &str = "import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))";
/// Written last: an environment without it is half-made.
const COMPLETE: &str = "complete";
/// To start Python on a busy machine.
const START_MAX: Duration = Duration::from_secs(20);
/// Half a minute usually; the packages are 65 MB.
const INSTALL_MAX: Duration = Duration::from_secs(15 * 60);

/// The virtual environment with the SDKs.
pub(crate) struct Sdks {
    /// Its folder.
    pub(crate) folder: PathBuf,
    versions: String,
}

/// Finds the environment, or makes it.
pub(super) fn ensure() -> Result<Sdks> {
    let requirements = workspace::root().join(REQUIREMENTS);
    let text = fs::read_to_string(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let sdks = Sdks { folder: cache::folder()?.join(folder_name(&text)), versions: versions(&text) };
    if sdks.is_complete() {
        return Ok(sdks);
    }
    let _lock = cache::lock()?;
    // Another set-up may have made it while we waited for the lock.
    if !sdks.is_complete() {
        sdks.make(&requirements)?;
    }
    Ok(sdks)
}

/// The tests look for the same name when they are run without `cargo xtask`.
fn folder_name(requirements: &str) -> String {
    let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(requirements.as_bytes()));
    format!("sdks-{}", &hash[..16])
}

/// `flytekit 1.2.3, flyte 4.5.6`, from lines like `flyte==4.5.6 \`.
fn versions(requirements: &str) -> String {
    let version = |sdk: &str| {
        let mut pins = requirements.lines().filter_map(|line| line.strip_prefix(sdk)?.strip_prefix("=="));
        pins.next().and_then(|rest| rest.split_whitespace().next()).unwrap_or("not pinned").to_owned()
    };
    SDKS.map(|sdk| format!("{sdk} {}", version(sdk))).join(", ")
}

/// A Python that both SDKs support and that can make an environment; installed on Debian 12 if there is none.
pub(super) fn python() -> Result<PathBuf> {
    if let Some(python) = suitable_python() {
        return Ok(python);
    }
    debian::require_bookworm().context(
        "the tests run Flyte's SDKs, which need Python 3.11 or 3.12 with its modules `venv` and `ensurepip`: install it",
    )?;
    let mut progress = Progress::start(1, cache::folder()?.join("setup-python.log"))?;
    debian::install(&mut progress, &["python3-venv"])?;
    suitable_python().context("python3-venv is installed, and no `python3` here can make a virtual environment with it")
}

fn suitable_python() -> Option<PathBuf> {
    let mut found = PYTHONS.iter().filter_map(|name| job::on_path(name));
    found.find(|python| job::output(Command::new(python).args(["-c", SUITABLE]), START_MAX).is_some())
}

// === impl Sdks ===

impl Sdks {
    /// Whether all is installed, and the Python that it was made with still runs.
    fn is_complete(&self) -> bool {
        self.folder.join(COMPLETE).is_file() && job::output(self.python().args(["-I", "-c", ""]), START_MAX).is_some()
    }

    /// Its Python, for arguments to come.
    pub(super) fn python(&self) -> Command {
        Command::new(self.folder.join("bin/python"))
    }

    fn make(&self, requirements: &Path) -> Result<()> {
        let Self { folder, versions } = self;
        let python = python()?;
        let mut progress = Progress::start(2, cache::folder()?.join("setup-sdks.log"))?;
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot delete the half-made {}", folder.display()))?;
        }
        progress.step("make a virtual environment", |log| {
            log.run(Command::new(python).args(["-m", "venv"]).arg(folder), INSTALL_MAX)
        })?;
        progress.step(&format!("pip install {versions} (65 MB)"), |log| {
            let mut pip = self.python();
            pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input"]);
            // Wheels alone: no script of a package runs, and no compiler is needed.
            pip.args(["--require-hashes", "--only-binary", ":all:", "--requirement"]).arg(requirements);
            log.run(&mut pip, INSTALL_MAX)
        })?;
        fs::write(folder.join(COMPLETE), "").with_context(|| format!("cannot write into {}", folder.display()))
    }
}

impl fmt::Display for Sdks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.folder.display(), self.versions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PINS: &str = "# made\nflyte==2.0.1 \\\n    --hash=sha256:00\nflyteidl2==9.9 \\\nflytekit==1.16.3 \\\n";

    #[test]
    fn another_pin_is_another_environment() {
        assert_eq!(folder_name(PINS), "sdks-a782554df7ca58bb");
        assert_ne!(folder_name(PINS), folder_name(&PINS.replace("2.0.1", "2.0.2")));
    }

    #[test]
    fn says_the_versions_of_both_and_of_no_other_package() {
        assert_eq!(versions(PINS), "flytekit 1.16.3, flyte 2.0.1");
        assert_eq!(versions("flytekit==1.0"), "flytekit 1.0, flyte not pinned");
    }
}
