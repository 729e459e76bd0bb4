//! The folder of artifacts and its two lists: `manifest.json` for programs, `SHA256SUMS` for
//! `sha256sum --check`. The manifest also names what this machine did not make, with the reason: a
//! missing artifact must not look like a success.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::source::Source;
use crate::job;

const MANIFEST: &str = "manifest.json";
const SUMS: &str = "SHA256SUMS";
/// To read some hundred megabytes.
const VERIFY_MAX: Duration = Duration::from_secs(120);

/// The artifacts so far, and the folder that contains them.
pub(super) struct Artifacts {
    folder: PathBuf,
    manifest: Manifest,
}

/// The content of `manifest.json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    version: String,
    commit: String,
    /// Whether tracked files differed from the commit. Such artifacts cannot be reproduced.
    modified: bool,
    source_date_epoch: u64,
    artifacts: Vec<Artifact>,
    skipped: Vec<Skipped>,
}

/// One file.
#[derive(Debug, Serialize)]
pub(super) struct Artifact {
    pub(super) name: String,
    kind: &'static str,
    pub(super) size: u64,
    sha256: String,
}

/// An artifact that was not made.
#[derive(Debug, Serialize)]
pub(super) struct Skipped {
    pub(super) what: String,
    pub(super) reason: String,
}

// === impl Artifacts ===

impl Artifacts {
    /// Starts with an empty folder: an artifact of an earlier run must not get into the lists.
    pub(super) fn create(folder: PathBuf, source: &Source) -> Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let manifest = Manifest {
            version: source.version.clone(),
            commit: source.commit.clone(),
            modified: source.is_modified,
            source_date_epoch: source.epoch,
            artifacts: Vec::new(),
            skipped: Vec::new(),
        };
        Ok(Self { folder, manifest })
    }

    /// The path of an artifact.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes an artifact, and returns its checksum.
    pub(super) fn add(&mut self, kind: &'static str, name: &str, bytes: &[u8]) -> Result<String> {
        let path = self.path(name);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(bytes));
        let (size, own) = (bytes.len() as u64, sha256.clone());
        self.manifest.artifacts.push(Artifact { name: name.to_owned(), kind, size, sha256: own });
        Ok(sha256)
    }

    /// Records an artifact that this machine does not make.
    pub(super) fn skip(&mut self, what: impl Into<String>, reason: impl Into<String>) {
        self.manifest.skipped.push(Skipped { what: what.into(), reason: reason.into() });
    }

    /// Writes both lists, and verifies the checksums with the program that users verify them with.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.manifest.artifacts.sort_by(|one, other| one.name.cmp(&other.name));
        let mut json = serde_json::to_vec_pretty(&self.manifest)?;
        json.push(b'\n');
        let json_sum = data_encoding::HEXLOWER.encode(&Sha256::digest(&json));
        fs::write(self.path(MANIFEST), &json)?;
        let mut lines: Vec<_> = self.manifest.artifacts.iter().map(|file| (&*file.name, &*file.sha256)).collect();
        lines.push((MANIFEST, json_sum.as_str()));
        lines.sort_unstable();
        let sums: String = lines.iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect();
        fs::write(self.path(SUMS), sums)?;
        verify(&self.folder)
    }

    pub(super) fn made(&self) -> &[Artifact] {
        &self.manifest.artifacts
    }

    pub(super) fn skipped(&self) -> &[Skipped] {
        &self.manifest.skipped
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Verifies that the listed files have their checksums, and that every file is listed.
fn verify(folder: &Path) -> Result<()> {
    let mut sha256sum = Command::new("sha256sum");
    sha256sum.args(["--check", "--strict", "--quiet", SUMS]).current_dir(folder);
    if job::output(&mut sha256sum, VERIFY_MAX).is_none() {
        bail!("`sha256sum --check {SUMS}` fails in {}", folder.display());
    }
    let sums = fs::read_to_string(folder.join(SUMS))?;
    let listed: Vec<&str> = sums.lines().filter_map(|line| Some(line.split_once("  ")?.1)).collect();
    for file in fs::read_dir(folder)? {
        let name = file?.file_name().to_string_lossy().into_owned();
        ensure!(name == SUMS || listed.contains(&&*name), "{SUMS} does not list {name}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifacts(folder: &Path) -> Artifacts {
        let source = Source {
            version: "0.1.0".into(),
            commit: "c0ffee".into(),
            epoch: 1_700_000_000,
            timestamp: "2023-11-14T22:13:20Z".into(),
            is_modified: false,
        };
        let mut artifacts = Artifacts::create(folder.join("out"), &source).unwrap();
        artifacts.add("chart", "b.tgz", b"b").unwrap();
        artifacts.add("binary", "a.tar.gz", b"a").unwrap();
        artifacts.skip("image for arm64", "buildah is missing");
        artifacts
    }

    #[test]
    fn the_manifest_lists_artifacts_by_name_and_the_reason_of_each_skip() {
        let folder = tempfile::tempdir().unwrap();
        let mut artifacts = artifacts(folder.path());
        artifacts.finish().unwrap();
        let json = fs::read(artifacts.path(MANIFEST)).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "version": "0.1.0",
                "commit": "c0ffee",
                "modified": false,
                "sourceDateEpoch": 1_700_000_000,
                "artifacts": [
                    { "name": "a.tar.gz", "kind": "binary", "size": 1,
                      "sha256": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb" },
                    { "name": "b.tgz", "kind": "chart", "size": 1,
                      "sha256": "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d" },
                ],
                "skipped": [{ "what": "image for arm64", "reason": "buildah is missing" }],
            })
        );
        let sums = fs::read_to_string(artifacts.path(SUMS)).unwrap();
        let names: Vec<_> = sums.lines().map(|line| line.split_once("  ").unwrap().1).collect();
        assert_eq!(names, ["a.tar.gz", "b.tgz", MANIFEST]);
    }

    #[test]
    fn a_changed_file_and_an_unlisted_file_fail_verification() {
        let folder = tempfile::tempdir().unwrap();
        let mut artifacts = artifacts(folder.path());
        artifacts.finish().unwrap();
        fs::write(artifacts.path("more"), "").unwrap();
        assert_eq!(verify(artifacts.folder()).unwrap_err().to_string(), "SHA256SUMS does not list more");
        fs::write(artifacts.path("b.tgz"), "c").unwrap();
        let error = verify(artifacts.folder()).unwrap_err().to_string();
        assert!(error.starts_with("`sha256sum --check SHA256SUMS` fails in "), "{error}");
    }

    #[test]
    fn artifacts_of_an_earlier_run_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        artifacts(folder.path()).finish().unwrap();
        assert!(!artifacts(folder.path()).path(SUMS).exists());
    }
}
