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
    Conventions, EnvSource, EnvVar, FileSource, Injection, InjectionError, InjectorSession, LazyPodView,
    MountRequirement, PodEdit, Profile, SecretFile, SecretInjector, SecretRequest, SecretValue,
};
use async_trait::async_trait;

use self::files::Files;
use ampoule_config::{GLOBAL_INJECTOR, GlobalSecretsConfig};

/// The variable that gives Flyte's SDK the prefix of variable names.
const PREFIX_VARIABLE: &str = "FLYTE_SECRETS_ENV_PREFIX";

const NOT_CANONICAL: &str = "group and key of a global secret must be plain names: without empty parts, `.`, parts \
                             that begin with `..`, and letters such as `ſ` whose capital is an ASCII letter";

const FILE_PATH: &str = "group and key cannot be the path of a file: they must not contain `:`";

/// The webhook's own secrets. Clones share them.
#[derive(Clone)]
pub struct GlobalSecrets(Arc<SecretStore>);

/// The secrets, and the name of the last one that was found.
struct GlobalSession {
    store: Arc<SecretStore>,
    found_name: Option<String>,
}

/// A value, and the name under which it was found.
struct FoundSecret {
    name: String,
    value: SecretValue,
}

struct SecretStore {
    env_prefix: String,
    environment: HashMap<String, SecretValue>,
    files: Files,
    /// The form of the answers.
    form: AnswerForm,
}

/// The form of the answers.
struct AnswerForm {
    /// The prefix of the names of injected variables.
    env_prefix: String,
    /// The folder of files; `None` in the profiles of Flyte, whose webhook has no files.
    folder: Option<String>,
}

// === impl GlobalSecrets ===

impl GlobalSecrets {
    /// Copies the secrets from an environment. Files are read again for every request.
    ///
    /// The conventions determine the names in the pod. Variables that are not UTF-8 are ignored.
    pub fn new(
        config: &GlobalSecretsConfig,
        conventions: &Conventions,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Self {
        let GlobalSecretsConfig { env_prefix, directory, delivery: _ } = config;
        let ours = environment.filter(|(name, _)| name.starts_with(env_prefix));
        Self(Arc::new(SecretStore {
            environment: ours.map(|(name, value)| (name, SecretValue::new(value.into_bytes()))).collect(),
            env_prefix: env_prefix.clone(),
            files: Files::new(directory),
            form: AnswerForm::new(conventions),
        }))
    }
}

impl SecretInjector for GlobalSecrets {
    fn name(&self) -> &str {
        GLOBAL_INJECTOR
    }

    fn open(&self) -> Box<dyn InjectorSession> {
        Box::new(GlobalSession { store: Arc::clone(&self.0), found_name: None })
    }
}

#[async_trait]
impl InjectorSession for GlobalSession {
    async fn inject(&mut self, request: &SecretRequest, _: &LazyPodView) -> Injection {
        Ok(self.store.find(request).map(|found| {
            self.found_name = Some(found.name);
            self.store.form.edits(request, found.value)
        }))
    }

    fn found_name(&self) -> Option<&str> {
        self.found_name.as_deref()
    }
}

// === impl SecretStore ===

impl SecretStore {
    /// Checks the request and finds its value.
    fn find(&self, request: &SecretRequest) -> Result<FoundSecret, InjectionError> {
        let SecretRequest { group, key, mount, .. } = request;
        if group.is_empty() || key.is_empty() {
            let reason = format!("both key and group are required parameters. Secret: [{request}]");
            return Err(InjectionError::InvalidRequest(reason));
        }
        if !is_canonical(group) || !is_canonical(key) {
            return Err(InjectionError::InvalidRequest(NOT_CANONICAL.to_owned()));
        }
        let found = self.read(group, key)?;
        if *mount == MountRequirement::File {
            self.form.check_file(group, key)?;
        }
        Ok(found)
    }

    /// Looks in the environment first. A variable that is set to an empty value counts as found.
    fn read(&self, group: &str, key: &str) -> Result<FoundSecret, InjectionError> {
        let variable = [self.env_prefix.as_str(), &upper(&[group, "_", key])].concat();
        if let Some(value) = self.environment.get(&variable) {
            return Ok(FoundSecret { name: format!("variable {variable}"), value: value.clone() });
        }
        let path = self.files.path(group, key);
        let value = self.files.read(group, key).map_err(|error| error.into_answer(&variable, &path))?;
        Ok(FoundSecret { name: format!("file {group}/{key}"), value })
    }
}

// === impl AnswerForm ===

impl AnswerForm {
    fn new(conventions: &Conventions) -> Self {
        let folder = match conventions.profile {
            Profile::Plain => Some(conventions.mount_directory.trim_end_matches('/').to_owned()),
            Profile::FlyteV1 | Profile::FlyteV2 => None,
        };
        Self { env_prefix: conventions.env_prefix.clone(), folder }
    }

    /// Checks that a secret can be a file.
    fn check_file(&self, group: &str, key: &str) -> Result<(), InjectionError> {
        let Some(path) = self.path(group, key) else {
            let reason = format!("global secrets can only be injected as environment variables [{group}/{key}]");
            return Err(InjectionError::Unsupported(reason));
        };
        let refuse = |_| InjectionError::InvalidRequest(FILE_PATH.to_owned());
        SecretFile::validate(&path, None).map_err(refuse)
    }

    fn path(&self, group: &str, key: &str) -> Option<String> {
        Some([self.folder.as_deref()?, "/", group, "/", key].concat())
    }

    fn edits(&self, request: &SecretRequest, value: SecretValue) -> Vec<PodEdit> {
        let set = |name: &str, source| PodEdit::SetEnv(EnvVar { name: name.to_owned(), source });
        let path = self.path(&request.group, &request.key).filter(|_| request.mount == MountRequirement::File);
        if let Some(path) = path {
            let named = request.env_var.as_ref().map(|name| set(name, EnvSource::Literal(path.clone())));
            let file = SecretFile { path, mode: None, source: FileSource::SecretValue(value) };
            return [PodEdit::WriteFile(file)].into_iter().chain(named).collect();
        }
        let name = upper(&[&self.env_prefix, &request.group, "_", &request.key]);
        vec![
            set(PREFIX_VARIABLE, EnvSource::Literal(self.env_prefix.clone())),
            set(&name, EnvSource::SecretValue(value)),
        ]
    }
}

/// Whether no other spelling names the same file, and the capital letters of no other name are the
/// same because of a letter such as `ſ`, whose capital is `S`.
///
/// Kubernetes keeps the files of a mounted Secret in folders that begin with `..`.
fn is_canonical(name: &str) -> bool {
    let is_plain = |part: &str| !part.is_empty() && part != "." && !part.starts_with("..");
    let becomes_ascii = |c: char| !c.is_ascii() && c.to_uppercase().any(|capital| capital.is_ascii());
    name.split('/').all(is_plain) && !name.contains('\0') && !name.chars().any(becomes_ascii)
}

fn upper(parts: &[&str]) -> String {
    parts.concat().to_uppercase()
}
