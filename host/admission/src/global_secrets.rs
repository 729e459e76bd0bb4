//! [`GlobalSecrets`]: secrets of the webhook itself, from its environment and from files in a
//! folder.
//!
//! It is called before every plugin. Rules: flyte-behaviour section 4.3, except that no path leaves
//! the folder and no value reaches a log. It is part of the host because a sandboxed plugin has
//! neither environment nor files.

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

/// The variable that gives Flyte's SDK the prefix of variable names.
const PREFIX_VARIABLE: &str = "FLYTE_SECRETS_ENV_PREFIX";

/// The webhook's own secrets. Clones share them.
#[derive(Clone)]
pub struct GlobalSecrets(Arc<SecretStore>);

struct SecretStore {
    env_prefix: String,
    environment: HashMap<String, SecretValue>,
    files: Files,
    pod_env_prefix: String,
}

// === impl GlobalSecrets ===

impl GlobalSecrets {
    /// Copies the secrets from an environment. Files are read again for every request.
    ///
    /// `pod_env_prefix` is the prefix of injected variables' names. Variables that are not UTF-8
    /// are ignored.
    pub fn new(
        config: &GlobalSecretsConfig,
        pod_env_prefix: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Self {
        let GlobalSecretsConfig { env_prefix, directory } = config;
        let ours = environment.filter(|(name, _)| name.starts_with(env_prefix));
        Self(Arc::new(SecretStore {
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

// === impl SecretStore ===

impl SecretStore {
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

    /// Looks in the environment first. A variable that is set to an empty value counts as found.
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
