//! Flyte's SDKs from PyPI, the clients of the end-to-end tests, in a virtual environment in the
//! cache folder. All packages are pinned by version and hash.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::cache;
use super::pinned::PinnedFolder;
use super::python::{self, INSTALL_MAX};
use crate::progress::Progress;
use crate::workspace;

const REQUIREMENTS: &str = "tests/sdks/requirements.txt";
/// The packages that the tests import; the other packages are their dependencies.
const SDKS: [&str; 2] = ["flytekit", "flyte"];

/// The virtual environment with the SDKs.
pub(crate) struct Sdks {
    /// The folder of the environment.
    pub(crate) folder: PathBuf,
    versions: String,
}

/// Finds or creates the environment.
pub(super) fn ensure() -> Result<Sdks> {
    let pins = fs::read_to_string(workspace::root().join(REQUIREMENTS));
    let versions = versions(&pins.with_context(|| format!("cannot read {REQUIREMENTS}"))?);
    let works = |folder: &Path| python::starts(python::of(folder).args(["-I", "-c", ""]));
    let folder = PinnedFolder::of("sdks", &[REQUIREMENTS])?.ensure(works, |folder| make(folder, &versions))?;
    Ok(Sdks { folder, versions })
}

fn make(folder: &Path, versions: &str) -> Result<()> {
    let python = python::find()?;
    let mut progress = Progress::start(2, cache::folder()?.join("setup-sdks.log"))?;
    progress.step("create a virtual environment", |log| python::environment(&python, folder, log))?;
    progress.step(&format!("pip install {versions} (65 MB)"), |log| {
        log.run(&mut python::pip(folder, "install", REQUIREMENTS), INSTALL_MAX)
    })
}

/// Formats the versions as `flytekit 1.2.3, flyte 4.5.6`, from lines like `flyte==4.5.6 \`.
fn versions(requirements: &str) -> String {
    let version = |sdk: &str| {
        let mut pins = requirements.lines().filter_map(|line| line.strip_prefix(sdk)?.strip_prefix("=="));
        pins.next().and_then(|rest| rest.split_whitespace().next()).unwrap_or("not pinned").to_owned()
    };
    SDKS.map(|sdk| format!("{sdk} {}", version(sdk))).join(", ")
}

// === impl Sdks ===

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
    fn formats_the_versions_of_both_sdks_only() {
        assert_eq!(versions(PINS), "flytekit 1.16.3, flyte 2.0.1");
        assert_eq!(versions("flytekit==1.0"), "flytekit 1.0, flyte not pinned");
    }
}
