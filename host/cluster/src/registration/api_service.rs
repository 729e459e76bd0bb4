//! The `APIService` through which the API server reaches the webhook: [`ApiServiceRegistration`].
//!
//! With it, the API server calls itself for each review, and forwards the review with its
//! front-proxy certificate. The API server then verifies the webhook's certificate with the
//! `caBundle` of this object.

use ampoule_config::{API_GROUP, API_VERSION, RegistrationConfig};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::error::RegistrationError;
use crate::{ca_bundle::CaBundle, client::Cluster};

/// Priorities among groups and among versions. No other group has this resource, so they decide
/// nothing.
const GROUP_PRIORITY: u32 = 100;
const VERSION_PRIORITY: u32 = 15;

/// Reads and writes the `APIService`.
pub(super) struct ApiServiceRegistration {
    api: Api<APIService>,
    namespace: String,
}

// === impl ApiServiceRegistration ===

impl ApiServiceRegistration {
    pub(super) fn new(cluster: &Cluster) -> Self {
        Self { api: cluster.cluster_wide(), namespace: cluster.namespace().to_owned() }
    }

    /// Returns the stored `caBundle`; an empty bundle if the field does not exist, and `None` if
    /// the object does not exist.
    pub(super) async fn stored_bundle(&self) -> Result<Option<CaBundle>, RegistrationError> {
        let Some(found) = self.api.get_opt(&name()).await.map_err(|error| failed("read", error))? else {
            return Ok(None);
        };
        let pem = found.spec.and_then(|spec| spec.ca_bundle).map(|pem| pem.0).unwrap_or_default();
        Ok(Some(CaBundle::parse(&String::from_utf8_lossy(&pem))))
    }

    /// Sets the `caBundle` and no other field.
    pub(super) async fn set_ca_bundle(&self, field_manager: &str, bundle: &CaBundle) -> Result<(), RegistrationError> {
        let patch = json!({ "spec": { "caBundle": encode(bundle) } });
        let params = PatchParams { field_manager: Some(field_manager.to_owned()), ..PatchParams::default() };
        let patched = self.api.patch(&name(), &params, &Patch::Merge(&patch)).await;
        patched.map(drop).map_err(|error| failed("change the caBundle of", error))
    }

    /// Writes the object. Without a bundle, the `caBundle` stays unchanged.
    ///
    /// Not a server-side apply: Kubernetes 1.20 closes the connection of one for an `APIService`.
    pub(super) async fn write(
        &self,
        field_manager: &str,
        config: &RegistrationConfig,
        bundle: Option<&CaBundle>,
    ) -> Result<(), RegistrationError> {
        let document = document(config, &self.namespace, bundle);
        let manager = Some(field_manager.to_owned());
        let params = PatchParams { field_manager: manager.clone(), ..PatchParams::default() };
        match self.api.patch(&name(), &params, &Patch::Merge(&document)).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            patched => return patched.map(drop).map_err(|error| failed("change", error)),
        }
        let object = serde_json::from_value(document).expect("the document is an APIService");
        let params = PostParams { field_manager: manager, ..PostParams::default() };
        self.api.create(&params, &object).await.map(drop).map_err(|error| failed("create", error))
    }
}

/// Removes the `APIService`, and returns whether it existed.
///
/// # Errors
///
/// The API server refuses the request.
pub async fn remove_api_service(cluster: &Cluster) -> Result<bool, RegistrationError> {
    let api: Api<APIService> = cluster.cluster_wide();
    match api.delete(&name(), &DeleteParams::default()).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(failed("remove", error)),
    }
}

/// The name that the API server requires.
pub(super) fn name() -> String {
    format!("{API_VERSION}.{API_GROUP}")
}

fn document(config: &RegistrationConfig, namespace: &str, bundle: Option<&CaBundle>) -> Value {
    let mut document = json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": { "name": name() },
        "spec": {
            "group": API_GROUP,
            "version": API_VERSION,
            "groupPriorityMinimum": GROUP_PRIORITY,
            "versionPriority": VERSION_PRIORITY,
            "service": { "name": config.service_name, "namespace": namespace, "port": config.service_port },
        },
    });
    if let Some(bundle) = bundle {
        document["spec"]["caBundle"] = encode(bundle).into();
    }
    document
}

fn encode(bundle: &CaBundle) -> String {
    data_encoding::BASE64.encode(bundle.to_pem().as_bytes())
}

fn failed(verb: &'static str, error: kube::Error) -> RegistrationError {
    RegistrationError::ApiService { verb, name: name(), source: error.into() }
}

#[cfg(test)]
mod tests {
    use ampoule_config::Config;

    use super::*;
    use crate::certs::tests::ca;

    #[test]
    fn the_object_has_every_field_that_the_api_server_requires() {
        let config = Config::parse("", &["k8s"]).unwrap().registration;
        let ca = ca();
        let document = document(&config, "secrets", Some(&CaBundle::parse(&ca)));
        let object: APIService = serde_json::from_value(document).unwrap();
        let spec = object.spec.unwrap();
        let service = spec.service.unwrap();
        assert_eq!(object.metadata.name.as_deref(), Some("v1.admission.ampoule.dev"));
        assert_eq!((spec.group.as_deref(), spec.version.as_deref()), (Some("admission.ampoule.dev"), Some("v1")));
        assert_eq!((service.name.as_deref(), service.namespace.as_deref()), (Some("ampoule"), Some("secrets")));
        assert_eq!((service.port, spec.ca_bundle.unwrap().0), (Some(443), ca.into_bytes()));
        assert_eq!(spec.insecure_skip_tls_verify, None);
    }
}
