//! Checks the built components: they export the contract, and import only the interfaces that it
//! allows.
//!
//! `wit-component` decodes the world from the bytes.

use ampoule_plugin_bundle::{COMPONENTS, component};
use wit_component::DecodedWasm;

/// The plugins that fetch values over HTTPS.
const STORES: [&str; 4] = ["aws-secrets-manager", "gcp-secret-manager", "azure-key-vault", "vault-kv"];

/// Returns the names of a component's imports and exports.
fn world(component: &[u8]) -> (Vec<String>, Vec<String>) {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(component).expect("it is a component") else {
        panic!("it is a WIT package, not a component");
    };
    let world = &resolve.worlds[world];
    let imports = world.imports.keys().map(|key| resolve.name_world_key(key)).collect();
    let exports = world.exports.keys().map(|key| resolve.name_world_key(key)).collect();
    (imports, exports)
}

#[test]
fn every_built_in_plugin_is_a_component_of_the_contract() {
    assert!(!COMPONENTS.is_empty());
    for (name, component) in COMPONENTS {
        let (imports, mut exports) = world(component);
        exports.sort();
        let contract = |interfaces: &[&str]| -> Vec<_> {
            interfaces.iter().map(|name| format!("ampoule:injector/{name}@0.2.0")).collect()
        };
        assert_eq!(exports, contract(&["fetcher", "injector", "lifecycle"]), "{name}");
        let allowed = contract(&["admission", "conventions", "fetching", "log"]);
        let is_http = |import: &str| import.starts_with("wasi:http/") || import.starts_with("wasi:io/");
        let secrets = contract(&["kubernetes-secrets"]);
        let is_granted = |import: &String| match *name {
            "embedded" => secrets.contains(import) || is_http(import),
            name => STORES.contains(&name) && is_http(import),
        };
        let is_allowed = |import: &String| allowed.contains(import) || is_granted(import);
        assert!(imports.iter().all(is_allowed), "{name} imports {imports:?}");
    }
}

#[test]
fn a_built_in_plugin_is_small() {
    for (name, component) in COMPONENTS {
        // The bindings of `wasi:http` and the reader of answers need 50 KiB, and so do the promises
        // and digests of `embedded`, which also has three stores.
        let limit = match *name {
            "embedded" => 328,
            name if STORES.contains(&name) => 184,
            _ => 152,
        };
        let limit = limit * 1024;
        assert!(component.len() < limit, "{name} has {} bytes", component.len());
    }
}

#[test]
fn a_component_contains_no_path_of_the_build_machine() {
    let cargo = std::path::PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cargo");
    let checkout = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let checkout = std::fs::canonicalize(checkout).expect("the checkout exists");
    for (name, component) in COMPONENTS {
        for path in [cargo.as_os_str().as_encoded_bytes(), checkout.as_os_str().as_encoded_bytes()] {
            let found = component.windows(path.len()).any(|window| window == path);
            assert!(!found, "{name} contains {}", String::from_utf8_lossy(path));
        }
    }
}

#[test]
fn a_plugin_is_found_by_its_name() {
    assert!(component("k8s").is_some());
    assert!(component("ampoule-plugin-k8s").is_none());
}

#[test]
fn the_default_plugin_is_the_default_of_flyte() {
    let names: Vec<_> = COMPONENTS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names[..5], ["k8s", "aws", "gcp", "azure", "vault"]);
    assert_eq!(names[5], "embedded");
    assert_eq!(names[6..], STORES);
}
