//! Guests that mean harm: each ends in bounded time with its own message, and its neighbour on the same engine is served.
//!
//! Those that need a tool chain, or a network, are in `tests/sandbox` at the root of the repository.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ampoule_core::{Pod, PodMutator, PodView, Profile, SecretInjector, SecretRequest};
use ampoule_engine::{Limits, PluginEngine, PluginInjector, PluginSpec};

use super::{
    engine,
    guest::{Guest, INJECTED},
    spec,
};

/// Longer than each of them takes on a busy machine, and much shorter than it would like to.
const BOUND: Duration = Duration::from_secs(60);

/// What becomes of a guest, and that its neighbour does not notice.
async fn outcome(spec: PluginSpec) -> String {
    let (engine, begun) = (engine(), Instant::now());
    let neighbour = load_neighbour(&engine).await;
    let outcome = match engine.load(spec).await {
        Err(error) => format!("not loaded: {}", error.kind),
        Ok(plugin) => ask(&engine, &plugin).await,
    };
    assert!(begun.elapsed() < BOUND, "it took {:?} until: {outcome}", begun.elapsed());
    let served = ask(&engine, &neighbour).await;
    assert!(served.starts_with("[SetAnnotation"), "after `{outcome}` the neighbour answers: {served}");
    outcome
}

async fn load_neighbour(engine: &PluginEngine) -> PluginInjector {
    engine.load(spec(Guest::default().build(), Limits::default())).await.unwrap()
}

async fn ask(engine: &PluginEngine, plugin: &PluginInjector) -> String {
    let mut session = plugin.open();
    let asked = engine.run(async move { session.inject(&SecretRequest::default(), &PodView::default()).await });
    match asked.await.unwrap() {
        Ok(Ok(edits)) => format!("{edits:?}"),
        Ok(Err(error)) => error.to_string(),
        Err(failure) => format!("{}: {}", failure.kind.as_str(), failure.outside),
    }
}

#[tokio::test]
async fn a_start_function_that_never_ends() {
    let guest = Guest { declarations: "(func $spin (loop br 0)) (start $spin)", ..Guest::default() };
    insta::assert_snapshot!(outcome(spec(guest.build(), Limits::default())).await, @"not loaded: the component does not start: it ran for longer than 5 s");
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
    insta::assert_snapshot!(outcome(spec(guest.build(), Limits::default())).await, @"limit: plugin wat 1.2.3 wanted more than its limit of 20000 table elements");
}

#[tokio::test]
async fn many_tables_that_each_are_within_bounds() {
    let guest =
        Guest { declarations: "(table 9000 funcref) (table 9000 funcref) (table 9000 funcref)", ..Guest::default() };
    insta::assert_snapshot!(outcome(spec(guest.build(), Limits::default())).await, @"not loaded: the component does not start: it wanted more than its limit of 20000 table elements");
}

/// Ten thousand times a line, each with its number in place of `#`.
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
async fn ten_thousand_functions_of_an_interface_that_is_there() {
    let functions = ten_thousand("function-#: func(); ");
    let package = format!("package wasi:cli@0.2.0; interface environment {{ {functions} }}").leak();
    let guest = Guest {
        declarations: ten_thousand("(import \"wasi:cli/environment@0.2.0\" \"function-#\" (func)) "),
        world: "import wasi:cli/environment@0.2.0;",
        packages: vec![&*package].leak(),
        ..Guest::default()
    };
    insta::assert_snapshot!(outcome(spec(guest.build(), Limits::default())).await, @"not loaded: the component cannot be compiled: component instance size does not fit in pooling allocator requirements: instance allocation for this component requires 1121132 bytes of `VMComponentContext` and aggregated core instance runtime space which exceeds the configured maximum of 1048576 bytes. `VMComponentContext` used 480144 bytes, `core module instances` used 640988 bytes.");
}

#[tokio::test]
async fn imports_whose_names_are_none() {
    let refusal = "which no plugin gets: there are ampoule:injector/log@0.1.0 and an empty WASI 0.2";
    let (long, cut) = ("x".repeat(50_000), "x".repeat(125));
    for (name, shown) in [("red\u{1b}[31m\nline", "red [31m line"), (&long, &format!("{cut}…"))] {
        // One import of that name, of the instance type 0.
        let section = [&[1, 0], &*leb128(name.len()), name.as_bytes(), &[5, 0]].concat();
        let component = with_section(10, &section);
        let expected = format!("not loaded: the component imports {shown}, {refusal}");
        assert_eq!(outcome(spec(component, Limits::default())).await, expected);
    }
}

#[tokio::test]
async fn proposals_that_are_switched_off() {
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
        let said = outcome(spec(with_section(1, &module), Limits::default())).await;
        let expected = format!(
            "not loaded: the component needs {needed} of WebAssembly, which no plugin gets: build the plugin without"
        );
        assert_eq!(said, expected, "{fields}");
    }
}

/// A guest that works, with a further section behind everything else.
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
async fn edits_of_the_webhooks_own_annotations() {
    for key in ["flyte.secrets/s0", "ampoule.dev/secrets"] {
        let guest = Guest {
            declarations: format!("(data (i32.const 12288) \"{key}\")").leak(),
            inject: format!(
                "(i32.store (i32.const {}) (i32.const 12288)) (i32.store (i32.const {}) (i32.const {})) i32.const {INJECTED}",
                4096 + 8,
                4096 + 12,
                key.len()
            ),
            ..Guest::default()
        };
        let expected = format!(
            "secret group/key (annotation ampoule.dev/secrets[0], mount env-var) could not be injected: wat: answered with an \
             edit that is refused: annotation {key} is the webhook's own; no plugin may set it"
        );
        assert_eq!(mutated(&guest).await, expected);
    }
}

/// What a pod is told that asks the guest alone. Where the neighbour is asked next, it gets the neighbour's annotation and no other.
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
