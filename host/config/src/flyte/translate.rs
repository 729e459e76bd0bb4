//! From the merged tree to a [`ConfigFile`], with the way back from each of its keys to the one that Flyte's file has.
//!
//! Nothing is validated here beyond the kind of each value: that is for the check that every configuration goes through.

use ampoule_core::Profile;

use super::{
    super::{
        ConfigError, ConfigFile, NamespaceSelector, ProfileName,
        file::{ConventionsFile, ServerFile},
        registration::{CertificatesFile, RegistrationFile},
    },
    Notice, Place, global,
    keys::{Fate, KEYS, Key},
    managers,
    tree::Tree,
};

/// The name of the webhook within its registration, in both versions of Flyte.
const WEBHOOK_NAME: &str = "flyte-pod-webhook.flyte.org";
/// The Service, the Secret and the registration, in both versions of Flyte.
const OBJECT_NAME: &str = "flyte-pod-webhook";

/// What the tree amounts to.
pub(super) struct Translation {
    pub(super) file: ConfigFile,
    pub(super) origins: Origins,
    pub(super) notices: Vec<Notice>,
}

/// Which of Flyte's keys each of ours came from.
#[derive(Debug, Default)]
pub(super) struct Origins(Vec<(String, Place)>);

/// Looks an environment variable up.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Says the tree in this program's own terms.
pub(super) fn translate(
    tree: &Tree,
    profile: Option<ProfileName>,
    lookup: Lookup<'_>,
) -> Result<Translation, ConfigError> {
    let mut notices = Vec::new();
    let mut unknown = Vec::new();
    collect_unknown(tree, &mut unknown)?;
    let profile = profile.unwrap_or_else(|| infer(tree, &mut notices));
    about_keys(tree, &unknown, &mut notices);
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
    for (i, (injector, place)) in managers::injectors(tree, profile, &mut notices)?.into_iter().enumerate() {
        origins.add(&format!("injectors[{i}].component"), place);
        injectors.push(injector);
    }
    file.injectors = Some(injectors);
    Ok(Translation { file, origins, notices })
}

/// The version of Flyte that the keys are of.
fn infer(tree: &Tree, notices: &mut Vec<Notice>) -> ProfileName {
    let telling = KEYS.iter().filter(|key| key.only_v2).find_map(|key| Some(tree.find(key.path)?.place()));
    let (profile, reason) = match telling.or_else(|| managers::only_v2(tree)) {
        Some(place) => (Profile::FlyteV2, format!("{place} is of Flyte 2")),
        None => (Profile::FlyteV1, "no key is of Flyte 2 alone".to_owned()),
    };
    notices.push(Notice::Info(format!("profile {profile}, since {reason}; --profile says otherwise")));
    match profile {
        Profile::FlyteV1 => ProfileName::FlyteV1,
        Profile::FlyteV2 => ProfileName::FlyteV2,
    }
}

/// What the author of each key should know of it, and which keys nobody knows.
fn about_keys(tree: &Tree, unknown: &[String], notices: &mut Vec<Notice>) {
    for Key { path, fate, .. } in KEYS {
        let Some(place) = tree.find(path).map(|found| found.place()) else { continue };
        match fate {
            Fate::Used => {}
            Fate::UsedWith(remark) => notices.push(Notice::Warning(format!("{place}: is honoured; {remark}"))),
            Fate::Ignored(reason) => notices.push(Notice::Warning(format!("{place}: is ignored: {reason}"))),
        }
    }
    if !unknown.is_empty() {
        notices.push(Notice::Warning(format!("ignored, as they are no keys of Flyte: {}", unknown.join(", "))));
    }
}

/// The keys that are not in the table, and an error for what should be a mapping and is none.
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

fn conventions(tree: &Tree, origins: &mut Origins) -> Result<ConventionsFile, ConfigError> {
    let mut file = ConventionsFile::default();
    if let Some(prefix) = tree.find("webhook.secretEnvVarPrefix") {
        origins.add("conventions.envPrefix", prefix.place());
        file.env_prefix = Some(prefix.text()?);
    }
    Ok(file)
}

fn server(tree: &Tree, origins: &mut Origins, lookup: Lookup<'_>) -> Result<ServerFile, ConfigError> {
    let mut file = ServerFile::default();
    if let Some(port) = tree.find("webhook.listenPort") {
        origins.add("server.listen", port.place());
        let number = port.number(0..=u64::from(u16::MAX))?;
        // The other port cannot be said in Flyte's terms, so that this one has to give way to it.
        if file.admin.ends_with(&format!(":{number}")) {
            return Err(port.place().error(format!("{number} is the port for health and metrics already")));
        }
        file.listen = format!("0.0.0.0:{number}");
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

fn registration(tree: &Tree, origins: &mut Origins) -> Result<RegistrationFile, ConfigError> {
    let mut file = RegistrationFile {
        enabled: true,
        name: OBJECT_NAME.to_owned(),
        webhook_name: WEBHOOK_NAME.to_owned(),
        service_name: OBJECT_NAME.to_owned(),
        // Flyte leaves out no namespace where none is said.
        namespace_selector: Some(NamespaceSelector::default()),
        ..RegistrationFile::default()
    };
    if let Some(disabled) = tree.find("webhook.disableCreateMutatingWebhookConfig") {
        file.enabled = !disabled.flag()?;
    }
    if let Some(name) = tree.find("webhook.serviceName") {
        for key in ["registration.name", "registration.serviceName"] {
            origins.add(key, name.place());
        }
        file.service_name = name.text()?;
        file.name.clone_from(&file.service_name);
    }
    if let Some(port) = tree.find("webhook.servicePort") {
        file.service_port = port.number(1..=u64::from(u16::MAX))?;
    }
    if let Some(timeout) = tree.find("webhook.webhookTimeout") {
        file.timeout_seconds = timeout.number(1..=30)?;
    }
    if let Some(selector) = tree.find("webhook.namespaceSelector") {
        origins.add("registration.namespaceSelector", selector.place());
        let text = serde_json::Value::Object(selector.mapping()?);
        let parsed = serde_path_to_error::deserialize(text).map_err(|error| {
            let mut place = selector.place();
            place.key = format!("{}.{}", place.key, error.path());
            place.error(error.into_inner().to_string())
        })?;
        file.namespace_selector = Some(parsed);
    }
    Ok(file)
}

fn certificates(tree: &Tree, origins: &mut Origins) -> Result<CertificatesFile, ConfigError> {
    let mut file = CertificatesFile { secret_name: OBJECT_NAME.to_owned(), ..CertificatesFile::default() };
    if let Some(name) = tree.find("webhook.secretName") {
        origins.add("certificates.secretName", name.place());
        file.secret_name = name.text()?;
    }
    if let Some(local) = tree.find("webhook.localCert") {
        file.copy_to_cert_dir = local.flag()?;
    }
    Ok(file)
}

// === impl Origins ===

impl Origins {
    /// That this key and all below it say what stands there.
    pub(super) fn add(&mut self, key: &str, place: Place) {
        self.0.push((key.to_owned(), place));
    }

    /// The same error, at the key that its reader has.
    pub(super) fn explain(&self, error: ConfigError) -> ConfigError {
        let below =
            |key: &str| error.key.strip_prefix(key).filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        match self.0.iter().find_map(|(key, place)| Some((below(key)?, place))) {
            Some((rest, Place { key, file })) => {
                Place { key: format!("{key}{rest}"), file: file.clone() }.error(error.reason.clone())
            }
            None => error,
        }
    }
}
