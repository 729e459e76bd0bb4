//! Files that are not plugins are refused at load with a reason.
//!
//! Bytes that are not a component need no guest; a component with a forbidden import does.

use ampoule_engine::Grant;
use serde_json::json;

use crate::support::{Sandbox, guest, refusal};

#[track_caller]
fn refused(name: &str, component: &'static [u8], expected: &str) {
    let sandbox = Sandbox::new();
    match sandbox.load(name, component, json!({})) {
        Ok(_) => panic!("{name} was loaded"),
        Err(error) => {
            assert_eq!(refusal(&error), format!("plugin {name} (file:/plugins/{name}.wasm, sha256:…): {expected}"))
        }
    }
}

#[test]
fn a_file_that_is_not_a_component_is_refused_with_its_name() {
    refused("empty", b"", "the file is empty");
    refused("text", b"apiVersion: v1\nkind: Pod\n", "the file is not WebAssembly: it does not start with \\0asm");
    refused(
        "module",
        b"\0asm\x01\0\0\0",
        "the file is a core WebAssembly module, not a component: convert it with `wasm-tools component new`",
    );
    refused(
        "nothing",
        b"\0asm\x0d\0\x01\0",
        "the component does not export ampoule:injector/injector@0.2.0; it exports nothing",
    );
}

#[test]
fn a_truncated_component_is_refused() {
    let whole = guest("echo");
    let half = &whole[..whole.len() / 2];
    let error = Sandbox::new().load("half", half, json!({})).expect_err("a truncated component is invalid");
    assert!(error.to_string().starts_with("plugin half"), "{error}");
}

#[test]
fn an_import_without_a_grant_is_refused_only_with_strict_grants() {
    let sandbox = Sandbox::new();
    for (name, grant, expected) in [
        (
            "http_client",
            Grant::Http,
            "the component imports wasi:http/types@0.2.12, which requires the grant http: list the allowed hosts in \
             injectors[].grants.http.hosts, or remove the import wasi:http/outgoing-handler from wit/world.wit and build the plugin again",
        ),
        (
            "secret_reader",
            Grant::KubernetesSecrets,
            "the component imports ampoule:injector/kubernetes-secrets@0.2.0, which requires the grant kubernetesSecrets: \
             list the allowed Secrets in injectors[].grants.kubernetesSecrets, or remove the import ampoule:injector/kubernetes-secrets \
             from wit/world.wit and build the plugin again",
        ),
    ] {
        let plugin = sandbox.load(name, guest(name), json!({})).expect("it loads, and its calls are denied");
        assert_eq!(plugin.missing_grants(), [grant]);
        let strict = sandbox.load_strictly(name, guest(name)).expect_err("it lacks the grant");
        assert_eq!(strict.kind.to_string(), expected);
    }
}

#[test]
fn settings_that_the_plugin_refuses_are_refused_at_load() {
    let component = ampoule_plugin_bundle::component("k8s").expect("k8s is built in");
    let error = Sandbox::new().load("k8s", component, json!({ "envPrefx": "" })).expect_err("the key is misspelt");
    let expected = "plugin k8s (file:/plugins/k8s.wasm, sha256:…): the plugin rejected its settings (injectors[].settings): \
                    unknown field `envPrefx`, expected one of `envPrefix`, `mountDirectory`, `requireGroup`, `optional`";
    assert!(refusal(&error).starts_with(expected), "{error}");
}
