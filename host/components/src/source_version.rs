//! [`SourceVersion`]: what the watches know about the source of an injector.
//!
//! A load that is superseded keeps the fetch of an injector if the version of its source is the
//! same.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;

use crate::kept_config_maps::has_same_content;

/// The version of an injector's source. Between equal versions, a fetch returns the same component.
#[derive(Clone, Debug, Default)]
pub struct SourceVersion {
    /// The digest of each file, or the error of reading it.
    pub(crate) files: Vec<Option<Result<String, String>>>,
    /// The ConfigMap with the component, if it is labelled.
    pub(crate) map: Option<Arc<ConfigMap>>,
    /// The resourceVersion of the ConfigMap that the configuration names.
    pub(crate) named_map: Option<String>,
    /// The digest of the manifest that the tag names.
    pub(crate) tag: Option<String>,
}

impl PartialEq for SourceVersion {
    fn eq(&self, other: &Self) -> bool {
        let is_same_map = match (&self.map, &other.map) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other) || has_same_content(one, other),
            (Some(_), None) | (None, Some(_)) => false,
        };
        is_same_map && self.files == other.files && self.named_map == other.named_map && self.tag == other.tag
    }
}
