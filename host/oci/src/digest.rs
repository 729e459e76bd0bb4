//! Digests as registries write them: `sha256:` and the hash in hexadecimal.
//!
//! Only SHA-256 is supported.

use data_encoding::HEXLOWER;
use hyper::body::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

/// Returns the digest of some bytes.
pub(crate) fn sha256_digest(bytes: &[u8]) -> String {
    format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(bytes)))
}

/// Returns the digest of a large blob, computed off the threads that serve admissions.
pub(crate) async fn blob_digest(bytes: Bytes) -> String {
    let digest = spawn_blocking(move || sha256_digest(&bytes)).await;
    digest.expect("hashing does not panic")
}
