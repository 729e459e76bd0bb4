//! Translates the merged tree to a [`ConfigFile`], and records the origin of each of its keys.
//!
//! Only the kind of each value is checked here. All other rules are those of every configuration.

use std::{
    net::{Ipv6Addr, SocketAddr},
    time::Duration,
};

use ampoule_core::Profile;

use super::{
    Lookup, Notice, global,
    keys::{Effect, KEYS, Key},
    managers,
    place::Origins,
    tree::Tree,
};
use crate::{
    CertificatesConfig, ConfigError, InvalidationConfig, NamespaceSelector, ProfileName, RegistrationConfig,
    ServerConfig, conventions::ConventionsSection, file::ConfigFile,
};

/// Name of the webhook in its registration, in both versions of Flyte.
const WEBHOOK_NAME: &str = "flyte-pod-webhook.flyte.org";
/// Name of the Service, the Secret and the registration, in both versions of Flyte.
const OBJECT_NAME: &str = "flyte-pod-webhook";

/// The translated configuration.
pub(super) struct Translation {
    pub(super) file: ConfigFile,
    pub(super) origins: Origins,
    pub(super) notices: Vec<Notice>,
}

/// Translates the tree. Without a profile, the keys determine it.
pub(super) fn translate(
    tree: &Tree,
    profile: Option<ProfileName>,
    lookup: Lookup<'_>,
) -> Result<Translation, ConfigError> {
    let mut notices = Vec::new();
    let mut unknown = Vec::new();
    collect_unknown(tree, &mut unknown)?;
    let profile = profile.unwrap_or_else(|| detect_profile(tree, &mut notices));
    add_key_notices(tree, &unknown, &mut notices);
    let mut origins = Origins::default();
    let mut file = ConfigFile {
        profile,
        conventions: conventions(tree, &mut origins)?,
        global_secrets: global::secrets(tree, &mut origins)?,
        server: server(tree, &mut origins, lookup)?,
        registration: registration(tree, &mut origins)?,
        certificates: certificates(tree, &mut origins)?,
        ..ConfigFile::default()
    };
    let mut injectors = Vec::new();
    for (i, (injector, place)) in managers::injectors(tree, profile, lookup, &mut notices)?.into_iter().enumerate() {
        origins.add(&format!("injectors[{i}].component"), place);
        injectors.push(injector);
    }
    file.injectors = Some(injectors);
    Ok(Translation { file, origins, notices })
}

/// The profile of the version of Flyte that has all keys of the tree.
fn detect_profile(tree: &Tree, notices: &mut Vec<Notice>) -> ProfileName {
    let only_v2 = KEYS.iter().filter(|key| key.only_v2).find_map(|key| Some(tree.find(key.path)?.place()));
    let (profile, reason) = match only_v2.or_else(|| managers::only_v2(tree)) {
        Some(place) => (Profile::FlyteV2, format!("{place} exists only in Flyte 2")),
        None => (Profile::FlyteV1, "no key exists only in Flyte 2".to_owned()),
    };
    notices.push(Notice::Info(format!("profile {profile}, because {reason}; --profile overrides it")));
    profile.into()
}

/// Adds the remarks for keys that are present, and for keys that are unknown.
fn add_key_notices(tree: &Tree, unknown: &[String], notices: &mut Vec<Notice>) {
    for key in KEYS {
        let Some(place) = tree.find(key.path).map(|found| found.place()) else { continue };
        match key.effect {
            Effect::Full => {}
            Effect::Remarkable(remark) => notices.push(Notice::Warning(format!("{place}: takes effect; {remark}"))),
            Effect::None(reason) => notices.push(Notice::Warning(format!("{place}: is ignored: {reason}"))),
        }
    }
    if !unknown.is_empty() {
        notices.push(Notice::Warning(format!("ignored, because Flyte has no such keys: {}", unknown.join(", "))));
    }
}

/// Collects the keys that are not in the table. A value in place of a mapping is an error.
fn collect_unknown(tree: &Tree, unknown: &mut Vec<String>) -> Result<(), ConfigError> {
    for found in tree.keys() {
        let path = found.path().to_lowercase();
        let belongs = |key: &Key| {
            key.path.to_lowercase().strip_prefix(&path).map(|rest| (rest.is_empty(), rest.starts_with('.')))
        };
        let relations: Vec<_> = KEYS.iter().filter_map(belongs).collect();
        if relations.iter().any(|(is_the_key, _)| *is_the_key) {
            continue;
        }
        match (relations.iter().any(|(_, is_above)| *is_above), found.branch()) {
            (true, Some(tree)) => collect_unknown(tree, unknown)?,
            (true, None) if found.is_null() => {}
            (true, None) => return Err(found.place().error("must be a mapping")),
            (false, _) => unknown.push(found.place().to_string()),
        }
    }
    Ok(())
}

fn conventions(tree: &Tree, origins: &mut Origins) -> Result<ConventionsSection, ConfigError> {
    let mut file = ConventionsSection::default();
    if let Some(prefix) = tree.find("webhook.secretEnvVarPrefix") {
        origins.add("conventions.envPrefix", prefix.place());
        file.env_prefix = Some(prefix.text()?);
    }
    Ok(file)
}

fn server(tree: &Tree, origins: &mut Origins, lookup: Lookup<'_>) -> Result<ServerConfig, ConfigError> {
    let mut file = ServerConfig::default();
    // Flyte's webhook answers with values, and has no key for the authentication of its clients.
    file.clients.accept_values_to_anyone = true;
    if let Some(port) = tree.find("webhook.listenPort") {
        origins.add("server.listen", port.place());
        let number = port.number(0..=u16::MAX)?;
        // Flyte has no key for the admin port: the error must name this one.
        if file.admin.port() == number {
            return Err(port.place().error(format!("{number} is already the port for health and metrics")));
        }
        file.listen.set_port(number);
    }
    if let Some(port) = tree.find("webhook.cacheInvalidationPort") {
        origins.add("server.invalidation", port.place());
        let number = port.number(0..=u16::MAX)?;
        // Flyte's service reports changes without authentication. 0 turns the port off.
        if number != 0 {
            let listen = SocketAddr::from((Ipv6Addr::UNSPECIFIED, number));
            file.invalidation = Some(InvalidationConfig { listen, accept_anyone: true });
        }
    }
    if let Some(dir) = tree.find("webhook.certDir") {
        origins.add("server.certDir", dir.place());
        let expanded = shellexpand::env_with_context(&dir.text()?, |name| lookup(name).map(Some).ok_or("not set"))
            .map_err(|error| dir.place().error(format!("the environment variable {} is not set", error.var_name)))?
            .into_owned();
        file.cert_dir = expanded.into();
    }
    Ok(file)
}

fn registration(tree: &Tree, origins: &mut Origins) -> Result<RegistrationConfig, ConfigError> {
    let mut file = RegistrationConfig {
        enabled: true,
        // Flyte's webhook creates the object, and Flyte's chart contains none.
        create: true,
        name: OBJECT_NAME.to_owned(),
        webhook_name: WEBHOOK_NAME.to_owned(),
        service_name: OBJECT_NAME.to_owned(),
        // The default of Flyte is all namespaces.
        namespace_selector: Some(NamespaceSelector::default()),
        ..RegistrationConfig::default()
    };
    if let Some(disabled) = tree.find("webhook.disableCreateMutatingWebhookConfig") {
        file.enabled = !disabled.flag()?;
        file.create = file.enabled;
    }
    if let Some(name) = tree.find("webhook.serviceName") {
        for key in ["registration.name", "registration.serviceName"] {
            origins.add(key, name.place());
        }
        file.service_name = name.text()?;
        file.name.clone_from(&file.service_name);
    }
    if let Some(port) = tree.find("webhook.servicePort") {
        file.service_port = port.number(1..=65_535)?;
    }
    if let Some(timeout) = tree.find("webhook.webhookTimeout") {
        file.timeout = Duration::from_secs(timeout.number(1..=30)?);
    }
    if let Some(selector) = tree.find("webhook.namespaceSelector") {
        origins.add("registration.namespaceSelector", selector.place());
        let text = serde_json::Value::Object(selector.mapping()?);
        let parsed = serde_path_to_error::deserialize(text).map_err(|error| {
            selector.place().part(format_args!(".{}", error.path())).error(error.inner().to_string())
        })?;
        file.namespace_selector = Some(parsed);
    }
    Ok(file)
}

fn certificates(tree: &Tree, origins: &mut Origins) -> Result<CertificatesConfig, ConfigError> {
    let mut file = CertificatesConfig { secret_name: OBJECT_NAME.to_owned(), ..CertificatesConfig::default() };
    if let Some(name) = tree.find("webhook.secretName") {
        origins.add("certificates.secretName", name.place());
        file.secret_name = name.text()?;
    }
    if let Some(local) = tree.find("webhook.localCert") {
        file.copy_to_cert_dir = local.flag()?;
    }
    Ok(file)
}
