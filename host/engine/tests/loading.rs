//! Components that are refused at load, each with its reason, and what `inspect` says of one that is not.
//!
//! Every message is here in full: it is what an admin sees when a plugin is not taken.

#[path = "calls/guest.rs"]
mod guest;

use std::time::Duration;

use ampoule_core::{PodView, Profile, SecretInjector, SecretRequest};
use ampoule_engine::{EngineConfig, EngineError, Limits, PluginEngine, PluginSpec};

use self::guest::{Guest, INJECTED};

fn engine() -> PluginEngine {
    PluginEngine::new(EngineConfig { max_concurrent: 4, ..EngineConfig::default() }).unwrap()
}

fn spec(component: Vec<u8>) -> PluginSpec {
    PluginSpec {
        name: "wat".to_owned(),
        source: "file:/plugins/wat.wasm".to_owned(),
        component: component.into(),
        settings: serde_json::json!({}),
        conventions: Profile::FlyteV1.conventions(),
        limits: Limits::default(),
    }
}

/// Why a component is refused, less the digest.
async fn refusal(component: Vec<u8>) -> String {
    let error = engine().load(spec(component)).await.expect_err("must be refused");
    error.kind.to_string()
}

#[tokio::test]
async fn names_plugin_source_and_digest() {
    let error = engine().load(spec(Vec::new())).await.unwrap_err();
    insta::assert_snapshot!(error, @"plugin wat (file:/plugins/wat.wasm, sha256:e3b0c44298fc): the file is empty");
    let error = engine().inspect(b"").await.unwrap_err();
    insta::assert_snapshot!(error, @"component (sha256:e3b0c44298fc): the file is empty");
}

#[tokio::test]
async fn refuses_what_is_no_component() {
    let module = wat::parse_str(Guest::default().module("0.1.0")).unwrap();
    let mut broken = Guest::default().build();
    broken.truncate(200);
    insta::assert_snapshot!(refusal(b"\x7fELF and so on".to_vec()).await, @r"the file is not WebAssembly: it does not start with \0asm");
    insta::assert_snapshot!(refusal(b"(component)".to_vec()).await, @r"the file is not WebAssembly: it does not start with \0asm");
    insta::assert_snapshot!(refusal(module).await, @"");
    insta::assert_snapshot!(refusal(b"\0asm\x0e\0\x01\0".to_vec()).await, @"");
    insta::assert_snapshot!(refusal(broken).await, @"");
    insta::assert_snapshot!(refusal(vec![0; (64 << 20) + 1]).await, @"");
}

#[tokio::test]
async fn refuses_a_component_that_is_no_plugin_of_this_contract() {
    let empty = wat::parse_str("(component)").unwrap();
    let other = Guest::default().build_for("0.2.0");
    let tail_call = wat::parse_str("(component (core module (func $f return_call $f)))").unwrap();
    insta::assert_snapshot!(refusal(empty).await, @"");
    insta::assert_snapshot!(refusal(other).await, @"");
    insta::assert_snapshot!(refusal(tail_call).await, @"");
    let wrong_types =
        wat::parse_str(r#"(component (instance $i) (export "ampoule:injector/injector@0.1.0" (instance $i)))"#);
    insta::assert_snapshot!(refusal(wrong_types.unwrap()).await, @"");
}

#[tokio::test]
async fn refuses_imports_by_name() {
    let importing = |world, packages, declarations| Guest { world, packages, declarations, ..Guest::default() }.build();
    let http = importing(
        "import wasi:http/types@0.2.0;",
        &["package wasi:http@0.2.0; interface types { fields: func() -> u32; }"],
        r#"(import "wasi:http/types@0.2.0" "fields" (func (result i32)))"#,
    );
    insta::assert_snapshot!(refusal(http).await, @"");
    let unknown = importing(
        "import wasi:cli/teapot@0.2.0;",
        &["package wasi:cli@0.2.0; interface teapot { brew: func() -> u32; }"],
        r#"(import "wasi:cli/teapot@0.2.0" "brew" (func (result i32)))"#,
    );
    insta::assert_snapshot!(refusal(unknown).await, @"");
}

#[tokio::test]
async fn refuses_a_plugin_that_fails_while_it_is_tried_out() {
    let describe = Guest { describe: "unreachable".to_owned(), ..Guest::default() };
    let configure = Guest { configure: "(loop br 0) unreachable".to_owned(), ..Guest::default() };
    let start = Guest { declarations: "(memory 300)", ..Guest::default() };
    let _ = start;
    insta::assert_snapshot!(refusal(describe.build()).await, @"");
    insta::assert_snapshot!(refusal(configure.build()).await, @"");
}

#[tokio::test]
async fn inspects_a_component() {
    let component = Guest::default().build();
    let found = engine().inspect(&component).await.unwrap();
    assert_eq!((found.size, found.contract_version.as_str()), (component.len(), "0.1.0"));
    assert_eq!(found.imports, ["ampoule:injector/log@0.1.0"]);
    assert_eq!(found.exports, ["ampoule:injector/injector@0.1.0"]);
    assert_eq!(
        (found.info.name.as_str(), found.info.version.as_str(), found.info.settings_schema.as_str()),
        ("wat", "1.2.3", "{}")
    );
}
