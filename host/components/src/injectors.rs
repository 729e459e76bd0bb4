//! All injectors in their order: [`list`] merges those of the configuration and those of labelled
//! ConfigMaps.
//!
//! A ConfigMap cannot replace an injector of the configuration, precedes only those that an admin
//! has named, and shares one limit for instances with the others.

use anyhow::ensure;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;

use crate::kept_config_maps::{KeptConfigMaps, MOST_BYTES, MOST_MAPS};
use ampoule_cluster::events::ConfigMapReference;
use ampoule_config::{Config, ConfigMapInjector, DOCUMENT, InjectorConfig};

/// An injector whose component is not fetched yet.
pub struct ListedInjector {
    /// The name of the injector.
    pub name: String,
    /// The ConfigMap that defines it; `None` for the configuration.
    pub origin: Option<ConfigMapReference>,
    /// The configuration, or why the ConfigMap is not valid.
    pub config: anyhow::Result<InjectorConfig>,
    /// Whether the ConfigMap exceeds a bound, so that not even its previous plugin may stay in
    /// memory.
    pub is_dropped: bool,
}

// === impl ListedInjector ===

impl ListedInjector {
    /// Whether a ConfigMap defines an injector whose name the configuration already uses.
    #[must_use]
    pub fn is_ignored(&self, config: &Config) -> bool {
        self.origin.is_some() && config.names(&self.name)
    }
}

/// Returns all injectors in the order in which a pod uses them.
pub(crate) fn list(config: &Config, maps: &KeptConfigMaps, builtins: &[&str]) -> Vec<ListedInjector> {
    let mut added = Vec::new();
    let mut instances = 0;
    for (name, map) in &maps.maps {
        let origin = Some(ConfigMapReference { name: name.clone(), uid: map.uid().unwrap_or_default() });
        let parsed = parse(name, map, config, builtins, &mut instances);
        // The default order of a ConfigMap whose document is not valid.
        let order = parsed.as_ref().map_or(0, |parsed| parsed.order);
        let config = parsed.map(|parsed| parsed.config);
        added.push((order, ListedInjector { name: name.clone(), origin, config, is_dropped: false }));
    }
    added.extend(maps.dropped().map(|origin| (0, dropped(origin))));
    added.sort_by_key(|(order, _)| *order);
    let (before, after): (Vec<_>, Vec<_>) = added.into_iter().partition(|(order, _)| *order < 0);
    let (first, preceded) = config.injectors.split_at(first_preceded(config));
    let added = |injectors: Vec<(i32, ListedInjector)>| injectors.into_iter().map(|(_, injector)| injector);
    let first = first.iter().map(configured).chain(added(before));
    first.chain(preceded.iter().map(configured)).chain(added(after)).collect()
}

/// The index of the first injector that a ConfigMap may precede. The check of the configuration
/// ensures that it may precede the following ones as well.
fn first_preceded(config: &Config) -> usize {
    let is_preceded = |injector: &InjectorConfig| config.config_maps_before.contains(&injector.name);
    config.injectors.iter().position(is_preceded).unwrap_or(config.injectors.len())
}

fn configured(config: &InjectorConfig) -> ListedInjector {
    ListedInjector { name: config.name.clone(), origin: None, config: Ok(config.clone()), is_dropped: false }
}

/// The injector of a ConfigMap that is not kept in memory.
fn dropped(origin: ConfigMapReference) -> ListedInjector {
    let name = origin.name.clone();
    let config = Err(anyhow::anyhow!(
        "ConfigMap {name}: not used: only the first {MOST_MAPS} ConfigMaps by name are, with {} MiB together",
        MOST_BYTES >> 20
    ));
    ListedInjector { name, origin: Some(origin), config, is_dropped: true }
}

/// Parses a ConfigMap, and adds its instances to those of the ConfigMaps before it.
fn parse(
    name: &str,
    map: &ConfigMap,
    config: &Config,
    builtins: &[&str],
    instances: &mut usize,
) -> anyhow::Result<ConfigMapInjector> {
    ensure!(!config.names(name), "ConfigMap {name}: the configuration already has an injector of this name");
    let limits = &config.config_map_limits;
    let parsed = ConfigMapInjector::parse(name, document(map), builtins, config)?;
    let own = parsed.config.limits.instances;
    let total = *instances + own;
    ensure!(
        total <= limits.instances,
        "ConfigMap {name}: {DOCUMENT}: limits.instances: with its {own}, all ConfigMaps have {total}, but the limit is \
         {} (plugins.configMapLimits.instances)",
        limits.instances
    );
    *instances = total;
    Ok(parsed)
}

fn document(map: &ConfigMap) -> &str {
    map.data.as_ref().and_then(|data| data.get(DOCUMENT)).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use kube::core::ObjectMeta;

    use super::*;

    #[test]
    fn config_maps_are_ordered_and_limited_and_cannot_take_a_configured_name() {
        let config = "plugins: { configMapLimits: { instances: 41 } }\n\
                      injectors: [{ name: b, component: builtin:k8s }, { name: a, component: builtin:k8s }]";
        let config = Config::parse(config, &["k8s"]).unwrap();
        let map = |(name, document): (&str, &str)| {
            let data = [(DOCUMENT.to_owned(), document.to_owned())].into();
            let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
            ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }
        };
        let maps = [
            ("z", "order: 2\nlimits: { instances: 9 }"),
            ("y", "order: 1"),
            ("x", ""),
            ("w", "nonsense"),
            ("a", ""),
            ("zz", "limits: { instances: 1 }"),
        ];
        let maps = KeptConfigMaps::listed(maps.map(map).into());
        let names = list(&config, &maps, &["k8s"]).into_iter().map(|injector| match injector.config {
            Ok(_) => injector.name,
            Err(error) => error.to_string(),
        });
        let expected = [
            "b",
            "a",
            "ConfigMap a: the configuration already has an injector of this name",
            "ConfigMap w: injector.yaml, line 1, column 1: must be a mapping",
            "x",
            "ConfigMap zz: injector.yaml: limits.instances: with its 1, all ConfigMaps have 42, but the limit is 41 \
             (plugins.configMapLimits.instances)",
            "y",
            "z",
        ];
        assert_eq!(names.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_config_map_with_a_negative_order_precedes_the_named_injectors_only() {
        let map = |name: &str, document: &str| {
            let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
            let data = [(DOCUMENT.to_owned(), document.to_owned())].into();
            ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }
        };
        let maps = || KeptConfigMaps::listed(vec![map("m", "order: -1"), map("n", "order: -2"), map("o", "")]);
        let injectors = "injectors: [{ name: a, component: builtin:k8s }, { name: b, component: builtin:k8s }]";
        for (before, expected) in [("[a, b]", ["n", "m", "a", "b", "o"]), ("[b]", ["a", "n", "m", "b", "o"])] {
            let config = format!("plugins: {{ configMapsBefore: {before} }}\n{injectors}");
            let config = Config::parse(&config, &["k8s"]).unwrap();
            let names: Vec<_> = list(&config, &maps(), &["k8s"]).into_iter().map(|injector| injector.name).collect();
            assert_eq!(names, expected, "{before}");
        }
    }

    #[test]
    fn config_maps_above_the_bounds_are_listed_with_the_reason() {
        let map = |i: usize| {
            let metadata = ObjectMeta { name: Some(format!("m{i:02}")), ..ObjectMeta::default() };
            ConfigMap { metadata, ..ConfigMap::default() }
        };
        let maps = KeptConfigMaps::listed((0..66).map(map).collect());
        let config = Config::parse("plugins: { configMapLimits: { instances: 10000 } }", &["k8s"]).unwrap();
        let errors = list(&config, &maps, &["k8s"]).into_iter().filter_map(|injector| injector.config.err());
        let expected = |name| {
            format!("ConfigMap {name}: not used: only the first 64 ConfigMaps by name are, with 64 MiB together")
        };
        assert_eq!(errors.map(|error| error.to_string()).collect::<Vec<_>>(), ["m64", "m65"].map(expected));
    }
}
