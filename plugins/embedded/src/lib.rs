//! The injector `embedded`: the secrets that `flyte create secret` of Flyte 2 creates.
//!
//! A secret belongs to a project and domain, to a domain, or to the organization. The labels of the
//! pod state its organization, domain and project; the plugin looks in the narrowest scope first.
//! If the Secret is in the namespace of the pod, the pod refers to it, and nothing reads its value.

mod deliver;
mod promise;
mod scope;
mod settings;

use ampoule_plugin_sdk::{
    FetchedValue,
    InjectionError::{self, InvalidRequest},
    prelude::*,
    secrets::{self, LookupError},
};

pub use self::settings::Settings;
use self::{
    promise::Promise,
    scope::{Coordinates, pull_secret_name, secret_name},
    settings::{Bindings, ImagePull},
};

/// The key of an image pull secret in its Kubernetes Secret.
const DOCKER_CONFIG: &str = ".dockerconfigjson";

/// The plugin, with the webhook's conventions as defaults for absent settings.
#[derive(Debug)]
pub struct Embedded {
    /// The namespace of the Secrets.
    namespace: String,
    env_prefix: String,
    mount_directory: String,
    bindings: Bindings,
    image_pull: ImagePull,
}

ampoule_plugin_sdk::export!(Embedded);

// === impl Embedded ===

impl Injector for Embedded {
    type Settings = Settings;
    const NAME: &'static str = "embedded";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const DELIVERIES: &'static [Delivery] = &[Delivery::EnvVar, Delivery::File];
    const SETTINGS_SCHEMA: &'static str = include_str!("../settings.schema.json");

    fn new(settings: Settings, conventions: &Conventions) -> Result<Self, String> {
        settings.check()?;
        Ok(Self {
            namespace: settings.k8s.namespace,
            env_prefix: settings.env_prefix.unwrap_or_else(|| conventions.env_prefix.clone()),
            mount_directory: conventions.mount_directory.clone(),
            bindings: settings.scopes,
            image_pull: settings.image_pull,
        })
    }

    fn inject(&self, request: &SecretRequest, pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        if request.key.is_empty() {
            let reason = format!("EmbeddedSecretManager requires key to be set. Secret: [{request}]");
            return Err(InvalidRequest(reason));
        }
        let of = Coordinates::of(pod)?;
        self.bindings.permit(&pod.namespace(), &of)?;
        let promise = Promise::Secret { of: of.clone(), key: request.key.clone() }.text()?;
        if self.image_pull.is_listed(&request.key) {
            return Ok(vec![Edit::pull_secret(promise)]);
        }
        let is_local = pod.namespace() == self.namespace;
        let mut edits = if is_local {
            let (name, id) = self.find(&of, &request.key)?;
            deliver::edits(request, &self.env_prefix, &self.mount_directory, SecretKeyRef::new(name, id))?
        } else {
            deliver::edits(request, &self.env_prefix, &self.mount_directory, promise)?
        };
        edits.extend(self.existing_pull_secret(&of, &request.key, is_local)?);
        Ok(edits)
    }

    fn fetch(&self, promise: &str) -> Result<FetchedValue, InjectionError> {
        match Promise::parse(promise)? {
            Promise::Secret { of, key } => {
                scope::walk(&of, &key, |id| secrets::read(&self.namespace, &secret_name(id), id).map(Some))
                    .map(|(_, value)| FetchedValue::new(value))
            }
            Promise::PullSecret(name) => secrets::read(&self.image_pull.namespace, &name, DOCKER_CONFIG)
                .map(FetchedValue::new)
                .map_err(InjectionError::from),
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.bindings.is_empty() {
            return Err(
                "settings.scopes is empty: a user who creates a pod in a served namespace reads the secrets of \
                        every project, since only the labels of the pod state its project; bind namespaces to projects"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

impl Embedded {
    /// Finds the narrowest scope that has the secret, without its value. Returns the name of the
    /// Kubernetes Secret, and the key in it.
    fn find(&self, of: &Coordinates, key: &str) -> Result<(String, String), InjectionError> {
        let exists = |id: &str| secrets::exists(&self.namespace, &secret_name(id), id).map(|found| found.then_some(()));
        scope::walk(of, key, exists).map(|(id, ())| (secret_name(&id), id))
    }

    /// The edit for an image pull secret that another program created for this secret, as Flyte's
    /// webhook adds it.
    fn existing_pull_secret(
        &self,
        of: &Coordinates,
        key: &str,
        is_local: bool,
    ) -> Result<Option<Edit>, InjectionError> {
        if !self.image_pull.existing {
            return Ok(None);
        }
        for scope in of.scopes() {
            let name = pull_secret_name(&scope, key);
            match secrets::exists(&self.image_pull.namespace, &name, DOCKER_CONFIG) {
                Ok(true) if is_local && self.image_pull.namespace == self.namespace => {
                    return Ok(Some(Edit::add_image_pull_secret(name)));
                }
                Ok(true) => return Ok(Some(Edit::pull_secret(Promise::PullSecret(name).text()?))),
                Ok(false) | Err(LookupError::NotFound(_) | LookupError::Denied(_)) => {}
                Err(error @ LookupError::Unavailable(_)) => return Err(error.into()),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
