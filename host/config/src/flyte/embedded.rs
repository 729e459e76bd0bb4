//! Flyte 2's Embedded secret manager: the injector with the same secrets.
//!
//! The plugin may read only Secrets with the label that Flyte's service sets, in its namespace.

use serde_json::{Map, json};

use super::{Notice, tree::Tree};
use crate::{ConfigError, GrantsFile, LimitsSection, injector::InjectorEntry};

/// The name of the built-in plugin.
pub(super) const PLUGIN: &str = "embedded";

/// The section of the manager.
const SECTION: &str = "webhook.embeddedSecretManagerConfig";
/// The namespace of the Secrets in Flyte's defaults.
const NAMESPACE: &str = "flyte";
/// The label of the Secrets that Flyte's service creates.
const MANAGED: (&str, &str) = ("app.flyte.org/managed", "true");
/// Time for an answer. One answer takes up to three requests to the API server.
const DEADLINE_MILLIS: u64 = 5000;

/// The injector.
pub(super) fn injector(tree: &Tree, notices: &mut Vec<Notice>) -> Result<InjectorEntry, ConfigError> {
    check_type(tree)?;
    let namespace = match tree.find(&format!("{SECTION}.k8sConfig.namespace")) {
        Some(found) => found.text()?,
        None => NAMESPACE.to_owned(),
    };
    let mut settings = Map::from_iter([("k8s".to_owned(), json!({ "namespace": namespace }))]);
    let mut grants = GrantsFile::default().with_labelled_secrets(&namespace, &[MANAGED]);
    if let Some(found) = tree.find(&format!("{SECTION}.imagePullSecrets.enabled"))
        && found.flag()?
    {
        let text = format!(
            "{}: takes effect for Secrets `img-pull-…` in namespace {namespace} with the label union.ai/secret-type",
            found.place()
        );
        notices.push(Notice::Info(text));
        settings.insert("imagePull".to_owned(), json!({ "existing": true, "namespace": namespace }));
        grants = grants.with_labelled_secrets(&namespace, &[("union.ai/secret-type", "image-pull-secret")]);
    }
    if let Some(found) = tree.find(&format!("{SECTION}.fileMountInitContainer")) {
        let text = format!("{}: is ignored: files need no init container", found.place());
        notices.push(Notice::Warning(text));
    }
    let limits = LimitsSection::with_deadline(DEADLINE_MILLIS);
    Ok(InjectorEntry { settings, grants, limits, ..InjectorEntry::builtin(PLUGIN) })
}

/// Refuses the types whose store is not Kubernetes.
fn check_type(tree: &Tree) -> Result<(), ConfigError> {
    let Some(found) = tree.find(&format!("{SECTION}.type")) else { return Ok(()) };
    let name = found.text()?;
    if name.eq_ignore_ascii_case("K8s") {
        return Ok(());
    }
    let remedy = "is not supported yet; use K8s, or the injectors aws-secrets-manager, gcp-secret-manager and \
                  azure-key-vault of Ampoule's own configuration";
    Err(found.place().error(format!("the type {name} {remedy}")))
}
