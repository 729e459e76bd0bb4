//! The stored `MutatingWebhookConfiguration`: [`RegistrationObject`] reads it, applies a document,
//! or changes only the `caBundle` of webhooks.
//!
//! With `registration.create: false`, the role of the process permits no more than [`Self::read`]
//! and [`Self::set_ca_bundle`], and an admission policy permits no other change.
//!
//! [`Self::read`]: RegistrationObject::read
//! [`Self::set_ca_bundle`]: RegistrationObject::set_ca_bundle

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{drift, error::RegistrationError, uninstall};
use crate::{ca_bundle::CaBundle, client::Cluster};

/// The field manager of all writes.
pub(super) const FIELD_MANAGER: &str = "ampoule";

/// The object of this name in the cluster.
pub(super) struct RegistrationObject {
    api: Api<MutatingWebhookConfiguration>,
    name: String,
}

/// The object as it was read.
pub(super) struct StoredRegistration {
    pub(super) document: Value,
    pub(super) version: String,
    /// The mark of an uninstallation.
    pub(super) mark: Option<String>,
}

// === impl RegistrationObject ===

impl RegistrationObject {
    pub(super) fn new(cluster: &Cluster, name: &str) -> Self {
        Self { api: cluster.cluster_wide(), name: name.to_owned() }
    }

    pub(super) async fn read(&self) -> Result<Option<StoredRegistration>, RegistrationError> {
        let found = self.api.get_opt(&self.name).await.map_err(|error| self.failed("read", error))?;
        Ok(found.map(StoredRegistration::from_object))
    }

    /// Applies the document and returns the object's version. Replaces the webhooks if fields of
    /// another manager prevent that.
    pub(super) async fn apply(&self, document: &Value, exists: bool) -> Result<String, RegistrationError> {
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let applied = match self.api.patch(&self.name, &params, &Patch::Apply(document)).await {
            Ok(applied) => applied,
            // A field of another manager is not allowed together with one of ours.
            Err(kube::Error::Api(status)) if status.code == 422 && exists => {
                let found = self.api.get(&self.name).await.map_err(|error| self.failed("read", error))?;
                self.replace_webhooks(document, found).await?
            }
            Err(error) => return Err(self.failed("apply", error)),
        };
        let stored = serde_json::to_value(&applied).expect("an API object serializes");
        let applied = match drift::first_difference(document, &stored) {
            None => applied,
            Some(_) => self.replace_webhooks(document, applied).await?,
        };
        Ok(applied.resource_version().unwrap_or_default())
    }

    /// Sets the `caBundle` of our webhooks, and returns the object's version.
    pub(super) async fn set_ca_bundle(
        &self,
        wanted: &Value,
        found: &Value,
        bundle: &CaBundle,
    ) -> Result<String, RegistrationError> {
        let patch = Patch::Strategic(ca_bundle_patch(wanted, found, bundle));
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patched = self.api.patch(&self.name, &params, &patch).await;
        let patched = patched.map_err(|error| self.failed("change the caBundle of", error))?;
        Ok(patched.resource_version().unwrap_or_default())
    }

    async fn replace_webhooks(
        &self,
        document: &Value,
        found: MutatingWebhookConfiguration,
    ) -> Result<MutatingWebhookConfiguration, RegistrationError> {
        let version = found.resource_version();
        let found = serde_json::to_value(found).expect("an API object serializes");
        // A replacement of the object would need a right that no other request needs.
        let list = &drift::replace_webhooks(document, found)["webhooks"];
        let patch = json!({ "metadata": { "resourceVersion": version }, "webhooks": list });
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.api.patch(&self.name, &params, &Patch::Merge(patch)).await.map_err(|error| self.failed("patch", error))
    }

    fn failed(&self, verb: &'static str, error: kube::Error) -> RegistrationError {
        RegistrationError::failed(verb, &self.name, error)
    }
}

// === impl StoredRegistration ===

impl StoredRegistration {
    fn from_object(object: MutatingWebhookConfiguration) -> Self {
        let version = object.resource_version().unwrap_or_default();
        let mark = uninstall::mark(&object);
        let document = serde_json::to_value(object).expect("an API object serializes");
        Self { document, version, mark }
    }
}

/// Returns the strategic merge patch that sets the `caBundle` of our webhooks.
///
/// It contains no other field. The API server finds a webhook by its name, so a webhook that
/// another client moved in the meantime is found. A webhook that another client removed would be
/// added without its required fields, and the API server refuses that.
fn ca_bundle_patch(wanted: &Value, found: &Value, bundle: &CaBundle) -> Value {
    let encoded = data_encoding::BASE64.encode(bundle.to_pem().as_bytes());
    let webhook = |name: &str| json!({ "name": name, "clientConfig": { "caBundle": encoded } });
    let webhooks: Vec<_> = drift::own_webhooks(wanted, found).map(webhook).collect();
    json!({ "webhooks": webhooks })
}

#[cfg(test)]
mod tests {
    use ampoule_config::Config;

    use super::*;
    use crate::{
        certs::tests::ca,
        registration::document::{ReviewRoute, WebhookRegistration},
    };

    fn wanted() -> Value {
        let config = Config::parse("", &["k8s"]).unwrap().registration;
        WebhookRegistration::new(config, ReviewRoute::Direct, None).document("ampoule")
    }

    #[test]
    fn the_patch_contains_the_bundle_of_our_webhooks_and_no_other_field() {
        let mut found = wanted();
        let foreign = json!({ "name": "theirs.example.org", "clientConfig": {} });
        found["webhooks"].as_array_mut().unwrap().insert(1, foreign);
        let bundle = CaBundle::parse(&ca());
        let client = json!({ "caBundle": data_encoding::BASE64.encode(bundle.to_pem().as_bytes()) });
        let expected = json!({ "webhooks": [
            { "name": "secrets.ampoule.dev", "clientConfig": client },
            { "name": "people.ampoule.dev", "clientConfig": client },
        ] });
        assert_eq!(ca_bundle_patch(&wanted(), &found, &bundle), expected);
    }

    #[test]
    fn a_webhook_that_does_not_exist_is_not_in_the_patch() {
        let mut found = wanted();
        found["webhooks"].as_array_mut().unwrap().remove(0);
        let patch = ca_bundle_patch(&wanted(), &found, &CaBundle::parse(&ca()));
        let names: Vec<_> = patch["webhooks"].as_array().unwrap().iter().map(|webhook| &webhook["name"]).collect();
        assert_eq!(names, ["people.ampoule.dev"]);
    }
}
