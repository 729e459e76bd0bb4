//! A component in a ConfigMap of the process' own namespace, and its signature in the key beside
//! it.
//!
//! A ConfigMap has at most one mebibyte, so its entries need no further limit.

use k8s_openapi::api::core::v1::ConfigMap;

use super::error::FetchErrorKind;
use ampoule_cluster::Cluster;

/// Reads a ConfigMap.
pub(super) async fn get(cluster: &Cluster, name: &str) -> Result<ConfigMap, FetchErrorKind> {
    match cluster.namespaced::<ConfigMap>().get_opt(name).await {
        Ok(Some(map)) => Ok(map),
        Ok(None) => {
            let namespace = cluster.namespace().to_owned();
            Err(FetchErrorKind::NoConfigMap { name: name.to_owned(), namespace })
        }
        Err(error) => Err(FetchErrorKind::ConfigMap { name: name.to_owned(), error: error.into() }),
    }
}

/// Returns the entry with a key.
pub(super) fn entry<'a>(map: &'a ConfigMap, key: &str) -> Result<&'a [u8], FetchErrorKind> {
    find(map, key).ok_or_else(|| {
        let binary = map.binary_data.iter().flat_map(|entries| entries.keys());
        let text = map.data.iter().flat_map(|entries| entries.keys());
        let there: Vec<_> = binary.chain(text).map(String::as_str).collect();
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        FetchErrorKind::NoKey { key: key.to_owned(), there }
    })
}

/// Returns the key `KEY.EXTENSION` and the signature in it; `None` if the key does not exist.
pub(super) fn beside(map: &ConfigMap, key: &str, extension: &str) -> (String, Option<Vec<u8>>) {
    let key = format!("{key}.{extension}");
    let found = find(map, &key).map(ToOwned::to_owned);
    (key, found)
}

/// `kubectl create configmap --from-file` stores UTF-8 in `data` and other content in `binaryData`.
fn find<'a>(map: &'a ConfigMap, key: &str) -> Option<&'a [u8]> {
    let binary = map.binary_data.as_ref().and_then(|entries| Some(entries.get(key)?.0.as_slice()));
    binary.or_else(|| Some(map.data.as_ref()?.get(key)?.as_bytes()))
}
