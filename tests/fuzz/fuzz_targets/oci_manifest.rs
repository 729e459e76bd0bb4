//! The parser of OCI manifests: any bytes that a registry returns.
//!
//! A manifest survives its own writer. A refusal is short and printable.

#![no_main]

use ampoule_oci::{OciError, manifest::Manifest};
use libfuzzer_sys::fuzz_target;

/// The longest acceptable message: four media types of 100 characters, each of which escapes to at
/// most ten.
const LONGEST: usize = 4096;

fn check_message(error: &OciError) {
    let message = error.to_string();
    assert!(message.len() <= LONGEST && !message.contains(char::is_control), "{message:?}");
}

fuzz_target!(|bytes: &[u8]| {
    let manifest = match Manifest::parse(bytes) {
        Ok(manifest) => manifest,
        Err(error) => return check_message(&error),
    };
    match manifest.component() {
        Ok(component) => assert_eq!(component.media_type, "application/wasm"),
        Err(error) => check_message(&error),
    }
    let written = serde_json::to_vec(&manifest).expect("a manifest is valid JSON");
    let read = Manifest::parse(&written).expect("a written manifest can be read");
    assert_eq!(serde_json::to_vec(&read).expect("a manifest is valid JSON"), written);
});
