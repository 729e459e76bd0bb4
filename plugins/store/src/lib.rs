//! The common part of the plugins that fetch values from a secret store over HTTPS:
//! `aws-secrets-manager`, `gcp-secret-manager`, `azure-key-vault` and `vault-kv`.
//!
//! A store implements [`Store`], and its plugin exports [`StoreInjector`]. `inject` sends no
//! request: it validates the request of the pod and answers with promises. `fetch` sends one
//! request and reads the answer. No plugin sees a credential, because the host signs the requests.
//! A plugin with its own names of secrets, such as `embedded`, calls [`find`].

pub mod aws;
pub mod azure;
pub mod gcp;
mod json;
#[cfg(test)]
mod native;
mod secret;
mod status;
pub mod vault;

use std::borrow::Cow;

use ampoule_plugin_sdk::{
    http::{Request, Response, percent_encode},
    names::{env_name, path_segment},
    prelude::*,
};
use serde::de::DeserializeOwned;

pub use self::{json::Field, secret::Secret};

/// A secret store that answers one HTTPS request with one secret.
pub trait Store: Sized + 'static {
    /// The settings of the injector.
    type Settings: DeserializeOwned;

    /// The store's name in messages, such as `AWS Secrets Manager`.
    const TITLE: &'static str;

    /// The key of the settings that determines the store's address. Messages name it.
    const ADDRESS: &'static str;

    /// Validates the settings.
    ///
    /// # Errors
    ///
    /// A value is not valid. The message names the key.
    fn new(settings: Self::Settings) -> Result<Self, String>;

    /// Returns the secret that a pod requests. By default the group is the name of the secret, and
    /// the key selects a field of its JSON; without a group, the key is the name.
    ///
    /// # Errors
    ///
    /// A part of the request is missing.
    fn secret(&self, request: &SecretRequest) -> Result<Secret, InjectionError> {
        Secret::of(request)
    }

    /// Returns the HTTP request for a secret.
    ///
    /// # Errors
    ///
    /// A name is not valid in this store.
    fn ask(&self, secret: &Secret) -> Result<Request, InjectionError>;

    /// Reads the value from an answer with status 200.
    ///
    /// # Errors
    ///
    /// The answer has no value for this secret.
    fn read(&self, secret: &Secret, answer: &Response) -> Result<FetchedValue, InjectionError>;

    /// Returns whether the answer states that the store does not have the secret. A secret that
    /// exists without a usable value is not absent.
    fn is_absent(&self, answer: &Response) -> bool {
        answer.status == 404
    }

    /// Returns the reason of an answer with another status, if the status alone does not determine
    /// it. The text must not contain a part of the body.
    fn reason(&self, secret: &Secret, answer: &Response) -> Option<InjectionError> {
        let _ = (secret, answer);
        None
    }
}

/// A plugin that fetches values from one store.
pub trait StorePlugin: 'static {
    /// The store.
    type Store: Store;

    /// The name of the plugin.
    const NAME: &'static str;

    /// The version of the plugin.
    const VERSION: &'static str;

    /// JSON schema of the settings of the store.
    const SETTINGS_SCHEMA: &'static str;
}

/// The injector of a store. Pass it to [`ampoule_plugin_sdk::export!`].
#[derive(Debug)]
pub struct StoreInjector<P: StorePlugin> {
    store: P::Store,
    env_prefix: String,
    mount_directory: String,
    /// Whether paths are in lower case, as Flyte's are.
    has_flyte_paths: bool,
}

// === impl StoreInjector ===

impl<P: StorePlugin> Injector for StoreInjector<P> {
    type Settings = <P::Store as Store>::Settings;
    const NAME: &'static str = P::NAME;
    const VERSION: &'static str = P::VERSION;
    const DELIVERIES: &'static [Delivery] = &[Delivery::EnvVar, Delivery::File];
    const SETTINGS_SCHEMA: &'static str = P::SETTINGS_SCHEMA;

    fn new(settings: Self::Settings, conventions: &Conventions) -> Result<Self, String> {
        Ok(Self {
            store: P::Store::new(settings)?,
            env_prefix: conventions.env_prefix.clone(),
            mount_directory: conventions.mount_directory.trim_end_matches('/').to_owned(),
            has_flyte_paths: conventions.profile != "plain",
        })
    }

    fn inject(&self, request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        let secret = self.store.secret(request)?;
        self.store.ask(&secret)?;
        let promise = secret.to_promise()?;
        if request.all_keys {
            let path = [&self.mount_directory, "/", &self.segment("group", &request.group)?].concat();
            return Ok(vec![Edit::write_file(path, FileSource::promise(promise))]);
        }
        match request.delivery {
            Delivery::Any | Delivery::EnvVar => self.as_env_var(request, &promise),
            Delivery::File => self.as_file(request, promise),
        }
    }

    fn fetch(&self, promise: &str) -> Result<FetchedValue, InjectionError> {
        let secret = Secret::parse(promise)?;
        let answer = self.store.ask(&secret)?.send()?;
        read(&self.store, &secret, &answer)
    }
}

impl<P: StorePlugin> StoreInjector<P> {
    fn as_env_var(&self, request: &SecretRequest, promise: &str) -> Result<Vec<Edit>, InjectionError> {
        let mut edits = Vec::with_capacity(3);
        for name in self.variables(request)? {
            edits.push(Edit::set_env(name, EnvSource::promise(promise)));
        }
        edits.push(Edit::set_env("FLYTE_SECRETS_ENV_PREFIX", EnvSource::literal(&self.env_prefix)));
        Ok(edits)
    }

    /// Writes the file `FOLDER/KEY` below the mount directory. The folder is one segment, because
    /// each folder is a mount, and no mount can be below another one that is read-only.
    fn as_file(&self, request: &SecretRequest, promise: String) -> Result<Vec<Edit>, InjectionError> {
        let folder = if request.group.is_empty() { P::NAME } else { &request.group };
        let (folder, file) = (self.segment("group", folder)?, self.segment("key", &request.key)?);
        let path = [&self.mount_directory, "/", &folder, "/", &file].concat();
        let mut edits = vec![
            Edit::write_file(&path, FileSource::promise(promise)),
            Edit::set_env("FLYTE_SECRETS_DEFAULT_DIR", EnvSource::literal(&self.mount_directory)),
            Edit::set_env("FLYTE_SECRETS_FILE_PREFIX", EnvSource::literal("")),
        ];
        if let Some(name) = &request.env_var {
            edits.push(Edit::set_env(env_name(name)?, EnvSource::literal(path)));
        }
        Ok(edits)
    }

    /// Returns a name as one segment of a path.
    fn segment(&self, what: &str, name: &str) -> Result<String, InjectionError> {
        let name = name.replace(['/', ':'], "_");
        let in_lower_case = path_segment(what, &name)?;
        Ok(if self.has_flyte_paths { in_lower_case } else { name })
    }

    /// Returns the names of the variables: Flyte's name, and the name that the request contains.
    fn variables<'a>(&self, request: &'a SecretRequest) -> Result<Vec<Cow<'a, str>>, InjectionError> {
        let group = request.group.as_str();
        let separator = if group.is_empty() { "" } else { "_" };
        let flyte_name = [&self.env_prefix, group, separator, &request.key].concat().to_ascii_uppercase();
        let Some(name) = request.env_var.as_deref() else {
            return Ok(vec![env_name(&flyte_name)?.to_owned().into()]);
        };
        let name = Cow::from(env_name(name)?);
        // An ARN and a path have characters that Kubernetes before 1.32 rejects in a name. The
        // request has a usable name, so leave this one out.
        let is_portable = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if !flyte_name.chars().all(is_portable) {
            return Ok(vec![name]);
        }
        Ok(vec![flyte_name.into(), name])
    }
}

/// Asks a store for a secret. Returns `None` if the store does not have it.
///
/// # Errors
///
/// The store has no usable value, denies the access, or does not answer.
pub fn find<S: Store>(store: &S, secret: &Secret) -> Result<Option<FetchedValue>, InjectionError> {
    let answer = store.ask(secret)?.send()?;
    if store.is_absent(&answer) {
        return Ok(None);
    }
    read(store, secret, &answer).map(Some)
}

/// Reads the value from an answer.
fn read<S: Store>(store: &S, secret: &Secret, answer: &Response) -> Result<FetchedValue, InjectionError> {
    if answer.status == 200 {
        return store.read(secret, answer);
    }
    Err(store.reason(secret, answer).unwrap_or_else(|| status::reason::<S>(secret, answer)))
}

/// Validates the URL of a store, and returns it without a slash at the end.
///
/// # Errors
///
/// The URL does not begin with `https://`, or has no host, a user, a query or a fragment.
pub fn base_url(key: &str, url: &str) -> Result<String, String> {
    let rest = url.strip_prefix("https://").ok_or_else(|| format!("{key}: must begin with https://"))?;
    let host = rest.split('/').next().unwrap_or_default();
    if host.is_empty() || host.contains('@') || rest.contains(['?', '#']) {
        return Err(format!("{key}: must be https://HOST[:PORT][/PATH], without a user, a query or a fragment"));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// Encodes the segments of a path for a URL. The path must not begin or end with a slash, or have
/// the segments `.` and `..`: such a path would lead to another API.
#[must_use]
pub fn encode_path(path: &str) -> Option<String> {
    let segments: Vec<_> = path.split('/').collect();
    if segments.iter().any(|segment| matches!(*segment, "" | "." | "..")) {
        return None;
    }
    Some(segments.into_iter().map(percent_encode).collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests;
