//! How many instances each plugin can have: [`allot_instances`].
//!
//! Each instance reserves its memory limit. The sum over all instances stays below half of the
//! container's memory limit, so that plugins cannot end the process.

use ampoule_components::ListedInjector;
use ampoule_config::{Config, InjectorConfig};
use ampoule_engine::EngineConfig;
use tracing::warn;

/// The instances of all plugins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Allotment {
    /// The number of instances that the engine needs.
    pub(super) instances: usize,
    /// The plugins that get fewer instances than configured.
    pub(super) lowered: Vec<LoweredInstances>,
}

/// A plugin that gets fewer instances than configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LoweredInstances {
    pub(super) plugin: String,
    pub(super) configured: usize,
    pub(super) instances: usize,
}

// === impl LoweredInstances ===

impl LoweredInstances {
    pub(super) fn log(&self) {
        let Self { plugin, configured, instances } = self;
        warn!(
            plugin,
            configured,
            instances,
            "limits.instances is lowered: the memory of all instances must fit into half of the container's memory limit"
        );
    }
}

/// Sets the instances of each injector, and rejects injectors that have no place.
///
/// `memory_limit` is that of the container in bytes; `None` without a limit.
pub(super) fn allot_instances(
    config: &Config,
    memory_limit: Option<u64>,
    injectors: &mut [ListedInjector],
) -> Allotment {
    let mut lowered = Vec::new();
    if let Some(limit) = memory_limit {
        let all = usize::try_from(limit / 2).unwrap_or(usize::MAX);
        // A writer of ConfigMaps cannot take the memory of the plugins of the configuration.
        let share = if config.config_maps { all / 2 } else { all };
        for from_config_map in [false, true] {
            let group = injectors.iter_mut().filter(|injector| injector.origin.is_some() == from_config_map);
            lowered.extend(fit_memory(group.collect(), share));
        }
    }
    Allotment { instances: fit_engine(config, injectors), lowered }
}

/// Halves the instances of all plugins until their memory fits into `share`. Each keeps one
/// instance. If that is still too much, the last plugins are rejected.
fn fit_memory(mut group: Vec<&mut ListedInjector>, share: usize) -> Vec<LoweredInstances> {
    let mut total = 0;
    for injector in &mut group {
        let Ok(config) = &injector.config else { continue };
        total += config.limits.memory;
        if total > share {
            total -= config.limits.memory;
            injector.config = Err(too_little_memory(config, total, share));
        }
    }
    let mut configs: Vec<_> = group.into_iter().filter_map(|injector| injector.config.as_mut().ok()).collect();
    let memory = |configs: &[&mut InjectorConfig], halvings: u32| -> usize {
        configs.iter().map(|config| config.limits.memory.saturating_mul(halved(config, halvings))).sum()
    };
    let halvings = (0..usize::BITS).find(|halvings| memory(&configs, *halvings) <= share).unwrap_or(usize::BITS - 1);
    let mut lowered = Vec::new();
    for config in &mut configs {
        let (configured, instances) = (config.limits.instances, halved(config, halvings));
        if instances < configured {
            config.limits.instances = instances;
            lowered.push(LoweredInstances { plugin: config.name.clone(), configured, instances });
        }
    }
    lowered
}

fn halved(config: &InjectorConfig, times: u32) -> usize {
    (config.limits.instances >> times).max(1)
}

fn too_little_memory(config: &InjectorConfig, taken: usize, share: usize) -> anyhow::Error {
    anyhow::anyhow!(
        "injector {}: limits.memoryMiB: {} MiB for one instance, beside {} MiB for one instance of each plugin before \
         it, exceed the {} MiB for the instances of these plugins (a share of the container's memory limit)",
        config.name,
        config.limits.memory >> 20,
        taken >> 20,
        share >> 20
    )
}

/// Returns the number of instances that the engine needs, so that every plugin can use all its
/// instances at once and no plugin takes those of another. If `engine.maxConcurrent` is lower,
/// plugins of ConfigMaps that exceed it are rejected: plugins of the configuration take precedence,
/// and the configuration check ensures that they fit.
fn fit_engine(config: &Config, injectors: &mut [ListedInjector]) -> usize {
    let limit = config.engine.max_concurrent;
    let mut total = 0;
    let (configured, from_config_maps): (Vec<_>, Vec<_>) =
        injectors.iter_mut().partition(|injector| injector.origin.is_none());
    for injector in configured.into_iter().chain(from_config_maps) {
        let with = total + injector.config.as_ref().map_or(0, |config| config.limits.instances);
        match limit.filter(|most| with > *most) {
            None => total = with,
            Some(most) => {
                injector.config = Err(anyhow::anyhow!(
                    "injector {}: with this injector, the sum of limits.instances is {with}, but engine.maxConcurrent \
                     is {most}",
                    injector.name
                ));
            }
        }
    }
    // In steps, so that few changes need a new engine.
    limit.unwrap_or_else(|| total.max(1).next_multiple_of(EngineConfig::default().max_concurrent))
}

#[cfg(test)]
mod tests {
    use ampoule_cluster::events::ConfigMapReference;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn config(plugins: &str, engine: &str, injectors: &[(&str, usize, usize)]) -> Config {
        let entry = |(name, memory, instances): &(&str, usize, usize)| {
            format!(
                "- {{ name: {name}, component: file:/p.wasm, limits: {{ memoryMiB: {memory}, instances: {instances} }} }}\n"
            )
        };
        let injectors: String = injectors.iter().map(entry).collect();
        Config::parse(&format!("plugins: {{ {plugins} }}\nengine: {{ {engine} }}\ninjectors:\n{injectors}"), &[])
            .unwrap()
    }

    fn listed(config: &Config, origin: &Option<ConfigMapReference>) -> Vec<ListedInjector> {
        let list = |config: &InjectorConfig| ListedInjector {
            name: config.name.clone(),
            origin: origin.clone(),
            config: Ok(config.clone()),
            is_dropped: false,
        };
        config.injectors.iter().map(list).collect()
    }

    /// The instances of each injector, or the reason why it has none.
    fn instances(injectors: &[ListedInjector]) -> Vec<String> {
        let text = |injector: &ListedInjector| match &injector.config {
            Ok(config) => config.limits.instances.to_string(),
            Err(error) => error.to_string(),
        };
        injectors.iter().map(text).collect()
    }

    #[test]
    fn the_memory_of_all_instances_stays_below_half_of_the_memory_limit() {
        let refused = "injector c: limits.memoryMiB: 300 MiB for one instance, beside 150 MiB for one instance of each \
                       plugin before it, exceed the 384 MiB for the instances of these plugins (a share of the container's \
                       memory limit)";
        let one = ("a", 16, 16);
        for (what, limit, plugins, injectors, expected) in [
            ("no limit", None, "", &[("a", 128, 128)][..], &["128"][..]),
            ("the default plugin", Some(768), "", &[one], &["16"]),
            (
                "five plugins",
                Some(768),
                "",
                &[one, ("b", 16, 16), ("c", 16, 16), ("d", 16, 16), ("e", 16, 16)],
                &["4"; 5],
            ),
            ("ConfigMaps get half of it", Some(768), "configMaps: true", &[one], &["8"]),
            ("16 GiB", Some(768), "", &[("a", 128, 128)], &["2"]),
            ("each keeps one", Some(768), "", &[("a", 300, 4), ("b", 16, 40)], &["1", "5"]),
            (
                "no place for the last",
                Some(768),
                "",
                &[("a", 100, 1), ("b", 50, 1), ("c", 300, 1)],
                &["1", "1", refused],
            ),
        ] {
            let config = config(plugins, "", injectors);
            let mut injectors = listed(&config, &None);
            let allotment = allot_instances(&config, limit.map(|limit: u64| limit * MIB), &mut injectors);
            assert_eq!(instances(&injectors), expected, "{what}");
            let configured = |(i, now): (usize, &String)| *now != config.injectors[i].limits.instances.to_string();
            let changed = expected.iter().map(ToString::to_string).collect::<Vec<_>>();
            let changed = changed.iter().enumerate().filter(|one| configured(*one) && one.1.len() < 9).count();
            assert_eq!(allotment.lowered.len(), changed, "{what}");
        }
    }

    #[test]
    fn config_maps_do_not_lower_the_instances_of_the_configuration() {
        let own = config("configMaps: true", "", &[("a", 16, 8)]);
        let others = config("", "", &[("b", 128, 128), ("c", 128, 128)]);
        let mut injectors = listed(&own, &None);
        injectors.extend(listed(&others, &Some(ConfigMapReference::default())));
        allot_instances(&own, Some(768 * MIB), &mut injectors);
        let instances = instances(&injectors);
        assert_eq!(instances[..2], ["8", "1"]);
        assert!(instances[2].contains("128 MiB for one instance, beside 128 MiB"), "{instances:?}");
    }

    #[test]
    fn the_engine_has_room_for_the_instances_of_all_plugins() {
        let names = ["p0", "p1", "p2", "p3", "p4"];
        let some = |count: usize| names[..count].iter().map(|name| (*name, 16, 16)).collect::<Vec<_>>();
        for (count, expected) in [(1, 64), (4, 64), (5, 128)] {
            let config = config("", "", &some(count));
            let allotment = allot_instances(&config, None, &mut listed(&config, &None));
            assert_eq!(allotment, Allotment { instances: expected, lowered: Vec::new() }, "{count} of them");
        }
        let limited = config("", "maxConcurrent: 48", &some(2));
        let mut both = listed(&limited, &Some(ConfigMapReference::default()));
        both.extend(listed(&limited, &None));
        assert_eq!(allot_instances(&limited, None, &mut both).instances, 48);
        let reason =
            "injector p1: with this injector, the sum of limits.instances is 64, but engine.maxConcurrent is 48";
        assert_eq!(instances(&both), ["16", reason, "16", "16"], "plugins of the configuration take precedence");
    }
}
