//! A component in a ConfigMap of the process' own namespace, and the signature in the key beside it.
//!
//! A ConfigMap holds a mebibyte, so nothing here needs a limit of its own.

use k8s_openapi::api::core::v1::ConfigMap;

use super::error::FetchErrorKind;
use ampoule_cluster::Cluster;

/// Reads a ConfigMap.
pub(super) async fn get(cluster: &Cluster, name: &str) -> Result<ConfigMap, FetchErrorKind> {
    let found = cluster.namespaced::<ConfigMap>().get_opt(name).await;
    let found = found.map_err(|error| FetchErrorKind::ConfigMap { name: name.to_owned(), error: error.into() })?;
    let namespace = cluster.namespace().to_owned();
    found.ok_or_else(|| FetchErrorKind::NoConfigMap { name: name.to_owned(), namespace })
}

/// What stands under a key.
pub(super) fn entry<'a>(map: &'a ConfigMap, key: &str) -> Result<&'a [u8], FetchErrorKind> {
    find(map, key).ok_or_else(|| {
        let binary = map.binary_data.iter().flat_map(|entries| entries.keys());
        let text = map.data.iter().flat_map(|entries| entries.keys());
        let there: Vec<_> = binary.chain(text).map(String::as_str).collect();
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        FetchErrorKind::NoKey { key: key.to_owned(), there }
    })
}

/// The signature under `KEY.KIND`, with that key; none if there is no such key.
pub(super) fn beside(map: &ConfigMap, key: &str, kind: &str) -> Result<(String, Option<Vec<u8>>), FetchErrorKind> {
    let key = format!("{key}.{kind}");
    let found = find(map, &key).map(ToOwned::to_owned);
    Ok((key, found))
}

/// `kubectl create configmap --from-file` puts what happens to be UTF-8 into `data`, all else into `binaryData`.
fn find<'a>(map: &'a ConfigMap, key: &str) -> Option<&'a [u8]> {
    let binary = map.binary_data.as_ref().and_then(|entries| Some(entries.get(key)?.0.as_slice()));
    binary.or_else(|| Some(map.data.as_ref()?.get(key)?.as_bytes()))
}
