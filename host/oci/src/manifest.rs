//! OCI image manifests: [`Manifest::parse`], and the layer that is the component. An index of
//! manifests is read by `Document::parse`, and its only component is chosen.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/manifest.md>

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    error::OciError,
    media_type::{COMPONENT, CONFIG},
};
use ampoule_config::is_digest;

/// Limit in bytes for a manifest that every registry accepts (OCI distribution, "Pushing
/// Manifests").
pub(crate) const LARGEST: usize = 4 << 20;

/// What a tag or a digest names.
#[derive(Debug)]
pub(crate) enum Document {
    /// The manifest of one image.
    Manifest(Manifest),
    /// An index of manifests.
    Index(Index),
}

/// An index of manifests, such as those of one image for several platforms.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    manifests: Vec<IndexEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IndexEntry {
    digest: String,
    #[serde(default, deserialize_with = "null_as_default")]
    artifact_type: String,
    platform: Option<Platform>,
}

#[derive(Debug, Deserialize)]
struct Platform {
    #[serde(default, deserialize_with = "null_as_default")]
    os: String,
    #[serde(default, deserialize_with = "null_as_default")]
    architecture: String,
}

/// An image manifest; fields that Ampoule does not need are ignored. Some pushers write `null` for
/// an absent field.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The version of the format, which is 2.
    pub schema_version: u32,
    /// The media type of the manifest itself; may be empty.
    #[serde(default, deserialize_with = "null_as_default")]
    pub media_type: String,
    /// The configuration document. An image index has none.
    pub config: Option<Descriptor>,
    /// The layers, each with a SHA-256 digest.
    #[serde(default, deserialize_with = "null_as_default")]
    pub layers: Vec<Descriptor>,
    /// The annotations of the manifest.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A reference to a blob.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type of the blob; empty if the manifest does not name it.
    #[serde(default, deserialize_with = "null_as_default")]
    pub media_type: String,
    /// The digest of the blob.
    pub digest: String,
    /// The size in bytes that the manifest claims.
    pub size: u64,
    /// The annotations of the blob.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Reads `null` as an absent field.
fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

// === impl Document ===

impl Document {
    /// Parses what a registry returns for a tag or a digest.
    ///
    /// # Errors
    ///
    /// If it is neither a manifest nor an index.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, OciError> {
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| unreadable(&error))?;
        if value["config"].is_null() && value["manifests"].is_array() {
            return serde_json::from_value(value).map(Self::Index).map_err(|error| unreadable(&error));
        }
        Manifest::parse(bytes).map(Self::Manifest)
    }
}

// === impl Index ===

impl Index {
    /// Returns the digest of the only manifest that can be a component: the one whose type or
    /// platform is WebAssembly, or else the only one.
    ///
    /// # Errors
    ///
    /// If there are several, or none.
    pub(crate) fn component(&self) -> Result<&str, OciError> {
        let named: Vec<_> = self.manifests.iter().filter(|entry| entry.is_wasm()).collect();
        let entry = match (&named[..], &self.manifests[..]) {
            ([entry], _) => *entry,
            ([], [entry]) => entry,
            _ => return Err(OciError::Manifest(self.describe())),
        };
        if !is_digest(&entry.digest) {
            let digest = shorten(&entry.digest);
            return Err(OciError::Manifest(format!("is an index with the digest {digest:?}, which is not SHA-256")));
        }
        Ok(&entry.digest)
    }

    fn describe(&self) -> String {
        const SHOWN: usize = 8;
        if self.manifests.is_empty() {
            return "is an index without manifests".to_owned();
        }
        let shown: Vec<_> = self.manifests.iter().take(SHOWN).map(IndexEntry::describe).collect();
        let more = self.manifests.len().saturating_sub(SHOWN);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        format!(
            "is an index of several manifests, and not exactly one is for WebAssembly; name one by its digest \
             (@sha256:…): {}{more}",
            shown.join(", ")
        )
    }
}

// === impl IndexEntry ===

impl IndexEntry {
    fn is_wasm(&self) -> bool {
        let is_platform = |platform: &Platform| platform.architecture == "wasm" || platform.os.starts_with("wasi");
        self.artifact_type == CONFIG
            || self.artifact_type == COMPONENT
            || self.platform.as_ref().is_some_and(is_platform)
    }

    fn describe(&self) -> String {
        let digest = shorten(&self.digest);
        match &self.platform {
            Some(platform) => format!("{digest} ({}/{})", shorten(&platform.os), shorten(&platform.architecture)),
            None => digest,
        }
    }
}

// === impl Manifest ===

impl Manifest {
    /// Parses a manifest.
    ///
    /// # Errors
    ///
    /// If it is not the manifest of one image, or if a layer has no SHA-256 digest.
    pub fn parse(bytes: &[u8]) -> Result<Self, OciError> {
        let manifest = serde_json::from_slice::<Self>(bytes).map_err(|error| unreadable(&error))?;
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

fn unreadable(error: &serde_json::Error) -> OciError {
    OciError::Manifest(format!("is not readable: {}", shorten(&error.to_string())))
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
    fn null_is_an_absent_field() {
        let layer = format!(r#"{{"mediaType":"application/wasm","digest":"{DIGEST}","size":7,"annotations":null}}"#);
        let config = format!(r#"{{"mediaType":null,"digest":"{DIGEST}","size":2,"data":null}}"#);
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":null,"config":{config},"layers":[{layer}],"annotations":null,"subject":null}}"#
        );
        assert_eq!(Manifest::parse(text.as_bytes()).unwrap().component().unwrap().size, 7);
        let text = format!(r#"{{"schemaVersion":2,"config":{config},"layers":null}}"#);
        assert!(Manifest::parse(text.as_bytes()).unwrap().layers.is_empty());
    }

    #[test]
    fn the_only_component_of_an_index_is_chosen_and_others_are_listed() {
        let other = DIGEST.replace("6c3c", "0000");
        let entry = |digest: &str, rest: &str| format!(r#"{{"mediaType":"x","digest":"{digest}","size":1{rest}}}"#);
        let linux = entry(&other, r#","platform":{"os":"linux","architecture":"amd64"}"#);
        let wasm = entry(DIGEST, r#","platform":{"os":"wasip2","architecture":"wasm"}"#);
        let artifact = entry(DIGEST, r#","artifactType":"application/vnd.wasm.config.v0+json","platform":null"#);
        let several = format!(
            "the manifest is an index of several manifests, and not exactly one is for WebAssembly; name one by its \
             digest (@sha256:…): {other} (linux/amd64), {other} (linux/amd64)"
        );
        for (what, entries, expected) in [
            ("a platform", vec![&linux, &wasm], Ok(DIGEST)),
            ("a type", vec![&artifact, &linux], Ok(DIGEST)),
            ("the only one", vec![&linux], Ok(other.as_str())),
            ("two of the same", vec![&linux, &linux], Err(several.as_str())),
            ("none", vec![], Err("the manifest is an index without manifests")),
        ] {
            let entries: Vec<_> = entries.into_iter().map(String::as_str).collect();
            let text = format!(r#"{{"schemaVersion":2,"config":null,"manifests":[{}]}}"#, entries.join(","));
            let Ok(Document::Index(index)) = Document::parse(text.as_bytes()) else { panic!("{what}") };
            let found = index.component().map_err(|error| error.to_string());
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{what}");
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
