//! Flyte's secret managers, and the injector for each: its plugin, and the plugin's settings.
//!
//! A setting that no file has is left to the plugin, which has Flyte's defaults.

use serde_json::{Map, Value, json};

use super::{Lookup, Notice, embedded, place::Place, tree::Tree};
use crate::{ConfigError, ProfileName, injector::InjectorEntry};

/// A kind of secret manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manager {
    Global,
    K8s,
    Aws,
    Gcp,
    Azure,
    Vault,
    Embedded,
}

/// The names in Flyte's spelling.
const NAMES: [(&str, Manager); 7] = [
    ("K8s", Manager::K8s),
    ("AWS", Manager::Aws),
    ("GCP", Manager::Gcp),
    ("Azure", Manager::Azure),
    ("Vault", Manager::Vault),
    ("Global", Manager::Global),
    ("Embedded", Manager::Embedded),
];

const SUPPORTED: &str = "K8s, AWS, GCP, Azure, Vault, Embedded or Global";

/// The injectors in Flyte's order, and the key that named each.
///
/// Global secrets are not an injector: they are consulted first, in Flyte as in Ampoule.
pub(super) fn injectors(
    tree: &Tree,
    profile: ProfileName,
    lookup: Lookup<'_>,
    notices: &mut Vec<Notice>,
) -> Result<Vec<(InjectorEntry, Place)>, ConfigError> {
    let mut injectors = Vec::new();
    let mut seen = Vec::new();
    for (name, place) in named(tree, profile, notices)? {
        let manager = Manager::parse(&name, profile, &place, notices)?;
        if seen.contains(&manager) {
            notices.push(Notice::Warning(format!("{place}: is ignored: {name} is in the list twice")));
            continue;
        }
        seen.push(manager);
        if manager == Manager::Embedded {
            injectors.push((embedded::injector(tree, lookup, notices)?, place));
        } else if let Some(builtin) = manager.builtin() {
            let entry = InjectorEntry { settings: manager.settings(tree)?, ..InjectorEntry::builtin(builtin) };
            injectors.push((entry, place));
        }
    }
    Ok(injectors)
}

/// The place of a manager that only Flyte 2 has.
pub(super) fn only_v2(tree: &Tree) -> Option<Place> {
    let found = tree.find("webhook.secretManagerType")?;
    let name = found.text().ok()?;
    matches!(Manager::find(&name)?.1, Manager::Azure | Manager::Embedded).then(|| found.place())
}

/// The managers that the configuration names, or else Flyte's default.
fn named(tree: &Tree, profile: ProfileName, notices: &mut Vec<Notice>) -> Result<Vec<(String, Place)>, ConfigError> {
    let single = tree.find("webhook.secretManagerType");
    if let Some(list) = tree.find("webhook.secretManagerTypes") {
        let names = list.list()?;
        if !names.is_empty() {
            if let Some(single) = single {
                let text = format!("{}: is ignored because of secretManagerTypes", single.place());
                notices.push(Notice::Warning(text));
            }
            let place = list.place();
            let at = |i| place.part(format_args!("[{i}]"));
            return Ok(names.into_iter().enumerate().map(|(i, name)| (name, at(i))).collect());
        }
    }
    if let Some(single) = single {
        if profile == ProfileName::FlyteV2 {
            let text =
                format!("{}: takes effect, but is deprecated in Flyte 2; use secretManagerTypes", single.place());
            notices.push(Notice::Warning(text));
        }
        return Ok(vec![(single.text()?, single.place())]);
    }
    match profile {
        ProfileName::FlyteV1 | ProfileName::Plain => {
            Ok(vec![("K8s".to_owned(), Place::missing("webhook.secretManagerType"))])
        }
        ProfileName::FlyteV2 => Ok(vec![("Embedded".to_owned(), Place::missing("webhook.secretManagerTypes"))]),
    }
}

// === impl Manager ===

impl Manager {
    /// Finds a manager in any letter case; returns Flyte's spelling and the manager.
    fn find(name: &str) -> Option<(&'static str, Self)> {
        NAMES.into_iter().find(|(spelling, _)| spelling.eq_ignore_ascii_case(name))
    }

    fn parse(name: &str, profile: ProfileName, place: &Place, notices: &mut Vec<Notice>) -> Result<Self, ConfigError> {
        let Some((spelling, manager)) = Self::find(name) else {
            return Err(place.clone().error(format!("{name:?} is not a secret manager; use {SUPPORTED}")));
        };
        if spelling != name && profile == ProfileName::FlyteV1 {
            let text = format!("{place}: {name} is read as {spelling}; Flyte 1 accepts only that spelling");
            notices.push(Notice::Warning(text));
        }
        Ok(manager)
    }

    /// The name of the built-in plugin.
    fn builtin(self) -> Option<&'static str> {
        match self {
            Self::Global | Self::Embedded => None,
            Self::K8s => Some("k8s"),
            Self::Aws => Some("aws"),
            Self::Gcp => Some("gcp"),
            Self::Azure => Some("azure"),
            Self::Vault => Some("vault"),
        }
    }

    /// The plugin's settings from the manager's section.
    fn settings(self, tree: &Tree) -> Result<Map<String, Value>, ConfigError> {
        match self {
            Self::Global | Self::Embedded | Self::K8s => Ok(Map::new()),
            Self::Aws => sidecar(tree, "webhook.awsSecretManager"),
            Self::Gcp => sidecar(tree, "webhook.gcpSecretManager"),
            Self::Azure => sidecar(tree, "webhook.azureSecretManager"),
            Self::Vault => vault(tree, "webhook.vaultSecretManager"),
        }
    }
}

fn sidecar(tree: &Tree, section: &str) -> Result<Map<String, Value>, ConfigError> {
    let mut settings = Map::new();
    if let Some(image) = tree.find(&format!("{section}.sidecarImage")) {
        settings.insert("image".to_owned(), image.text()?.into());
    }
    let mut resources = Map::new();
    for kind in ["requests", "limits"] {
        if let Some(found) = tree.find(&format!("{section}.resources.{kind}")) {
            resources.insert(kind.to_owned(), json!(found.text_mapping()?));
        }
    }
    if !resources.is_empty() {
        settings.insert("resources".to_owned(), resources.into());
    }
    Ok(settings)
}

fn vault(tree: &Tree, section: &str) -> Result<Map<String, Value>, ConfigError> {
    let mut settings = Map::new();
    if let Some(role) = tree.find(&format!("{section}.role")) {
        settings.insert("role".to_owned(), role.text()?.into());
    }
    if let Some(found) = tree.find(&format!("{section}.kvVersion")) {
        let version = found.text()?;
        if !matches!(version.as_str(), "1" | "2") {
            return Err(found
                .place()
                .error(format!("{version:?} is not a version of Vault's KV engine; use \"1\" or \"2\"")));
        }
        settings.insert("kvVersion".to_owned(), version.into());
    }
    if let Some(annotations) = tree.find(&format!("{section}.annotations")) {
        settings.insert("annotations".to_owned(), json!(annotations.text_mapping()?));
    }
    Ok(settings)
}
