//! What a plugin is made of, and how one is made of it: [`Recipe`].
//!
//! A recipe is kept with its component for as long as its plugin serves, so that a source that is gone, or has something broken by now,
//! takes nothing away that serves.

use ampoule_core::Conventions;
use ampoule_engine::{PluginEngine, PluginInjector, PluginSpec, Trial};
use anyhow::Context as _;
use tracing::{info, warn};

use ampoule_components::{
    fetch::{Component, ComponentRequest, Signer},
    grants,
};
use ampoule_config::{ComponentSource, InjectorConfig, TrustConfig};
use ampoule_telemetry::metrics::PluginLabels;

/// All that a plugin is made of.
#[derive(Clone)]
pub(super) struct Recipe {
    pub(super) config: InjectorConfig,
    pub(super) conventions: Conventions,
    /// What the component was judged by.
    pub(super) trust: TrustConfig,
    pub(super) component: Component,
    /// What `grants.http.caFile` held.
    pub(super) ca: Option<Vec<u8>>,
}

/// A plugin, and what it was made of.
#[derive(Clone)]
pub(super) struct LoadedPlugin {
    pub(super) recipe: Recipe,
    pub(super) plugin: PluginInjector,
    /// What its author should know of it.
    pub(super) warning: Option<&'static str>,
}

/// What is said of a plugin whose trial came to [`Trial::Differs`].
const DIFFERS: &str = "asked twice for the same secret of the same pod, it answers with different edits: a pod that is reviewed \
                       twice may be refused";

// === impl Recipe ===

impl Recipe {
    /// Whether both give the same plugin.
    pub(super) fn gives_the_same(&self, other: &Self) -> bool {
        let Self { config, conventions, trust: _, component, ca } = self;
        // Whether it is required is not the plugin's business.
        let config = InjectorConfig { required: other.config.required, ..config.clone() };
        config == other.config
            && *conventions == other.conventions
            && component.digest == other.component.digest
            && *ca == other.ca
    }

    /// Whether this component may be loaded under another configuration, too: it was wanted in the same words and judged by the same keys.
    pub(super) fn component_serves(&self, config: &InjectorConfig, trust: &TrustConfig) -> bool {
        ComponentRequest::from(&self.config) == ComponentRequest::from(config) && self.trust == *trust
    }

    /// Whether this may serve on under what is wanted now, of its injector (none where that cannot be read) and of signatures: a grant that
    /// was taken away and a key that is trusted no longer must not come back with what served before.
    pub(super) fn is_allowed(&self, config: Option<&InjectorConfig>, trust: &TrustConfig) -> bool {
        let now = config.unwrap_or(&self.config);
        let pinned = now.sha256.as_ref().is_none_or(|pin| *pin == self.component.digest);
        pinned && self.config.grants.are_within(&now.grants) && self.is_vouched_for(now, trust)
    }

    fn is_vouched_for(&self, now: &InjectorConfig, trust: &TrustConfig) -> bool {
        let built_in = matches!(self.config.component, ComponentSource::Builtin(_));
        if built_in || (now.signed_by.is_none() && !trust.require_signature) {
            return true;
        }
        // The name of the signer must still belong to the same key.
        self.component.signer.as_ref().is_some_and(|Signer { name, key_id: _ }| {
            now.signed_by.as_ref().is_none_or(|required| required == name)
                && trust.key(name).is_some_and(|key| self.trust.key(name) == Some(key))
        })
    }

    /// Loads the plugin, and tries it.
    pub(super) async fn make(self, engine: &PluginEngine) -> anyhow::Result<LoadedPlugin> {
        let InjectorConfig { name, component: source, sha256: _, signed_by: _, settings, limits, grants, required: _ } =
            self.config.clone();
        let grants = grants::resolve(&grants, self.ca.as_deref()).with_context(|| format!("injector {name}"))?;
        let spec = PluginSpec {
            name,
            source: source.to_string(),
            component: self.component.bytes.clone(),
            settings,
            conventions: self.conventions.clone(),
            limits,
            grants,
        };
        let plugin = engine.load(spec).await?;
        let warning = match engine.try_inject(&plugin).await? {
            Trial::Good => None,
            Trial::Differs => Some(DIFFERS),
        };
        let loaded = LoadedPlugin { recipe: self, plugin, warning };
        let PluginLabels { plugin: name, version, digest, source, signer } = loaded.labels();
        info!(plugin = name, version, digest, source, signer, "plugin loaded");
        if let Some(reason) = warning {
            warn!(plugin = name, reason, "plugin loaded with a warning");
        }
        Ok(loaded)
    }
}

// === impl LoadedPlugin ===

impl LoadedPlugin {
    pub(super) fn labels(&self) -> PluginLabels {
        let Self { recipe, plugin, warning: _ } = self;
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

    /// A configuration of one injector, and the keys by their names.
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

    fn served(injector: &str, signer: Option<Signer>) -> Recipe {
        let config = config(injector, false, &[("release", KEYS[0])]);
        let component = Component { bytes: Vec::new().into(), digest: "a".repeat(64), signer };
        let conventions = Profile::FlyteV1.conventions();
        Recipe { config: config.injectors[0].clone(), conventions, trust: config.trust, component, ca: None }
    }

    #[test]
    fn what_was_taken_away_does_not_serve_on() {
        let grants = "grants: { clock: true, environment: [A, B], http: { hosts: [a.example, b.example] } }";
        let (pin, other) = (format!("sha256: {}", "a".repeat(64)), format!("sha256: {}", "b".repeat(64)));
        let release = [("release", KEYS[0])];
        let signed = served("", Some(signer("release")));
        let granted = served(grants, None);
        for (what, recipe, injector, require, keys, expected) in [
            ("nothing changed", &granted, grants, false, &release[..], true),
            ("another grant came", &granted, &grants.replace("[A, B]", "[A, B, C]"), false, &[], true),
            ("all grants went", &granted, "", false, &[], false),
            ("the clock went", &granted, &grants.replace("true", "false"), false, &[], false),
            ("a variable went", &granted, &grants.replace(", B]", "]"), false, &[], false),
            ("a host went", &granted, &grants.replace(", b.example", ""), false, &[], false),
            ("the pin is what it is", &granted, &format!("{pin}, {grants}"), false, &[], true),
            ("another is pinned", &granted, &format!("{other}, {grants}"), false, &[], false),
            ("a signature is wanted, and there was none", &granted, grants, true, &release, false),
            ("its key is there", &signed, "", true, &release, true),
            ("its key went", &signed, "", true, &[("other", KEYS[1])], false),
            ("its key's name is another key's now", &signed, "", true, &[("release", KEYS[1])], false),
            ("another must have signed", &signed, "signedBy: other", false, &[release[0], ("other", KEYS[1])], false),
            ("its key went, and none is wanted", &signed, "", false, &[], true),
        ] {
            let now = config(injector, require, keys);
            assert_eq!(recipe.is_allowed(Some(&now.injectors[0]), &now.trust), expected, "{what}");
        }
        assert!(
            granted.is_allowed(None, &TrustConfig::default()),
            "a configuration that cannot be read takes nothing away"
        );
    }

    #[test]
    fn a_key_is_not_confused_with_one_whose_name_continues_like_an_id() {
        let keys = [("release", KEYS[0]), ("release (ci)", KEYS[1])];
        let config = config("", true, &keys);
        let mut recipe = served("", Some(signer("release (ci)")));
        recipe.trust = config.trust;
        for (keys, expected) in [
            (&keys[..], true),
            (&keys[1..], true),
            // The signer's key is no longer trusted; the key that its name begins with is.
            (&keys[..1], false),
        ] {
            let now = self::config("", true, keys);
            assert_eq!(recipe.is_allowed(Some(&now.injectors[0]), &now.trust), expected, "{keys:?}");
        }
    }
}
