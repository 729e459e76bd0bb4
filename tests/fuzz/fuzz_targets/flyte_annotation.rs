//! The parser of Flyte's annotations: arbitrary values, and arbitrary text that a value may encode.
//!
//! Accepted values must survive the writer; errors must be short and printable.

#![no_main]

use std::sync::LazyLock;

use ampoule_core::{RequestedSecret, SecretRequest};
use data_encoding::{Encoding, Specification};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

/// Flyte's base32, so that the fuzzer reaches the text below it.
static FLYTE: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("abcdefghijklmnopqrstuvwxyz123456");
    specification.encoding().expect("32 distinct symbols make an alphabet")
});

/// Limit for the length of an error message.
const LONGEST: usize = 1024;

fn read(value: &str) -> Option<SecretRequest> {
    let annotations = json!({ "flyte.secrets/s0": value });
    match RequestedSecret::from_annotations(annotations.as_object().expect("it is one")) {
        Ok(mut requests) => Some(requests.remove(0).request),
        Err(error) => {
            let message = error.to_string();
            assert!(message.len() <= LONGEST && !message.contains(char::is_control), "{message:?}");
            None
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let raw = std::str::from_utf8(data).ok().and_then(read);
    for request in raw.into_iter().chain(read(&FLYTE.encode(data))) {
        let written = request.to_flyte_annotation();
        // The protocol cannot distinguish an empty name from a missing one.
        let meant = SecretRequest { env_var: request.env_var.clone().filter(|name| !name.is_empty()), ..request };
        assert_eq!(read(&written), Some(meant));
    }
});
