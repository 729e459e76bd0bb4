//! The injector `embedded`: the secrets that `flyte create secret` of Flyte 2 creates.
//!
//! A secret belongs to a project and domain, to a domain, or to the organization. The labels of the
//! pod state its organization, domain and project; the plugin looks in the narrowest scope first.
//! If the store is Kubernetes and the Secret is in the namespace of the pod, the pod refers to it,
//! and nothing reads its value. Otherwise `inject` answers with promises.

mod cloud;
mod deliver;
mod lookup;
mod promise;
mod scope;
mod settings;

use ampoule_plugin_sdk::{
    FetchedValue,
    InjectionError::{self, InvalidRequest},
    prelude::*,
    secrets,
};

pub use self::settings::Settings;
use self::{
    cloud::Cloud,
    lookup::DOCKER_CONFIG,
    promise::Promise,
    scope::Coordinates,
    settings::{Bindings, ImagePull},
};

/// The plugin, with the webhook's conventions as defaults for absent settings.
#[derive(Debug)]
pub struct Embedded {
    /// The namespace of the Secrets.
    namespace: String,
    /// The store, unless it is Kubernetes.
    cloud: Option<Cloud>,
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
            cloud: Cloud::new(settings.aws, settings.gcp, settings.azure)?,
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
        let is_file = request.delivery == Delivery::File;
        let is_pull_secret = self.image_pull.is_listed(&request.key) || (!is_file && self.detect(&of, &request.key)?);
        let pull_secret = is_pull_secret.then(|| Edit::pull_secret(&promise));
        if is_pull_secret && !is_file {
            return Ok(pull_secret.into_iter().collect());
        }
        let source = self.source(&of, &request.key, promise, &pod.namespace())?;
        let mut edits = deliver::edits(request, &self.env_prefix, &self.mount_directory, source)?;
        edits.extend(pull_secret);
        edits.extend(self.existing_pull_secret(&of, &request.key, &pod.namespace())?);
        Ok(edits)
    }

    fn fetch(&self, promise: &str) -> Result<FetchedValue, InjectionError> {
        match Promise::parse(promise)? {
            Promise::Secret { of, key } => self.read(&of, &key),
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

#[cfg(test)]
mod tests;
