//! Set-up on Debian: installs packages with the system's apt, and downloads files with a private
//! apt. Only `install` changes the system, and only if there is no other way.

pub(super) mod apt;
mod sources;

use std::fs;
use std::io::IsTerminal;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::job::{self, Log};
use crate::progress::Progress;

/// `rustc-web` and its dependencies are about 150 MB; a slow mirror may take minutes.
const INSTALL_MAX: Duration = Duration::from_secs(15 * 60);
/// Package lists are about 20 MB.
const UPDATE_MAX: Duration = Duration::from_secs(5 * 60);
/// Options that limit the time of each connection, and of the wait for another apt.
pub(super) const TIMEOUT_OPTIONS: [&str; 8] = [
    "-o",
    "Acquire::http::Timeout=30",
    "-o",
    "Acquire::https::Timeout=30",
    "-o",
    "Acquire::Retries=3",
    "-o",
    "DPkg::Lock::Timeout=120",
];

/// Returns an error unless this machine runs Debian 12, the only supported release.
pub(super) fn require_bookworm() -> Result<()> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |key: &str| {
        release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(|value| value.trim_matches('"'))
    };
    if value("ID") == Some("debian") && value("VERSION_CODENAME") == Some("bookworm") {
        return Ok(());
    }
    bail!("this machine runs {}", value("PRETTY_NAME").unwrap_or("an unknown system"))
}

/// Installs packages. If that fails, the package lists may be missing or too old, so it updates
/// them and tries once more.
pub(super) fn install(progress: &mut Progress, packages: &[&str]) -> Result<()> {
    let root = become_root(packages)?;
    let apt_get = |log: &Log, words: &[&str], limit| log.run(as_root(&root).args(words).args(TIMEOUT_OPTIONS), limit);
    let install: Vec<&str> = ["install", "-y", "--no-install-recommends"].iter().chain(packages).copied().collect();
    progress.step(&format!("apt-get install {}", packages.join(" ")), |log| {
        apt_get(log, &install, INSTALL_MAX).or_else(|_| {
            apt_get(log, &["update"], UPDATE_MAX)?;
            apt_get(log, &install, INSTALL_MAX)
        })
    })
}

/// Returns the prefix for a command that needs root: nothing, or sudo. It asks for the password
/// before the progress line appears. Without a terminal, it returns an error that contains the
/// command to run.
fn become_root(packages: &[&str]) -> Result<Vec<&'static str>> {
    if rustix::process::geteuid().is_root() {
        return Ok(vec![]);
    }
    let instruction =
        format!("run `apt-get install --no-install-recommends {}` as root, then try again", packages.join(" "));
    if job::on_path("sudo").is_none() {
        bail!("installing packages needs root, and sudo is missing: {instruction}");
    }
    if job::output(Command::new("sudo").args(["-n", "true"]), Duration::from_secs(10)).is_none() {
        if !std::io::stdin().is_terminal() {
            bail!("installing packages needs root, and sudo needs a password: {instruction}");
        }
        anstream::eprintln!("sudo may ask for your password to install {}", packages.join(" "));
        if !Command::new("sudo").arg("-v").status()?.success() {
            bail!("sudo failed: {instruction}");
        }
    }
    Ok(vec!["sudo", "-n"])
}

/// Uses `timeout` in addition to the limit of the job, because this process cannot kill a process
/// of root.
fn as_root(root: &[&str]) -> Command {
    let limit = INSTALL_MAX.as_secs().to_string();
    let words = ["env", "DEBIAN_FRONTEND=noninteractive", "timeout", "--kill-after=10", &limit, "apt-get"];
    let mut line = root.iter().chain(&words);
    let mut command = Command::new(line.next().expect("the words are never empty"));
    command.args(line);
    command
}
