//! Malicious guests: each ends in bounded time with its own message, and another plugin on the same
//! engine is still served.
//!
//! Guests that need a tool chain or a network are in `tests/sandbox` at the root of the repository.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ampoule_core::{LazyPodView, Pod, PodMutator, Profile, SecretInjector, SecretRequest};
use ampoule_engine::{Limits, PluginEngine, PluginInjector, PluginSpec};

use super::{
    engine,
    guest::{Guest, INJECTED},
    spec,
};

/// Longer than any of them takes on a busy machine, and much shorter than the guests would run.
const BOUND: Duration = Duration::from_secs(60);

/// The result of a guest. Also checks that a neighbour is still served.
async fn outcome(spec: PluginSpec) -> String {
    let (engine, begun) = (engine(), Instant::now());
    let neighbour = load_neighbour(&engine).await;
    let outcome = match engine.load(spec).await {
        Err(error) => format!("not loaded: {}", error.kind),
        Ok(plugin) => inject(&engine, &plugin).await,
    };
    assert!(begun.elapsed() < BOUND, "it took {:?}: {outcome}", begun.elapsed());
    let served = inject(&engine, &neighbour).await;
    assert!(served.starts_with("[SetAnnotation"), "after `{outcome}` the neighbour answers: {served}");
    outcome
}

async fn load_neighbour(engine: &PluginEngine) -> PluginInjector {
    engine.load(spec(Guest::default().build(), Limits::default())).await.unwrap()
}

async fn inject(engine: &PluginEngine, plugin: &PluginInjector) -> String {
    let mut session = plugin.open();
    let asked = engine.run(async move { session.inject(&SecretRequest::default(), &LazyPodView::default()).await });
    match asked.await.unwrap() {
        Ok(Ok(edits)) => format!("{edits:?}"),
        Ok(Err(error)) => error.to_string(),
        Err(failure) => format!("{}: {}", failure.kind.as_str(), failure.outside),
    }
}

#[tokio::test]
async fn a_start_function_that_never_ends() {
    let guest = Guest { declarations: "(func $spin (loop br 0)) (start $spin)", ..Guest::default() };
    insta::assert_snapshot!(outcome(spec(guest.build(), Limits::default())).await, @"not loaded: the component failed to start: it did not finish within 5 s");
}

#[tokio::test]
async fn a_table_that_grows_without_end() {
    let guest = Guest {
        declarations: "(table $grows 1 funcref)",
        inject:
            "(loop (br_if 0 (i32.ne (table.grow $grows (ref.null func) (i32.const 100)) (i32.const -1)))) unreachable"
                .to_owned(),
        ..Guest::default()
    };
    insta::assert_snapshot!(outcome(spec(guest.build(), Limits::default())).await, @"limit: plugin wat 1.2.3 exceeded its limit of 20000 table elements");
}

#[tokio::test]
async fn many_tables_that_are_each_within_bounds() {
    let guest =
        Guest { declarations: "(table 9000 funcref) (table 9000 funcref) (table 9000 funcref)", ..Guest::default() };
    insta::assert_snapshot!(outcome(spec(guest.build(), Limits::default())).await, @"not loaded: the component failed to start: it exceeded its limit of 20000 table elements");
}

/// Repeats a line ten thousand times, with its number in place of `#`.
fn ten_thousand(line: &str) -> &'static str {
    (0..10_000).map(|i| line.replace('#', &i.to_string())).collect::<String>().leak()
}

#[tokio::test]
async fn ten_thousand_imports() {
    let guest = Guest {
        world: ten_thousand("import imported-#: func(); "),
        declarations: ten_thousand("(import \"$root\" \"imported-#\" (func)) "),
        ..Guest::default()
    };
    insta::assert_snapshot!(outcome(spec(guest.build(), Limits::default())).await, @"not loaded: the component has 10002 imports, more than the limit of 256");
}

#[tokio::test]
async fn ten_thousand_functions_of_an_available_interface() {
    let functions = ten_thousand("function-#: func(); ");
    let package = format!("package wasi:cli@0.2.0; interface environment {{ {functions} }}").leak();
    let guest = Guest {
        declarations: ten_thousand("(import \"wasi:cli/environment@0.2.0\" \"function-#\" (func)) "),
        world: "import wasi:cli/environment@0.2.0;",
        packages: vec![&*package].leak(),
        ..Guest::default()
    };
    let outcome = outcome(spec(guest.build(), Limits::default())).await;
    // The numbers in the message belong to wasmtime, and change with its versions.
    assert!(outcome.starts_with("not loaded: the component cannot be compiled: component instance size"), "{outcome}");
    assert!(outcome.contains("exceeds the configured maximum"), "{outcome}");
}

#[tokio::test]
async fn imports_with_invalid_names() {
    let refusal = "which plugins cannot import: they can import ampoule:injector/log@0.2.0 and WASI 0.2";
    let (long, cut) = ("x".repeat(50_000), "x".repeat(125));
    for (name, shown) in [("red\u{1b}[31m\nline", "red [31m line"), (&long, &format!("{cut}…"))] {
        // One import: its name, and its type (5: an instance; 0: the index of the type).
        let section = [&[1, 0], &*leb128(name.len()), name.as_bytes(), &[5, 0]].concat();
        let component = with_section(10, &section);
        let expected = format!("not loaded: the component imports {shown}, {refusal}");
        assert_eq!(outcome(spec(component, Limits::default())).await, expected);
    }
}

#[tokio::test]
async fn disabled_proposals() {
    let cases = [
        ("(memory 1) (memory 1)", "multi-memory"),
        ("(memory i64 1)", "memory64"),
        ("(memory 1 1 shared)", "threads"),
        ("(tag)", "exception-handling"),
        ("(func $f return_call $f)", "tail-call"),
        ("(type (struct (field i32)))", "gc"),
        ("(type $t (func)) (func (param (ref $t)) (call_ref $t (local.get 0)))", "function-references"),
        ("(func (param v128 v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 1))))", "relaxed-simd"),
        ("(memory 1) (memory i64 1)", "multi-memory, memory64"),
    ];
    for (fields, needed) in cases {
        let module = wat::parse_str(format!("(module {fields})")).unwrap();
        let result = outcome(spec(with_section(1, &module), Limits::default())).await;
        let expected = format!(
            "not loaded: the component uses disabled WebAssembly proposals ({needed}): build the plugin without them"
        );
        assert_eq!(result, expected, "{fields}");
    }
}

/// A guest without defects, with an additional section at its end.
fn with_section(id: u8, section: &[u8]) -> Vec<u8> {
    [&*Guest::default().build(), &[id], &*leb128(section.len()), section].concat()
}

fn leb128(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

#[tokio::test]
async fn settings_of_five_mebibytes() {
    let settings = serde_json::json!({ "large": "x".repeat(5 << 20) });
    let spec = PluginSpec { settings, ..spec(Guest::default().build(), Limits::default()) };
    insta::assert_snapshot!(outcome(spec).await, @"not loaded: the settings have 5242892 bytes as JSON, more than the limit of 1048576 (injectors[].settings)");
}

#[tokio::test]
async fn edits_of_annotations_that_belong_to_the_webhook() {
    for key in ["flyte.secrets/s0", "ampoule.dev/secrets"] {
        let guest = Guest {
            declarations: format!("(data (i32.const 12300) \"{key}\")").leak(),
            inject: format!(
                "(global.set $key (i32.const 12300)) (global.set $key_length (i32.const {})) {INJECTED}",
                key.len()
            ),
            ..Guest::default()
        };
        let expected = format!(
            "secret group/key (annotation ampoule.dev/secrets[0], mount env-var) could not be injected: wat: plugin \
             wat 1.2.3 made an invalid edit: annotation {key} is reserved for secret requests and cannot be set by a plugin"
        );
        assert_eq!(mutated(&guest).await, expected);
    }
}

/// The message for a pod if the guest is the only injector. Also checks that the pod gets only the
/// neighbour's annotation if the neighbour is the next injector.
async fn mutated(guest: &Guest) -> String {
    let engine = engine();
    let plugin = Arc::new(engine.load(spec(guest.build(), Limits::default())).await.unwrap());
    let neighbour = Arc::new(load_neighbour(&engine).await);
    let mutate = async |injectors: Vec<Arc<dyn SecretInjector>>| {
        let mutator = PodMutator::new(injectors, Profile::FlyteV1.conventions());
        let pod = serde_json::json!({
            "metadata": { "annotations": { "ampoule.dev/secrets": "[{ group: group, key: key, env: X }]" } },
            "spec": { "containers": [{ "name": "main" }] },
        });
        let mutation = engine.run(async move { mutator.mutate(&Pod::parse(pod).unwrap(), "default").await });
        mutation.await.unwrap().outcome.map(|admitted| serde_json::to_value(&admitted.patch).unwrap())
    };
    let patch = mutate(vec![Arc::<PluginInjector>::clone(&plugin), neighbour]).await.unwrap();
    assert_eq!(
        patch,
        serde_json::json!([{ "op": "add", "path": "/metadata/annotations/wat-key", "value": "wat-value" }])
    );
    mutate(vec![plugin]).await.unwrap_err().message
}
