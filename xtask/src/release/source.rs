//! The commit that artifacts are made from: [`Source`]. Its date is the modification time of every
//! file in an archive, so that the same commit gives the same bytes on another day.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::job;
use crate::workspace;

/// git answers in milliseconds.
const GIT_MAX: Duration = Duration::from_secs(20);

/// Version and commit of the checkout.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// The workspace's version.
    pub(crate) version: String,
    /// The commit's full hash.
    pub(crate) commit: String,
    /// The commit's date in seconds since 1970; `SOURCE_DATE_EPOCH` for other programs.
    pub(crate) epoch: u64,
    /// The same date in RFC 3339.
    pub(crate) timestamp: String,
    /// Whether tracked files differ from the commit.
    pub(crate) is_modified: bool,
}

// === impl Source ===

impl Source {
    /// Reads version and commit of the checkout.
    pub(crate) fn read() -> Result<Self> {
        let metadata = workspace::metadata()?;
        let packages = metadata["packages"].as_array().context("cargo lists no packages")?;
        let package = packages.iter().find(|package| package["name"] == "ampoule").context("no package `ampoule`")?;
        let version = package["version"].as_str().context("package `ampoule` has no version")?.to_owned();
        let log = git(&["log", "-1", "--format=%H%n%ct%n%cd", "--date=format-local:%Y-%m-%dT%H:%M:%SZ"])?;
        let mut lines = log.lines();
        let mut field = || lines.next().context("`git log` printed too few lines");
        let (commit, epoch, timestamp) = (field()?.to_owned(), field()?.parse()?, field()?.to_owned());
        let is_modified = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
        Ok(Self { version, commit, epoch, timestamp, is_modified })
    }
}

/// Files below a folder that git tracks, as paths from the root of the checkout.
pub(super) fn tracked_files(folder: &str) -> Result<Vec<String>> {
    Ok(git(&["ls-files", "--", folder])?.lines().map(str::to_owned).collect())
}

fn git(words: &[&str]) -> Result<String> {
    let mut git = Command::new("git");
    git.args(words).current_dir(workspace::root()).env("TZ", "UTC0");
    job::output(&mut git, GIT_MAX).with_context(|| format!("`{}` failed: is this a git checkout?", job::shown(&git)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_has_a_date_in_two_forms() {
        let source = Source::read().unwrap();
        assert_eq!(source.commit.len(), 40);
        assert!(source.epoch > 1_600_000_000, "{source:?}");
        let form: String = source
            .timestamp
            .chars()
            .map(|character| if character.is_ascii_digit() { '0' } else { character })
            .collect();
        assert_eq!(form, "0000-00-00T00:00:00Z");
    }
}
