//! Pushes a component in the CNCF's layout: a manifest, a document that describes the component,
//! and the component.
//!
//! The same component always has the same digest, independent of time and user.

use std::collections::BTreeMap;

use hyper::body::Bytes;
use serde_json::json;

use crate::{
    digest::{blob_digest, sha256_digest},
    error::OciError,
    manifest::{Descriptor, Manifest},
    media_type::{COMPONENT, CONFIG, MANIFEST},
    registry::{Registry, with_deadline},
};
use ampoule_config::OciReference;

/// The layout requires a creation time. A real one would change the digest with every push.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// The description of a component, for the manifest and its configuration document.
#[derive(Clone, Copy, Debug)]
pub struct ComponentDescription<'a> {
    /// The name that the plugin reports.
    pub name: &'a str,
    /// The version that the plugin reports.
    pub version: &'a str,
    /// The interfaces that it imports.
    pub imports: &'a [String],
    /// The interfaces that it exports.
    pub exports: &'a [String],
}

impl Registry {
    /// Pushes a component under a tag in the reference's repository, and returns the digest of its
    /// manifest.
    ///
    /// # Errors
    ///
    /// If the registry does not accept it.
    pub async fn push(
        &self,
        reference: &OciReference,
        tag: &str,
        component: Bytes,
        description: ComponentDescription<'_>,
    ) -> Result<String, OciError> {
        with_deadline(reference, self.push_component(reference, tag, component, description)).await
    }

    async fn push_component(
        &self,
        reference: &OciReference,
        tag: &str,
        component: Bytes,
        description: ComponentDescription<'_>,
    ) -> Result<String, OciError> {
        let mut repository = self.repository(reference, "pull,push");
        let digest = blob_digest(component.clone()).await;
        let layer = descriptor(COMPONENT, digest, component.len());
        let config = Bytes::from(config(description, &layer).to_string());
        let config_descriptor = descriptor(CONFIG, sha256_digest(&config), config.len());
        repository.put_blob(&layer.digest, component).await?;
        repository.put_blob(&config_descriptor.digest, config).await?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST.to_owned(),
            config: Some(config_descriptor),
            layers: vec![layer],
            annotations: annotations(description),
        };
        let manifest = serde_json::to_vec(&manifest).expect("a manifest is valid JSON");
        let digest = sha256_digest(&manifest);
        repository.put_manifest(tag, manifest.into()).await?;
        Ok(digest)
    }
}

fn descriptor(media_type: &str, digest: String, size: usize) -> Descriptor {
    Descriptor { media_type: media_type.to_owned(), digest, size: size as u64, annotations: BTreeMap::new() }
}

fn config(description: ComponentDescription<'_>, layer: &Descriptor) -> serde_json::Value {
    json!({
        "created": CREATED,
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [layer.digest],
        "component": { "exports": description.exports, "imports": description.imports, "target": null },
    })
}

/// Name and version that the plugin reports, under the keys of OCI's image specification.
fn annotations(description: ComponentDescription<'_>) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("org.opencontainers.image.title".to_owned(), description.name.to_owned()),
        ("org.opencontainers.image.version".to_owned(), description.version.to_owned()),
    ])
}
