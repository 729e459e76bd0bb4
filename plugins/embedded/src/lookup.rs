//! Look-ups of Secrets while a pod is planned: the reference for a pod in the namespace of the
//! Secrets, and existing image pull secrets. No look-up reads a value.

use ampoule_plugin_sdk::{
    InjectionError::{self, Denied},
    prelude::*,
    secrets::{self, LookupError},
};

use crate::{
    Embedded,
    deliver::ValueSource,
    promise::Promise,
    scope::{self, Coordinates, pull_secret_name, secret_name},
};

/// The key of an image pull secret in its Kubernetes Secret.
pub(crate) const DOCKER_CONFIG: &str = ".dockerconfigjson";

// === impl Embedded ===

impl Embedded {
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
        let exists = |_: &Coordinates, id: &str| {
            let found = secrets::exists(&self.namespace, &secret_name(id), id);
            present(found).map(|found| found.filter(|found| *found))
        };
        scope::walk(of, key, exists).map(|(id, _)| (secret_name(&id), id))
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
        for scope in of.scopes() {
            let name = pull_secret_name(&scope, key);
            match secrets::exists(&self.image_pull.namespace, &name, DOCKER_CONFIG) {
                Ok(true) if namespace == self.image_pull.namespace => {
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

/// Returns what a lookup found, or `None` if there is no such Secret or key.
pub(crate) fn present<T>(found: Result<T, LookupError>) -> Result<Option<T>, InjectionError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(LookupError::NotFound(_)) => Ok(None),
        Err(LookupError::Denied(reason)) => Err(Denied(reason)),
        Err(error @ LookupError::Unavailable(_)) => Err(error.into()),
    }
}
