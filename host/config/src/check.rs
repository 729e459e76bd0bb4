//! From [`ConfigFile`] to [`Config`]: every rule that a value has to keep, and the defaults that depend on others.
//!
//! Nothing is opened or resolved here; whether a file is there shows when it is used.

use std::{collections::HashSet, net::SocketAddr, time::Duration};

use ampoule_core::Limits;
use ampoule_core::{Conventions, EnvPlacement, InitContainerPosition, OnFailure, Profile};
use serde_json::Value;

use super::{
    ComponentSource, Config, ConfigError, ConfigMapInjector, EngineSettings, GLOBAL_INJECTOR, GlobalSecretsConfig,
    GrantsConfig, InjectorConfig, ServerConfig, TrustConfig,
    file::{
        ConfigFile, ConventionsFile, DeliveryName, EngineFile, EnvPlacementName, GlobalSecretsFile, InjectorFile,
        LimitsFile, OnFailureName, PluginsFile, PositionName, ProfileName, ServerFile,
    },
    source::is_sha256,
};

/// A shutdown that takes longer is a mistake in the unit; Kubernetes' own grace period is 30 s.
const LONGEST_SHUTDOWN: u64 = 3600;
/// Who wants to keep connections for longer keeps them for ever.
const LONGEST_AGE: u64 = 24 * 60 * 60;
/// A pod's creation does not wait longer than 30 s for a webhook.
const LONGEST_WAIT: u64 = 30_000;
/// The memory that WebAssembly can address.
const MOST_MEMORY: usize = 4096;
/// In MiB: the program itself and a few threads.
const LEAST_COMPILE_MEMORY: u64 = 128;
/// In MiB: four times what a component of the largest size takes that may be configured.
const MOST_COMPILE_MEMORY: u64 = 128 << 10;
/// An injector's name stands in every message and metric.
const LONGEST_NAME: usize = 63;

pub(super) fn config(file: ConfigFile, builtins: &[&str]) -> Result<Config, ConfigError> {
    let ConfigFile {
        profile,
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
        plugins: PluginsFile { config_maps, config_map_limits },
        injectors,
    } = file;
    let global_secrets = self::global_secrets(global_secrets)?;
    let trust = trust.check()?;
    let injectors = self::injectors(injectors, builtins, &trust)?;
    if injectors.is_empty() && global_secrets.is_none() && !config_maps {
        let reason = "is empty, and globalSecrets.enabled is false: nobody could be asked for a secret";
        return Err(ConfigError::at("injectors", reason));
    }
    let registration = registration.check()?;
    Ok(Config {
        conventions: self::conventions(profile, conventions)?,
        on_failure: match on_failure {
            OnFailureName::Deny => OnFailure::Deny,
            OnFailureName::Admit => OnFailure::Admit,
        },
        global_secrets,
        server: self::server(server)?,
        certificates: certificates.check(&registration)?,
        registration,
        engine: self::engine(engine, &injectors)?,
        trust,
        registries: registries.check()?,
        audit,
        tracing: tracing.check()?,
        config_maps,
        config_map_limits: self::limits(
            "plugins.configMapLimits",
            config_map_limits,
            ConfigMapInjector::default_limits(),
        )?,
        injectors,
    })
}

fn conventions(profile: ProfileName, file: ConventionsFile) -> Result<Conventions, ConfigError> {
    let ConventionsFile { env_prefix, mount_directory, env_placement, init_container_position } = file;
    let mut conventions = Profile::from(profile).conventions();
    if let Some(prefix) = env_prefix {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !prefix.chars().all(allowed) || prefix.starts_with(|c: char| c.is_ascii_digit()) {
            let reason = format!("{prefix:?} cannot start the name of a variable; use letters, digits and _");
            return Err(ConfigError::at("conventions.envPrefix", reason));
        }
        conventions.env_prefix = prefix;
    }
    if let Some(directory) = mount_directory {
        let leaves = directory.split('/').any(|part| part == "..");
        if !directory.starts_with('/') || directory.contains(':') || leaves {
            let reason = format!("{directory:?} is no absolute path without .. and :");
            return Err(ConfigError::at("conventions.mountDirectory", reason));
        }
        conventions.mount_directory = directory;
    }
    if let Some(placement) = env_placement {
        conventions.env_placement = match placement {
            EnvPlacementName::Append => EnvPlacement::AppendIfAbsent,
            EnvPlacementName::Prepend => EnvPlacement::ReplaceAndPrepend,
        };
    }
    if let Some(position) = init_container_position {
        conventions.init_container_position = match position {
            PositionName::First => InitContainerPosition::First,
            PositionName::Last => InitContainerPosition::Last,
        };
    }
    Ok(conventions)
}

fn global_secrets(file: GlobalSecretsFile) -> Result<Option<GlobalSecretsConfig>, ConfigError> {
    let GlobalSecretsFile { enabled, env_prefix, directory, delivery } = file;
    if !enabled {
        return Ok(None);
    }
    if env_prefix.is_empty() {
        let reason = "is empty: any pod could ask for any variable of the webhook";
        return Err(ConfigError::at("globalSecrets.envPrefix", reason));
    }
    if !directory.is_absolute() {
        let reason = format!("{:?} is no absolute path", directory.display());
        return Err(ConfigError::at("globalSecrets.directory", reason));
    }
    match delivery {
        DeliveryName::Value => Ok(Some(GlobalSecretsConfig { env_prefix, directory })),
        DeliveryName::Secret => {
            Err(ConfigError::at("globalSecrets.delivery", "secret is not supported by this version; use value"))
        }
    }
}

fn server(file: ServerFile) -> Result<ServerConfig, ConfigError> {
    let ServerFile {
        listen,
        admin,
        cert_dir,
        shutdown_delay_seconds,
        shutdown_grace_seconds,
        max_connections,
        max_connection_age_seconds,
        max_admissions,
    } = file;
    let listen = address("server.listen", &listen)?;
    let admin = address("server.admin", &admin)?;
    if listen.port() != 0 && listen.port() == admin.port() {
        let reason = format!("port {} is the webhook's already (server.listen)", admin.port());
        return Err(ConfigError::at("server.admin", reason));
    }
    let seconds = |key, value| within(key, value, 0..=LONGEST_SHUTDOWN).map(Duration::from_secs);
    Ok(ServerConfig {
        listen,
        admin,
        cert_dir,
        shutdown_delay: seconds("server.shutdownDelaySeconds", shutdown_delay_seconds)?,
        shutdown_grace: seconds("server.shutdownGraceSeconds", shutdown_grace_seconds)?,
        max_connections: within("server.maxConnections", max_connections, 1..=1_000_000)?,
        max_connection_age: within("server.maxConnectionAgeSeconds", max_connection_age_seconds, 1..=LONGEST_AGE)
            .map(Duration::from_secs)?,
        max_admissions: within("server.maxAdmissions", max_admissions, 1..=1_000_000)?,
    })
}

/// Every plugin can have all of its instances at once, so that none can take another's.
fn engine(file: EngineFile, injectors: &[InjectorConfig]) -> Result<EngineSettings, ConfigError> {
    let EngineFile { cache_directory, max_concurrent, guest_threads, compile_memory_mib } = file;
    if cache_directory.as_ref().is_some_and(|directory| directory.as_os_str().is_empty()) {
        return Err(ConfigError::at("engine.cacheDirectory", "is empty; leave the key out for no cache"));
    }
    let max_concurrent = max_concurrent.map(|value| within("engine.maxConcurrent", value, 1..=10_000)).transpose()?;
    let wanted: usize = injectors.iter().map(|injector| injector.limits.instances).sum();
    if let Some(given) = max_concurrent.filter(|given| *given < wanted) {
        let reason =
            format!("{given} is less than the {wanted} of all injectors together (injectors[].limits.instances)");
        return Err(ConfigError::at("engine.maxConcurrent", reason));
    }
    let guest_threads = guest_threads.map(|value| within("engine.guestThreads", value, 1..=1024)).transpose()?;
    let compile_memory_mib = match compile_memory_mib {
        Some(mib) => within("engine.compileMemoryMiB", mib, LEAST_COMPILE_MEMORY..=MOST_COMPILE_MEMORY)?,
        None => EngineSettings::default().compile_memory_mib,
    };
    Ok(EngineSettings { cache_directory, max_concurrent, guest_threads, compile_memory_mib })
}

fn injectors(
    files: Option<Vec<InjectorFile>>,
    builtins: &[&str],
    trust: &TrustConfig,
) -> Result<Vec<InjectorConfig>, ConfigError> {
    let Some(files) = files else { return Ok(builtins.first().map(|name| builtin(name)).into_iter().collect()) };
    let mut names = HashSet::new();
    let mut injectors = Vec::new();
    for (i, file) in files.into_iter().enumerate() {
        let injector = injector(&format!("injectors[{i}]"), file, builtins, trust)?;
        if !names.insert(injector.name.clone()) {
            let reason = format!("{:?} is the name of an earlier injector already", injector.name);
            return Err(ConfigError::at(format!("injectors[{i}].name"), reason));
        }
        injectors.push(injector);
    }
    Ok(injectors)
}

/// What a built-in plugin is where the file does not say anything about it.
fn builtin(name: &str) -> InjectorConfig {
    InjectorConfig {
        name: name.to_owned(),
        component: ComponentSource::Builtin(name.to_owned()),
        sha256: None,
        signed_by: None,
        settings: Value::Object(serde_json::Map::new()),
        limits: Limits::default(),
        grants: GrantsConfig::default(),
        required: true,
    }
}

/// Checks what stands under `key`; under none, it is a document of its own.
pub(super) fn injector(
    key: &str,
    file: InjectorFile,
    builtins: &[&str],
    trust: &TrustConfig,
) -> Result<InjectorConfig, ConfigError> {
    let InjectorFile { name, component, sha256, signed_by, settings, limits, grants, required } = file;
    let at = |part: &str| if key.is_empty() { part.to_owned() } else { format!("{key}.{part}") };
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(allowed) {
        let reason = format!("{name:?} is no name; use 1 to {LONGEST_NAME} of a-z, 0-9 and -");
        return Err(ConfigError::at(at("name"), reason));
    }
    if name == GLOBAL_INJECTOR {
        let reason = format!("{name:?} is the name of the webhook's own secrets (globalSecrets)");
        return Err(ConfigError::at(at("name"), reason));
    }
    let component =
        ComponentSource::parse(&component, builtins).map_err(|reason| ConfigError::at(at("component"), reason))?;
    if let Some(digest) = sha256.as_ref().filter(|digest| !is_sha256(digest)) {
        let reason = format!("{digest:?} is no SHA-256; use 64 of 0-9 and a-f, as `ampoule plugin inspect` prints it");
        return Err(ConfigError::at(at("sha256"), reason));
    }
    if let Some(signer) = &signed_by {
        trust.check_signer(signer, &component).map_err(|reason| ConfigError::at(at("signedBy"), reason))?;
    }
    let limits = self::limits(&at("limits"), limits, Limits::default())?;
    let grants = grants.check(&at("grants"))?;
    let (settings, required) = (Value::Object(settings), required.unwrap_or(true));
    Ok(InjectorConfig { name, component, sha256, signed_by, settings, limits, grants, required })
}

/// `limits` are those that the file says nothing of.
fn limits(key: &str, file: LimitsFile, mut limits: Limits) -> Result<Limits, ConfigError> {
    let LimitsFile { memory_mib, deadline_millis, instances, queue_wait_millis, component_mib } = file;
    if let Some(mib) = memory_mib {
        limits.memory = within(&format!("{key}.memoryMiB"), mib, 1..=MOST_MEMORY)? << 20;
    }
    if let Some(millis) = deadline_millis {
        limits.deadline = Duration::from_millis(within(&format!("{key}.deadlineMillis"), millis, 1..=LONGEST_WAIT)?);
    }
    if let Some(instances) = instances {
        limits.instances = within(&format!("{key}.instances"), instances, 1..=10_000)?;
    }
    if let Some(millis) = queue_wait_millis {
        limits.queue_wait = Duration::from_millis(within(&format!("{key}.queueWaitMillis"), millis, 1..=LONGEST_WAIT)?);
    }
    if let Some(mib) = component_mib {
        limits.component_bytes = within(&format!("{key}.componentMiB"), mib, 1..=1024)? << 20;
    }
    Ok(limits)
}

fn address(key: &str, text: &str) -> Result<SocketAddr, ConfigError> {
    let reason = || format!("{text:?} is no IP address with a port, such as 0.0.0.0:9443 or [::]:9443");
    text.parse().map_err(|_| ConfigError::at(key, reason()))
}

pub(super) fn within<T>(key: &str, value: T, range: std::ops::RangeInclusive<T>) -> Result<T, ConfigError>
where
    T: PartialOrd + std::fmt::Display,
{
    if range.contains(&value) {
        return Ok(value);
    }
    Err(ConfigError::at(key, format!("must be between {} and {}, not {value}", range.start(), range.end())))
}
