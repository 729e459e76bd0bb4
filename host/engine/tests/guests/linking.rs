//! How a contract grows: components of one version on hosts of another version. The table is that
//! of `wit/README.md`.
//!
//! The host of version 0.2.0 is the engine. The host of version 0.2.1 is a linker, see
//! [`ampoule_next_contract`]. `tests/e2e/authors.rs` links components of other languages.

use ampoule_core::{Injection, LazyPodView, SecretInjector as _, SecretRequest};
use ampoule_engine::Limits;
use ampoule_next_contract::ContractHost;

use super::{engine, guest::Guest, spec};

/// Guests that do not implement the contract of version 0.2.
const OTHER_CONTRACTS: [&str; 1] = ["newer_contract"];

/// Every built-in plugin, every example in Rust that tests run, and every guest of the sandbox
/// tests: their names and components.
fn plugins() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    let all = [ampoule_plugin_bundle::COMPONENTS, ampoule_test_guests::PLUGINS, ampoule_test_guests::GUESTS];
    let plugins = all.into_iter().flatten().copied();
    plugins.filter(|(name, _)| !OTHER_CONTRACTS.contains(name))
}

/// A guest that calls the method of `pod` that version 0.2.1 adds.
fn calling_the_method() -> Guest {
    let declarations = r#"(import "ampoule:injector/admission@0.2.1" "[method]pod.node-selector"
                              (func $node_selector (param i32 i32 i32 i32)))"#;
    Guest { declarations, ..Guest::default() }
}

/// A guest that calls the interface that version 0.2.1 adds.
fn calling_the_interface() -> Guest {
    let declarations = r#"(import "ampoule:injector/clock@0.2.1" "seconds" (func $seconds (result i64)))"#;
    Guest { declarations, world: "import ampoule:injector/clock@0.2.1;", ..Guest::default() }
}

/// The answer of a component on the engine, or the reason why it is refused.
async fn on_the_engine(component: Vec<u8>) -> Result<Injection, String> {
    let engine = engine();
    let loaded = engine.load(spec(component, Limits::default())).await;
    let plugin = loaded.map_err(|error| error.kind.to_string())?;
    let mut session = plugin.open();
    let call = async move { session.inject(&SecretRequest::default(), &LazyPodView::default()).await };
    Ok(engine.run(call).await.unwrap())
}

#[test]
fn every_component_built_for_0_2_0_links_on_a_host_of_0_2_1() {
    let (next, mut count) = (ContractHost::next(), 0);
    for (name, component) in plugins() {
        let version = b"ampoule:injector/injector@0.2.0";
        assert!(component.windows(version.len()).any(|window| window == version), "{name} is built for 0.2.0");
        assert_eq!(next.refusal(component), None, "{name}");
        count += 1;
    }
    assert!(count >= 20, "only {count} components exist");
}

#[test]
fn every_component_built_for_0_2_1_links_on_a_host_of_0_2_1() {
    let next = ContractHost::next();
    for guest in [Guest::default(), calling_the_method(), calling_the_interface()] {
        assert_eq!(next.refusal(&guest.build_for("0.2.1")), None);
    }
}

#[tokio::test]
async fn a_component_built_for_0_2_1_runs_on_0_2_0_if_it_does_not_use_the_additions() {
    let older = on_the_engine(Guest::default().build_for("0.2.0")).await.unwrap();
    let newer = on_the_engine(Guest::default().build_for("0.2.1")).await.unwrap();
    assert!(matches!(&newer, Ok(Ok(edits)) if !edits.is_empty()), "{newer:?}");
    assert_eq!(format!("{newer:?}"), format!("{older:?}"));
}

#[tokio::test]
async fn a_component_built_for_0_2_1_is_refused_by_0_2_0_with_the_name_of_the_addition() {
    let refusal = async |guest: Guest| on_the_engine(guest.build_for("0.2.1")).await.unwrap_err();
    insta::assert_snapshot!(refusal(calling_the_method()).await, @"the component imports method pod.node-selector of ampoule:injector/admission@0.2.1, which this version of Ampoule (ampoule:injector@0.2.0) does not have: upgrade Ampoule, or rebuild the plugin without it");
    insta::assert_snapshot!(refusal(calling_the_interface()).await, @"the component imports ampoule:injector/clock@0.2.1, which ampoule:injector@0.2.0 does not define: upgrade Ampoule if a later version supports it");
}

#[tokio::test]
async fn versions_0_2_and_0_3_refuse_each_other() {
    insta::assert_snapshot!(on_the_engine(Guest::default().build_for("0.3.0")).await.unwrap_err(), @"the component exports ampoule:injector/injector@0.3.0, but this version of Ampoule supports ampoule:injector/injector@0.2.0: rebuild the plugin against that version");
    insta::assert_snapshot!(ContractHost::next().refusal(&Guest::default().build_for("0.3.0")).unwrap(), @"component imports instance `ampoule:injector/log@0.3.0`, but a matching implementation was not found in the linker: instance export `log` has the wrong type: function implementation is missing");
    insta::assert_snapshot!(ContractHost::breaking().refusal(&Guest::default().build()).unwrap(), @"component imports instance `ampoule:injector/log@0.2.0`, but a matching implementation was not found in the linker: instance export `log` has the wrong type: function implementation is missing");
}

/// wasmtime resolves every import of every fresh instance.
#[test]
fn a_plugin_in_rust_imports_no_method_of_a_part_that_it_never_creates() {
    let host = ContractHost::next();
    for (plugin, method, expected) in [
        ("k8s", "[static]volume.secret", true),
        ("k8s", "[static]volume.csi", false),
        ("k8s", "[constructor]init-container", false),
        ("k8s", "[method]request.write-file-from-secret", true),
        ("aws", "[constructor]init-container", true),
        ("aws", "[method]request.write-file-from-secret", false),
    ] {
        let component = ampoule_plugin_bundle::component(plugin).unwrap();
        let imported = host.imported_functions(component, "ampoule:injector/admission@0.2.0");
        assert_eq!(imported.iter().any(|name| name == method), expected, "{plugin}: {method} in {imported:?}");
    }
}
