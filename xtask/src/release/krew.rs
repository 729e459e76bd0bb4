//! The manifest of the plugin `kubectl ampoule` for Krew, which installs plugins of `kubectl`.
//!
//! Krew downloads an archive of the release, verifies its checksum, and links the binary as
//! `kubectl-ampoule`. An index accepts a manifest only if its fields follow Krew's rules, which
//! [`check`] repeats.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::source::Source;

/// The name of the plugin, of the manifest and of the program in the archive.
const NAME: &str = "ampoule";
/// Characters of a short description that `kubectl krew search` shows.
const MAX_SHORT: usize = 50;

/// An archive with the binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlatformArchive {
    /// The file name.
    pub(super) name: String,
    pub(super) sha256: String,
    /// The architecture as Go names it.
    pub(super) architecture: &'static str,
}

/// The file name of the manifest.
pub(super) fn name() -> String {
    format!("{NAME}.krew.yaml")
}

/// Returns the manifest for these archives, which the repository (`OWNER/NAME`) publishes.
pub(super) fn manifest(source: &Source, repository: &str, archives: &[PlatformArchive]) -> Result<Vec<u8>> {
    let is_part = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let (owner, project) = repository.split_once('/').unwrap_or_default();
    ensure!(is_part(owner) && is_part(project), "--repository {repository}: expected OWNER/NAME");
    ensure!(!archives.is_empty(), "no archive was built");
    let home = format!("https://github.com/{repository}");
    let mut text = format!(
        "# Made by `cargo xtask release`. An index of Krew has it as plugins/{NAME}.yaml.
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: {NAME}
spec:
  version: v{version}
  homepage: {home}
  shortDescription: Explain which secrets a pod gets and why
  description: |
    Ampoule injects secrets into pods. This program is also its webhook. As a plugin, it explains which secrets the pods
    of a manifest request and how each plugin answers (`kubectl ampoule explain`), shows the change of a pod
    (`kubectl ampoule mutate`), and prints annotations (`kubectl ampoule request`).
  platforms:
",
        version = source.version,
    );
    for PlatformArchive { name, sha256, architecture } in archives {
        let folder = name.strip_suffix(".tar.gz").with_context(|| format!("{name} is no archive"))?;
        let _ = write!(
            text,
            "    - selector: {{ matchLabels: {{ os: linux, arch: {architecture} }} }}
      uri: {home}/releases/download/v{version}/{name}
      sha256: {sha256}
      files:
        - {{ from: {folder}/{NAME}, to: . }}
        - {{ from: {folder}/LICENSE, to: . }}
      bin: {NAME}
",
            version = source.version,
        );
    }
    Ok(text.into_bytes())
}

/// Checks a manifest by the rules of Krew, and that each archive is one of the release with the
/// listed files. `entries` lists the files of an archive with this name. Returns what was checked.
pub(super) fn check(
    manifest: &[u8],
    archives: &[PlatformArchive],
    entries: impl Fn(&str) -> Result<Vec<String>>,
) -> Result<String> {
    let manifest: Value = serde_saphyr::from_slice(manifest).context("the manifest is no YAML")?;
    let spec = &manifest["spec"];
    ensure!(manifest["apiVersion"] == "krew.googlecontainertools.github.com/v1alpha2", "the version is not Krew's");
    ensure!((&manifest["kind"], &manifest["metadata"]["name"]) == (&json!("Plugin"), &json!(NAME)), "another kind");
    let text = |value: &'_ Value| value.as_str().unwrap_or_default().to_owned();
    let version = text(&spec["version"]);
    ensure!(version.strip_prefix('v').is_some_and(|rest| rest.split('.').count() >= 3), "{version} is no version");
    let short = text(&spec["shortDescription"]);
    ensure!(!short.is_empty() && short.len() <= MAX_SHORT && !short.ends_with('.'), "shortDescription: {short:?}");
    let platforms = spec["platforms"].as_array().map(Vec::as_slice).unwrap_or_default();
    ensure!(platforms.len() == archives.len(), "{} platforms for {} archives", platforms.len(), archives.len());
    for (platform, archive) in platforms.iter().zip(archives) {
        let uri = text(&platform["uri"]);
        ensure!(uri.starts_with("https://") && uri.ends_with(&format!("/{version}/{}", archive.name)), "{uri}");
        ensure!(platform["sha256"] == archive.sha256, "the checksum of {} differs", archive.name);
        ensure!(
            platform["selector"]["matchLabels"]["arch"] == archive.architecture,
            "{} has another architecture",
            archive.name
        );
        let files = entries(&archive.name)?;
        for file in platform["files"].as_array().into_iter().flatten() {
            let from = text(&file["from"]);
            ensure!(files.contains(&from), "{} does not contain {from}", archive.name);
        }
        let bin = format!("/{}", text(&platform["bin"]));
        let is_bin = |file: &Value| text(&file["from"]).ends_with(&bin) && file["to"] == ".";
        ensure!(platform["files"].as_array().into_iter().flatten().any(is_bin), "{} has no program", archive.name);
    }
    Ok(format!("follows Krew's rules for {} platforms", platforms.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source {
            version: "1.2.3".to_owned(),
            commit: "0".repeat(40),
            epoch: 0,
            timestamp: String::new(),
            is_modified: false,
        }
    }

    fn archives() -> Vec<PlatformArchive> {
        [("x86_64", "amd64"), ("aarch64", "arm64")]
            .map(|(cpu, architecture)| PlatformArchive {
                name: format!("ampoule-1.2.3-{cpu}-unknown-linux-musl.tar.gz"),
                sha256: cpu.repeat(4),
                architecture,
            })
            .into()
    }

    fn entries(name: &str) -> Result<Vec<String>> {
        let folder = name.trim_end_matches(".tar.gz");
        Ok(vec![format!("{folder}/ampoule"), format!("{folder}/LICENSE")])
    }

    #[test]
    fn a_manifest_follows_the_rules_of_krew() {
        let manifest = manifest(&source(), "example/ampoule", &archives()).unwrap();
        assert_eq!(check(&manifest, &archives(), entries).unwrap(), "follows Krew's rules for 2 platforms");
        let text = String::from_utf8(manifest).unwrap();
        let uri = "https://github.com/example/ampoule/releases/download/v1.2.3/\
                   ampoule-1.2.3-aarch64-unknown-linux-musl.tar.gz";
        assert!(text.contains(uri), "{text}");
    }

    #[test]
    fn the_check_finds_each_deviation() {
        let good = String::from_utf8(manifest(&source(), "example/ampoule", &archives()).unwrap()).unwrap();
        for (from, to, expected) in [
            ("v1alpha2", "v1", "the version is not Krew's"),
            ("kind: Plugin", "kind: Index", "another kind"),
            ("version: v1.2.3", "version: 1.2.3", "1.2.3 is no version"),
            ("and why\n", "and why.\n", "shortDescription: \"Explain which secrets a pod gets and why.\""),
            (
                "x86_64x86_64x86_64x86_64",
                "x86_64",
                "the checksum of ampoule-1.2.3-x86_64-unknown-linux-musl.tar.gz differs",
            ),
            ("arch: amd64", "arch: arm64", "ampoule-1.2.3-x86_64-unknown-linux-musl.tar.gz has another architecture"),
            (
                "/v1.2.3/ampoule-1.2.3-a",
                "/v1.2.3/a",
                "https://github.com/example/ampoule/releases/download/v1.2.3/aarch64-unknown-linux-musl.tar.gz",
            ),
            (
                "aarch64-unknown-linux-musl/ampoule,",
                "other/ampoule,",
                "ampoule-1.2.3-aarch64-unknown-linux-musl.tar.gz does not contain ampoule-1.2.3-other/ampoule",
            ),
            ("bin: ampoule", "bin: other", "ampoule-1.2.3-x86_64-unknown-linux-musl.tar.gz has no program"),
        ] {
            assert!(good.contains(from), "{from}");
            let error = check(good.replace(from, to).as_bytes(), &archives(), entries).unwrap_err();
            assert_eq!(error.to_string(), expected, "{from} → {to}");
        }
        let error = check(good.as_bytes(), &archives()[..1], entries).unwrap_err();
        assert_eq!(error.to_string(), "2 platforms for 1 archives");
        for wrong in ["", "ampoule", "a/b/c", "a/", "https://github.com/a/b"] {
            let error = manifest(&source(), wrong, &archives()).unwrap_err().to_string();
            assert_eq!(error, format!("--repository {wrong}: expected OWNER/NAME"));
        }
    }
}
