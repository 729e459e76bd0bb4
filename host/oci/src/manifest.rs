//! An OCI image manifest, as far as it matters here: which layer is the component.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/manifest.md>

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{COMPONENT, OciError};
use ampoule_config::is_digest;

/// What a registry has to take for one (OCI distribution, "Pushing Manifests").
pub(super) const LARGEST: usize = 4 << 20;

/// A manifest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) schema_version: u32,
    #[serde(default)]
    pub(super) media_type: String,
    /// An index has none.
    pub(super) config: Option<Descriptor>,
    #[serde(default)]
    pub(super) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

/// What is said of a blob.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: String,
    /// Bytes, as the manifest says.
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

// === impl Manifest ===

impl Manifest {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, OciError> {
        let parsed = serde_json::from_slice::<Self>(bytes);
        let manifest = parsed.map_err(|error| OciError::Manifest(format!("is not readable: {error}")))?;
        if manifest.config.is_none() {
            let reason = "is an index of several, or none of OCI's; name one for a component by its digest";
            return Err(OciError::Manifest(reason.to_owned()));
        }
        if let Some(layer) = manifest.layers.iter().find(|layer| !is_digest(&layer.digest)) {
            return Err(OciError::Manifest(format!(
                "has a layer with the digest {:?}, which is no sha256",
                layer.digest
            )));
        }
        Ok(manifest)
    }

    /// The one layer that is a component.
    pub(super) fn component(&self) -> Result<&Descriptor, OciError> {
        let mut components = self.layers.iter().filter(|layer| layer.media_type == COMPONENT);
        match (components.next(), components.next()) {
            (Some(component), None) => Ok(component),
            _ => Err(OciError::Layers { found: self.found() }),
        }
    }

    fn found(&self) -> String {
        const SHOWN: usize = 4;
        let kinds: Vec<_> = self.layers.iter().take(SHOWN).map(|layer| layer.media_type.as_str()).collect();
        match self.layers.len() {
            0 => "no layers".to_owned(),
            1..=SHOWN => format!("the layers {}", kinds.join(", ")),
            count => format!("the layers {} and {} more", kinds.join(", "), count - SHOWN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b";

    fn of_layers(kinds: &[&str]) -> String {
        let layer = |kind: &&str| format!(r#"{{"mediaType":"{kind}","digest":"{DIGEST}","size":7}}"#);
        let layers: Vec<_> = kinds.iter().map(layer).collect();
        let config = format!(r#"{{"mediaType":"application/json","digest":"{DIGEST}","size":2}}"#);
        format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{}]}}"#, layers.join(","))
    }

    #[test]
    fn finds_the_component_among_the_layers() {
        for kinds in [&["application/wasm"][..], &["text/plain", "application/wasm"]] {
            let manifest = Manifest::parse(of_layers(kinds).as_bytes()).unwrap();
            assert_eq!(manifest.component().unwrap().size, 7);
        }
    }

    #[test]
    fn refuses_what_holds_no_component_or_several() {
        let tar = "application/vnd.oci.image.layer.v1.tar";
        for (kinds, found) in [
            (vec![], "no layers".to_owned()),
            (vec![tar], format!("the layers {tar}")),
            (vec!["application/wasm"; 2], "the layers application/wasm, application/wasm".to_owned()),
            (vec!["a"; 6], "the layers a, a, a, a and 2 more".to_owned()),
        ] {
            let error = Manifest::parse(of_layers(&kinds).as_bytes()).unwrap().component().unwrap_err();
            let expected = format!("the manifest has {found}, and one layer of application/wasm is needed");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn refuses_what_is_no_manifest() {
        let index = r#"{"schemaVersion":2,"manifests":[]}"#.to_owned();
        let other = of_layers(&["application/wasm"]).replace("sha256:", "sha512:");
        for (text, expected) in [
            (
                index,
                "the manifest is an index of several, or none of OCI's; name one for a component by its digest"
                    .to_owned(),
            ),
            (
                other.clone(),
                format!(
                    "the manifest has a layer with the digest {:?}, which is no sha256",
                    DIGEST.replace("sha256", "sha512")
                ),
            ),
            ("<html>".to_owned(), "the manifest is not readable: expected value at line 1 column 1".to_owned()),
        ] {
            assert_eq!(Manifest::parse(text.as_bytes()).unwrap_err().to_string(), expected);
        }
    }
}
