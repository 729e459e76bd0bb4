//! [`KeptConfigMaps`]: the injector ConfigMaps in memory, within bounds.
//!
//! A writer of ConfigMaps must not be able to fill the memory of the process. The first ConfigMaps
//! by name are kept, until one of the bounds is reached. Of the other ConfigMaps, only names and
//! uids are kept.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::ResourceExt;

use ampoule_cluster::{events::ConfigMapReference, follow::ObjectChange};

/// Maximum number of ConfigMaps in memory.
pub(crate) const MOST_MAPS: usize = 64;
/// Maximum size of all ConfigMaps in memory. An API server accepts 1 MiB for each.
pub(crate) const MOST_BYTES: usize = 64 << 20;
/// Maximum number of ConfigMaps above the bounds whose names are known.
const MOST_NAMED: usize = 64;

/// The annotation of a ConfigMap above the bounds, between a list and its use. Annotations of the
/// API server are removed before.
const DROPPED: &str = "ampoule.dev/dropped";

/// ConfigMaps by name.
pub type ConfigMapsByName = BTreeMap<String, Arc<ConfigMap>>;

/// ConfigMaps within the bounds, and the names of those above.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptConfigMaps {
    pub(crate) maps: ConfigMapsByName,
    /// The uids of ConfigMaps above the bounds, by name.
    dropped: BTreeMap<String, String>,
}

// === impl KeptConfigMaps ===

impl KeptConfigMaps {
    /// Creates it from a list that [`trim`] has reduced.
    pub(crate) fn listed(mut listed: Vec<ConfigMap>) -> Self {
        trim(&mut listed);
        let mut kept = Self::default();
        for map in listed {
            match is_dropped(&map) {
                true => drop(kept.dropped.insert(map.name_any(), map.uid().unwrap_or_default())),
                false => drop(kept.maps.insert(map.name_any(), Arc::new(map))),
            }
        }
        kept
    }

    /// The ConfigMaps above the bounds. At most 64 are known.
    pub(crate) fn dropped(&self) -> impl Iterator<Item = ConfigMapReference> {
        self.dropped.iter().map(|(name, uid)| ConfigMapReference { name: name.clone(), uid: uid.clone() })
    }

    /// Applies a change. Returns whether the content changed, and breaks if ConfigMaps above the
    /// bounds may be within them now: their content must be listed again.
    pub(crate) fn apply(&mut self, change: ObjectChange<ConfigMap>) -> (bool, ControlFlow<()>) {
        let (changed, may_fit) = match change {
            ObjectChange::Listed(listed) => (self.replace(Self::listed(listed)), false),
            ObjectChange::Applied(map) => self.insert(map),
            ObjectChange::Deleted(map) => self.remove(&map.name_any()),
        };
        let list_again = may_fit && !self.dropped.is_empty();
        (changed, if list_again { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Returns whether a ConfigMap was removed, and whether other ConfigMaps may take its place.
    fn remove(&mut self, name: &str) -> (bool, bool) {
        // At the maximum, there may be names that are not known.
        let may_be_more = self.dropped.len() >= MOST_NAMED;
        if self.dropped.remove(name).is_some() {
            return (true, may_be_more);
        }
        let was_kept = self.maps.remove(name).is_some();
        (was_kept, was_kept)
    }

    fn replace(&mut self, listed: Self) -> bool {
        let is_same = self.dropped == listed.dropped
            && self.maps.len() == listed.maps.len()
            && self
                .maps
                .iter()
                .zip(&listed.maps)
                .all(|((a, before), (b, now))| a == b && has_same_content(before, now));
        *self = listed;
        !is_same
    }

    /// Returns whether the content changed, and whether the ConfigMaps take less memory now.
    fn insert(&mut self, mut map: ConfigMap) -> (bool, bool) {
        slim(&mut map);
        let name = map.name_any();
        let first = self.dropped.keys().next();
        let is_first = first == Some(&name);
        let fits = self.maps.len() < MOST_MAPS && self.bytes() + size(&map) <= MOST_BYTES;
        // The names after the first dropped one are above the bounds as well.
        if first.is_some_and(|first| *first <= name) && !(is_first && fits) {
            let is_new = self.dropped.insert(name, map.uid().unwrap_or_default()) != map.uid();
            self.forget_names();
            return (is_new, false);
        }
        self.dropped.remove(&name);
        let map = Arc::new(map);
        let before = self.maps.insert(name, Arc::clone(&map));
        let shrinks = before.as_ref().is_some_and(|before| size(before) > size(&map));
        self.drop_excess();
        (before.is_none_or(|before| !has_same_content(&before, &map)), shrinks || is_first)
    }

    fn bytes(&self) -> usize {
        self.maps.values().map(|map| size(map)).sum()
    }

    fn drop_excess(&mut self) {
        while self.maps.len() > MOST_MAPS || self.bytes() > MOST_BYTES {
            let Some((name, map)) = self.maps.pop_last() else { return };
            self.dropped.insert(name, map.uid().unwrap_or_default());
        }
        self.forget_names();
    }

    fn forget_names(&mut self) {
        while self.dropped.len() > MOST_NAMED {
            self.dropped.pop_last();
        }
    }
}

/// Reduces listed ConfigMaps to what is kept: those above the bounds lose their content.
pub(crate) fn trim(listed: &mut Vec<ConfigMap>) {
    listed.sort_by_cached_key(ResourceExt::name_any);
    let mut bytes = 0;
    let mut is_above = false;
    for (position, map) in listed.iter_mut().enumerate() {
        is_above |= is_dropped_before(map);
        slim(map);
        bytes += size(map);
        is_above |= position >= MOST_MAPS || bytes > MOST_BYTES;
        if is_above {
            map.data = None;
            map.binary_data = None;
            map.annotations_mut().insert(DROPPED.to_owned(), String::new());
        }
    }
    listed.truncate(MOST_MAPS + MOST_NAMED);
}

/// Removes what no injector depends on: annotations, labels and managed fields.
fn slim(map: &mut ConfigMap) {
    let ObjectMeta { name, uid, resource_version, .. } = std::mem::take(&mut map.metadata);
    map.metadata = ObjectMeta { name, uid, resource_version, ..ObjectMeta::default() };
}

fn is_dropped(map: &ConfigMap) -> bool {
    map.annotations().contains_key(DROPPED)
}

/// Whether an earlier page removed the content. A ConfigMap of the API server has a creation
/// timestamp, which [`slim`] removes; its annotation does not count.
fn is_dropped_before(map: &ConfigMap) -> bool {
    map.metadata.creation_timestamp.is_none() && is_dropped(map)
}

/// The size of a ConfigMap in memory, in bytes.
fn size(map: &ConfigMap) -> usize {
    let text = map.data.iter().flatten().map(|(key, value)| key.len() + value.len());
    let binary = map.binary_data.iter().flatten().map(|(key, value)| key.len() + value.0.len());
    text.chain(binary).sum()
}

/// Plugins do not depend on annotations and managed fields. Events refer to an object by its uid.
pub(crate) fn has_same_content(one: &ConfigMap, other: &ConfigMap) -> bool {
    one.data == other.data && one.binary_data == other.binary_data && one.metadata.uid == other.metadata.uid
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use serde_json::json;

    use super::*;

    const MIB: usize = 1 << 20;

    fn map(name: &str, bytes: usize) -> ConfigMap {
        let metadata = ObjectMeta { name: Some(name.to_owned()), uid: Some("u".to_owned()), ..ObjectMeta::default() };
        let data = [("x".to_owned(), ByteString(vec![0; bytes.saturating_sub(1)]))].into();
        ConfigMap { metadata, binary_data: Some(data), ..ConfigMap::default() }
    }

    /// The first and the last name that are kept, their number, and the number of dropped names.
    fn summary(kept: &KeptConfigMaps) -> (Option<&str>, Option<&str>, usize, usize) {
        let first = kept.maps.keys().next().map(String::as_str);
        (first, kept.maps.keys().next_back().map(String::as_str), kept.maps.len(), kept.dropped.len())
    }

    #[test]
    fn a_list_keeps_the_first_config_maps_by_name_within_count_and_bytes() {
        let names = |count: usize, bytes: usize| (0..count).map(|i| map(&format!("m{i:03}"), bytes)).collect();
        for (what, maps, expected) in [
            ("few", names(3, MIB), (Some("m000"), Some("m002"), 3, 0)),
            ("as many as possible", names(64, MIB), (Some("m000"), Some("m063"), 64, 0)),
            ("too many", names(70, 1), (Some("m000"), Some("m063"), 64, 6)),
            ("too large together", names(70, 2 * MIB), (Some("m000"), Some("m031"), 32, 38)),
            ("300 of 1 MiB", names(300, MIB), (Some("m000"), Some("m063"), 64, 64)),
        ] {
            let maps: Vec<_> = maps;
            // The pages of a list are reduced one after the other.
            let mut listed = Vec::new();
            for page in maps.chunks(8) {
                listed.extend(page.to_vec());
                trim(&mut listed);
                assert!(listed.iter().map(size).sum::<usize>() <= MOST_BYTES, "{what}");
            }
            assert_eq!(summary(&KeptConfigMaps::listed(listed)), expected, "{what}");
        }
    }

    #[test]
    fn events_obey_the_same_bounds_as_a_list() {
        let listed = (0..64).map(|i| map(&format!("m{i:03}"), MIB)).collect();
        let mut kept = KeptConfigMaps::listed(listed);
        let (go, list) = (ControlFlow::Continue(()), ControlFlow::Break(()));
        for (what, change, changed, flow, expected) in [
            ("later by name", ObjectChange::Applied(map("z", 1)), true, go, (Some("m000"), Some("m063"), 64, 1)),
            ("the same again", ObjectChange::Applied(map("z", 1)), false, go, (Some("m000"), Some("m063"), 64, 1)),
            ("earlier by name", ObjectChange::Applied(map("a", 1)), true, go, (Some("a"), Some("m062"), 64, 2)),
            ("larger", ObjectChange::Applied(map("a", 3 * MIB)), true, go, (Some("a"), Some("m060"), 62, 4)),
            ("smaller", ObjectChange::Applied(map("a", 1)), true, list, (Some("a"), Some("m060"), 62, 4)),
            (
                "a dropped one that fits",
                ObjectChange::Applied(map("m061", 1)),
                true,
                list,
                (Some("a"), Some("m061"), 63, 3),
            ),
            (
                "a dropped one is deleted",
                ObjectChange::Deleted(map("z", 1)),
                true,
                go,
                (Some("a"), Some("m061"), 63, 2),
            ),
            (
                "a kept one is deleted",
                ObjectChange::Deleted(map("a", 1)),
                true,
                list,
                (Some("m000"), Some("m061"), 62, 2),
            ),
        ] {
            assert_eq!(kept.apply(change), (changed, flow), "{what}");
            assert_eq!(summary(&kept), expected, "{what}");
        }
    }

    #[test]
    fn managed_fields_and_annotations_are_not_kept() {
        let mut one = map("a", 5);
        one.annotations_mut().insert("note".to_owned(), "x".to_owned());
        one.annotations_mut().insert(DROPPED.to_owned(), "by a writer".to_owned());
        one.metadata.creation_timestamp = serde_json::from_str("\"2026-01-01T00:00:00Z\"").unwrap();
        one.metadata.managed_fields = Some(vec![Default::default()]);
        let kept = KeptConfigMaps::listed(vec![one]);
        assert_eq!(kept.maps["a"].metadata, map("a", 5).metadata);
    }

    #[test]
    fn only_changes_to_the_content_are_reported() {
        let mut kept = KeptConfigMaps::default();
        let map = |uid: &str, text: &str, binary: &str, note: &str| -> ConfigMap {
            let metadata = json!({ "name": "a", "uid": uid, "resourceVersion": note, "annotations": { "note": note } });
            let map = json!({ "metadata": metadata, "data": { "x": text }, "binaryData": { "y": binary } });
            serde_json::from_value(map).unwrap()
        };
        for (what, map, expected) in [
            ("a new one", map("1", "t", "AA==", ""), true),
            ("the same", map("1", "t", "AA==", ""), false),
            ("another annotation", map("1", "t", "AA==", "n"), false),
            ("another text", map("1", "u", "AA==", "n"), true),
            ("other bytes", map("1", "u", "AQ==", "n"), true),
            ("another of that name", map("2", "u", "AQ==", "n"), true),
        ] {
            // Once as a list, once as an event of a watch.
            let mut other = kept.clone();
            assert_eq!(other.apply(ObjectChange::Listed(vec![map.clone()])).0, expected, "{what}");
            assert_eq!(kept.apply(ObjectChange::Applied(map)).0, expected, "{what}");
        }
        assert!(kept.apply(ObjectChange::Listed(Vec::new())).0, "the ConfigMap was removed");
    }
}
