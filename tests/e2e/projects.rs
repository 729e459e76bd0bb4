//! Pods with the shapes of public projects, before and after the mutation.
//!
//! `projects/NAME.before.yaml` is the pod as the project creates it, with requests of its author;
//! `projects/NAME.after.yaml` is the pod with its secrets. The real program mutates each pod, and
//! the API server accepts both.

use std::{fs, path::PathBuf, process::Output};

use ampoule_tests::{Ampoule, ApiServer};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::NamedTempFile;

/// The configuration of a cluster without Flyte.
const CONFIG: &str = "profile: plain\ninjectors: [{ name: k8s, component: 'builtin:k8s' }]\n";

const PODS: [&str; 11] = [
    "argo-step",
    "cron-job",
    "gitlab-runner",
    "istio-mesh",
    "knative-revision",
    "postgres",
    "ray-head",
    "ray-worker",
    "spark-driver",
    "web-service",
    "windows",
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("e2e/projects")
}

fn mutate(config: &NamedTempFile, pod: &std::path::Path, words: &[&str]) -> Result<Output> {
    let mut command = Ampoule::command()?;
    command.arg("mutate").arg("--config").arg(config.path()).args(words).arg(pod);
    Ok(command.output()?)
}

#[tokio::test]
async fn pods_of_public_projects_get_their_secrets() -> Result<()> {
    let namespace = ApiServer::shared().await?.namespace("projects").await?;
    let config = NamedTempFile::new()?;
    fs::write(config.path(), CONFIG)?;
    for name in PODS {
        let before = folder().join(format!("{name}.before.yaml"));
        let output = mutate(&config, &before, &[])?;
        ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{name} has a warning");
        let after = folder().join(format!("{name}.after.yaml"));
        if std::env::var_os("INSTA_UPDATE").is_some_and(|mode| mode == "always") {
            fs::write(&after, &output.stdout)?;
        }
        let expected = fs::read_to_string(&after).unwrap_or_default();
        let mutated = String::from_utf8(output.stdout)?;
        assert!(mutated == expected, "{name} differs from its snapshot (cargo xtask bless):\n{mutated}");
        let second = mutate(&config, &after, &["--output", "patch"])?;
        assert_eq!(String::from_utf8_lossy(&second.stdout), "[]\n", "{name}: a second review");
        for path in [before, after] {
            let pod: Value = serde_saphyr::from_str(&fs::read_to_string(&path)?)?;
            namespace.dry_run_pod(&pod).await?.with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

#[test]
fn every_pod_of_the_folder_is_tested() -> Result<()> {
    let mut names: Vec<_> = fs::read_dir(folder())?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".before.yaml").map(str::to_owned))
        .collect();
    names.sort_unstable();
    assert_eq!(names, PODS);
    Ok(())
}
