//! Look-ups of secrets: references for pods in the namespace of the Secrets, image pull secrets,
//! and values.
//!
//! While a pod is planned, only the detection of image pull secrets reads a value.

use std::collections::BTreeMap;

use ampoule_plugin_sdk::{
    FetchedValue,
    InjectionError::{self, Denied},
    prelude::*,
    secrets::{self, LookupError},
};
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    Embedded,
    deliver::ValueSource,
    promise::Promise,
    scope::{self, Coordinates, pull_secret_name, secret_id, secret_name},
};

/// The key of an image pull secret in its Kubernetes Secret.
pub(crate) const DOCKER_CONFIG: &str = ".dockerconfigjson";

/// The part of a Docker configuration that distinguishes it from other values.
#[derive(Deserialize)]
struct DockerConfig {
    #[serde(rename = "auths")]
    _auths: BTreeMap<String, IgnoredAny>,
}

// === impl Embedded ===

impl Embedded {
    /// Reads the value in the narrowest scope that has the secret.
    pub(crate) fn read(&self, of: &Coordinates, key: &str) -> Result<FetchedValue, InjectionError> {
        let ask = |scope: &Coordinates, id: &str| match &self.cloud {
            Some(cloud) => cloud.find(scope, key),
            None => present(secrets::read(&self.namespace, &secret_name(id), id).map(FetchedValue::new)),
        };
        scope::walk(of, key, ask).map(|(_, value)| value)
    }

    /// Whether the settings ask for it, and the value is a Docker configuration.
    pub(crate) fn detect(&self, of: &Coordinates, key: &str) -> Result<bool, InjectionError> {
        if !self.image_pull.detect {
            return Ok(false);
        }
        let check = |bytes: Vec<u8>| serde_json::from_slice::<DockerConfig>(&bytes).map(|_| bytes);
        Ok(self.read(of, key)?.try_map(check).is_ok())
    }

    /// The source of the value for a pod in this namespace.
    pub(crate) fn source(
        &self,
        of: &Coordinates,
        key: &str,
        promise: String,
        namespace: &str,
    ) -> Result<ValueSource, InjectionError> {
        match &self.cloud {
            Some(cloud) => cloud.check(of, key).map(|()| promise.into()),
            None if namespace == self.namespace => {
                self.find(of, key).map(|(name, id)| SecretKeyRef::new(name, id).into())
            }
            None => Ok(promise.into()),
        }
    }

    /// Finds the narrowest scope that has the secret, without its value. Returns the name of the
    /// Kubernetes Secret, and the key in it.
    fn find(&self, of: &Coordinates, key: &str) -> Result<(String, String), InjectionError> {
        let ids = of.scopes().map(|scope| secret_id(&scope, key));
        let secrets = ids.map(|id| (secret_name(&id), id));
        let keys = secrets.each_ref().map(|(name, id)| (name.as_str(), id.as_str()));
        let found = present(secrets::first_existing(&self.namespace, &keys))?.flatten();
        let found = found.and_then(|position| secrets.into_iter().nth(position));
        found.ok_or_else(|| scope::not_found(of, key))
    }

    /// The edit for an image pull secret that another program created for this secret, as Flyte's
    /// webhook adds it.
    pub(crate) fn existing_pull_secret(
        &self,
        of: &Coordinates,
        key: &str,
        namespace: &str,
    ) -> Result<Option<Edit>, InjectionError> {
        if !self.image_pull.existing {
            return Ok(None);
        }
        let names = of.scopes().map(|scope| pull_secret_name(&scope, key));
        let keys = names.each_ref().map(|name| (name.as_str(), DOCKER_CONFIG));
        let found = match secrets::first_existing(&self.image_pull.namespace, &keys) {
            Ok(found) => found.and_then(|position| names.into_iter().nth(position)),
            Err(LookupError::NotFound(_) | LookupError::Denied(_)) => None,
            Err(error @ LookupError::Unavailable(_)) => return Err(error.into()),
        };
        match found {
            None => Ok(None),
            Some(name) if namespace == self.image_pull.namespace => Ok(Some(Edit::add_image_pull_secret(name))),
            Some(name) => Ok(Some(Edit::pull_secret(Promise::PullSecret(name).text()?))),
        }
    }
}

/// Returns what a lookup found, or `None` if there is no such Secret or key.
pub(crate) fn present<T>(found: Result<T, LookupError>) -> Result<Option<T>, InjectionError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(LookupError::NotFound(_)) => Ok(None),
        Err(LookupError::Denied(reason)) => Err(Denied(reason)),
        Err(error @ LookupError::Unavailable(_)) => Err(error.into()),
    }
}
