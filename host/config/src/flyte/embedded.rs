//! Flyte 2's Embedded secret manager: the injector with the same secrets.
//!
//! In Kubernetes, the plugin may read only Secrets with the label that Flyte's service sets, in its
//! namespace. For the store of a cloud, it may call only the store's host, and the webhook logs in
//! with the identity that Flyte's webhook would use.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{
    Lookup, Notice,
    place::Place,
    tree::{Found, Tree},
};
use crate::{
    AwsCredential, AzureCredential, ConfigError, CredentialConfig, GcpCredential, GrantsFile, LimitsSection,
    ValueCacheConfig, injector::InjectorEntry,
};

/// The name of the built-in plugin.
pub(super) const PLUGIN: &str = "embedded";

/// The section of the manager.
const SECTION: &str = "webhook.embeddedSecretManagerConfig";
/// The namespace of the Secrets in Flyte's defaults.
const NAMESPACE: &str = "flyte";
/// The label of the Secrets that Flyte's service creates.
const MANAGED: (&str, &str) = ("app.flyte.org/managed", "true");
/// Time for an answer. One answer takes up to three requests to the store, and perhaps a login.
const DEADLINE_MILLIS: u64 = 5000;
/// The variables with the region in the environment of AWS's SDKs, in their order.
const REGION_VARIABLES: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
/// The scope of Google's access tokens.
const GCP_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// The time for which a value is kept, if Flyte's service reports changes.
const CACHED: Duration = Duration::from_secs(60);
/// The types of the manager, in Flyte's spelling.
const TYPES: [&str; 4] = ["K8s", "AWS", "GCP", "Azure"];

/// The part of the injector that depends on the type.
struct Store {
    settings: Map<String, Value>,
    grants: GrantsFile,
}

/// The injector.
pub(super) fn injector(
    tree: &Tree,
    lookup: Lookup<'_>,
    notices: &mut Vec<Notice>,
) -> Result<InjectorEntry, ConfigError> {
    let namespace = match tree.find(&format!("{SECTION}.k8sConfig.namespace")) {
        Some(found) => found.text()?,
        None => NAMESPACE.to_owned(),
    };
    let Store { mut settings, mut grants } = match type_name(tree)? {
        "AWS" => aws(tree, lookup)?,
        "GCP" => gcp(tree)?,
        "Azure" => azure(tree)?,
        _ => Store {
            settings: Map::from_iter([("k8s".to_owned(), json!({ "namespace": namespace }))]),
            grants: GrantsFile::default().with_labelled_secrets(&namespace, &[MANAGED]),
        },
    };
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
    let cache = cache(tree)?;
    Ok(InjectorEntry { settings, grants, limits, cache, ..InjectorEntry::builtin(PLUGIN) })
}

/// The cache of values. Flyte keeps them for 24 hours, unless its service reports a change. Without
/// such reports nothing is kept. With them, a value is outdated for a minute at most if a report is
/// lost.
fn cache(tree: &Tree) -> Result<ValueCacheConfig, ConfigError> {
    let port = tree.find("webhook.cacheInvalidationPort").map(|found| found.number(0..=u16::MAX)).transpose()?;
    Ok(match port {
        None | Some(0) => ValueCacheConfig::default(),
        Some(_) => ValueCacheConfig { ttl: CACHED, invalidation: true, ..ValueCacheConfig::default() },
    })
}

/// The type of the manager, in Flyte's spelling.
fn type_name(tree: &Tree) -> Result<&'static str, ConfigError> {
    let Some(found) = tree.find(&format!("{SECTION}.type")) else { return Ok("K8s") };
    let name = found.text()?;
    TYPES
        .into_iter()
        .find(|spelling| spelling.eq_ignore_ascii_case(&name))
        .ok_or_else(|| found.place().error(format!("{name:?} is not a type; use {}", TYPES.join(", "))))
}

fn aws(tree: &Tree, lookup: Lookup<'_>) -> Result<Store, ConfigError> {
    let (region, place) = region(tree, lookup)?;
    if region.is_empty() || !region.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-') {
        return Err(place.error(format!("{region:?} is not the name of a region")));
    }
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    let credential = CredentialConfig::AwsSigV4(AwsCredential {
        service: "secretsmanager".to_owned(),
        region: region.clone(),
        role_arn: None,
        sts_endpoint: None,
        metadata_endpoint: None,
    });
    let host = format!("secretsmanager.{region}.amazonaws.com{suffix}");
    Ok(Store::new("AWS", "aws", json!({ "region": region }), &host, credential))
}

/// The region, and the key that has it. Like AWS's SDK, Flyte takes it from the environment if the
/// key is empty.
fn region(tree: &Tree, lookup: Lookup<'_>) -> Result<(String, Place), ConfigError> {
    let key = format!("{SECTION}.awsConfig.region");
    let (text, place) = text_at(tree, &key)?;
    if !text.is_empty() {
        return Ok((text, place));
    }
    match REGION_VARIABLES.into_iter().find_map(|name| Some((lookup(name)?, Place::missing(name)))) {
        Some(found) => Ok(found),
        None => Err(place.error(format!("is required, unless {} is set", REGION_VARIABLES.join(" or ")))),
    }
}

fn gcp(tree: &Tree) -> Result<Store, ConfigError> {
    let (project, place) = text_at(tree, &format!("{SECTION}.gcpConfig.project"))?;
    if project.is_empty() {
        return Err(place.error("is required for the type GCP"));
    }
    let credential = CredentialConfig::Gcp(GcpCredential {
        scopes: vec![GCP_SCOPE.to_owned()],
        audience: None,
        token_file: None,
        token_url: None,
        metadata_endpoint: None,
    });
    Ok(Store::new("GCP", "gcp", json!({ "project": project }), "secretmanager.googleapis.com", credential))
}

fn azure(tree: &Tree) -> Result<Store, ConfigError> {
    let (url, place) = text_at(tree, &format!("{SECTION}.azureConfig.vaultURI"))?;
    let host = url.strip_prefix("https://").map(|rest| rest.trim_end_matches('/')).unwrap_or_default();
    let name = host.split(':').next().unwrap_or_default();
    let Some((_, domain)) = name.split_once('.').filter(|_| !host.contains(['/', '@', '?', '#'])) else {
        return Err(place.error("must be the URL of a vault, such as https://shop.vault.azure.net"));
    };
    // The audience is the cloud's own, such as vault.azure.cn in China.
    let credential = CredentialConfig::Azure(AzureCredential {
        scope: format!("https://{domain}/.default"),
        client_id: None,
        tenant_id: None,
        authority_host: None,
        metadata_endpoint: None,
    });
    Ok(Store::new("Azure", "azure", json!({ "vaultUrl": url }), host, credential))
}

/// The text of a key, which is empty if the key is missing, and its place.
fn text_at(tree: &Tree, key: &str) -> Result<(String, Place), ConfigError> {
    let found: Option<Found<'_>> = tree.find(key);
    match found {
        Some(found) => Ok((found.text()?, found.place())),
        None => Ok((String::new(), Place::missing(key))),
    }
}

// === impl Store ===

impl Store {
    fn new(kind: &str, section: &str, settings: Value, host: &str, credential: CredentialConfig) -> Self {
        Self {
            settings: Map::from_iter([("type".to_owned(), kind.into()), (section.to_owned(), settings)]),
            grants: GrantsFile::default().with_host(host, credential),
        }
    }
}
