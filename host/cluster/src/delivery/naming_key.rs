//! The key of the names of Secrets that carry values. All replicas share it: it is in a Secret in
//! the namespace of the webhook, which the first replica creates.

use ampoule_core::{DeliveryError, NamingKey};
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, api::PostParams};
use tracing::warn;

use super::{MANAGED_BY, public_error};
use crate::client::{Cluster, ClusterError};

/// The name of the Secret with the key.
pub(crate) const NAME: &str = "ampoule-delivery-key";
/// Its key in the Secret.
const KEY: &str = "hmac-sha256";

/// Reads the key, or creates it.
pub(super) async fn read_or_create(cluster: &Cluster) -> Result<NamingKey, DeliveryError> {
    let api: Api<Secret> = cluster.namespaced();
    if let Some(key) = read(&api).await? {
        return Ok(key);
    }
    match api.create(&PostParams::default(), &new_object()?).await {
        Ok(_) => {}
        // Another replica created it.
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => return Err(failure("create", &error.into())),
    }
    read(&api).await?.ok_or_else(|| DeliveryError::Unavailable(format!("Secret {NAME} was deleted")))
}

/// Reads the key, and creates nothing. Without a key, no Secret has a name yet, so a random key is
/// as good as any.
pub(super) async fn read_or_random(cluster: &Cluster) -> Result<NamingKey, DeliveryError> {
    match read(&cluster.namespaced()).await? {
        Some(key) => Ok(key),
        None => random_bytes().map(NamingKey::new),
    }
}

async fn read(api: &Api<Secret>) -> Result<Option<NamingKey>, DeliveryError> {
    let found = api.get_opt(NAME).await.map_err(|error| failure("get", &error.into()))?;
    let Some(secret) = found else { return Ok(None) };
    let bytes = secret.data.and_then(|mut data| data.remove(KEY)).and_then(|value| value.0.try_into().ok());
    let reason = || format!("Secret {NAME} of the webhook has no key `{KEY}` of {} bytes; delete it", NamingKey::BYTES);
    bytes.map(NamingKey::new).map(Some).ok_or_else(|| DeliveryError::Unavailable(reason()))
}

fn new_object() -> Result<Secret, DeliveryError> {
    let bytes = random_bytes()?;
    let label = (MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    Ok(Secret {
        metadata: ObjectMeta { name: Some(NAME.to_owned()), labels: Some([label].into()), ..ObjectMeta::default() },
        data: Some([(KEY.to_owned(), ByteString(bytes.to_vec()))].into()),
        ..Secret::default()
    })
}

fn random_bytes() -> Result<[u8; NamingKey::BYTES], DeliveryError> {
    let mut bytes = [0; NamingKey::BYTES];
    getrandom::fill(&mut bytes).map_err(|_| DeliveryError::Unavailable("no random numbers".to_owned()))?;
    Ok(bytes)
}

fn failure(verb: &str, error: &ClusterError) -> DeliveryError {
    warn!(error = public_error(error), secret = NAME, verb, "cannot use the key of names of Secrets");
    match error {
        ClusterError::Refused { code: 403, .. } => {
            DeliveryError::Denied(format!("the webhook's role does not allow `{verb}` on its Secret {NAME}"))
        }
        _ => DeliveryError::Unavailable(format!("the API server did not {verb} Secret {NAME} of the webhook")),
    }
}
