//! The inputs of a plugin and its load: [`PluginRecipe`].
//!
//! A recipe and its component are kept while the plugin serves. If the source becomes unavailable
//! or broken, the plugin can therefore be loaded again.

use std::sync::Arc;

use ampoule_core::{Conventions, Delivery, FetchRecipe, Grant};
use ampoule_engine::{FetchPlace, PluginEngine, PluginInjector, PluginSpec, ValueCachePolicy};
use anyhow::Context as _;
use tracing::{info, warn};

use super::{
    answer_check::{AnswerCheck, CheckedInjector},
    pod_component::fetched_component,
};
use ampoule_components::fetch::{Component, ComponentRequest, Signer};
use ampoule_config::{ComponentSource, GrantsConfig, InjectorConfig, PermittedHost, PodComponents, TrustConfig};
use ampoule_telemetry::metrics::PluginLabels;

/// The inputs of a plugin.
#[derive(Clone)]
pub(super) struct PluginRecipe {
    pub(super) config: InjectorConfig,
    pub(super) conventions: Conventions,
    /// The trust settings that verified the component.
    pub(super) trust: TrustConfig,
    pub(super) component: Component,
    /// The content of `grants.http.caFile`.
    pub(super) ca: Option<Vec<u8>>,
    /// Whether the plugin is rejected if it lacks a grant that its imports need.
    pub(super) strict_grants: bool,
    /// How pods get the component, with `delivery: pod`.
    pub(super) pod_components: PodComponents,
}

/// A plugin and its recipe.
#[derive(Clone)]
pub(super) struct LoadedPlugin {
    pub(super) recipe: PluginRecipe,
    pub(super) plugin: PluginInjector,
    /// How a pod loads the plugin, with `delivery: pod`.
    pub(super) fetch: Option<Arc<FetchRecipe>>,
    /// A warning for the plugin's author.
    pub(super) warning: Option<String>,
}

// === impl PluginRecipe ===

impl PluginRecipe {
    /// Whether both recipes build the same plugin.
    pub(super) fn builds_same_plugin(&self, other: &Self) -> bool {
        // `required`, `shadow`, `edits`, the trust settings, and `delivery` apart from the place of
        // the fetches do not affect the plugin itself.
        let mut config = self.config.clone();
        config.required = other.config.required;
        config.shadow = other.config.shadow;
        config.edits = other.config.edits.clone();
        config.delivery = other.config.delivery;
        config == other.config
            && fetch_place(self.config.delivery) == fetch_place(other.config.delivery)
            && self.conventions == other.conventions
            && self.component.digest == other.component.digest
            && self.ca == other.ca
            && self.strict_grants == other.strict_grants
            && self.pod_components == other.pod_components
    }

    /// Whether another configuration may use this component: it has the same source and the same
    /// trust settings.
    pub(super) fn is_component_usable(&self, config: &InjectorConfig, trust: &TrustConfig) -> bool {
        ComponentRequest::from(&self.config) == ComponentRequest::from(config) && self.trust == *trust
    }

    /// Whether this plugin may stay in use under the current configuration (`None` if it cannot be
    /// read) and trust settings.
    ///
    /// The previous plugin must not bring back a revoked grant or a key that is no longer trusted.
    pub(super) fn is_allowed(&self, config: Option<&InjectorConfig>, trust: &TrustConfig) -> bool {
        let now = config.unwrap_or(&self.config);
        let pinned = now.sha256.as_ref().is_none_or(|pin| *pin == self.component.digest);
        pinned && self.is_permitted(config, trust)
    }

    /// Whether this plugin may serve until its successor is loaded. Another pin is no obstacle: it
    /// is how an admin installs a new version.
    pub(super) fn is_permitted(&self, config: Option<&InjectorConfig>, trust: &TrustConfig) -> bool {
        let now = config.unwrap_or(&self.config);
        self.config.grants.are_within(&now.grants) && self.is_vouched_for(now, trust)
    }

    /// Whether the plugin uses only credentials that are permitted for ConfigMaps. An injector
    /// whose ConfigMap is no longer valid must not keep a credential that an admin has withdrawn.
    pub(super) fn has_permitted_credentials(&self, permitted: &[PermittedHost]) -> bool {
        self.config.grants.first_credential_beyond(permitted).is_none()
    }

    fn is_vouched_for(&self, now: &InjectorConfig, trust: &TrustConfig) -> bool {
        let built_in = matches!(self.config.component, ComponentSource::Builtin(_));
        if built_in || (now.signed_by.is_none() && !trust.require_signature) {
            return true;
        }
        if now.signed_name.is_some() && now.signed_name != self.config.signed_name {
            return false;
        }
        let Some(Signer { name, .. }) = &self.component.signer else { return false };
        // The name of the signer must still belong to the same key.
        let is_same_key = trust.key(name).is_some_and(|key| self.trust.key(name) == Some(key));
        is_same_key && now.signed_by.as_ref().is_none_or(|required| required == name)
    }

    /// How a pod loads the plugin; `None` with another delivery.
    async fn fetch_recipe(&self, engine: &PluginEngine) -> Result<Option<Arc<FetchRecipe>>, String> {
        let config = &self.config;
        if config.delivery != Delivery::Pod {
            return Ok(None);
        }
        let component = fetched_component(engine, &config.name, &self.component, &self.pod_components).await?;
        let recipe = config.fetch_recipe(&component, self.ca.as_deref(), &self.conventions)?;
        Ok(Some(Arc::new(recipe)))
    }

    /// Whether the settings choose one of several stores, so that an import without a grant is not
    /// a mistake: a built-in plugin, which has the grant for its store. Its calls to other stores
    /// are denied all the same.
    fn chooses_store(&self) -> bool {
        let GrantsConfig { http, kubernetes_secrets, labelled_secrets, .. } = &self.config.grants;
        let reads_secrets = !kubernetes_secrets.is_empty() || !labelled_secrets.is_empty();
        matches!(self.config.component, ComponentSource::Builtin(_)) && (http.is_some() || reads_secrets)
    }

    /// Whether a plugin may lack a grant that it imports: it needs another store, or the pod has
    /// the grant.
    fn is_expected(&self, grant: Grant) -> bool {
        let config = &self.config;
        let is_in_pod = config.delivery == Delivery::Pod && grant == Grant::Http && config.grants.http.is_some();
        self.chooses_store() || is_in_pod
    }

    /// Loads the plugin, and lets it check its configuration.
    pub(super) async fn load(self, engine: &PluginEngine) -> anyhow::Result<LoadedPlugin> {
        let config = &self.config;
        let observer = engine.observer().of_plugin(&config.name, &self.component.digest);
        let (granted, secrets) = (config.webhook_grants(), engine.cluster_secrets());
        let grants = ampoule_grants::resolve(&config.name, &granted, self.ca.as_deref(), secrets, observer)
            .with_context(|| format!("injector {}", config.name))?;
        let spec = PluginSpec {
            name: config.name.clone(),
            source: config.component.to_string(),
            component: self.component.bytes.clone(),
            settings: config.settings.clone(),
            conventions: self.conventions.clone(),
            limits: config.limits.clone(),
            grants,
            value_cache: ValueCachePolicy { ttl: config.cache.ttl, max_stale: config.cache.max_stale },
            fetch_place: fetch_place(config.delivery),
            // In the webhook, a plugin for pods lacks its grant on purpose.
            strict_grants: self.strict_grants && !self.chooses_store() && config.delivery != Delivery::Pod,
        };
        let plugin = engine.load(spec).await?;
        // After the load, which checks the component.
        let fetch = self.fetch_recipe(engine).await;
        let fetch = fetch.map_err(|reason| anyhow::anyhow!("injector {}: delivery: pod: {reason}", config.name))?;
        let problem = engine.check(&plugin).await?.map(|problem| format!("its check reports: {problem}"));
        let missing = plugin.missing_grants().iter().filter(|grant| !self.is_expected(**grant)).collect::<Vec<_>>();
        let warning = match (missing_grants(&missing), problem) {
            (Some(missing), Some(problem)) => Some(format!("{missing}; {problem}")),
            (missing, problem) => missing.or(problem),
        };
        Ok(LoadedPlugin { recipe: self, plugin, fetch, warning })
    }
}

/// The webhook fetches a value only if it delivers it.
fn fetch_place(delivery: Delivery) -> FetchPlace {
    match delivery {
        Delivery::Reference | Delivery::Pod => FetchPlace::Elsewhere,
        Delivery::Secret | Delivery::Inline => FetchPlace::Here,
    }
}

/// The warning about imports of which every call is denied.
fn missing_grants(missing: &[&Grant]) -> Option<String> {
    let keys: Vec<_> = missing.iter().map(|grant| grant.key()).collect();
    (!keys.is_empty()).then(|| format!("its calls are denied without the grant {}", keys.join(", ")))
}

// === impl LoadedPlugin ===

impl LoadedPlugin {
    /// Returns the injector for the chain, whose edits are limited to the permitted ones.
    pub(super) fn injector(&self) -> CheckedInjector {
        let check = AnswerCheck::Edits(Arc::new(self.recipe.config.edits.clone()));
        CheckedInjector { injector: Arc::new(self.plugin.clone()), check }
    }

    /// Logs that the plugin replaces another one, or none. A plugin that only moves to a new engine
    /// is the same plugin.
    pub(super) fn log(&self, before: Option<&Self>) {
        let PluginLabels { plugin: name, version, digest, source, signer } = self.labels();
        if before.is_none_or(|before| !before.recipe.builds_same_plugin(&self.recipe)) {
            info!(plugin = name, version, digest, source, signer, "plugin loaded");
        }
        if let Some(reason) = &self.warning
            && before.is_none_or(|before| before.warning.as_ref() != Some(reason))
        {
            warn!(plugin = name, %reason, "plugin loaded with a warning");
        }
    }

    pub(super) fn labels(&self) -> PluginLabels {
        let Self { recipe, plugin, .. } = self;
        PluginLabels {
            plugin: plugin.name().to_owned(),
            version: plugin.version().to_owned(),
            digest: plugin.digest().to_owned(),
            source: plugin.source().to_owned(),
            signer: recipe.component.signer.as_ref().map(Signer::to_string).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ampoule_core::Profile;

    use super::*;
    use ampoule_config::Config;

    const KEYS: [&str; 2] = [
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAETJP9cqpUQsn2ggmJniWGjHdlsHzDJsB89BPhZYch0U0hKANx5TY+ncrm0s8bfJxxHoenAEFhwhuXeb4PqIrtoQ==",
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEhyQCx0E9wQWSFI9ULGwy3BuRklnt7IqozONbbdbqz11hlRJy9c7SG+hdcFl9jE9uE/dwtuwU2MqU9T/cN0YkWw==",
    ];

    /// A configuration with one injector and the named keys.
    fn config(injector: &str, require: bool, keys: &[(&str, &str)]) -> Config {
        let keys = keys.iter().map(|(name, key)| {
            format!(
                "{{ name: {name}, publicKey: \"-----BEGIN PUBLIC KEY-----\\n{key}\\n-----END PUBLIC KEY-----\\n\" }}"
            )
        });
        let keys = keys.collect::<Vec<_>>().join(", ");
        let text = format!(
            "trust: {{ requireSignature: {require}, keys: [{keys}] }}\ninjectors: [{{ name: p, component: file:/p.wasm, {injector} }}]"
        );
        Config::parse(&text, &[]).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn signer(name: &str) -> Signer {
        Signer { name: name.to_owned(), key_id: "622601a9e498c090".to_owned() }
    }

    fn served(injector: &str, signer: Option<Signer>) -> PluginRecipe {
        let config = config(injector, false, &[("release", KEYS[0])]);
        let component = Component { bytes: Vec::new().into(), digest: "a".repeat(64), manifest: None, signer };
        let conventions = Profile::FlyteV1.conventions();
        PluginRecipe {
            config: config.injectors[0].clone(),
            conventions,
            trust: config.trust,
            component,
            ca: None,
            strict_grants: false,
            pod_components: PodComponents::default(),
        }
    }

    #[test]
    fn a_plugin_with_revoked_grants_or_keys_does_not_stay_in_use() {
        let grants = "grants: { clock: true, environment: [A, B], http: { hosts: [a.example, b.example] } }";
        let (pin, other) = (format!("sha256: {}", "a".repeat(64)), format!("sha256: {}", "b".repeat(64)));
        let release = [("release", KEYS[0])];
        let signed = served("", Some(signer("release")));
        let granted = served(grants, None);
        for (what, recipe, injector, require, keys, expected) in [
            ("nothing changed", &granted, grants, false, &release[..], true),
            ("a grant was added", &granted, &grants.replace("[A, B]", "[A, B, C]"), false, &[], true),
            ("all grants were revoked", &granted, "", false, &[], false),
            ("the clock was revoked", &granted, &grants.replace("true", "false"), false, &[], false),
            ("a variable was revoked", &granted, &grants.replace(", B]", "]"), false, &[], false),
            ("a host was revoked", &granted, &grants.replace(", b.example", ""), false, &[], false),
            ("the digest is pinned", &granted, &format!("{pin}, {grants}"), false, &[], true),
            ("another digest is pinned", &granted, &format!("{other}, {grants}"), false, &[], false),
            ("a signature became required", &granted, grants, true, &release, false),
            ("the key is trusted", &signed, "", true, &release, true),
            ("the key was removed", &signed, "", true, &[("other", KEYS[1])], false),
            ("the key's name has another key", &signed, "", true, &[("release", KEYS[1])], false),
            ("another name is required", &signed, "signedBy: release, signedName: other", false, &release, false),
            ("another signer is required", &signed, "signedBy: other", false, &[release[0], ("other", KEYS[1])], false),
            ("the key was removed, and no signature is required", &signed, "", false, &[], true),
        ] {
            let now = config(injector, require, keys);
            assert_eq!(recipe.is_allowed(Some(&now.injectors[0]), &now.trust), expected, "{what}");
        }
        assert!(granted.is_allowed(None, &TrustConfig::default()), "an unreadable configuration revokes nothing");
    }

    #[test]
    fn a_withdrawn_credential_does_not_stay_in_use() {
        let entry =
            |host: &str, file: &str| format!("{{ host: {host}, credential: {{ bearer: {{ file: {file} }} }} }}");
        let grants = |entry: &str| format!("grants: {{ http: {{ hosts: [{entry}] }} }}");
        let used = served(&grants(&entry("a.example", "/a")), None);
        for (what, now, expected) in [
            ("nothing changed", entry("a.example", "/a"), true),
            ("another place", entry("a.example", "/b"), false),
            ("no credential", "a.example".to_owned(), false),
        ] {
            let now = config(&grants(&now), false, &[]);
            assert_eq!(used.is_allowed(Some(&now.injectors[0]), &now.trust), expected, "{what}");
        }
        for (permitted, expected) in [
            (entry("a.example", "/a"), true),
            (entry("a.example", "/b"), false),
            (entry("b.example", "/a"), false),
            (String::new(), false),
        ] {
            let text = format!("plugins: {{ configMaps: true, configMapCredentials: [{permitted}] }}");
            let permitted = Config::parse(&text, &["k8s"]).unwrap().config_map_credentials;
            assert_eq!(used.has_permitted_credentials(&permitted), expected, "{text}");
        }
        let with_ca = |ca: &str| format!("grants: {{ http: {{ hosts: [{}]{ca} }} }}", entry("a.example", "/a"));
        for (ca, permitted_ca, expected) in [
            ("", "", true),
            ("", ", caFile: /ca", true),
            (", caFile: /ca", ", caFile: /ca", true),
            (", caFile: /ca", "", false),
            (", caFile: /ca", ", caFile: /other", false),
        ] {
            let credential = "host: a.example, credential: { bearer: { file: /a } }";
            let text =
                format!("plugins: {{ configMaps: true, configMapCredentials: [{{ {credential}{permitted_ca} }}] }}");
            let permitted = Config::parse(&text, &["k8s"]).unwrap().config_map_credentials;
            let used = served(&with_ca(ca), None);
            assert_eq!(used.has_permitted_credentials(&permitted), expected, "{ca} {permitted_ca}");
        }
        assert!(served("", None).has_permitted_credentials(&[]));
    }

    #[test]
    fn a_key_is_not_confused_with_one_whose_name_begins_the_same() {
        let now = config("", true, &[("release", KEYS[0]), ("other", KEYS[1])]);
        let mut trust = now.trust;
        // The configuration does not allow such a name; the decision must not depend on that.
        trust.keys[1].name = "release (ci)".to_owned();
        let mut recipe = served("", Some(signer("release (ci)")));
        recipe.trust = trust.clone();
        assert!(recipe.is_allowed(Some(&now.injectors[0]), &trust));
        trust.keys.remove(1);
        assert!(!recipe.is_allowed(Some(&now.injectors[0]), &trust), "only `release` is trusted");
    }
}
