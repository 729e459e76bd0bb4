//! List `injectors`: the plugins and their order.
//!
//! Each entry names a component and its settings, limits and grants.

use std::collections::HashSet;

use ampoule_core::{Delivery, EditPermissions, Limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    ComponentSource, ConfigError, GLOBAL_INJECTOR, GrantsConfig, GrantsFile, PodFetchConfig, TrustConfig,
    ValueCacheConfig, delivery::DeliveryName, edits::EditsSection, limits::LimitsSection, names::check_name,
    section::section, source::is_sha256,
};

/// An injector.
#[derive(Clone, Debug, PartialEq)]
pub struct InjectorConfig {
    /// The name in messages and metrics.
    pub name: String,
    /// The source of the component.
    pub component: ComponentSource,
    /// The required SHA-256 of the component, in hexadecimal.
    pub sha256: Option<String>,
    /// The name of the key that must have signed the component.
    pub signed_by: Option<String>,
    /// The name that the signature must state.
    pub signed_name: Option<String>,
    /// The plugin's settings, a JSON object.
    pub settings: Value,
    /// The plugin's resources.
    pub limits: Limits,
    /// The plugin's accesses beyond its sandbox.
    pub grants: GrantsConfig,
    /// What the plugin may change in a pod.
    pub edits: EditPermissions,
    /// How the values that the plugin fetches reach pods.
    pub delivery: Delivery,
    /// How long the values that the plugin fetches are kept.
    pub cache: ValueCacheConfig,
    /// Whether the webhook serves only if this plugin is loaded. Otherwise, while it is not loaded,
    /// only the pods that need it are refused.
    pub required: bool,
    /// Whether its answers are only compared with the served ones.
    pub shadow: bool,
}

/// Declares a document with the keys of an injector, and further keys before and after them.
macro_rules! injector_document {
    (
        $(#[$attribute:meta])*
        struct $name:ident { { $($before:tt)* } { $($after:tt)* } }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
        #[serde(deny_unknown_fields, rename_all = "camelCase", default)]
        pub(crate) struct $name {
            $($before)*
            /// Source of the component: `builtin:NAME`, `file:PATH`, `configmap:NAME/KEY` or
            /// `oci:REGISTRY/REPOSITORY:TAG`. Required in `injectors`; in a ConfigMap, the default
            /// is its own key `plugin.wasm`.
            pub(crate) component: Option<String>,
            /// SHA-256 that the component must have: 64 hexadecimal digits, as
            /// `ampoule plugin inspect` prints it.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) sha256: Option<String>,
            /// Name of the key of `trust.keys` that must have signed the component.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) signed_by: Option<String>,
            /// Name that the signature must state, so that a signature of another plugin by the
            /// same key does not suffice: the repository (`docker-reference`) of cosign for a
            /// component in a registry, otherwise `file:NAME` of minisign's trusted comment.
            /// Requires `signedBy` or `trust.requireSignature`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) signed_name: Option<String>,
            /// Settings of the plugin. Their keys are the plugin's.
            #[serde(deserialize_with = "section")]
            pub(crate) settings: Map<String, Value>,
            #[serde(deserialize_with = "section")]
            pub(crate) limits: LimitsSection,
            #[serde(deserialize_with = "section")]
            pub(crate) grants: GrantsFile,
            #[serde(deserialize_with = "section")]
            pub(crate) edits: EditsSection,
            pub(crate) delivery: DeliveryName,
            #[serde(deserialize_with = "section")]
            pub(crate) cache: ValueCacheConfig,
            /// Whether the webhook serves only if this plugin is loaded. Otherwise, while it is not
            /// loaded, only the pods that need it are refused. The default is `true` in
            /// `injectors` and `false` in a ConfigMap.
            pub(crate) required: Option<bool>,
            $($after)*
        }
    };
}

injector_document! {
    /// An injector.
    struct InjectorEntry {
        {
            /// Unique name in messages and metrics: 1 to 63 of a-z, 0-9 and -. Required. `global`
            /// is reserved.
            pub(crate) name: String,
        }
        {
            /// Whether values may be text in the pod's specification. Required for
            /// `delivery: inline`.
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            pub(crate) accept_plaintext: bool,
            /// Whether the injector is called after the chain answered, and its answer is only
            /// compared with the served one. `required` is then `false`.
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            pub(crate) shadow: bool,
        }
    }
}

injector_document! {
    /// The document `injector.yaml` of a ConfigMap that adds an injector. The injector has the name
    /// of the ConfigMap.
    struct ConfigMapDocument {
        {}
        {
            /// Position in the order of injectors. Those of the configuration have 0. Of equal
            /// positions, ConfigMaps are after the configuration, sorted by name. A negative one is
            /// before the injectors of `plugins.configMapsBefore`, and refused without that list.
            pub(crate) order: i32,
        }
    }
}

/// What an entry depends on.
pub(crate) struct InjectorRules<'a> {
    /// The names of the built-in plugins.
    pub(crate) builtins: &'a [&'a str],
    pub(crate) trust: &'a TrustConfig,
    /// The directory below which plugins may mount by default.
    pub(crate) mount_directory: &'a str,
    /// The most that the plugin may change in a pod; `None` without a ceiling.
    pub(crate) most_edits: Option<&'a EditPermissions>,
    /// The values that pods fetch.
    pub(crate) pods: &'a PodFetchConfig,
}

// === impl InjectorRules ===

impl InjectorRules<'_> {
    fn check_signed_name(&self, name: &str, has_signer: bool, component: &ComponentSource) -> Result<(), String> {
        if name.is_empty() {
            return Err("is empty".to_owned());
        }
        if matches!(component, ComponentSource::Builtin(_)) {
            return Err("is not allowed for a built-in plugin, which has no signature".to_owned());
        }
        if !has_signer && !self.trust.require_signature {
            return Err("has no effect without signedBy or trust.requireSignature".to_owned());
        }
        Ok(())
    }

    fn permissions(
        &self,
        edits: &EditsSection,
        component: &ComponentSource,
        key: &str,
    ) -> Result<EditPermissions, ConfigError> {
        let default = component.default_edits(self.mount_directory);
        match self.most_edits {
            None => edits.over(&default, key),
            Some(most) => edits.within(&default, most, key),
        }
    }
}

// === impl InjectorEntry ===

impl InjectorEntry {
    /// A built-in plugin with the default of every key.
    pub(crate) fn builtin(name: &str) -> Self {
        Self { name: name.to_owned(), component: Some(format!("builtin:{name}")), ..Self::default() }
    }

    /// Checks the entry, which is the value of `key`; an empty key is the document. The bounds are
    /// checked already.
    pub(crate) fn check(self, key: &str, rules: &InjectorRules<'_>) -> Result<InjectorConfig, ConfigError> {
        let at = |part: &str| if key.is_empty() { part.to_owned() } else { format!("{key}.{part}") };
        check_name(&at("name"), &self.name)?;
        if self.name == GLOBAL_INJECTOR {
            let reason = format!("{:?} is reserved for the webhook's own secrets (globalSecrets)", self.name);
            return Err(ConfigError::at(at("name"), reason));
        }
        let component = ComponentSource::parse(self.component.as_deref().unwrap_or_default(), rules.builtins)
            .map_err(|reason| ConfigError::at(at("component"), reason))?;
        if let Some(digest) = self.sha256.as_ref().filter(|digest| !is_sha256(digest)) {
            let reason = "is not a SHA-256; use 64 of 0-9 and a-f, as `ampoule plugin inspect` prints it";
            return Err(ConfigError::at(at("sha256"), format!("{digest:?} {reason}")));
        }
        if let Some(signer) = &self.signed_by {
            rules.trust.check_signer(signer, &component).map_err(|reason| ConfigError::at(at("signedBy"), reason))?;
        }
        if let Some(name) = &self.signed_name {
            rules
                .check_signed_name(name, self.signed_by.is_some(), &component)
                .map_err(|reason| ConfigError::at(at("signedName"), reason))?;
        }
        if self.shadow && self.required == Some(true) {
            let reason = "cannot be true for a shadow injector, which serves no pod";
            return Err(ConfigError::at(at("required"), reason));
        }
        let injector = InjectorConfig {
            name: self.name,
            edits: rules.permissions(&self.edits, &component, &at("edits"))?,
            component,
            sha256: self.sha256,
            signed_by: self.signed_by,
            signed_name: self.signed_name,
            settings: Value::Object(self.settings),
            limits: self.limits.over(&Limits::default()),
            grants: self.grants.check(&at("grants"))?,
            delivery: self.delivery.check(self.accept_plaintext, key)?,
            cache: self.cache.check(&at("cache"))?,
            required: self.required.unwrap_or(!self.shadow),
            shadow: self.shadow,
        };
        match injector.delivery {
            Delivery::Pod => injector.check_pod_delivery(key, rules.pods)?,
            Delivery::Reference | Delivery::Secret | Delivery::Inline => {
                injector.check_webhook_logins(&at("grants"))?
            }
        }
        Ok(injector)
    }
}

// === impl InjectorConfig ===

impl InjectorConfig {
    /// Checks that the webhook can log in to the hosts of the grants, which are the value of `key`.
    fn check_webhook_logins(&self, key: &str) -> Result<(), ConfigError> {
        let hosts = self.grants.http.iter().flat_map(|http| &http.hosts).enumerate();
        for (i, host) in hosts {
            let Some(credential) = &host.credential else { continue };
            credential.check_in_webhook(&format!("{key}.http.hosts[{i}].credential"))?;
        }
        Ok(())
    }
}

impl From<&InjectorConfig> for InjectorEntry {
    fn from(config: &InjectorConfig) -> Self {
        Self {
            name: config.name.clone(),
            component: Some(config.component.to_string()),
            sha256: config.sha256.clone(),
            signed_by: config.signed_by.clone(),
            signed_name: config.signed_name.clone(),
            settings: config.settings.as_object().cloned().unwrap_or_default(),
            limits: (&config.limits).into(),
            grants: (&config.grants).into(),
            edits: (&config.edits).into(),
            delivery: config.delivery.into(),
            cache: config.cache,
            accept_plaintext: config.delivery == Delivery::Inline,
            required: Some(config.required),
            shadow: config.shadow,
        }
    }
}

/// Checks the list. If the key is left out, the first built-in plugin is the only injector.
pub(crate) fn check_all(
    entries: Option<Vec<InjectorEntry>>,
    rules: &InjectorRules<'_>,
) -> Result<Vec<InjectorConfig>, ConfigError> {
    let first_builtin = || rules.builtins.first().map(|name| InjectorEntry::builtin(name)).into_iter().collect();
    let entries = entries.unwrap_or_else(first_builtin);
    let mut names = HashSet::new();
    let mut injectors = Vec::new();
    for (i, entry) in entries.into_iter().enumerate() {
        let injector = entry.check(&format!("injectors[{i}]"), rules)?;
        if !names.insert(injector.name.clone()) {
            let reason = format!("{:?} is already the name of an earlier injector", injector.name);
            return Err(ConfigError::at(format!("injectors[{i}].name"), reason));
        }
        injectors.push(injector);
    }
    Ok(injectors)
}
