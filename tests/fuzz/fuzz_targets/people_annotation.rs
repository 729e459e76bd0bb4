//! The parser of Ampoule's own annotation: arbitrary text in `ampoule.dev/secrets`.
//!
//! Accepted text respects the protocol's rules and survives the writer; errors are short and
//! printable.

#![no_main]

use ampoule_core::{AllKeys, MountRequirement, RequestedSecret, SecretEntry};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

/// Limit for the length of an error message.
const LONGEST: usize = 1024;

fn read(text: &str) -> Vec<RequestedSecret> {
    let annotations = json!({ "ampoule.dev/secrets": text });
    match RequestedSecret::from_annotations(annotations.as_object().expect("it is one")) {
        Ok(requests) => requests,
        Err(error) => {
            let message = error.to_string();
            assert!(message.starts_with("annotation ampoule.dev/secrets"), "{message:?}");
            assert!(message.len() <= LONGEST && !message.contains(char::is_control), "{message:?}");
            Vec::new()
        }
    }
}

/// Whether Kubernetes accepts the name of a variable.
fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.len() <= 256 && name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=')
}

/// The entry for a request that is no part of a template.
fn entry_of(requested: &RequestedSecret) -> SecretEntry {
    let (request, options) = (requested.request.clone(), requested.options.clone());
    let prefix = match &options.all_keys {
        Some(AllKeys::Variables(prefix)) => Some(prefix.clone()),
        Some(AllKeys::Files) | None => None,
    };
    // The path of all keys is that of a folder.
    let path = options.path.map(|path| if options.all_keys.is_some() { path + "/" } else { path });
    SecretEntry {
        group: Some(request.group),
        key: if request.all_keys { String::new() } else { request.key },
        keys: request.all_keys.then(|| "all".to_owned()),
        version: request.group_version,
        env: request.env_var,
        env_prefix: prefix,
        file: request.mount == MountRequirement::File,
        path,
        mode: options.mode.map(|mode| format!("{mode:04o}")),
        template: None,
        optional: options.optional,
        containers: options.containers.names().map(|names| names.iter().cloned().collect()),
        injector: options.injector,
        options: request.options,
        fallback: options.falls_back_to_file.then(|| "file".to_owned()),
    }
}

fuzz_target!(|text: &str| {
    for requested in read(text) {
        let RequestedSecret { request, options, .. } = &requested;
        assert!(!request.key.is_empty());
        assert!(request.env_var.as_deref().is_none_or(is_variable));
        let file = match request.mount {
            MountRequirement::File => true,
            MountRequirement::EnvVar => false,
            MountRequirement::Any => panic!("no annotation requests that"),
        };
        assert!(file || request.env_var.is_some() || request.all_keys);
        if options.template.is_some() {
            continue;
        }
        let (_, written) = entry_of(&requested).to_annotation();
        let again = read(&written);
        let [again] = &again[..] else { panic!("{written:?}: {again:?}") };
        assert_eq!((&again.request, &again.options), (request, options), "{written:?}");
    }
});
