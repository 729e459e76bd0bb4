//! One row per guest: its request, and the complete answer.
//!
//! Each row also calls a neighbour afterwards on the same engine: it must be served.

use std::time::Duration;

use ampoule_core::{LazyPodView, SecretInjector as _};
use ampoule_engine::Limits;
use serde_json::{Value, json};

use crate::support::{Sandbox, guest, line, refusal, request};

/// The answer of a guest that uses a handle in a forbidden way.
const VIOLATION: &str = "trap: plugin keeps_handles 1.0.0 trapped: it passed data that violates the contract";

/// Guest, settings, the request's group, the answer.
fn rows() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    vec![
        (
            "endless_loop",
            json!({}),
            "group",
            "deadline: plugin endless_loop 1.0.0 exceeded its deadline of 200 ms (injectors[].limits.deadlineMillis)",
        ),
        ("endless_configure", json!({}), "group", "not loaded: `configure` failed: it did not finish within 5 s"),
        (
            "memory_eater",
            json!({}),
            "group",
            "limit: plugin memory_eater 1.0.0 exceeded its memory limit of 16 MiB (injectors[].limits.memoryMiB)",
        ),
        // The guest's stack ends where its memory begins.
        (
            "deep_recursion",
            json!({}),
            "group",
            "trap: plugin deep_recursion 1.0.0 trapped: out of bounds memory access",
        ),
        ("million_edits", json!({}), "group", "limit: plugin million_edits 1.0.0 exceeded its limit of 256 edits"),
        (
            "huge_strings",
            json!({}),
            "group",
            "limit: plugin huge_strings 1.0.0 exceeded its limit of 1 MiB of data in one call",
        ),
        ("trap", json!({}), "group", "trap: plugin trap 1.0.0 trapped: wasm `unreachable` instruction executed"),
        ("log_flood", json!({}), "group", "limit: plugin log_flood 1.0.0 exceeded its limit of 50000 host calls"),
        (
            "bad_utf8",
            json!({}),
            "group",
            "trap: plugin bad_utf8 1.0.0 trapped: it passed data that violates the contract",
        ),
        (
            "newer_contract",
            json!({}),
            "group",
            "not loaded: the component exports ampoule:injector/injector@9.0.0, but this version of Ampoule supports ampoule:injector/injector@0.2.0: \
             rebuild the plugin against that version",
        ),
        ("wasi_user", json!({}), "group", "injected WASI_VARIABLES= WASI_SECONDS=0 WASI_RANDOM=7020391018154190112"),
        ("http_client", json!({}), "group", "invalid-answer: plugin http_client 1.0.0 returned without an answer"),
        (
            "asks_store",
            json!({ "url": "https://192.0.2.1/" }),
            "group",
            "injected READ=Denied(\"192.0.2.1: not in grants.http.hosts\")",
        ),
        ("secret_reader", json!({}), "group", "injected READ=Denied(\"Secret / is not in grants.kubernetesSecrets\")"),
        ("counter", json!({}), "group", "injected COUNT=1 SEEN="),
        ("secret_value", json!({ "value": "hush" }), "group", "injected SECRET=SecretValue(SecretValue(redacted))"),
        ("echo", json!({}), "group", "injected ECHO=key"),
        ("timer", json!({}), "group", "injected NANOSECONDS=0"),
        ("learns", json!({ "reads": ["namespace", "name"] }), "group", "injected LEARNED=1 group team-a pod"),
        ("echo", json!({}), "not-found", "declined: not found: echo answers so for not-found/key"),
        ("echo", json!({}), "unsupported", "declined: unsupported: echo answers so for unsupported/key"),
        ("echo", json!({}), "invalid-request", "declined: invalid request: echo answers so for invalid-request/key"),
        ("echo", json!({}), "denied", "declined: denied: echo answers so for denied/key"),
        ("echo", json!({}), "unavailable", "declined: unavailable: echo answers so for unavailable/key"),
        ("echo", json!({}), "internal", "declined: internal: echo answers so for internal/key"),
    ]
}

/// Guests that use the calls of the contract in unusual ways.
fn rows_about_calls() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    vec![
        ("answers_never", json!({}), "group", "invalid-answer: plugin answers_never 1.0.0 returned without an answer"),
        ("answers_twice", json!({}), "group", "declined: not found: the first reason"),
        (
            "failed_edit",
            json!({}),
            "group",
            "invalid-answer: plugin failed_edit 1.0.0 made an invalid edit: environment variable name \"A=B\" must be \
             printable ASCII without '='",
        ),
        ("discards", json!({}), "group", "injected LAST=x"),
        ("bad_schema", json!({}), "group", "injected A=x"),
        (
            "nameless",
            json!({}),
            "group",
            "not loaded: `describe` returned a document that does not match the contract: name must not be empty",
        ),
        ("edits", json!({ "edits": [["env", "A", "x"]] }), "group", "injected A=x"),
        (
            "promise_without_value",
            json!({}),
            "group",
            "invalid-answer: plugin promise_without_value 1.0.0 returned without an answer",
        ),
        ("panics", json!({}), "group", "trap: plugin panics 1.0.0 trapped: wasm `unreachable` instruction executed"),
        (
            "panics",
            json!({ "function": "fetch" }),
            "group",
            "trap: plugin panics 1.0.0 trapped: wasm `unreachable` instruction executed",
        ),
        ("prints", json!({}), "group", "injected PRINTED=yes"),
        // `tests/e2e/pod_fetch/hostile.rs` calls its `fetch`.
        (
            "leaks",
            json!({}),
            "group",
            "injected WriteFile(SecretFile { path: \"/etc/flyte/secrets/leaks/key\", mode: None, source: \
             SecretValue(SecretValue(redacted)) })",
        ),
        ("caches", json!({}), "group", "injected COUNT=1"),
        ("keeps_handles", json!({}), "group", "injected HANDLES=none"),
        ("keeps_handles", json!({}), "wrong-type", VIOLATION),
        ("keeps_handles", json!({}), "twice", VIOLATION),
        ("keeps_handles", json!({}), "dropped-twice", VIOLATION),
        ("keeps_handles", json!({}), "dropped-request", VIOLATION),
        ("keeps_handles", json!({}), "invented", VIOLATION),
        ("keeps_handles", json!({}), "endless", "limit: plugin keeps_handles 1.0.0 exceeded its limit of 256 handles"),
    ]
}

#[test]
fn every_guest_gets_its_own_error_and_its_neighbour_is_served() {
    let sandbox = Sandbox::new();
    let neighbour = sandbox.neighbour();
    let mut wrong = Vec::new();
    for (name, settings, group, expected) in rows().into_iter().chain(rows_about_calls()) {
        let actual = answer(&sandbox, name, settings, group);
        if actual != expected {
            wrong.push(format!("{name}\n  expected: {expected}\n  actual:   {actual}"));
        }
        let served = sandbox.runtime.block_on(Sandbox::ask(&sandbox.engine, neighbour.clone(), request("user-info")));
        assert!(matches!(served, Ok(Ok(_))), "after {name} the neighbour gets: {}", line(&served));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_handle_of_a_builder_survives_a_call_of_the_same_instance() {
    let sandbox = Sandbox::new();
    let plugin = sandbox.load("keeps_handles", guest("keeps_handles"), json!({})).expect("it loads");
    let mut session = plugin.open();
    let admission = sandbox.engine.run(async move {
        let first = session.inject(&request("kept"), &LazyPodView::default()).await;
        let second = session.inject(&request("kept"), &LazyPodView::default()).await;
        [first, second].map(|answer| answer.map(|edits| edits.map(|edits| edits.len())))
    });
    let answers = sandbox.runtime.block_on(admission).expect("the work on an admission ends by itself");
    assert_eq!(answers, [Ok(Ok(1)), Ok(Ok(2))]);
}

#[test]
fn every_guest_has_a_row() {
    for (guest, _) in ampoule_test_guests::GUESTS {
        assert!(
            rows().iter().chain(&rows_about_calls()).any(|(row, ..)| row == guest),
            "guest {guest} has no row in the table"
        );
    }
}

#[test]
fn every_limit_can_be_set_per_plugin() {
    let defaults = Limits::default;
    let cases = [
        (
            "memory_eater",
            Limits { memory: 4 << 20, ..defaults() },
            "limit: plugin memory_eater 1.0.0 exceeded its memory limit of 4 MiB (injectors[].limits.memoryMiB)",
        ),
        (
            "endless_loop",
            Limits { deadline: Duration::from_millis(20), ..defaults() },
            "deadline: plugin endless_loop 1.0.0 exceeded its deadline of 20 ms (injectors[].limits.deadlineMillis)",
        ),
        ("echo", Limits { edits: 0, ..defaults() }, "limit: plugin echo 1.0.0 exceeded its limit of 0 edits"),
        // An interruption is not a call of the host.
        (
            "endless_loop",
            Limits { host_calls: 50, ..defaults() },
            "deadline: plugin endless_loop 1.0.0 exceeded its deadline of 200 ms (injectors[].limits.deadlineMillis)",
        ),
        (
            "echo",
            Limits { output_bytes: 4, ..defaults() },
            "limit: plugin echo 1.0.0 exceeded its limit of 4 bytes of text in edits",
        ),
        (
            "log_flood",
            Limits { host_calls: 10, ..defaults() },
            "limit: plugin log_flood 1.0.0 exceeded its limit of 10 host calls",
        ),
        (
            "huge_strings",
            Limits { host_call_bytes: 64 << 10, ..defaults() },
            "limit: plugin huge_strings 1.0.0 exceeded its limit of 64 KiB of data in one call",
        ),
    ];
    let sandbox = Sandbox::new();
    let mut wrong = Vec::new();
    for (name, limits, expected) in cases {
        let injector = sandbox.load_within(name, guest(name), json!({}), limits).expect("it loads");
        let actual = line(&sandbox.runtime.block_on(Sandbox::ask(&sandbox.engine, injector, request("group"))));
        if actual != expected {
            wrong.push(format!("{name}\n  expected: {expected}\n  actual:   {actual}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn answer(sandbox: &Sandbox, name: &str, settings: Value, group: &str) -> String {
    match sandbox.load(name, guest(name), settings) {
        Err(error) => {
            let text = refusal(&error);
            let head = format!("plugin {name} (file:/plugins/{name}.wasm, sha256:…): ");
            format!("not loaded: {}", text.strip_prefix(&head).unwrap_or(&text))
        }
        Ok(injector) => line(&sandbox.runtime.block_on(Sandbox::ask(&sandbox.engine, injector, request(group)))),
    }
}
