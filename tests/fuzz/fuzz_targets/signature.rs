//! Public keys, detached signatures and the documents that cosign signs: a key, a message and a
//! signature, separated by NUL bytes.
//!
//! A key survives its own writer. A signature is valid for one message only. A refused document has
//! a short and printable message.

#![no_main]

use ampoule_config::public_key::PublicKey;
use ampoule_oci::CosignSignature;
use libfuzzer_sys::fuzz_target;

/// The longest acceptable message about a document.
const LONGEST: usize = 1200;

/// A real key of cosign, so that the fuzzer reaches the verification with any message and
/// signature.
const COSIGN: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAENptdY/l3nB0yqkXLBWkZWQwo6+cu
OSWS1X9vPavpiQOoTTGC0xX57OojUadxF1cdQmrsiReWg2Wn4FneJfa8xw==
-----END PUBLIC KEY-----";
/// The same, of minisign.
const MINISIGN: &str = "RWRIhOHm6Hts9y6nrX07KM3RWg3ZMABnB7RLBmBYn2wUM+aMzUe4DUWt";

fn check_key(key: &PublicKey, message: &[u8], signature: &[u8]) {
    assert!(!key.id().is_empty() && !key.extension().is_empty());
    assert_eq!(key.to_string().parse().as_ref(), Ok(key));
    if key.verify(message, signature).is_ok() {
        let longer = [message, b"."].concat();
        assert!(key.verify(&longer, signature).is_err(), "one signature, two messages");
    }
}

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let mut next = || parts.next().unwrap_or_default();
    let (key, message, signature) = (next(), next(), next());
    if let Some(key) = std::str::from_utf8(key).ok().and_then(|text| text.parse().ok()) {
        check_key(&key, message, signature);
    }
    for key in [COSIGN, MINISIGN] {
        check_key(&key.parse().expect("a recorded key is valid"), message, signature);
    }
    let document = CosignSignature { payload: message.to_vec(), signature: String::new() };
    if let Err(error) = document.signed_image() {
        let text = error.to_string();
        assert!(text.len() <= LONGEST && !text.contains(char::is_control), "{text:?}");
    }
});
