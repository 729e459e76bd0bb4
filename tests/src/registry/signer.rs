//! Signatures as cosign and openssl make them; Debian has neither cosign nor its registry
//! functions: [`Signer`].
//!
//! Implements <https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md>; a unit test
//! of the product verifies a recorded signature of the real program.

use anyhow::{Context, Result, ensure};
use data_encoding::{BASE64, HEXLOWER};
use rcgen::KeyPair;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Registry;

/// An ECDSA P-256 key pair.
pub struct Signer {
    key: EcdsaKeyPair,
    public_key: String,
}

// === impl Signer ===

impl Signer {
    /// Generates a key pair.
    ///
    /// # Errors
    ///
    /// If the system provides no randomness.
    pub fn generate() -> Result<Self> {
        let pair = KeyPair::generate()?;
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pair.serialize_der(), &SystemRandom::new());
        let key = key.ok().context("ring cannot read rcgen's key pair")?;
        Ok(Self { key, public_key: pair.public_key_pem() })
    }

    /// The public key in PEM form.
    #[must_use]
    pub fn public_key(&self) -> &str {
        &self.public_key
    }

    /// The section `trust` of a configuration: this key under a name, and whether signatures are
    /// required.
    #[must_use]
    pub fn trust(&self, name: &str, required: bool) -> String {
        let key = self.public_key.trim().replace('\n', "\n        ");
        format!(
            "trust:\n  requireSignature: {required}\n  keys:\n    - name: {name}\n      publicKey: |\n        {key}\n"
        )
    }

    /// Signs bytes; returns the output of `cosign sign-blob`.
    ///
    /// # Errors
    ///
    /// If the system provides no randomness.
    pub fn sign(&self, bytes: &[u8]) -> Result<String> {
        let signature = self.key.sign(&SystemRandom::new(), bytes).ok().context("signing failed")?;
        Ok(BASE64.encode(signature.as_ref()))
    }

    /// Stores a signature for the manifest with this digest, as `cosign sign --key` does; `of` is
    /// the signed digest, which differs only in a forgery.
    ///
    /// # Errors
    ///
    /// If the registry refuses it.
    pub async fn cosign(&self, registry: &Registry, repository: &str, digest: &str, of: &str) -> Result<()> {
        let reference = format!("{}/{repository}", registry.host());
        let payload = json!({
            "critical": {
                "identity": { "docker-reference": reference },
                "image": { "docker-manifest-digest": of },
                "type": "cosign container image signature",
            },
            "optional": null,
        });
        let payload = payload.to_string().into_bytes();
        let mut layer = put_blob(registry, repository, &payload).await?;
        layer["mediaType"] = json!("application/vnd.dev.cosign.simplesigning.v1+json");
        layer["annotations"] = json!({ "dev.cosignproject.cosign/signature": self.sign(&payload)? });
        let config = json!({ "architecture": "", "os": "", "rootfs": { "type": "layers", "diff_ids": [] } });
        let mut config = put_blob(registry, repository, config.to_string().as_bytes()).await?;
        config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer] });
        let tag = format!("{}.sig", digest.replace(':', "-"));
        registry.put_manifest(repository, &tag, kind, &manifest).await
    }
}

/// Uploads a blob, and returns its descriptor.
async fn put_blob(registry: &Registry, repository: &str, bytes: &[u8]) -> Result<Value> {
    let digest = format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(bytes)));
    let mut connection = registry.connect().await?;
    let begun = connection.send("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], "").await?;
    ensure!(begun.status == 202, "an upload is {}: {}", begun.status, begun.text());
    let path = begun.location.find("/v2/").map(|start| &begun.location[start..]).context("an upload has a location")?;
    let done = connection.send("PUT", &format!("{path}&digest={digest}"), &[], bytes.to_vec()).await?;
    ensure!(done.status == 201, "an upload is {}: {}", done.status, done.text());
    Ok(json!({ "digest": digest, "size": bytes.len() }))
}
