//! What is in effect, as a configuration file would say it: every key, at its value.
//!
//! Reading it again gives the same [`Config`], which the tests hold it to.

use std::time::Duration;

use ampoule_core::Limits;
use ampoule_core::{Conventions, EnvPlacement, InitContainerPosition, OnFailure};
use serde_json::{Map, Value, json};

use super::{Config, EngineSettings, GlobalSecretsConfig, GrantsConfig, InjectorConfig, ServerConfig, TracingConfig};

impl Config {
    /// The document that says all of this.
    #[must_use]
    pub fn effective(&self) -> Value {
        let Self {
            conventions,
            on_failure,
            global_secrets,
            server,
            registration,
            certificates,
            engine,
            trust,
            registries,
            audit,
            tracing,
            config_maps,
            config_map_limits,
            injectors,
        } = self;
        json!({
            "profile": conventions.profile.as_str(),
            "conventions": self::conventions(conventions),
            "onFailure": match on_failure {
                OnFailure::Deny => "deny",
                OnFailure::Admit => "admit",
            },
            "globalSecrets": self::global_secrets(global_secrets.as_ref()),
            "server": self::server(server),
            "registration": registration.effective(),
            "certificates": certificates.effective(),
            "engine": self::engine(engine),
            "trust": trust.effective(),
            "registries": registries.effective(),
            "audit": audit,
            "tracing": tracing.as_ref().map_or_else(|| json!({}), TracingConfig::effective),
            "plugins": { "configMaps": config_maps, "configMapLimits": self::limits(config_map_limits) },
            "injectors": injectors.iter().map(injector).collect::<Vec<_>>(),
        })
    }

    /// The shortest document that says all of this: what is as it is by default is left out.
    #[must_use]
    pub fn concise(&self) -> Value {
        let mut document = self.effective();
        let profile = &document["profile"];
        let default = Self::parse(&format!("profile: {profile}"), &[]).expect("every profile is a configuration");
        let mut default = default.effective();
        // The reader should see them even where they are the default.
        for key in ["profile", "injectors"] {
            default[key] = Value::Null;
        }
        let limits = limits(&Limits::default());
        let grants = GrantsConfig::default().effective();
        for injector in document["injectors"].as_array_mut().into_iter().flatten() {
            prune(injector, &json!({ "settings": {}, "limits": limits, "grants": grants, "required": true }));
        }
        prune(&mut document, &default);
        document
    }
}

/// Leaves out what is the same.
fn prune(document: &mut Value, default: &Value) {
    let Value::Object(entries) = document else { return };
    entries.retain(|key, value| {
        if let Some(default) = default.get(key) {
            if value == default {
                return false;
            }
            prune(value, default);
        }
        true
    });
}

fn conventions(conventions: &Conventions) -> Value {
    let Conventions { profile: _, env_prefix, mount_directory, env_placement, init_container_position } = conventions;
    json!({
        "envPrefix": env_prefix,
        "mountDirectory": mount_directory,
        "envPlacement": match env_placement {
            EnvPlacement::AppendIfAbsent => "append",
            EnvPlacement::ReplaceAndPrepend => "prepend",
        },
        "initContainerPosition": match init_container_position {
            InitContainerPosition::First => "first",
            InitContainerPosition::Last => "last",
        },
    })
}

fn global_secrets(config: Option<&GlobalSecretsConfig>) -> Value {
    match config {
        None => json!({ "enabled": false }),
        Some(GlobalSecretsConfig { env_prefix, directory }) => {
            json!({ "enabled": true, "envPrefix": env_prefix, "directory": directory, "delivery": "value" })
        }
    }
}

fn server(server: &ServerConfig) -> Value {
    let ServerConfig {
        listen,
        admin,
        cert_dir,
        shutdown_delay,
        shutdown_grace,
        max_connections,
        max_connection_age,
        max_admissions,
    } = server;
    json!({
        "listen": listen.to_string(),
        "admin": admin.to_string(),
        "certDir": cert_dir,
        "shutdownDelaySeconds": shutdown_delay.as_secs(),
        "shutdownGraceSeconds": shutdown_grace.as_secs(),
        "maxConnections": max_connections,
        "maxConnectionAgeSeconds": max_connection_age.as_secs(),
        "maxAdmissions": max_admissions,
    })
}

/// Of what is the engine's own choice only what was set: it depends on the machine.
fn engine(engine: &EngineSettings) -> Value {
    let EngineSettings { cache_directory, max_concurrent, guest_threads, compile_memory_mib } = engine;
    let pairs = [
        ("compileMemoryMiB", Some(json!(compile_memory_mib))),
        ("cacheDirectory", cache_directory.as_ref().map(|directory| json!(directory))),
        ("maxConcurrent", max_concurrent.map(Value::from)),
        ("guestThreads", guest_threads.map(Value::from)),
    ];
    let set = pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(set.collect::<Map<_, _>>())
}

fn injector(injector: &InjectorConfig) -> Value {
    let InjectorConfig { name, component, sha256, signed_by, settings, limits, grants, required } = injector;
    let mut document = json!({ "name": name, "component": component.to_string() });
    for (key, value) in [("sha256", sha256), ("signedBy", signed_by)] {
        if let Some(value) = value {
            document[key] = json!(value);
        }
    }
    document["settings"] = settings.clone();
    document["limits"] = self::limits(limits);
    document["grants"] = grants.effective();
    document["required"] = json!(required);
    document
}

fn limits(limits: &Limits) -> Value {
    let Limits { memory, deadline, instances, queue_wait, component_bytes, .. } = limits;
    json!({
        "memoryMiB": memory >> 20,
        "deadlineMillis": millis(*deadline),
        "instances": instances,
        "queueWaitMillis": millis(*queue_wait),
        "componentMiB": component_bytes >> 20,
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
