//! Components that are rejected at load, each with its reason, and the result of `inspect`.
//!
//! Every message is here in full, as an admin sees it when a plugin is rejected.

use std::{fs::File, sync::Arc};

use ampoule_engine::{
    Allocation, Compiler, CompilerError, ComponentBytes, EngineConfig, Limits, PluginEngine, PluginSpec,
};
use async_trait::async_trait;

use super::{
    engine,
    guest::{self, BAD_SETTINGS, Guest},
    spec,
};

/// The reason to reject a component with strict grants, without its digest.
async fn refusal(component: Vec<u8>) -> String {
    let spec = PluginSpec { strict_grants: true, ..spec(component, Limits::default()) };
    let error = engine().load(spec).await.expect_err("must be rejected");
    error.kind.to_string()
}

/// Removes code offsets, which depend on the compiler.
fn without_offsets(text: &str) -> String {
    let mut parts = text.split("0x");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "0x" + part.trim_start_matches(|c: char| c.is_ascii_hexdigit()))
}

#[tokio::test]
async fn names_plugin_source_and_digest() {
    let error = engine().load(spec(Vec::new(), Limits::default())).await.unwrap_err();
    insta::assert_snapshot!(error, @"plugin wat (file:/plugins/wat.wasm, sha256:e3b0c44298fc): the file is empty");
    let error = engine().inspect(Vec::new().into()).await.unwrap_err();
    insta::assert_snapshot!(error, @"component (sha256:e3b0c44298fc): the file is empty");
}

#[tokio::test]
async fn rejects_files_that_are_not_components() {
    let module = wat::parse_str(Guest::default().module("0.2.0")).unwrap();
    let mut broken = Guest::default().build();
    broken.truncate(200);
    insta::assert_snapshot!(refusal(b"\x7fELF and so on".to_vec()).await, @r"the file is not WebAssembly: it does not start with \0asm");
    insta::assert_snapshot!(refusal(b"(component)".to_vec()).await, @r"the file is not WebAssembly: it does not start with \0asm");
    insta::assert_snapshot!(refusal(module).await, @"the file is a core WebAssembly module, not a component: convert it with `wasm-tools component new`");
    insta::assert_snapshot!(refusal(b"\0asm\x0e\0\x01\0".to_vec()).await, @"the file is WebAssembly of an unknown format version 0x1000e");
    insta::assert_snapshot!(refusal(broken).await, @"the file is not a valid component: unexpected end-of-file (at offset 0x72)");
    insta::assert_snapshot!(refusal(vec![0; (64 << 20) + 1]).await, @"the file has 67108865 bytes, more than the limit of 67108864 (injectors[].limits.componentMiB)");
}

#[tokio::test]
async fn rejects_components_that_do_not_implement_the_contract() {
    let empty = wat::parse_str("(component)").unwrap();
    let other = Guest::default().build_for("0.1.0");
    insta::assert_snapshot!(refusal(empty).await, @"the component does not export ampoule:injector/injector@0.2.0; it exports nothing");
    insta::assert_snapshot!(refusal(other).await, @"the component exports ampoule:injector/injector@0.1.0, but this version of Ampoule supports ampoule:injector/injector@0.2.0: rebuild the plugin against that version");
    let wrong_types =
        wat::parse_str(r#"(component (instance $i) (export "ampoule:injector/injector@0.2.0" (instance $i)))"#);
    insta::assert_snapshot!(refusal(wrong_types.unwrap()).await, @"the component does not match the contract ampoule:injector@0.2.0: instance export `ampoule:injector/injector@0.2.0` does not have export `describe`");
}

#[tokio::test]
async fn rejects_imports_by_name() {
    let importing = |world, packages, declarations| Guest { world, packages, declarations, ..Guest::default() }.build();
    let http = importing(
        "import wasi:http/types@0.2.0;",
        &["package wasi:http@0.2.0; interface types { fields: func() -> u32; }"],
        r#"(import "wasi:http/types@0.2.0" "fields" (func (result i32)))"#,
    );
    insta::assert_snapshot!(refusal(http).await, @"the component imports wasi:http/types@0.2.0, which requires the grant http: list the allowed hosts in injectors[].grants.http.hosts, or remove the import wasi:http/outgoing-handler from wit/world.wit and build the plugin again");
    let unknown = importing(
        "import wasi:cli/teapot@0.2.0;",
        &["package wasi:cli@0.2.0; interface teapot { brew: func() -> u32; }"],
        r#"(import "wasi:cli/teapot@0.2.0" "brew" (func (result i32)))"#,
    );
    insta::assert_snapshot!(refusal(unknown).await, @"the component does not match the contract ampoule:injector@0.2.0: component imports instance `wasi:cli/teapot@0.2.0`, but a matching implementation was not found in the linker: instance export `brew` has the wrong type: function implementation is missing");
}

#[tokio::test]
async fn rejects_a_plugin_that_fails_when_it_is_tried_out() {
    let describe = Guest { describe: "unreachable".to_owned(), ..Guest::default() };
    let configure = Guest { configure: "(loop br 0) unreachable".to_owned(), ..Guest::default() };
    let start = Guest { declarations: "(func $boom unreachable) (start $boom)", ..Guest::default() };
    let refused = Guest { configure: format!("i32.const {BAD_SETTINGS}"), ..Guest::default() };
    insta::assert_snapshot!(without_offsets(&refusal(start.build()).await), @"the component failed to start: it trapped: wasm `unreachable` instruction executed: error while executing at wasm backtrace: | 0:    0x - <unknown>!boom: wasm trap: wasm `unreachable` instruction executed");
    insta::assert_snapshot!(refusal(refused.build()).await, @"the plugin rejected its settings (injectors[].settings): bad settings");
    insta::assert_snapshot!(without_offsets(&refusal(describe.build()).await), @"`describe` failed: it trapped: wasm `unreachable` instruction executed: error while executing at wasm backtrace: | 0:    0x - <unknown>!<wasm function 16>: wasm trap: wasm `unreachable` instruction executed");
    insta::assert_snapshot!(refusal(configure.build()).await, @"`configure` failed: it did not finish within 5 s");
}

#[tokio::test]
async fn refuses_a_component_that_starts_above_its_limits() {
    let hungry = wat::parse_str(Guest::default().module("0.2.0").replace("\"memory\") 4", "\"memory\") 300")).unwrap();
    insta::assert_snapshot!(refusal(guest::encode(hungry, "0.2.0", "", &[])).await, @"the component failed to start: it exceeded its memory limit of 16 MiB (injectors[].limits.memoryMiB)");
}

#[tokio::test]
async fn inspects_a_component() {
    let component = Guest::default().build();
    let found = engine().inspect(component.clone().into()).await.unwrap();
    assert_eq!((found.size, found.contract_version.as_str()), (component.len(), "0.2.0"));
    assert_eq!(found.imports, ["ampoule:injector/log@0.2.0", "ampoule:injector/admission@0.2.0"]);
    assert_eq!(found.exports, ["ampoule:injector/injector@0.2.0"]);
    assert_eq!(
        (found.info.name.as_str(), found.info.version.as_str(), found.info.settings_schema.as_str()),
        ("wat", "1.2.3", "{}")
    );
}

#[tokio::test]
async fn compiles_once_with_a_cache_directory() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("compiled");
    let modified = || {
        let files =
            std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().metadata().unwrap().modified().unwrap());
        files.collect::<Vec<_>>()
    };
    let mut before = Vec::new();
    for round in 0..2 {
        let engine =
            PluginEngine::new(EngineConfig { cache_dir: Some(cache.clone()), ..EngineConfig::default() }).unwrap();
        engine.load(spec(Guest::default().build(), Limits::default())).await.unwrap();
        assert_eq!(modified().len(), 2, "the compiled component and its checksum");
        assert!(round == 0 || modified() == before, "the second engine must use the file of the first");
        before = modified();
    }
}

#[tokio::test]
async fn does_not_start_with_a_cache_directory_that_others_can_access() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let config = EngineConfig { cache_dir: Some(folder.path().to_owned()), ..EngineConfig::default() };
    let error = PluginEngine::new(config).err().unwrap().to_string();
    let message = error.replace(&folder.path().display().to_string(), "FOLDER");
    insta::assert_snapshot!(message, @"the cache directory FOLDER (engine.cacheDirectory) has mode 0777 and is accessible to other users; specify a subdirectory of it, which Ampoule creates with mode 0700");
}

#[tokio::test]
async fn the_external_compiler_compiles_every_foreign_component() {
    let engine = PluginEngine::new(EngineConfig { compiler: Some(Arc::new(Refusing)), ..EngineConfig::default() });
    let (engine, component) = (engine.unwrap(), Guest::default().build());
    let foreign = engine.load(spec(component.clone(), Limits::default())).await.unwrap_err();
    insta::assert_snapshot!(foreign.kind, @"not today");
    let component = ComponentBytes::BuiltIn(component.leak());
    engine.load(PluginSpec { component, ..spec(Vec::new(), Limits::default()) }).await.unwrap();
}

/// Rejects every component.
struct Refusing;

// SAFETY: it returns no code.
#[allow(unsafe_code, reason = "a compiler has to vouch for its results")]
#[async_trait]
unsafe impl Compiler for Refusing {
    async fn compile(&self, _: &[u8], _: Allocation) -> Result<File, CompilerError> {
        Err(CompilerError::Refused("not today".to_owned()))
    }
}
