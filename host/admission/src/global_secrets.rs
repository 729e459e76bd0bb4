//! [`GlobalSecrets`]: secrets that the webhook itself has, from its environment and from files in its folder.
//!
//! Asked before every plugin. Rules: flyte-behaviour section 4.3, but that no path leads out of the folder and no value
//! into a log. It is the only injector that is no plugin: a sandbox has neither environment nor files.

mod files;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use ampoule_core::{
    EnvSource, EnvVar, Injection, InjectionError, InjectorSession, MountRequirement, PodEdit, PodView, SecretInjector,
    SecretRequest, SecretValue,
};
use async_trait::async_trait;

use self::files::Files;
use ampoule_config::{GLOBAL_INJECTOR, GlobalSecretsConfig};

/// What tells the SDK how the names of variables start.
const PREFIX_VARIABLE: &str = "FLYTE_SECRETS_ENV_PREFIX";

/// The webhook's own secrets.
#[derive(Clone)]
pub struct GlobalSecrets(Arc<Shared>);

struct Shared {
    env_prefix: String,
    environment: HashMap<String, SecretValue>,
    files: Files,
    pod_env_prefix: String,
}

// === impl GlobalSecrets ===

impl GlobalSecrets {
    /// Takes the secrets out of an environment, and remembers the folder, which is read anew for every request.
    ///
    /// `pod_env_prefix` is what names of injected variables start with. Variables that are not UTF-8 are left out.
    pub fn new(
        config: &GlobalSecretsConfig,
        pod_env_prefix: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Self {
        let GlobalSecretsConfig { env_prefix, directory } = config;
        let ours = environment.filter(|(name, _)| name.starts_with(env_prefix));
        Self(Arc::new(Shared {
            environment: ours.map(|(name, value)| (name, SecretValue::new(value.into_bytes()))).collect(),
            env_prefix: env_prefix.clone(),
            files: Files::new(directory),
            pod_env_prefix: pod_env_prefix.to_owned(),
        }))
    }
}

impl SecretInjector for GlobalSecrets {
    fn name(&self) -> &str {
        GLOBAL_INJECTOR
    }

    fn open(&self) -> Box<dyn InjectorSession> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl InjectorSession for GlobalSecrets {
    async fn inject(&mut self, request: &SecretRequest, _: &PodView) -> Injection {
        Ok(self.0.inject(request))
    }
}

// === impl Shared ===

impl Shared {
    fn inject(&self, request: &SecretRequest) -> Result<Vec<PodEdit>, InjectionError> {
        let SecretRequest { group, key, mount, .. } = request;
        if group.is_empty() || key.is_empty() {
            let reason = format!("both key and group are required parameters. Secret: [{request}]");
            return Err(InjectionError::InvalidRequest(reason));
        }
        let value = self.find(group, key)?;
        if *mount == MountRequirement::File {
            let reason = format!("global secrets can only be injected as environment variables [{group}/{key}]");
            return Err(InjectionError::Unsupported(reason));
        }
        let name = upper(&[&self.pod_env_prefix, group, "_", key]);
        let set = |name: &str, source| PodEdit::SetEnv(EnvVar { name: name.to_owned(), source });
        Ok(vec![
            set(PREFIX_VARIABLE, EnvSource::Literal(self.pod_env_prefix.clone())),
            set(&name, EnvSource::SecretValue(value)),
        ])
    }

    /// The environment first. A variable that is set and empty is found.
    fn find(&self, group: &str, key: &str) -> Result<SecretValue, InjectionError> {
        let variable = [self.env_prefix.as_str(), &upper(&[group, "_", key])].concat();
        if let Some(value) = self.environment.get(&variable) {
            return Ok(value.clone());
        }
        self.files.read(group, key).map_err(|error| error.into_answer(&variable, &self.files.path(group, key)))
    }
}

fn upper(parts: &[&str]) -> String {
    parts.concat().to_uppercase()
}
