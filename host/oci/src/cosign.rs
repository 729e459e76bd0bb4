//! Signatures in cosign's format: [`CosignSignature`].
//!
//! cosign does not sign a manifest, but a document that names the manifest's digest:
//! <https://github.com/containers/image/blob/main/docs/containers-signature.5.md>.

use serde::Deserialize;

/// The type of the documents that cosign signs.
const COSIGN_TYPE: &str = "cosign container image signature";
/// Characters of the document that a message repeats at most.
const SHOWN: usize = 100;

/// A document, and a signature of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosignSignature {
    /// The signed document.
    pub payload: Vec<u8>,
    /// The signature in base64.
    pub signature: String,
}

/// Why a signed document does not name a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CosignPayloadError {
    /// It is not a document of cosign.
    #[error("the signed document is not readable (line {line}, column {column})")]
    Unreadable {
        /// The line of the error.
        line: usize,
        /// The column of the error.
        column: usize,
    },
    /// It is a document of another type.
    #[error("the signed document has the type {0:?}, but the type of cosign is {COSIGN_TYPE:?}")]
    Kind(String),
}

#[derive(Deserialize)]
struct CosignPayload {
    critical: CosignCritical,
}

#[derive(Deserialize)]
struct CosignCritical {
    image: CosignImage,
    #[serde(default)]
    identity: CosignIdentity,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct CosignImage {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

#[derive(Default, Deserialize)]
struct CosignIdentity {
    #[serde(default, rename = "docker-reference")]
    reference: String,
}

/// What a signed document names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedImage {
    /// The digest of the manifest.
    pub digest: String,
    /// The repository for which it was signed (`docker-reference`). May be empty.
    pub reference: String,
}

// === impl CosignSignature ===

impl CosignSignature {
    /// Returns the manifest and the repository that the document names. It does not verify the
    /// signature.
    ///
    /// # Errors
    ///
    /// If the document is not one of cosign's.
    pub fn signed_image(&self) -> Result<SignedImage, CosignPayloadError> {
        let payload: CosignPayload = serde_json::from_slice(&self.payload)
            .map_err(|error| CosignPayloadError::Unreadable { line: error.line(), column: error.column() })?;
        let critical = payload.critical;
        if critical.kind != COSIGN_TYPE {
            let shown = critical.kind.chars().filter(|c| !c.is_control()).take(SHOWN);
            return Err(CosignPayloadError::Kind(shown.collect()));
        }
        Ok(SignedImage { digest: critical.image.digest, reference: critical.identity.reference })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_document_of_cosign_names_a_digest() {
        let image = r#""image":{"docker-manifest-digest":"sha256:ab"}"#;
        let signed =
            |reference: &str| Ok(SignedImage { digest: "sha256:ab".to_owned(), reference: reference.to_owned() });
        let identity = r#""identity":{"docker-reference":"ghcr.io/a"}"#;
        for (payload, expected) in [
            (
                format!(r#"{{"critical":{{{image},"type":"cosign container image signature"}},"optional":null}}"#),
                signed(""),
            ),
            (
                format!(r#"{{"critical":{{{image},{identity},"type":"cosign container image signature"}}}}"#),
                signed("ghcr.io/a"),
            ),
            (
                format!(r#"{{"critical":{{{image},"type":"other"}}}}"#),
                Err("the signed document has the type \"other\", but the type of cosign is \"cosign container image signature\"".to_owned()),
            ),
            ("{}".to_owned(), Err("the signed document is not readable (line 1, column 2)".to_owned())),
        ] {
            let signature = CosignSignature { payload: payload.into_bytes(), signature: String::new() };
            assert_eq!(signature.signed_image().map_err(|error| error.to_string()), expected);
        }
    }
}
