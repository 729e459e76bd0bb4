//! Pushing a component, in the CNCF's layout: a manifest, a document that describes the component, and the component as it is.
//!
//! The same component gives the same digest, whenever and by whomever it is pushed.

use std::collections::BTreeMap;

use hyper::body::Bytes;
use serde_json::json;

use super::{
    COMPONENT, CONFIG, MANIFEST, OciError, Registry, digest_of, in_time,
    manifest::{Descriptor, Manifest},
    repository::Repository,
};
use ampoule_config::OciReference;

/// The layout wants a time, and another time would be another digest.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// The component's description, for the manifest and its configuration document.
#[derive(Clone, Copy, Debug)]
pub struct ComponentDescription<'a> {
    /// The plugin's own name.
    pub name: &'a str,
    /// The plugin's own version.
    pub version: &'a str,
    /// The interfaces that it imports.
    pub imports: &'a [String],
    /// The interfaces that it exports.
    pub exports: &'a [String],
}

impl Registry {
    /// Pushes a component under the reference's tag, and gives the manifest's digest.
    pub async fn push(
        &self,
        reference: &OciReference,
        tag: &str,
        component: Bytes,
        description: ComponentDescription<'_>,
    ) -> Result<String, OciError> {
        in_time(reference, async {
            let mut repository = Repository::new(self, reference, "pull,push");
            let layer = descriptor(COMPONENT, &component);
            let config = Bytes::from(config(description, &layer).to_string());
            let config_descriptor = descriptor(CONFIG, &config);
            repository.put_blob(&layer.digest, component).await?;
            repository.put_blob(&config_descriptor.digest, config).await?;
            let manifest = Manifest {
                schema_version: 2,
                media_type: MANIFEST.to_owned(),
                config: Some(config_descriptor),
                layers: vec![layer],
                annotations: annotations(description),
            };
            let manifest = serde_json::to_vec(&manifest).expect("a manifest is JSON");
            let digest = digest_of(&manifest);
            repository.put_manifest(tag, manifest.into()).await?;
            Ok(digest)
        })
        .await
    }
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: digest_of(bytes),
        size: bytes.len() as u64,
        annotations: BTreeMap::new(),
    }
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

/// What the plugin says of itself, under the names of OCI's image specification.
fn annotations(description: ComponentDescription<'_>) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("org.opencontainers.image.title".to_owned(), description.name.to_owned()),
        ("org.opencontainers.image.version".to_owned(), description.version.to_owned()),
    ])
}
