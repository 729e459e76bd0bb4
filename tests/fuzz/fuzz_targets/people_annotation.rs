//! The parser of Ampoule's own annotation: arbitrary text in `ampoule.dev/secrets`.
//!
//! Accepted text respects the protocol's rules and survives the writer; errors are short and
//! printable.

#![no_main]

use ampoule_core::{MountRequirement, RequestedSecret, SecretEntry, SecretRequest};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

/// Limit for the length of an error message.
const LONGEST: usize = 1024;

fn read(text: &str) -> Vec<SecretRequest> {
    let annotations = json!({ "ampoule.dev/secrets": text });
    match RequestedSecret::from_annotations(annotations.as_object().expect("it is one")) {
        Ok(requests) => requests.into_iter().map(|requested| requested.request).collect(),
        Err(error) => {
            let message = error.to_string();
            assert!(message.starts_with("annotation ampoule.dev/secrets"), "{message:?}");
            assert!(message.len() <= LONGEST && !message.contains(char::is_control), "{message:?}");
            Vec::new()
        }
    }
}

fn is_variable(name: &str) -> bool {
    let upper = |c: char| c.is_ascii_uppercase() || c == '_';
    name.starts_with(upper) && name.chars().all(|c| upper(c) || c.is_ascii_digit())
}

fuzz_target!(|text: &str| {
    for request in read(text) {
        assert!(!request.key.is_empty());
        assert!(request.env_var.as_deref().is_none_or(is_variable));
        let file = match request.mount {
            MountRequirement::File => true,
            MountRequirement::EnvVar => false,
            MountRequirement::Any => panic!("no annotation requests that"),
        };
        assert!(file || request.env_var.is_some());
        let SecretRequest { group, group_version: version, key, mount: _, env_var: env } = request.clone();
        let (_, written) = SecretEntry { group: Some(group), version, key, env, file, fallback: None, ..SecretEntry::default() }.to_annotation();
        assert_eq!(read(&written), [request], "{written:?}");
    }
});
