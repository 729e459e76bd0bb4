//! The chart as a package: the archive that `helm package` makes, but with the same bytes for the
//! same commit. Helm itself writes the time of packaging into every entry.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::archive::{self, Entry};
use super::source::{Source, tracked_files};
use crate::job;
use crate::workspace;

const FOLDER: &str = "deploy/chart";
/// Values for the tests of the chart. A user does not need them.
const TEST_VALUES: &str = "deploy/chart/ci/";
/// Helm renders a chart in less than a second.
const HELM_MAX: Duration = Duration::from_secs(60);

/// The fields of `Chart.yaml` that matter here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chart {
    name: String,
    version: String,
    app_version: String,
}

/// The name of the package, as Helm derives it from name and version.
pub(super) fn name(source: &Source) -> String {
    format!("ampoule-{}.tgz", source.version)
}

/// Packs the tracked files of the chart.
pub(super) fn pack(source: &Source) -> Result<Vec<u8>> {
    archive::gzip(&archive::tar(entries()?, source.epoch)?)
}

fn entries() -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for path in tracked_files(FOLDER)?.iter().filter(|path| !path.starts_with(TEST_VALUES)) {
        let bytes = fs::read(workspace::root().join(path)).with_context(|| format!("cannot read {path}"))?;
        // Helm expects one folder with the chart's name.
        entries.push(Entry::plain(path.replacen(FOLDER, "ampoule", 1), bytes));
    }
    Ok(entries)
}

/// Checks the package: its files are those of the checkout, its version is the workspace's, and
/// Helm reads it if there is a Helm. Returns what was checked.
pub(super) fn check(package: &Path, source: &Source) -> Result<String> {
    let packed = archive::read_tar_gz(&fs::read(package)?)?;
    let mut expected = entries()?;
    expected.sort_by(|one, other| one.path.cmp(&other.path));
    ensure!(packed == expected, "the files of the chart package differ from {FOLDER}");
    let manifest = packed.iter().find(|entry| entry.path == "ampoule/Chart.yaml").context("no ampoule/Chart.yaml")?;
    check_versions(std::str::from_utf8(&manifest.bytes)?, &source.version)?;
    let Some(helm) = job::on_path("helm") else {
        return Ok(format!("{} files; there is no helm in PATH, so no other reader checked it", packed.len()));
    };
    for words in [["show", "chart"].as_slice(), &["lint"], &["template", "ampoule"]] {
        let mut command = Command::new(&helm);
        command.args(words).arg(package);
        job::output(&mut command, HELM_MAX).with_context(|| format!("`{}` fails", job::shown(&command)))?;
    }
    Ok(format!("{} files; helm shows, lints and renders it", packed.len()))
}

fn check_versions(manifest: &str, version: &str) -> Result<()> {
    let chart: Chart = serde_saphyr::from_str(manifest).context("cannot read Chart.yaml")?;
    ensure!(chart.name == "ampoule", "the chart's name is {}, not ampoule", chart.name);
    for (key, found) in [("version", chart.version), ("appVersion", chart.app_version)] {
        ensure!(found == version, "{FOLDER}/Chart.yaml has {key} {found}, and the workspace has version {version}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_has_the_chart_and_not_the_values_of_its_tests() {
        let paths: Vec<_> = entries().unwrap().into_iter().map(|entry| entry.path).collect();
        for path in ["ampoule/Chart.yaml", "ampoule/values.yaml", "ampoule/templates/deployment.yaml"] {
            assert!(paths.iter().any(|packed| packed == path), "{path} is missing in {paths:?}");
        }
        assert!(!paths.iter().any(|path| path.starts_with("ampoule/ci/")), "{paths:?}");
    }

    #[test]
    fn the_charts_version_is_the_workspaces() {
        let manifest = fs::read_to_string(workspace::root().join(FOLDER).join("Chart.yaml")).unwrap();
        check_versions(&manifest, &Source::read().unwrap().version).unwrap();
        let error = check_versions("name: ampoule\nversion: 0.1.0\nappVersion: 0.1.1\n", "0.1.0").unwrap_err();
        assert_eq!(
            error.to_string(),
            "deploy/chart/Chart.yaml has appVersion 0.1.1, and the workspace has version 0.1.0"
        );
    }

    #[test]
    fn the_package_passes_its_own_check() {
        let source = Source::read().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let package = folder.path().join(name(&source));
        fs::write(&package, pack(&source).unwrap()).unwrap();
        check(&package, &source).unwrap();
    }
}
