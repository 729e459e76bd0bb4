//! OCI image manifests: [`Manifest::parse`], and the layer that is the component.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/manifest.md>

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{error::OciError, media_type::COMPONENT};
use ampoule_config::is_digest;

/// Limit in bytes for a manifest that every registry accepts (OCI distribution, "Pushing
/// Manifests").
pub(crate) const LARGEST: usize = 4 << 20;

/// An image manifest; fields that Ampoule does not need are ignored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The version of the format, which is 2.
    pub schema_version: u32,
    /// The media type of the manifest itself; may be empty.
    #[serde(default)]
    pub media_type: String,
    /// The configuration document. An image index has none.
    pub config: Option<Descriptor>,
    /// The layers, each with a SHA-256 digest.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    /// The annotations of the manifest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A reference to a blob.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type of the blob.
    pub media_type: String,
    /// The digest of the blob.
    pub digest: String,
    /// The size in bytes that the manifest claims.
    pub size: u64,
    /// The annotations of the blob.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

// === impl Manifest ===

impl Manifest {
    /// Parses a manifest.
    ///
    /// # Errors
    ///
    /// If it is not the manifest of one image, or if a layer has no SHA-256 digest.
    pub fn parse(bytes: &[u8]) -> Result<Self, OciError> {
        let parsed = serde_json::from_slice::<Self>(bytes);
        let manifest =
            parsed.map_err(|error| OciError::Manifest(format!("is not readable: {}", shorten(&error.to_string()))))?;
        if manifest.config.is_none() {
            let reason = "is an image index or no OCI manifest; reference the manifest of one component by its digest";
            return Err(OciError::Manifest(reason.to_owned()));
        }
        if let Some(layer) = manifest.layers.iter().find(|layer| !is_digest(&layer.digest)) {
            return Err(OciError::Manifest(format!(
                "has a layer with the digest {:?}, which is not SHA-256",
                shorten(&layer.digest)
            )));
        }
        Ok(manifest)
    }

    /// Returns the only layer that is a component.
    ///
    /// # Errors
    ///
    /// If there is no such layer, or more than one.
    pub fn component(&self) -> Result<&Descriptor, OciError> {
        let mut components = self.layers.iter().filter(|layer| layer.media_type == COMPONENT);
        match (components.next(), components.next()) {
            (Some(component), None) => Ok(component),
            _ => Err(OciError::Layers { found: self.found() }),
        }
    }

    fn found(&self) -> String {
        const SHOWN: usize = 4;
        let shown = self.layers.iter().take(SHOWN).map(|layer| shorten(&layer.media_type));
        let kinds: Vec<_> = shown.collect();
        match self.layers.len() {
            0 => "no layers".to_owned(),
            1..=SHOWN => format!("the layers {}", kinds.join(", ")),
            count => format!("the layers {} and {} more", kinds.join(", "), count - SHOWN),
        }
    }
}

/// Shortens a text of the registry for a message, and removes control characters.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 100;
    text.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b";

    fn manifest_with_layers(kinds: &[&str]) -> String {
        let layer = |kind: &&str| format!(r#"{{"mediaType":"{kind}","digest":"{DIGEST}","size":7}}"#);
        let layers: Vec<_> = kinds.iter().map(layer).collect();
        let config = format!(r#"{{"mediaType":"application/json","digest":"{DIGEST}","size":2}}"#);
        format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{}]}}"#, layers.join(","))
    }

    #[test]
    fn finds_the_component_among_the_layers() {
        for kinds in [&["application/wasm"][..], &["text/plain", "application/wasm"]] {
            let manifest = Manifest::parse(manifest_with_layers(kinds).as_bytes()).unwrap();
            assert_eq!(manifest.component().unwrap().size, 7);
        }
    }

    #[test]
    fn refuses_manifests_with_no_component_or_several() {
        let tar = "application/vnd.oci.image.layer.v1.tar";
        for (kinds, found) in [
            (vec![], "no layers".to_owned()),
            (vec![tar], format!("the layers {tar}")),
            (vec!["application/wasm"; 2], "the layers application/wasm, application/wasm".to_owned()),
            (vec!["a"; 6], "the layers a, a, a, a and 2 more".to_owned()),
        ] {
            let error = Manifest::parse(manifest_with_layers(&kinds).as_bytes()).unwrap().component().unwrap_err();
            let expected =
                format!("the manifest has {found}, but exactly one layer of type application/wasm is required");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn refuses_other_documents() {
        let index = r#"{"schemaVersion":2,"manifests":[]}"#.to_owned();
        let other = manifest_with_layers(&["application/wasm"]).replace("sha256:", "sha512:");
        for (text, expected) in [
            (
                index,
                "the manifest is an image index or no OCI manifest; reference the manifest of one component by its digest"
                    .to_owned(),
            ),
            (
                other.clone(),
                format!(
                    "the manifest has a layer with the digest {:?}, which is not SHA-256",
                    DIGEST.replace("sha256", "sha512")
                ),
            ),
            (
                other.replace("sha512:", &format!("\\n{}", "x".repeat(1000))),
                format!("the manifest has a layer with the digest {:?}, which is not SHA-256", "x".repeat(100)),
            ),
            ("<html>".to_owned(), "the manifest is not readable: expected value at line 1 column 1".to_owned()),
        ] {
            assert_eq!(Manifest::parse(text.as_bytes()).unwrap_err().to_string(), expected);
        }
    }
}
