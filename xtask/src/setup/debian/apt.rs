//! A private apt: the machine's mirrors, but lists and downloads in a folder of their own. It needs
//! no root and changes nothing outside that folder. It also knows source packages, which most
//! machines do not configure.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{TIMEOUT_OPTIONS, sources};
use crate::job::Log;

/// The lists are 20 MB, and a package is at most 100 MB.
const DOWNLOAD_MAX: Duration = Duration::from_secs(10 * 60);

/// An apt with its own sources and lists, in a folder that the caller deletes.
pub(in crate::setup) struct PrivateApt {
    folder: PathBuf,
    /// Debian's names of the architectures to read lists of; the machine's own if empty.
    architectures: Vec<&'static str>,
}

// === impl PrivateApt ===

impl PrivateApt {
    /// Copies the machine's Debian sources, adds source packages, and reads all lists.
    pub(in crate::setup) fn prepare(folder: PathBuf, log: &Log) -> Result<Self> {
        Self::prepare_for(folder, &[], log)
    }

    /// The same for packages of other architectures. A mirror that serves only some architectures
    /// makes this fail.
    pub(in crate::setup) fn prepare_for(folder: PathBuf, architectures: &[&'static str], log: &Log) -> Result<Self> {
        let parts = folder.join("sources");
        for part in [&parts, &folder.join("lists/partial"), &folder.join("cache/archives/partial")] {
            fs::create_dir_all(part)?;
        }
        let sources = sources::of_this_machine();
        if sources.is_empty() {
            bail!("found no Debian source in /etc/apt/sources.list, /etc/apt/sources.list.d");
        }
        for (index, (extension, text)) in sources.iter().enumerate() {
            fs::write(parts.join(format!("{index}.{extension}")), text)?;
        }
        let apt = Self { folder, architectures: architectures.to_vec() };
        // By default, a list that cannot be fetched is only a warning, and the next step fails
        // without the reason.
        log.run(&mut apt.get(&["update", "-o", "APT::Update::Error-Mode=any"]), DOWNLOAD_MAX)?;
        Ok(apt)
    }

    /// Fetches a binary package and unpacks it into `target`; nothing is installed, no script of
    /// the package runs.
    pub(in crate::setup) fn unpack_package(&self, package: &str, target: &Path, log: &Log) -> Result<()> {
        let folder = self.empty_folder(package)?;
        log.run(self.get(&["download", package]).current_dir(&folder), DOWNLOAD_MAX)?;
        let file = single_file(&folder, ".deb")?;
        log.run(Command::new("dpkg-deb").arg("--extract").arg(file).arg(target), DOWNLOAD_MAX)?;
        fs::remove_dir_all(folder)?;
        Ok(())
    }

    /// Fetches the upstream archive of a source package; apt verifies it with the signed list.
    pub(in crate::setup) fn download_source(&self, package: &str, log: &Log) -> Result<PathBuf> {
        let folder = self.empty_folder(package)?;
        let words = ["source", "--only-source", "--download-only", package];
        log.run(self.get(&words).current_dir(&folder), DOWNLOAD_MAX)?;
        single_file(&folder, ".orig.tar.gz")
    }

    fn get(&self, words: &[&str]) -> Command {
        let mut command = Command::new("apt-get");
        command.args(words).args(TIMEOUT_OPTIONS);
        let path = |name: &str| self.folder.join(name).display().to_string();
        for setting in [
            "Dir::Etc::sourcelist=/dev/null".to_owned(),
            format!("Dir::Etc::sourceparts={}", path("sources")),
            format!("Dir::State::lists={}", path("lists")),
            format!("Dir::Cache={}", path("cache")),
            // As root, apt downloads as another user, who has no access to root's folders.
            "APT::Sandbox::User=root".to_owned(),
        ] {
            command.args(["-o", &setting]);
        }
        for architecture in &self.architectures {
            command.args(["-o", &format!("APT::Architectures::={architecture}")]);
        }
        command
    }

    fn empty_folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join("downloads").join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

fn single_file(folder: &Path, ending: &str) -> Result<PathBuf> {
    let files = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    files
        .into_iter()
        .find(|file| file.to_string_lossy().ends_with(ending))
        .with_context(|| format!("apt-get downloaded no file *{ending} to {}", folder.display()))
}
