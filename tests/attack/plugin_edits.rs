//! Edits by which a plugin would take over a container: images, mounts and variables.
//!
//! The plugins are components without permissions of their own.

use ampoule_core::MountRequirement::{EnvVar, File};
use ampoule_plugin_bundle::COMPONENTS;
use ampoule_tests::{Ampoule, Response, Review, annotation, asking};
use anyhow::{Context as _, Result};

use crate::support::config;

/// Starts a process whose only injector is a built-in component, loaded from a file as a plugin of
/// a third party, and asks it for a secret. `keys` are further keys of the injector.
async fn asked(builtin: &str, keys: &str, pod: &Review) -> Result<Response> {
    let (_, component) = COMPONENTS.iter().find(|(name, _)| *name == builtin).context("it is built in")?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("mine.wasm");
    std::fs::write(&file, component)?;
    // A busy machine takes longer than the default deadline.
    let limits = "limits: { deadlineMillis: 5000, queueWaitMillis: 10000 }";
    let injector = format!("  - {{ name: mine, component: 'file:{}', {limits}, {keys} }}\n", file.display());
    let ampoule = Ampoule::start_logging(&config("flyte-v1", &injector), "info").await?;
    let response = ampoule.review_once(pod).await?;
    ampoule.stop().await?.ensure_clean()?;
    Ok(response)
}

/// Number 10: an image of the plugin's choice, and a mount outside the directory for secrets.
#[tokio::test]
async fn a_plugin_may_add_only_what_its_permissions_cover() -> Result<()> {
    let arn =
        || Review::of(&asking("task", [annotation("arn:aws:secretsmanager:x:1:secret:", "key", File)]), "default");
    let file = || Review::of(&asking("task", [annotation("group", "key", File)]), "default");
    let variable = || Review::of(&asking("task", [annotation("group", "key", EnvVar)]), "default");
    let image = "docker.io/amazon/aws-secrets-manager-secret-sidecar:v0.1.4";
    let refused = |what: &str, key: &str| {
        format!("mine: denied: the plugin answered with {what}, which its permissions do not cover (edits.{key})")
    };
    for (builtin, keys, pod, expected) in [
        ("aws", "", arn(), Some(refused(&format!("an init container of the image \"{image}\""), "images"))),
        ("aws", "edits: { images: [docker.io/amazon/*] }", arn(), None),
        (
            "aws",
            "edits: { images: ['ghcr.io/*'] }",
            arn(),
            Some(refused(&format!("an init container of the image \"{image}\""), "images")),
        ),
        ("k8s", "", file(), None),
        (
            "k8s",
            "settings: { mountDirectory: /usr }",
            file(),
            Some("mine: denied: the plugin answered with a mount at \"/usr/".to_owned()),
        ),
        ("k8s", "", variable(), None),
        (
            "k8s",
            "settings: { envPrefix: LD_ }",
            variable(),
            Some(refused("the variable \"LD_GROUP_KEY\"", "variables")),
        ),
    ] {
        let response = asked(builtin, keys, &pod).await?;
        assert_eq!(response.allowed, expected.is_none(), "{builtin} {keys}: {}", response.message);
        let expected = expected.unwrap_or_default();
        assert!(response.message.contains(&expected), "{builtin} {keys}: {}", response.message);
    }
    Ok(())
}
