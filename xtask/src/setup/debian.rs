//! What set-up asks of a Debian machine: packages installed with the system's apt, and files fetched with a private one.
//! Only `install` changes the system, and only when there is no other way.

pub(super) mod apt;
mod sources;

use std::fs;
use std::io::IsTerminal;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::job::{self, Log};
use crate::progress::Progress;

/// `rustc-web` and what it needs are about 150 MB; a slow mirror may take minutes.
const INSTALL_MAX: Duration = Duration::from_secs(15 * 60);
/// Package lists are about 20 MB.
const UPDATE_MAX: Duration = Duration::from_secs(5 * 60);
/// Bounds each connection, and waits a while when another apt is at work.
pub(super) const BOUNDED: [&str; 8] = [
    "-o",
    "Acquire::http::Timeout=30",
    "-o",
    "Acquire::https::Timeout=30",
    "-o",
    "Acquire::Retries=3",
    "-o",
    "DPkg::Lock::Timeout=120",
];

/// Whether this is Debian 12, the release whose packages set-up knows.
pub(super) fn require_bookworm() -> Result<()> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |key: &str| {
        release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(|value| value.trim_matches('"'))
    };
    if value("ID") == Some("debian") && value("VERSION_CODENAME") == Some("bookworm") {
        return Ok(());
    }
    bail!("this machine is {}", value("PRETTY_NAME").unwrap_or("of an unknown kind"))
}

/// Installs packages. Lists that are missing or too old show as a failure to find or fetch; then they are renewed, once.
pub(super) fn install(progress: &mut Progress, packages: &[&str]) -> Result<()> {
    let root = become_root(packages)?;
    let apt_get = |log: &Log, words: &[&str], limit| log.run(as_root(&root).args(words).args(BOUNDED), limit);
    let install: Vec<&str> = ["install", "-y", "--no-install-recommends"].iter().chain(packages).copied().collect();
    progress.step(&format!("apt-get install {}", packages.join(" ")), |log| {
        apt_get(log, &install, INSTALL_MAX).or_else(|_| {
            apt_get(log, &["update"], UPDATE_MAX)?;
            apt_get(log, &install, INSTALL_MAX)
        })
    })
}

/// What to put before a command that root must run: nothing, or sudo. A person is asked for the password here, before the
/// progress line stands in the way; a program that has no terminal gets an error that says what to run.
fn become_root(packages: &[&str]) -> Result<Vec<&'static str>> {
    if rustix::process::geteuid().is_root() {
        return Ok(vec![]);
    }
    let by_hand =
        format!("run `apt-get install --no-install-recommends {}` as root, then try again", packages.join(" "));
    if job::on_path("sudo").is_none() {
        bail!("installing packages needs root, and there is no sudo: {by_hand}");
    }
    if job::output(Command::new("sudo").args(["-n", "true"]), Duration::from_secs(10)).is_none() {
        if !std::io::stdin().is_terminal() {
            bail!("installing packages needs root, and sudo wants a password: {by_hand}");
        }
        anstream::eprintln!("sudo may ask for your password, to install {}", packages.join(" "));
        if !Command::new("sudo").arg("-v").status()?.success() {
            bail!("sudo refused: {by_hand}");
        }
    }
    Ok(vec!["sudo", "-n"])
}

/// `timeout` as well as our own limit: a process of root's cannot be killed by anyone else.
fn as_root(root: &[&str]) -> Command {
    let limit = INSTALL_MAX.as_secs().to_string();
    let words = ["env", "DEBIAN_FRONTEND=noninteractive", "timeout", "--kill-after=10", &limit, "apt-get"];
    let mut line = root.iter().chain(&words);
    let mut command = Command::new(line.next().expect("the words are never empty"));
    command.args(line);
    command
}
